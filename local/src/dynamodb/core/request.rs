//! The fields of a request, read with the refusals of the service.

use serde_json::{Map, Value as Json};

use super::capacity::Shown;
use super::error::Error;
use super::expression::condition::Condition;
use super::expression::placeholders::Placeholders;
use super::path::Path;
use super::value::{Item, item_from_json};

/// A request, or a structure in one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(&'a Map<String, Json>);

impl<'a> Fields<'a> {
    pub(super) fn of(json: &'a Json) -> Result<Self, Error> {
        json.as_object().map(Self).ok_or_else(|| wrong_type("a structure"))
    }

    pub(super) fn get(self, name: &str) -> Option<&'a Json> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, Error> {
        self.typed(name, "a string", Json::as_str)
    }

    pub(super) fn required(self, name: &str) -> Result<&'a str, Error> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// A flag; by default not set.
    pub(super) fn flag(self, name: &str) -> Result<bool, Error> {
        Ok(self.typed(name, "a boolean", Json::as_bool)?.unwrap_or(false))
    }

    pub(super) fn integer(self, name: &str) -> Result<Option<i64>, Error> {
        self.typed(name, "an integer", Json::as_i64)
    }

    /// A number of at least 1.
    pub(super) fn count(self, name: &str) -> Result<Option<usize>, Error> {
        let Some(count) = self.integer(name)? else { return Ok(None) };
        usize::try_from(count)
            .ok()
            .filter(|count| *count >= 1)
            .map(Some)
            .ok_or_else(|| constraint(&count.to_string(), name, "Member must have value greater than or equal to 1"))
    }

    pub(super) fn map(self, name: &str) -> Result<Option<&'a Map<String, Json>>, Error> {
        self.typed(name, "a map", Json::as_object)
    }

    pub(super) fn list(self, name: &str) -> Result<Option<&'a Vec<Json>>, Error> {
        self.typed(name, "a list", Json::as_array)
    }

    pub(super) fn structure(self, name: &str) -> Result<Option<Self>, Error> {
        Ok(self.map(name)?.map(Self))
    }

    pub(super) fn required_list(self, name: &str) -> Result<&'a Vec<Json>, Error> {
        self.list(name)?.ok_or_else(|| missing(name))
    }

    pub(super) fn required_item(self, name: &str) -> Result<Item, Error> {
        item_from_json(self.get(name).ok_or_else(|| missing(name))?)
    }

    /// One of the words, the first by default.
    pub(super) fn choice(self, name: &str, words: &[&'static str]) -> Result<&'static str, Error> {
        let Some(text) = self.text(name)? else { return Ok(words.first().copied().unwrap_or_default()) };
        words.iter().find(|word| **word == text).copied().ok_or_else(|| {
            constraint(text, name, &format!("Member must satisfy enum value set: [{}]", words.join(", ")))
        })
    }

    pub(super) fn consumption(self) -> Result<Shown, Error> {
        Ok(match self.choice("ReturnConsumedCapacity", &["NONE", "TOTAL", "INDEXES"])? {
            "TOTAL" => Shown::Total,
            "INDEXES" => Shown::Indexes,
            _ => Shown::Nothing,
        })
    }

    pub(super) fn placeholders(self) -> Result<Placeholders, Error> {
        Placeholders::new(self.map("ExpressionAttributeNames")?, self.map("ExpressionAttributeValues")?)
    }

    /// The condition in a field, if there is one.
    pub(super) fn condition(
        self,
        name: &'static str,
        placeholders: &mut Placeholders,
    ) -> Result<Option<Condition>, Error> {
        let text = self.text(name)?;
        text.map(|text| Condition::parse(name, text, placeholders)).transpose()
    }

    /// The paths that ProjectionExpression or AttributesToGet names, if one does.
    pub(super) fn projection(self, placeholders: &mut Placeholders) -> Result<Option<Vec<Path>>, Error> {
        if let Some(text) = self.text("ProjectionExpression")? {
            return super::expression::projection::parse(text, placeholders).map(Some);
        }
        let Some(names) = self.list("AttributesToGet")? else { return Ok(None) };
        let name = |name: &Json| name.as_str().map(Path::attribute).ok_or_else(|| wrong_type("a string"));
        names.iter().map(name).collect::<Result<_, _>>().map(Some)
    }

    /// Passes when none of the fields is there: what they ask for is missing here.
    pub(super) fn refuse(self, operation: &str, fields: &[&str]) -> Result<(), Error> {
        match fields.iter().find(|field| self.has(field)) {
            Some(field) => Err(Error::unsupported(format!("{field} of {operation}"))),
            None => Ok(()),
        }
    }

    /// Passes unless the request mixes expressions with the parameters that were there before them.
    pub(super) fn require_one_style(self, expressions: &[&str], legacy: &[&str]) -> Result<(), Error> {
        let present =
            |names: &[&str]| names.iter().filter(|name| self.has(name)).map(|name| (*name).to_owned()).collect();
        let (new, old): (Vec<String>, Vec<String>) = (present(expressions), present(legacy));
        if new.is_empty() || old.is_empty() {
            return Ok(());
        }
        Err(Error::validation(format!(
            "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: \
             {{{}}} Expression parameters: {{{}}}",
            old.join(", "),
            new.join(", ")
        )))
    }

    fn typed<T>(self, name: &str, wanted: &str, read: impl FnOnce(&'a Json) -> Option<T>) -> Result<Option<T>, Error> {
        let Some(json) = self.get(name) else { return Ok(None) };
        read(json).map(Some).ok_or_else(|| wrong_type(&format!("{wanted} in {name}")))
    }
}

pub(super) fn missing(name: &str) -> Error {
    constraint_of("null", name, "Member must not be null")
}

/// A value that a rule of the API forbids.
pub(super) fn constraint(value: &str, name: &str, rule: &str) -> Error {
    constraint_of(&format!("'{value}'"), name, rule)
}

fn constraint_of(value: &str, name: &str, rule: &str) -> Error {
    let mut chars = name.chars();
    let first = chars.next().map(|first| first.to_ascii_lowercase());
    let name: String = first.into_iter().chain(chars).collect();
    Error::validation(format!(
        "1 validation error detected: Value {value} at '{name}' failed to satisfy constraint: {rule}"
    ))
}

fn wrong_type(wanted: &str) -> Error {
    Error::serialization(format!("Unexpected field type: {wanted} is needed"))
}
