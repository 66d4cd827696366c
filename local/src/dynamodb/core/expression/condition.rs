//! Conditions, as writes and filters have them: their tree, how it is read, and whether an item meets it.

use std::cmp::Ordering;

use super::super::error::Error;
use super::super::number::Number;
use super::super::path::Path;
use super::super::value::{Item, Value};
use super::parser::Parser;
use super::placeholders::Placeholders;

/// Maximum number of values of IN.
/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
const MAX_IN: usize = 100;

/// A condition on one item.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    Compare(Comparison, Operand, Operand),
    /// Inclusive at both ends.
    Between(Operand, Operand, Operand),
    In(Operand, Vec<Operand>),
    Exists(Path),
    HasType(Path, Operand),
    BeginsWith(Operand, Operand),
    Contains(Operand, Operand),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub(in super::super) const SYMBOLS: [(&'static str, Self); 7] = [
        ("=", Self::Equal),
        ("<>", Self::NotEqual),
        ("!=", Self::NotEqual),
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("<", Self::Less),
        (">", Self::Greater),
    ];

    fn holds(self, left: Option<&Value>, right: Option<&Value>) -> bool {
        // An attribute that is missing differs from every value.
        let (Some(left), Some(right)) = (left, right) else { return self == Self::NotEqual };
        let order = left.order(right);
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Operand {
    Value(Value),
    Path(Path),
    Size(Path),
}

impl Operand {
    fn of(&self, item: &Item) -> Option<Value> {
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::Path(path) => path.get(item).cloned(),
            Self::Size(path) => {
                let size = path.get(item)?.size()?;
                Number::parse(&size.to_string()).ok().map(Value::N)
            }
        }
    }
}

impl Condition {
    /// Reads a whole expression.
    pub(in super::super) fn parse(
        label: &'static str,
        text: &str,
        placeholders: &mut Placeholders,
    ) -> Result<Self, Error> {
        let mut parser = Parser::of_expression(label, text, placeholders)?;
        let condition = parser.condition()?;
        parser.finish()?;
        Ok(condition)
    }

    pub(in super::super) fn and(self, other: Self) -> Self {
        Self::And(Box::new(self), Box::new(other))
    }

    /// True if the item meets it.
    pub(in super::super) fn holds(&self, item: &Item) -> bool {
        match self {
            Self::And(a, b) => a.holds(item) && b.holds(item),
            Self::Or(a, b) => a.holds(item) || b.holds(item),
            Self::Not(condition) => !condition.holds(item),
            Self::Compare(comparison, a, b) => comparison.holds(a.of(item).as_ref(), b.of(item).as_ref()),
            Self::Between(value, low, high) => {
                let (value, low, high) = (value.of(item), low.of(item), high.of(item));
                Comparison::GreaterOrEqual.holds(value.as_ref(), low.as_ref())
                    && Comparison::LessOrEqual.holds(value.as_ref(), high.as_ref())
            }
            Self::In(value, list) => {
                let value = value.of(item);
                value.is_some() && list.iter().any(|element| element.of(item) == value)
            }
            Self::Exists(path) => path.get(item).is_some(),
            Self::HasType(path, name) => match (path.get(item), name.of(item)) {
                (Some(value), Some(Value::S(name))) => value.type_name() == name,
                _ => false,
            },
            Self::BeginsWith(value, prefix) => both(value, prefix, item, Value::begins_with),
            Self::Contains(value, part) => both(value, part, item, Value::contains),
        }
    }

    /// The attributes that it names.
    pub(in super::super) fn attributes(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.collect(&mut found);
        found
    }

    fn collect<'a>(&'a self, found: &mut Vec<&'a str>) {
        fn add<'a>(found: &mut Vec<&'a str>, operands: &[&'a Operand]) {
            for operand in operands {
                if let Operand::Path(path) | Operand::Size(path) = operand {
                    found.push(&path.attribute);
                }
            }
        }
        match self {
            Self::And(a, b) | Self::Or(a, b) => {
                a.collect(found);
                b.collect(found);
            }
            Self::Not(condition) => condition.collect(found),
            Self::Compare(_, a, b) | Self::BeginsWith(a, b) | Self::Contains(a, b) => add(found, &[a, b]),
            Self::Between(a, b, c) => add(found, &[a, b, c]),
            Self::In(a, list) => {
                add(found, &[a]);
                list.iter().for_each(|operand| add(found, &[operand]));
            }
            Self::Exists(path) => found.push(&path.attribute),
            Self::HasType(path, operand) => {
                found.push(&path.attribute);
                add(found, &[operand]);
            }
        }
    }
}

fn both(a: &Operand, b: &Operand, item: &Item, holds: impl Fn(&Value, &Value) -> bool) -> bool {
    matches!((a.of(item), b.of(item)), (Some(a), Some(b)) if holds(&a, &b))
}

impl Parser<'_> {
    pub(in super::super) fn condition(&mut self) -> Result<Condition, Error> {
        let mut condition = self.all_of()?;
        while self.eat_word("OR") {
            self.operator()?;
            let other = self.all_of()?;
            condition = Condition::Or(Box::new(condition), Box::new(other));
        }
        Ok(condition)
    }

    fn all_of(&mut self) -> Result<Condition, Error> {
        let mut condition = self.one()?;
        while self.eat_word("AND") {
            self.operator()?;
            condition = condition.and(self.one()?);
        }
        Ok(condition)
    }

    fn one(&mut self) -> Result<Condition, Error> {
        if self.eat_word("NOT") {
            self.operator()?;
            return Ok(Condition::Not(Box::new(self.nested(Self::one)?)));
        }
        if self.eat("(") {
            let condition = self.nested(Self::condition)?;
            self.expect(")")?;
            return Ok(condition);
        }
        match self.function()? {
            Some(condition) => Ok(condition),
            None => self.comparison(),
        }
    }

    /// A function that answers yes or no.
    fn function(&mut self) -> Result<Option<Condition>, Error> {
        const FUNCTIONS: [&str; 5] =
            ["attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains"];
        let Some(name) = FUNCTIONS.into_iter().find(|name| self.is_word(name)) else { return Ok(None) };
        if self.eat_call().is_none() {
            return Ok(None);
        }
        self.operator()?;
        let condition = match name {
            "attribute_exists" => Condition::Exists(self.path()?),
            "attribute_not_exists" => Condition::Not(Box::new(Condition::Exists(self.path()?))),
            "attribute_type" => {
                let path = self.path()?;
                self.expect(",")?;
                Condition::HasType(path, self.operand()?)
            }
            _ => {
                let value = self.operand()?;
                self.expect(",")?;
                let part = self.operand()?;
                let function = if name == "contains" { Condition::Contains } else { Condition::BeginsWith };
                function(value, part)
            }
        };
        self.expect(")")?;
        Ok(Some(condition))
    }

    fn comparison(&mut self) -> Result<Condition, Error> {
        let left = self.operand()?;
        self.operator()?;
        if let Some((symbol, comparison)) = Comparison::SYMBOLS.into_iter().find(|(symbol, _)| self.eat(symbol)) {
            if symbol == "!=" && !self.is_statement() {
                return Err(self.unexpected());
            }
            let right = self.operand()?;
            let is_order = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
            if is_order {
                self.require_ordered(&[&left, &right], symbol)?;
            }
            return Ok(Condition::Compare(comparison, left, right));
        }
        let is_negated = self.is_statement() && self.eat_word("NOT");
        let condition = if self.eat_word("BETWEEN") {
            let low = self.operand()?;
            self.expect_word("AND")?;
            let high = self.operand()?;
            self.require_bounds(&low, &high)?;
            Condition::Between(left, low, high)
        } else if self.eat_word("IN") {
            self.in_list(left)?
        } else if self.is_statement() && self.eat_word("IS") {
            self.is_what(left)?
        } else {
            return Err(self.unexpected());
        };
        Ok(if is_negated { Condition::Not(Box::new(condition)) } else { condition })
    }

    /// The values of IN.
    fn in_list(&mut self, left: Operand) -> Result<Condition, Error> {
        let is_square = self.is_statement() && self.eat("[");
        if !is_square {
            self.expect("(")?;
        }
        let mut list = vec![self.operand()?];
        while self.eat(",") {
            list.push(self.operand()?);
        }
        self.expect(if is_square { "]" } else { ")" })?;
        if list.len() > MAX_IN {
            let count = list.len();
            let problem = format!("Invalid number of operands of operator IN; number of operands: {count}");
            return Err(self.invalid(problem));
        }
        Ok(Condition::In(left, list))
    }

    /// Word after IS, in statements: MISSING or NULL.
    fn is_what(&mut self, left: Operand) -> Result<Condition, Error> {
        let is_negated = self.eat_word("NOT");
        let Operand::Path(path) = left else { return Err(self.unexpected()) };
        let condition = if self.eat_word("MISSING") {
            Condition::Not(Box::new(Condition::Exists(path)))
        } else {
            self.expect_word("NULL")?;
            Condition::HasType(path, Operand::Value(Value::S("NULL".to_owned())))
        };
        Ok(if is_negated { Condition::Not(Box::new(condition)) } else { condition })
    }

    fn require_ordered(&self, operands: &[&Operand], operator: &str) -> Result<(), Error> {
        for operand in operands {
            if let Operand::Value(value) = operand
                && !value.is_scalar()
            {
                let name = value.type_name();
                return Err(self.invalid(format!(
                    "Incorrect operand type for operator or function; operator or function: {operator}, operand type: {name}"
                )));
            }
        }
        Ok(())
    }

    fn require_bounds(&self, low: &Operand, high: &Operand) -> Result<(), Error> {
        self.require_ordered(&[low, high], "BETWEEN")?;
        let (Operand::Value(low), Operand::Value(high)) = (low, high) else { return Ok(()) };
        match low.order(high) {
            Some(Ordering::Greater) => {
                Err(self
                    .invalid("The BETWEEN operator requires upper bound to be greater than or equal to lower bound"))
            }
            None => Err(self.invalid("The BETWEEN operator requires same data type for lower and upper bounds")),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
