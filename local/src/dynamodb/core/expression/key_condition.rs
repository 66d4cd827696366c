//! Key conditions: the partition that a query reads, and the part of it.

use super::super::error::Error;
use super::super::key::{KeyPart, KeySchema};
use super::super::value::Value;
use super::condition::{Comparison, Condition, Operand};

/// A condition, by what its parts are about. All of them must hold.
#[derive(Debug, Default)]
pub(in super::super) struct Split {
    /// Value of the partition key.
    pub(in super::super) partition: Option<Value>,
    /// Value of the sort key, if it is one.
    pub(in super::super) sort_value: Option<Value>,
    /// Condition on the sort key.
    pub(in super::super) sort: Option<Condition>,
    /// Everything else.
    pub(in super::super) rest: Option<Condition>,
}

impl Split {
    pub(in super::super) fn new(condition: Condition, key: &KeySchema) -> Self {
        let mut split = Self::default();
        split.add(condition, key);
        split
    }

    fn add(&mut self, condition: Condition, key: &KeySchema) {
        if let Condition::And(a, b) = condition {
            self.add(*a, key);
            self.add(*b, key);
            return;
        }
        let sort = key.sort.as_ref().map(|sort| sort.name.as_str());
        match about(&condition) {
            Some((name, Some(value))) if name == key.partition.name && self.partition.is_none() => {
                self.partition = Some(value.clone());
            }
            Some((name, value)) if Some(name) == sort && self.sort.is_none() => {
                self.sort_value = value.cloned();
                self.sort = Some(condition);
            }
            _ => {
                let rest = self.rest.take();
                self.rest = Some(match rest {
                    None => condition,
                    Some(rest) => rest.and(condition),
                });
            }
        }
    }
}

/// The one attribute that a simple condition is about, and the value that it must have, if it is one. `None` for
/// conditions that keys cannot have.
fn about(condition: &Condition) -> Option<(&str, Option<&Value>)> {
    let name = |operand: &'_ Operand| match operand {
        Operand::Path(path) if path.steps.is_empty() => Some(()),
        _ => None,
    };
    match condition {
        Condition::Compare(Comparison::Equal, left @ Operand::Path(path), Operand::Value(value))
        | Condition::Compare(Comparison::Equal, Operand::Value(value), left @ Operand::Path(path)) => {
            name(left).map(|()| (path.attribute.as_str(), Some(value)))
        }
        Condition::Compare(comparison, left @ Operand::Path(path), Operand::Value(_))
            if *comparison != Comparison::NotEqual =>
        {
            name(left).map(|()| (path.attribute.as_str(), None))
        }
        Condition::Between(left @ Operand::Path(path), Operand::Value(_), Operand::Value(_))
        | Condition::BeginsWith(left @ Operand::Path(path), Operand::Value(_)) => {
            name(left).map(|()| (path.attribute.as_str(), None))
        }
        _ => None,
    }
}

/// The partition that a query reads, and the condition on the sort key.
pub(in super::super) fn of_query(condition: Condition, key: &KeySchema) -> Result<(KeyPart, Option<Condition>), Error> {
    let split = Split::new(condition, key);
    let Some(partition) = split.partition else {
        return Err(Error::validation(format!("Query condition missed key schema element: {}", key.partition.name)));
    };
    if let Some(rest) = split.rest {
        let is_key = |name: &&str| key.names().any(|key| key == *name);
        let is_about_keys = rest.attributes().iter().all(is_key);
        let message = if is_about_keys {
            "Query key condition not supported".to_owned()
        } else {
            let missed = key.sort.as_ref().map_or("", |sort| &sort.name);
            format!("Query condition missed key schema element: {missed}")
        };
        return Err(Error::validation(message));
    }
    let partition = key
        .partition
        .part(&partition)
        .ok_or_else(|| Error::invalid("Condition parameter type does not match schema type"))?;
    if let (Some(sort), Some(value)) = (&key.sort, &split.sort_value)
        && sort.part(value).is_none()
    {
        return Err(Error::invalid("Condition parameter type does not match schema type"));
    }
    Ok((partition, split.sort))
}
