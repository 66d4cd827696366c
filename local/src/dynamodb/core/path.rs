//! Document paths: `a.b[0]`, into an item's maps and lists. Pure.

use std::fmt;

use super::error::Error;
use super::value::{Item, Value};

/// A path that starts with an attribute of the item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path {
    pub(super) attribute: String,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Field(String),
    Index(usize),
}

impl Path {
    /// A top-level attribute.
    pub(super) fn attribute(name: &str) -> Self {
        Self { attribute: name.to_owned(), steps: Vec::new() }
    }

    /// The value there, if there is one.
    pub(super) fn get<'a>(&self, item: &'a Item) -> Option<&'a Value> {
        let mut value = item.get(&self.attribute)?;
        for step in &self.steps {
            value = match (step, value) {
                (Step::Field(name), Value::M(map)) => map.get(name)?,
                (Step::Index(index), Value::L(list)) => list.get(*index)?,
                _ => return None,
            };
        }
        Some(value)
    }

    /// True if one of the paths is the other, or leads through it.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let is_prefix = |short: &Self, long: &Self| long.steps.starts_with(&short.steps);
        self.attribute == other.attribute && (is_prefix(self, other) || is_prefix(other, self))
    }

    /// Writes a value. An index beyond the end of a list appends.
    pub(super) fn set(&self, item: &mut Item, value: Value) -> Result<(), Error> {
        let Some((last, way)) = self.steps.split_last() else {
            item.insert(self.attribute.clone(), value);
            return Ok(());
        };
        let parent = item.get_mut(&self.attribute).and_then(|start| walk(start, way));
        match (last, parent) {
            (Step::Field(name), Some(Value::M(map))) => {
                map.insert(name.clone(), value);
            }
            (Step::Index(index), Some(Value::L(list))) => match list.get_mut(*index) {
                Some(place) => *place = value,
                None => list.push(value),
            },
            _ => {
                let message = "The document path provided in the update expression is invalid for update";
                return Err(Error::validation(message));
            }
        }
        Ok(())
    }

    /// Removes the value there, if there is one.
    pub(super) fn remove(&self, item: &mut Item) -> Result<(), Error> {
        let Some((last, way)) = self.steps.split_last() else {
            item.remove(&self.attribute);
            return Ok(());
        };
        match (last, item.get_mut(&self.attribute).and_then(|start| walk(start, way))) {
            (Step::Field(name), Some(Value::M(map))) => {
                map.remove(name);
            }
            (Step::Index(index), Some(Value::L(list))) => {
                if *index < list.len() {
                    list.remove(*index);
                }
            }
            _ => {
                let message = "The document path provided in the update expression is invalid for update";
                return Err(Error::validation(message));
            }
        }
        Ok(())
    }
}

fn walk<'a>(mut value: &'a mut Value, way: &[Step]) -> Option<&'a mut Value> {
    for step in way {
        value = match (step, value) {
            (Step::Field(name), Value::M(map)) => map.get_mut(name)?,
            (Step::Index(index), Value::L(list)) => list.get_mut(*index)?,
            _ => return None,
        };
    }
    Some(value)
}

/// As messages show it: `[a, b, [0]]`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.attribute)?;
        for step in &self.steps {
            match step {
                Step::Field(name) => write!(f, ", {name}")?,
                Step::Index(index) => write!(f, ", [{index}]")?,
            }
        }
        f.write_str("]")
    }
}

/// The parts of the item at those paths, in their maps and lists; lists close up.
pub(super) fn project(item: &Item, paths: &[Path]) -> Item {
    let mut projected = Item::new();
    let mut sorted: Vec<_> = paths.iter().collect();
    sorted.sort_unstable();
    for path in sorted {
        if let (Some(value), Some(_)) = (item.get(&path.attribute), path.get(item)) {
            let part = part(value, &path.steps);
            match projected.get_mut(&path.attribute) {
                Some(place) => merge(place, part),
                None => {
                    projected.insert(path.attribute.clone(), part);
                }
            }
        }
    }
    projected
}

/// Value that an existing path leads to, alone in its maps and lists.
fn part(value: &Value, steps: &[Step]) -> Value {
    match (steps.split_first(), value) {
        (Some((Step::Field(name), rest)), Value::M(map)) => {
            let inner = map.get(name).map(|value| (name.clone(), part(value, rest)));
            Value::M(inner.into_iter().collect())
        }
        (Some((Step::Index(index), rest)), Value::L(list)) => {
            Value::L(list.get(*index).map(|value| part(value, rest)).into_iter().collect())
        }
        _ => value.clone(),
    }
}

fn merge(place: &mut Value, other: Value) {
    match (place, other) {
        (Value::M(map), Value::M(other)) => {
            for (name, value) in other {
                match map.get_mut(&name) {
                    Some(place) => merge(place, value),
                    None => {
                        map.insert(name, value);
                    }
                }
            }
        }
        (Value::L(list), Value::L(other)) => list.extend(other),
        (place, other) => *place = other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::value::{item_from_json, item_json};
    use super::*;

    fn item() -> Item {
        item_from_json(&json!({
            "a": { "M": { "b": { "L": [{ "S": "x" }, { "S": "y" }, { "S": "z" }] }, "c": { "N": "1" } } },
            "d": { "S": "e" },
        }))
        .unwrap()
    }

    fn b(index: usize) -> Path {
        Path { attribute: "a".to_owned(), steps: vec![Step::Field("b".to_owned()), Step::Index(index)] }
    }

    #[test]
    fn paths_lead_into_maps_and_lists() {
        assert_eq!(b(1).get(&item()), Some(&Value::S("y".to_owned())));
        assert_eq!(b(3).get(&item()), None);
        assert_eq!(b(1).to_string(), "[a, b, [1]]");
        assert!(b(1).overlaps(&Path::attribute("a")) && !b(1).overlaps(&b(2)));
    }

    #[test]
    fn values_are_set_appended_and_removed() {
        let mut item = item();
        b(9).set(&mut item, Value::S("end".to_owned())).unwrap();
        assert_eq!(b(3).get(&item), Some(&Value::S("end".to_owned())));
        b(0).remove(&mut item).unwrap();
        assert_eq!(b(0).get(&item), Some(&Value::S("y".to_owned())));
        let nowhere = Path { attribute: "d".to_owned(), steps: vec![Step::Index(0)] };
        assert!(nowhere.set(&mut item, Value::Null).is_err() && nowhere.remove(&mut item).is_err());
    }

    #[test]
    fn a_projection_keeps_the_shape_and_closes_lists() {
        let projected = project(&item(), &[b(2), b(0), b(7), Path::attribute("none")]);
        assert_eq!(item_json(&projected), json!({ "a": { "M": { "b": { "L": [{ "S": "x" }, { "S": "z" }] } } } }));
    }
}
