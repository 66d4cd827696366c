//! CreateTable, UpdateTable, DeleteTable, DescribeTable, ListTables.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::super::Answer;
use super::super::error::{Error, Kind};
use super::super::key::{KeyAttribute, KeySchema};
use super::super::request::{Fields, constraint, missing};
use super::super::table::{Index, Projection, Settings, Table, Throughput};
use super::super::writes::{Tables, table};
use super::descriptions::{Phase, description};
use super::settings::tags;
use crate::timestamp::Millis;

/// Maximum number of indexes of a table, and of attributes that its indexes name to include.
/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
const MAX_INDEXES: usize = 20;
const MAX_INCLUDED: usize = 100;

/// Maximum number of names in an answer.
/// docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ListTables.html
const MAX_NAMES: usize = 100;

/// Attributes with their types.
type Defined = BTreeMap<String, String>;

pub(in super::super) fn create(tables: &mut Tables, fields: Fields<'_>, now: Millis) -> Result<Answer, Error> {
    fields.refuse("CreateTable", &["LocalSecondaryIndexes", "ResourcePolicy", "GlobalTableSourceArn"])?;
    require_no_stream(fields, "CreateTable")?;
    let name = fields.required("TableName")?;
    require_name(name, "TableName")?;
    let attributes = defined(fields.required_list("AttributeDefinitions")?)?;
    let key = key_schema(fields.required_list("KeySchema")?, &attributes)?;
    let is_on_demand = fields.choice("BillingMode", &["PROVISIONED", "PAY_PER_REQUEST"])? == "PAY_PER_REQUEST";
    let provisioned = provisioned(fields, is_on_demand)?;
    let mut indexes = BTreeMap::new();
    for index in fields.list("GlobalSecondaryIndexes")?.into_iter().flatten() {
        let (name, index) = new_index(Fields::of(index)?, &attributes, is_on_demand)?;
        if indexes.insert(name.clone(), index).is_some() {
            return Err(Error::invalid(format!("Duplicate index name: {name}")));
        }
    }
    require_indexes(indexes.len())?;
    require_all_used(&attributes, &key, &indexes)?;
    if tables.contains_key(name) {
        return Err(Error::new(Kind::ResourceInUse, format!("Table already exists: {name}")));
    }
    let settings = Settings {
        id: id(name, now),
        created: now,
        attributes,
        is_on_demand,
        on_demand_since: is_on_demand.then_some(now),
        provisioned,
        on_demand: fields.get("OnDemandThroughput").cloned(),
        is_protected: fields.flag("DeletionProtectionEnabled")?,
        class: fields.text("TableClass")?.map(str::to_owned),
        tags: tags(fields.list("Tags")?)?,
        time_to_live: None,
    };
    let table = Table { name: name.to_owned(), key, items: BTreeMap::new(), indexes, settings, bytes: 0 };
    let answer = described(&table, "TableDescription", &Phase::Creating);
    tables.insert(name.to_owned(), table);
    Ok(answer)
}

pub(in super::super) fn describe(tables: &Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    let name = fields.required("TableName")?;
    let table = table(tables, name).map_err(|error| Error {
        message: format!("Requested resource not found: Table: {name} not found"),
        ..error
    })?;
    Ok(described(table, "Table", &Phase::Active))
}

pub(in super::super) fn delete(tables: &mut Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    let name = fields.required("TableName")?;
    let table = table(tables, name).map_err(|error| Error {
        message: format!("Requested resource not found: Table: {name} not found"),
        ..error
    })?;
    if table.settings.is_protected {
        return Err(Error::validation(format!(
            "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first. \
             Table: {name}"
        )));
    }
    let answer = described(table, "TableDescription", &Phase::Deleting);
    tables.remove(name);
    Ok(answer)
}

pub(in super::super) fn list(tables: &Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    let limit = fields.count("Limit")?.unwrap_or(MAX_NAMES);
    if limit > MAX_NAMES {
        return Err(constraint(&limit.to_string(), "Limit", "Member must have value less than or equal to 100"));
    }
    let start = fields.text("ExclusiveStartTableName")?;
    let mut names = tables.keys().filter(|name| start.is_none_or(|start| name.as_str() > start));
    let page: Vec<Json> = names.by_ref().take(limit).map(|name| name.as_str().into()).collect();
    let mut answer = Answer::default();
    if let (Some(last), Some(_)) = (page.last(), names.next()) {
        answer.body.insert("LastEvaluatedTableName".to_owned(), last.clone());
    }
    answer.body.insert("TableNames".to_owned(), page.into());
    Ok(answer)
}

pub(in super::super) fn update(tables: &mut Tables, fields: Fields<'_>, now: Millis) -> Result<Answer, Error> {
    let unsupported = ["ReplicaUpdates", "GlobalTableWitnessUpdates", "MultiRegionConsistency"];
    fields.refuse("UpdateTable", &unsupported)?;
    require_no_stream(fields, "UpdateTable")?;
    let name = fields.required("TableName")?;
    let mut changed = table(tables, name)
        .map_err(|error| Error { message: format!("Requested resource not found: Table: {name} not found"), ..error })?
        .clone();
    let settings = &mut changed.settings;
    if fields.has("DeletionProtectionEnabled") {
        settings.is_protected = fields.flag("DeletionProtectionEnabled")?;
    }
    if let Some(class) = fields.text("TableClass")? {
        settings.class = Some(class.to_owned());
    }
    if let Some(on_demand) = fields.get("OnDemandThroughput") {
        settings.on_demand = Some(on_demand.clone());
    }
    update_billing(settings, fields, now)?;
    settings.attributes.extend(defined(fields.list("AttributeDefinitions")?.map_or(&[][..], Vec::as_slice))?);
    for update in fields.list("GlobalSecondaryIndexUpdates")?.into_iter().flatten() {
        update_index(&mut changed, Fields::of(update)?)?;
    }
    require_indexes(changed.indexes.len())?;
    let used = used(&changed.key, &changed.indexes);
    changed.settings.attributes.retain(|name, _| used.contains(name));
    let answer = described(&changed, "TableDescription", &Phase::Updating);
    tables.insert(name.to_owned(), changed);
    Ok(answer)
}

fn update_billing(settings: &mut Settings, fields: Fields<'_>, now: Millis) -> Result<(), Error> {
    if fields.has("BillingMode") {
        let is_on_demand = fields.choice("BillingMode", &["PROVISIONED", "PAY_PER_REQUEST"])? == "PAY_PER_REQUEST";
        if is_on_demand && !settings.is_on_demand {
            settings.on_demand_since = Some(now);
        }
        settings.is_on_demand = is_on_demand;
        settings.provisioned = provisioned(fields, is_on_demand)?;
    } else if fields.has("ProvisionedThroughput") {
        settings.provisioned = provisioned(fields, settings.is_on_demand)?;
    }
    Ok(())
}

fn update_index(table: &mut Table, update: Fields<'_>) -> Result<(), Error> {
    if let Some(create) = update.structure("Create")? {
        let (name, index) = new_index(create, &table.settings.attributes, table.settings.is_on_demand)?;
        if table.indexes.contains_key(&name) {
            return Err(Error::invalid(format!("Attempting to create an index which already exists: {name}")));
        }
        table.add_index(&name, index);
        return Ok(());
    }
    if let Some(delete) = update.structure("Delete")? {
        let name = delete.required("IndexName")?;
        let gone = table.indexes.remove(name);
        let message = format!("Requested resource not found: Index: {name} not found");
        return gone.map(|_| ()).ok_or_else(|| Error::new(Kind::ResourceNotFound, message));
    }
    let change = update
        .structure("Update")?
        .ok_or_else(|| Error::invalid("At least one of Create, Update or Delete of an index is needed"))?;
    let (name, is_on_demand) = (change.required("IndexName")?, table.settings.is_on_demand);
    let message = format!("Requested resource not found: Index: {name} not found");
    let index = table.indexes.get_mut(name).ok_or_else(|| Error::new(Kind::ResourceNotFound, message))?;
    if change.has("ProvisionedThroughput") {
        index.provisioned = provisioned(change, is_on_demand)?;
    }
    if let Some(on_demand) = change.get("OnDemandThroughput") {
        index.on_demand = Some(on_demand.clone());
    }
    Ok(())
}

fn described(table: &Table, name: &str, phase: &Phase) -> Answer {
    Answer { body: Map::from_iter([(name.to_owned(), description(table, phase))]), ..Answer::default() }
}

fn new_index(fields: Fields<'_>, attributes: &Defined, is_on_demand: bool) -> Result<(String, Index), Error> {
    let name = fields.required("IndexName")?;
    require_name(name, "IndexName")?;
    let key = key_schema(fields.required_list("KeySchema")?, attributes)?;
    let projection = fields.structure("Projection")?.ok_or_else(|| missing("Projection"))?;
    let names = projection.list("NonKeyAttributes")?;
    let projection = match projection.choice("ProjectionType", &["", "ALL", "KEYS_ONLY", "INCLUDE"])? {
        "" => return Err(Error::invalid("Unknown ProjectionType: null")),
        "INCLUDE" => {
            let names = names
                .ok_or_else(|| Error::invalid("ProjectionType is INCLUDE, but NonKeyAttributes is not specified"))?;
            if names.len() > MAX_INCLUDED {
                return Err(Error::invalid("Too many attributes are included in an index"));
            }
            Projection::Include(names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
        }
        other if names.is_some() => {
            return Err(Error::invalid(format!("ProjectionType is {other}, but NonKeyAttributes is specified")));
        }
        "ALL" => Projection::All,
        _ => Projection::KeysOnly,
    };
    let provisioned = provisioned(fields, is_on_demand)?;
    let on_demand = fields.get("OnDemandThroughput").cloned();
    Ok((name.to_owned(), Index { key, projection, provisioned, on_demand, entries: BTreeSet::new() }))
}

fn defined(definitions: &[Json]) -> Result<Defined, Error> {
    let one = |definition: &Json| {
        let fields = Fields::of(definition)?;
        let kind = fields.choice("AttributeType", &["", "B", "N", "S"])?;
        if kind.is_empty() {
            return Err(missing("AttributeType"));
        }
        Ok((fields.required("AttributeName")?.to_owned(), kind.to_owned()))
    };
    definitions.iter().map(one).collect()
}

fn key_schema(elements: &[Json], attributes: &Defined) -> Result<KeySchema, Error> {
    let mut parts = Vec::new();
    for element in elements {
        let fields = Fields::of(element)?;
        let (name, role) = (fields.required("AttributeName")?, fields.choice("KeyType", &["", "HASH", "RANGE"])?);
        let kind = attributes.get(name).ok_or_else(|| {
            let defined: Vec<_> = attributes.keys().map(String::as_str).collect();
            Error::invalid(format!(
                "Some index key attributes are not defined in AttributeDefinitions. Keys: [{name}], AttributeDefinitions: [{}]",
                defined.join(", ")
            ))
        })?;
        parts.push((role, KeyAttribute { name: name.to_owned(), kind: kind.clone() }));
    }
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(("HASH", partition)), None, None) => Ok(KeySchema { partition, sort: None }),
        (Some(("HASH", partition)), Some(("RANGE", sort)), None) if sort.name != partition.name => {
            Ok(KeySchema { partition, sort: Some(sort) })
        }
        (Some(("HASH", _)), Some(("RANGE", _)), None) => {
            Err(Error::validation("Both the Hash Key and the Range Key element in the KeySchema have the same name"))
        }
        (_, _, Some(_)) | (None, ..) => Err(constraint(
            &format!("[{} elements]", elements.len()),
            "KeySchema",
            "Member must have length less than or equal to 2, and greater than or equal to 1",
        )),
        _ => Err(Error::validation("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")),
    }
}

fn provisioned(fields: Fields<'_>, is_on_demand: bool) -> Result<Throughput, Error> {
    let throughput = fields.structure("ProvisionedThroughput")?;
    let Some(throughput) = throughput else {
        if is_on_demand {
            return Ok(Throughput::default());
        }
        return Err(Error::invalid(
            "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
        ));
    };
    let units = |name: &str| throughput.count(name).map(|count| count.and_then(|count| i64::try_from(count).ok()));
    if is_on_demand {
        return match (throughput.integer("ReadCapacityUnits")?, throughput.integer("WriteCapacityUnits")?) {
            (None | Some(0), None | Some(0)) => Ok(Throughput::default()),
            _ => Err(Error::invalid(
                "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
            )),
        };
    }
    let (reads, writes) = (units("ReadCapacityUnits")?, units("WriteCapacityUnits")?);
    let reads = reads.ok_or_else(|| missing("ReadCapacityUnits"))?;
    Ok(Throughput { reads, writes: writes.ok_or_else(|| missing("WriteCapacityUnits"))? })
}

fn require_name(name: &str, field: &str) -> Result<(), Error> {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !name.bytes().all(is_valid) {
        let rule = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+";
        return Err(constraint(name, field, rule));
    }
    if !(3..=255).contains(&name.len()) {
        return Err(Error::validation(format!(
            "{field} must be at least 3 characters long and at most 255 characters long"
        )));
    }
    Ok(())
}

fn require_indexes(count: usize) -> Result<(), Error> {
    if count <= MAX_INDEXES {
        return Ok(());
    }
    let message = format!("GlobalSecondaryIndex count exceeds the per-table limit of {MAX_INDEXES}");
    Err(Error::invalid(message))
}

fn require_no_stream(fields: Fields<'_>, operation: &str) -> Result<(), Error> {
    match fields.structure("StreamSpecification")? {
        Some(stream) if stream.flag("StreamEnabled")? => {
            Err(Error::unsupported(format!("StreamSpecification of {operation}")))
        }
        _ => Ok(()),
    }
}

/// The attributes of all keys.
fn used(key: &KeySchema, indexes: &BTreeMap<String, Index>) -> BTreeSet<String> {
    let keys = std::iter::once(key).chain(indexes.values().map(|index| &index.key));
    keys.flat_map(KeySchema::names).map(str::to_owned).collect()
}

fn require_all_used(attributes: &Defined, key: &KeySchema, indexes: &BTreeMap<String, Index>) -> Result<(), Error> {
    if attributes.len() == used(key, indexes).len() {
        return Ok(());
    }
    Err(Error::invalid(if indexes.is_empty() {
        "Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions"
    } else {
        "Some AttributeDefinitions are not used by the keys of the table and its indexes"
    }))
}

/// An id in the form of a UUID, the same for the same table and time.
fn id(name: &str, now: Millis) -> String {
    let seed = name.bytes().fold(now.0, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut random = fastrand::Rng::with_seed(seed);
    let (a, b) = (random.u64(..), random.u64(..));
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}
