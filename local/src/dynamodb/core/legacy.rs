//! Parameters from before there were expressions, as conditions and updates.
//!
//! docs.aws.amazon.com/amazondynamodb/latest/developerguide/LegacyConditionalParameters.html

use serde_json::{Map, Value as Json};

use super::error::Error;
use super::expression::condition::{Comparison, Condition, Operand};
use super::expression::update::{Action, Update};
use super::path::Path;
use super::request::Fields;
use super::value::Value;

/// The condition that a map of conditions by attribute is: Expected, ScanFilter, QueryFilter, KeyConditions.
pub(super) fn conditions(fields: Fields<'_>, name: &str) -> Result<Option<Condition>, Error> {
    let is_or = fields.choice("ConditionalOperator", &["AND", "OR"])? == "OR";
    let mut all: Option<Condition> = None;
    for (attribute, json) in fields.map(name)?.into_iter().flatten() {
        let condition = one(attribute, Fields::of(json)?)?;
        all = Some(match all {
            None => condition,
            Some(all) if is_or && name != "KeyConditions" => Condition::Or(Box::new(all), Box::new(condition)),
            Some(all) => all.and(condition),
        });
    }
    Ok(all)
}

fn one(attribute: &str, fields: Fields<'_>) -> Result<Condition, Error> {
    let path = Path::attribute(attribute);
    let Some(operator) = fields.text("ComparisonOperator")? else { return expected(path, fields) };
    let mut values = match (fields.list("AttributeValueList")?, fields.get("Value")) {
        (Some(list), _) => list.iter().map(Value::from_json).collect::<Result<Vec<_>, _>>()?,
        (None, Some(value)) => vec![Value::from_json(value)?],
        (None, None) => Vec::new(),
    };
    let wanted = match operator {
        "NULL" | "NOT_NULL" => 0..=0,
        "BETWEEN" => 2..=2,
        "IN" => 1..=100,
        _ => 1..=1,
    };
    if !wanted.contains(&values.len()) {
        return Err(Error::invalid(format!("Invalid number of argument(s) for the {operator} ComparisonOperator")));
    }
    let operand = Operand::Path(path.clone());
    let not = |condition| Condition::Not(Box::new(condition));
    let comparisons = [
        ("EQ", Comparison::Equal),
        ("NE", Comparison::NotEqual),
        ("LT", Comparison::Less),
        ("LE", Comparison::LessOrEqual),
        ("GT", Comparison::Greater),
        ("GE", Comparison::GreaterOrEqual),
    ];
    if operator == "IN" {
        return Ok(Condition::In(operand, values.into_iter().map(Operand::Value).collect()));
    }
    let (second, first) = (values.pop().map(Operand::Value), values.pop().map(Operand::Value));
    Ok(match (operator, first, second) {
        ("NULL", ..) => not(Condition::Exists(path)),
        ("NOT_NULL", ..) => Condition::Exists(path),
        ("BETWEEN", Some(low), Some(high)) => Condition::Between(operand, low, high),
        ("BEGINS_WITH", _, Some(value)) => Condition::BeginsWith(operand, value),
        ("CONTAINS", _, Some(value)) => Condition::Contains(operand, value),
        ("NOT_CONTAINS", _, Some(value)) => Condition::Exists(path).and(not(Condition::Contains(operand, value))),
        (operator, _, Some(value)) => {
            let comparison =
                comparisons.into_iter().find(|(name, _)| *name == operator).map(|(_, comparison)| comparison);
            let unknown = || Error::unsupported(format!("the ComparisonOperator {operator}"));
            Condition::Compare(comparison.ok_or_else(unknown)?, operand, value)
        }
        _ => return Err(Error::unsupported(format!("the ComparisonOperator {operator}"))),
    })
}

/// An entry of Expected without an operator.
fn expected(path: Path, fields: Fields<'_>) -> Result<Condition, Error> {
    let exists = if fields.has("Exists") { Some(fields.flag("Exists")?) } else { None };
    let value = fields.get("Value").map(Value::from_json).transpose()?;
    let attribute = &path.attribute;
    match (exists, value) {
        (Some(false), None) => Ok(Condition::Not(Box::new(Condition::Exists(path)))),
        (Some(false), Some(_)) => {
            Err(Error::invalid(format!("Value cannot be used when Exists is false for Attribute: {attribute}")))
        }
        (_, Some(value)) => Ok(Condition::Compare(Comparison::Equal, Operand::Path(path), Operand::Value(value))),
        (exists, None) => {
            let exists = exists.map_or("null", |_| "true");
            Err(Error::invalid(format!("Value must be provided when Exists is {exists} for Attribute: {attribute}")))
        }
    }
}

/// The update that AttributeUpdates is.
pub(super) fn update(updates: &Map<String, Json>) -> Result<Update, Error> {
    use super::expression::update::Source;
    let mut update = Update::default();
    for (attribute, json) in updates {
        let fields = Fields::of(json)?;
        let value = fields.get("Value").map(Value::from_json).transpose()?;
        let action = match (fields.choice("Action", &["PUT", "ADD", "DELETE"])?, value) {
            ("PUT", Some(value)) => Action::Set(Source::Value(value)),
            ("ADD", Some(value)) => Action::Add(value),
            ("DELETE", Some(value)) => Action::Delete(value),
            ("DELETE", None) => Action::Remove,
            (action, None) => {
                let detail = format!("Only DELETE action is allowed when no attribute value is specified: {action}");
                return Err(Error::invalid(detail));
            }
            (action, Some(_)) => return Err(Error::unsupported(format!("the action {action}"))),
        };
        update.actions.push((Path::attribute(attribute), action));
    }
    Ok(update)
}
