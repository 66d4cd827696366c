//! Tags and times to live of tables.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::super::Answer;
use super::super::error::{Error, Kind};
use super::super::request::{Fields, missing};
use super::super::table::Table;
use super::super::writes::{Tables, table};
use super::descriptions::arn;

/// Maximum number of tags of a table.
/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/Tagging.html
const MAX_TAGS: usize = 50;

pub(super) fn tags(list: Option<&Vec<Json>>) -> Result<BTreeMap<String, String>, Error> {
    let tag = |tag: &Json| {
        let fields = Fields::of(tag)?;
        Ok((fields.required("Key")?.to_owned(), fields.required("Value")?.to_owned()))
    };
    list.into_iter().flatten().map(tag).collect()
}

/// The table of a ResourceArn.
fn by_arn<'a>(tables: &'a mut Tables, fields: Fields<'_>) -> Result<&'a mut Table, Error> {
    let resource = fields.required("ResourceArn")?;
    let Some((_, name)) = resource.split_once(":table/") else {
        return Err(Error::invalid(format!("Invalid TableArn: Invalid ResourceArn provided as input {resource}")));
    };
    if resource != arn(name) {
        return Err(Error::new(
            Kind::ResourceNotFound,
            format!("Requested resource not found: ResourcArn: {resource} not found"),
        ));
    }
    let message = format!("Requested resource not found: ResourcArn: {resource} not found");
    tables.get_mut(name).ok_or_else(|| Error::new(Kind::ResourceNotFound, message))
}

pub(in super::super) fn tag(tables: &mut Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    let new = tags(Some(fields.required_list("Tags")?))?;
    let table = by_arn(tables, fields)?;
    let mut all = table.settings.tags.clone();
    all.extend(new);
    if all.len() > MAX_TAGS {
        return Err(Error::new(Kind::LimitExceeded, format!("A table has at most {MAX_TAGS} tags")));
    }
    table.settings.tags = all;
    Ok(Answer::default())
}

pub(in super::super) fn untag(tables: &mut Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    let keys = fields.required_list("TagKeys")?;
    let table = by_arn(tables, fields)?;
    table.settings.tags.retain(|tag, _| !keys.iter().any(|key| key.as_str() == Some(tag)));
    Ok(Answer::default())
}

pub(in super::super) fn list_tags(tables: &mut Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    let tags = by_arn(tables, fields)?.settings.tags.iter();
    let tags: Vec<_> = tags.map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    let mut answer = Answer::default();
    answer.body.insert("Tags".to_owned(), tags.into());
    Ok(answer)
}

pub(in super::super) fn update_time_to_live(tables: &mut Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    let name = fields.required("TableName")?;
    let specification = fields.structure("TimeToLiveSpecification")?;
    let specification = specification.ok_or_else(|| missing("TimeToLiveSpecification"))?;
    let (attribute, is_on) = (specification.required("AttributeName")?, specification.flag("Enabled")?);
    if !specification.has("Enabled") {
        return Err(missing("Enabled"));
    }
    table(tables, name)?;
    let settings = &mut tables.get_mut(name).ok_or_else(Error::no_table)?.settings;
    match (&settings.time_to_live, is_on) {
        (Some(_), true) => return Err(Error::validation("TimeToLive is already enabled")),
        (None, false) => return Err(Error::validation("TimeToLive is already disabled")),
        (Some(old), false) if old != attribute => {
            let message = format!("TimeToLive is active on a different AttributeName: current AttributeName is {old}");
            return Err(Error::validation(message));
        }
        _ => settings.time_to_live = is_on.then(|| attribute.to_owned()),
    }
    let mut answer = Answer::default();
    let specification = json!({ "AttributeName": attribute, "Enabled": is_on });
    answer.body.insert("TimeToLiveSpecification".to_owned(), specification);
    Ok(answer)
}

pub(in super::super) fn describe_time_to_live(tables: &Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    let description = match &table(tables, fields.required("TableName")?)?.settings.time_to_live {
        Some(attribute) => json!({ "TimeToLiveStatus": "ENABLED", "AttributeName": attribute }),
        None => json!({ "TimeToLiveStatus": "DISABLED" }),
    };
    let mut answer = Answer::default();
    answer.body.insert("TimeToLiveDescription".to_owned(), description);
    Ok(answer)
}
