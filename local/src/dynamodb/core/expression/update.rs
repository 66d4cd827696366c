//! Updates: SET, REMOVE, ADD, DELETE; how they are read, and what they make of an item.

use super::super::error::Error;
use super::super::path::Path;
use super::super::value::{Item, Value};
use super::parser::Parser;
use super::placeholders::Placeholders;
use super::projection::require_apart;

/// Changes of one item, all made from what it was before.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Update {
    pub(in super::super) actions: Vec<(Path, Action)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Action {
    Set(Source),
    Remove,
    /// Adds to a number or a set.
    Add(Value),
    /// Takes elements out of a set.
    Delete(Value),
}

/// Value that SET writes.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Source {
    Value(Value),
    Path(Path),
    IfNotExists(Path, Box<Source>),
    Append(Box<Source>, Box<Source>),
    Plus(Box<Source>, Box<Source>),
    Minus(Box<Source>, Box<Source>),
    /// The set with elements more, of PartiQL.
    With(Box<Source>, Value),
    /// The set with elements less, of PartiQL.
    Without(Box<Source>, Value),
}

impl Source {
    fn of(&self, item: &Item) -> Result<Value, Error> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::Path(path) => path.get(item).cloned().ok_or_else(|| {
                Error::validation("The provided expression refers to an attribute that does not exist in the item")
            }),
            Self::IfNotExists(path, other) => match path.get(item) {
                Some(value) => Ok(value.clone()),
                None => other.of(item),
            },
            Self::Append(a, b) => match (a.of(item)?, b.of(item)?) {
                (Value::L(mut a), Value::L(b)) => {
                    a.extend(b);
                    Ok(Value::L(a))
                }
                _ => Err(wrong_type()),
            },
            Self::Plus(a, b) | Self::Minus(a, b) => match (a.of(item)?, b.of(item)?) {
                (Value::N(a), Value::N(b)) => {
                    let is_sum = matches!(self, Self::Plus(..));
                    Ok(Value::N(if is_sum { a.add(b)? } else { a.subtract(b)? }))
                }
                _ => Err(wrong_type()),
            },
            Self::With(set, more) => united(set.of(item)?, more),
            Self::Without(set, less) => Ok(without(set.of(item)?, less)?.unwrap_or(Value::Null)),
        }
    }
}

impl Update {
    /// Reads a whole expression.
    pub(in super::super) fn parse(text: &str, placeholders: &mut Placeholders) -> Result<Self, Error> {
        const CLAUSES: [&str; 4] = ["SET", "REMOVE", "ADD", "DELETE"];
        let mut parser = Parser::of_expression("UpdateExpression", text, placeholders)?;
        let mut update = Self::default();
        let mut seen = Vec::new();
        while !parser.is_at_end() {
            let clause = CLAUSES.into_iter().find(|clause| parser.eat_word(clause));
            let clause = clause.ok_or_else(|| parser.unexpected())?;
            if seen.contains(&clause) {
                return Err(
                    parser.invalid(format!("The \"{clause}\" section can only be used once in an update expression;"))
                );
            }
            seen.push(clause);
            loop {
                let path = parser.path()?;
                let action = parser.action(clause)?;
                update.actions.push((path, action));
                if !parser.eat(",") {
                    break;
                }
            }
        }
        parser.finish()?;
        update.require_apart()?;
        Ok(update)
    }

    pub(in super::super) fn require_apart(&self) -> Result<(), Error> {
        let paths: Vec<_> = self.actions.iter().map(|(path, _)| path.clone()).collect();
        require_apart("UpdateExpression", &paths)
    }

    /// The item after the update.
    pub(in super::super) fn applied(&self, item: &Item) -> Result<Item, Error> {
        let mut new = item.clone();
        let mut removed = Vec::new();
        for (path, action) in &self.actions {
            match action {
                Action::Set(source) => path.set(&mut new, source.of(item)?)?,
                Action::Remove => removed.push(path),
                Action::Add(more) => {
                    let sum = match path.get(item) {
                        None => more.clone(),
                        Some(value) => added(value, more)?,
                    };
                    path.set(&mut new, sum)?;
                }
                Action::Delete(less) => {
                    let Some(value) = path.get(item) else { continue };
                    match without(value.clone(), less)? {
                        Some(left) => path.set(&mut new, left)?,
                        None => path.remove(&mut new)?,
                    }
                }
            }
        }
        // From the back, so that places in lists stay what they were.
        removed.sort_unstable();
        for path in removed.into_iter().rev() {
            path.remove(&mut new)?;
        }
        Ok(new)
    }
}

/// The number or set with what ADD adds.
fn added(value: &Value, more: &Value) -> Result<Value, Error> {
    match (value, more) {
        (Value::N(a), Value::N(b)) => Ok(Value::N(a.add(*b)?)),
        (value, more) => united(value.clone(), more),
    }
}

fn united(set: Value, more: &Value) -> Result<Value, Error> {
    match (set, more) {
        (Value::Ss(mut a), Value::Ss(b)) => {
            a.extend(b.iter().cloned());
            Ok(Value::Ss(a))
        }
        (Value::Ns(mut a), Value::Ns(b)) => {
            a.extend(b);
            Ok(Value::Ns(a))
        }
        (Value::Bs(mut a), Value::Bs(b)) => {
            a.extend(b.iter().cloned());
            Ok(Value::Bs(a))
        }
        _ => Err(wrong_type()),
    }
}

/// The set without some elements; `None` when none is left.
fn without(set: Value, less: &Value) -> Result<Option<Value>, Error> {
    match (set, less) {
        (Value::Ss(mut a), Value::Ss(b)) => {
            a.retain(|element| !b.contains(element));
            Ok((!a.is_empty()).then_some(Value::Ss(a)))
        }
        (Value::Ns(mut a), Value::Ns(b)) => {
            a.retain(|element| !b.contains(element));
            Ok((!a.is_empty()).then_some(Value::Ns(a)))
        }
        (Value::Bs(mut a), Value::Bs(b)) => {
            a.retain(|element| !b.contains(element));
            Ok((!a.is_empty()).then_some(Value::Bs(a)))
        }
        _ => Err(wrong_type()),
    }
}

fn wrong_type() -> Error {
    Error::validation("An operand in the update expression has an incorrect data type")
}

impl Parser<'_> {
    /// Rest of a clause after a path.
    fn action(&mut self, clause: &str) -> Result<Action, Error> {
        match clause {
            "SET" => {
                self.expect("=")?;
                Ok(Action::Set(self.source()?))
            }
            "REMOVE" => Ok(Action::Remove),
            _ => {
                let value = self.value()?.ok_or_else(|| self.unexpected())?;
                let is_set = matches!(value, Value::Ss(_) | Value::Ns(_) | Value::Bs(_));
                let is_fit = is_set || clause == "ADD" && matches!(value, Value::N(_));
                if !is_fit {
                    let name = value.type_name();
                    return Err(self.invalid(format!(
                        "Incorrect operand type for operator or function; operator or function: {clause}, operand type: {name}"
                    )));
                }
                Ok(if clause == "ADD" { Action::Add(value) } else { Action::Delete(value) })
            }
        }
    }

    /// Value that SET writes: one part, or two added or subtracted.
    pub(in super::super) fn source(&mut self) -> Result<Source, Error> {
        let left = self.source_part()?;
        let Some(operator) = ["+", "-"].into_iter().find(|operator| self.eat(operator)) else { return Ok(left) };
        let right = self.source_part()?;
        for part in [&left, &right] {
            if let Source::Value(value) = part
                && !matches!(value, Value::N(_))
            {
                let name = value.type_name();
                return Err(self.invalid(format!(
                    "Incorrect operand type for operator or function; operator or function: {operator}, operand type: {name}"
                )));
            }
        }
        let sum = if operator == "+" { Source::Plus } else { Source::Minus };
        Ok(sum(Box::new(left), Box::new(right)))
    }

    fn source_part(&mut self) -> Result<Source, Error> {
        if self.eat("(") {
            let source = self.nested(Self::source)?;
            self.expect(")")?;
            return Ok(source);
        }
        if let Some(value) = self.value()? {
            return Ok(Source::Value(value));
        }
        let Some(function) = self.eat_call() else { return Ok(Source::Path(self.path()?)) };
        let source = match function.to_ascii_lowercase().as_str() {
            "if_not_exists" => {
                let path = self.path()?;
                self.expect(",")?;
                Source::IfNotExists(path, Box::new(self.nested(Self::source_part)?))
            }
            "list_append" => {
                let list = self.nested(Self::source_part)?;
                self.expect(",")?;
                Source::Append(Box::new(list), Box::new(self.nested(Self::source_part)?))
            }
            name @ ("set_add" | "set_delete") if self.is_statement() => {
                let set = Box::new(Source::Path(self.path()?));
                self.expect(",")?;
                let elements = self.value()?.ok_or_else(|| self.unexpected())?;
                if name == "set_add" { Source::With(set, elements) } else { Source::Without(set, elements) }
            }
            _ => return Err(self.invalid(format!("Invalid function name; function: {function}"))),
        };
        self.expect(")")?;
        Ok(source)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::super::value::{item_from_json, item_json};
    use super::*;

    fn parse(text: &str) -> Result<Update, Error> {
        let values = json!({
            ":one": { "N": "1" }, ":list": { "L": [{ "S": "z" }] }, ":set": { "SS": ["b", "c"] }, ":all": { "SS": ["a", "b"] },
        });
        Update::parse(text, &mut Placeholders::new(None, values.as_object()).unwrap())
    }

    /// The item `a` after the update.
    fn updated(text: &str) -> Result<Json, Error> {
        let item = json!({
            "n": { "N": "5" }, "l": { "L": [{ "S": "x" }, { "S": "y" }] }, "s": { "SS": ["a", "b"] },
            "m": { "M": { "k": { "N": "2" } } },
        });
        Ok(item_json(&parse(text)?.applied(&item_from_json(&item).unwrap())?))
    }

    #[test]
    fn every_action_changes_its_attribute() {
        for (text, name, expected) in [
            ("SET n = n + :one", "n", json!({ "N": "6" })),
            ("SET n = :one - n", "n", json!({ "N": "-4" })),
            ("SET p = if_not_exists(p, :one) + :one", "p", json!({ "N": "2" })),
            ("SET p = if_not_exists(n, :one)", "p", json!({ "N": "5" })),
            ("SET l = list_append(l, :list)", "l", json!({ "L": [{ "S": "x" }, { "S": "y" }, { "S": "z" }] })),
            ("SET l[7] = :one", "l", json!({ "L": [{ "S": "x" }, { "S": "y" }, { "N": "1" }] })),
            ("SET m.j = m.k", "m", json!({ "M": { "k": { "N": "2" }, "j": { "N": "2" } } })),
            ("REMOVE l[0], l[1]", "l", json!({ "L": [] })),
            ("REMOVE n", "n", Json::Null),
            ("ADD n :one", "n", json!({ "N": "6" })),
            ("ADD p :one", "p", json!({ "N": "1" })),
            ("ADD s :set", "s", json!({ "SS": ["a", "b", "c"] })),
            ("DELETE s :set", "s", json!({ "SS": ["a"] })),
            ("DELETE s :all", "s", Json::Null),
        ] {
            assert_eq!(updated(text).unwrap()[name], expected, "{text}");
        }
    }

    #[test]
    fn all_actions_see_the_item_as_it_was() {
        let new = updated("SET n = m.k, p = n REMOVE m.k").unwrap();
        assert_eq!(
            (&new["n"], &new["p"], &new["m"]),
            (&json!({ "N": "2" }), &json!({ "N": "5" }), &json!({ "M": {} }))
        );
    }

    #[test]
    fn what_cannot_be_updated_is_refused() {
        for (text, problem) in [
            ("SET n = :one SET p = :one", "can only be used once"),
            ("SET n = :one, n = :one", "overlap"),
            ("SET m = :one REMOVE m.k", "overlap"),
            ("SET p = q", "does not exist"),
            ("SET p = s + :one", "incorrect data type"),
            ("SET q.r = :one", "invalid for update"),
            ("ADD l :one", "incorrect data type"),
            ("DELETE s :one", "operand type: N"),
            ("SET n", "Syntax error"),
            ("INCREASE n :one", "Syntax error"),
        ] {
            let message = updated(text).unwrap_err().message;
            assert!(message.contains(problem), "{text}: {message}");
        }
    }
}
