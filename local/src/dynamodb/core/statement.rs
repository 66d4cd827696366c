//! PartiQL statements: SELECT, INSERT, UPDATE, DELETE and EXISTS of one table.
//!
//! docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.html

use std::collections::BTreeSet;

use super::error::Error;
use super::expression::condition::Condition;
use super::expression::lexer::Token;
use super::expression::parser::Parser;
use super::expression::update::{Action, Update};
use super::number::Number;
use super::path::Path;
use super::value::{Item, Value};

/// A statement.
#[derive(Clone, Debug)]
pub(super) enum Statement {
    Select(Select),
    Insert(String, Item),
    Update {
        table: String,
        update: Update,
        condition: Condition,
        returned: &'static str,
    },
    Delete {
        table: String,
        condition: Condition,
        returned: &'static str,
    },
    /// Passes when the selection finds an item.
    Exists(Select),
}

/// Parts that SELECT reads.
#[derive(Clone, Debug)]
pub(super) struct Select {
    pub(super) table: String,
    pub(super) index: Option<String>,
    /// Nothing is everything.
    pub(super) paths: Vec<Path>,
    pub(super) condition: Option<Condition>,
    pub(super) is_descending: bool,
}

impl Statement {
    pub(super) fn parse(text: &str, parameters: &[Value]) -> Result<Self, Error> {
        let mut parser = Parser::of_statement(text, parameters)?;
        let statement = parser.statement()?;
        parser.finish()?;
        Ok(statement)
    }

    /// True if it reads only.
    pub(super) fn is_read(&self) -> bool {
        matches!(self, Self::Select(_))
    }

    pub(super) fn table(&self) -> &str {
        match self {
            Self::Select(select) | Self::Exists(select) => &select.table,
            Self::Insert(table, _) | Self::Update { table, .. } | Self::Delete { table, .. } => table,
        }
    }
}

impl Parser<'_> {
    fn statement(&mut self) -> Result<Statement, Error> {
        if self.eat_word("SELECT") {
            return Ok(Statement::Select(self.select()?));
        }
        if self.eat_word("INSERT") {
            return self.insert();
        }
        if self.eat_word("UPDATE") {
            return self.update();
        }
        if self.eat_word("DELETE") {
            self.expect_word("FROM")?;
            let table = self.identifier()?;
            self.expect_word("WHERE")?;
            let condition = self.condition()?;
            let returned = self.returning()?;
            return Ok(Statement::Delete { table, condition, returned });
        }
        self.expect_word("EXISTS")?;
        self.expect("(")?;
        self.expect_word("SELECT")?;
        let select = self.select()?;
        self.expect(")")?;
        Ok(Statement::Exists(select))
    }

    fn select(&mut self) -> Result<Select, Error> {
        let mut paths = Vec::new();
        if !self.eat("*") {
            paths.push(self.path()?);
            while self.eat(",") {
                paths.push(self.path()?);
            }
        }
        self.expect_word("FROM")?;
        let table = self.identifier()?;
        let index = if self.eat(".") { Some(self.identifier()?) } else { None };
        let condition = if self.eat_word("WHERE") { Some(self.condition()?) } else { None };
        let is_descending = self.order()?;
        Ok(Select { table, index, paths, condition, is_descending })
    }

    /// ORDER BY: only the last direction counts, which is that of the sort key.
    fn order(&mut self) -> Result<bool, Error> {
        let mut is_descending = false;
        if self.eat_word("ORDER") {
            self.expect_word("BY")?;
            loop {
                self.path()?;
                is_descending = self.eat_word("DESC");
                if !is_descending {
                    self.eat_word("ASC");
                }
                if !self.eat(",") {
                    break;
                }
            }
        }
        Ok(is_descending)
    }

    fn insert(&mut self) -> Result<Statement, Error> {
        self.expect_word("INTO")?;
        let table = self.identifier()?;
        self.expect_word("VALUE")?;
        match self.value()? {
            Some(Value::M(item)) => Ok(Statement::Insert(table, item)),
            _ => Err(self.unexpected()),
        }
    }

    fn update(&mut self) -> Result<Statement, Error> {
        let table = self.identifier()?;
        let mut update = Update::default();
        loop {
            if self.eat_word("SET") {
                loop {
                    let path = self.path()?;
                    self.expect("=")?;
                    update.actions.push((path, Action::Set(self.source()?)));
                    if !self.eat(",") {
                        break;
                    }
                }
            } else if self.eat_word("REMOVE") {
                update.actions.push((self.path()?, Action::Remove));
                while self.eat(",") {
                    update.actions.push((self.path()?, Action::Remove));
                }
            } else {
                break;
            }
        }
        if update.actions.is_empty() {
            return Err(self.unexpected());
        }
        update.require_apart()?;
        self.expect_word("WHERE")?;
        let condition = self.condition()?;
        let returned = self.returning()?;
        Ok(Statement::Update { table, update, condition, returned })
    }

    fn returning(&mut self) -> Result<&'static str, Error> {
        const FORMS: [(&str, &str, &str); 4] = [
            ("ALL", "OLD", "ALL_OLD"),
            ("ALL", "NEW", "ALL_NEW"),
            ("MODIFIED", "OLD", "UPDATED_OLD"),
            ("MODIFIED", "NEW", "UPDATED_NEW"),
        ];
        if !self.eat_word("RETURNING") {
            return Ok("NONE");
        }
        let which = if self.eat_word("ALL") { "ALL" } else { "MODIFIED" };
        if which == "MODIFIED" {
            self.expect_word("MODIFIED")?;
        }
        let form = FORMS.into_iter().find(|(first, second, _)| *first == which && self.eat_word(second));
        let (_, _, form) = form.ok_or_else(|| self.unexpected())?;
        self.expect("*")?;
        Ok(form)
    }

    /// A literal or a parameter, if one comes next.
    pub(super) fn literal(&mut self) -> Result<Option<Value>, Error> {
        let value = match self.peek().cloned() {
            Some(Token::Text(text)) => {
                self.skip();
                Value::S(text)
            }
            Some(Token::Number(digits)) => {
                self.skip();
                Value::N(Number::parse(&digits)?)
            }
            Some(Token::Symbol("-")) => {
                self.skip();
                match self.peek().cloned() {
                    Some(Token::Number(digits)) => {
                        self.skip();
                        Value::N(Number::parse(&format!("-{digits}"))?)
                    }
                    _ => return Err(self.unexpected()),
                }
            }
            Some(Token::Symbol("?")) => {
                self.skip();
                self.parameter()?
            }
            Some(Token::Symbol("[")) => {
                self.skip();
                Value::L(self.nested(|parser| parser.values_until("]"))?)
            }
            Some(Token::Symbol("<<")) => {
                self.skip();
                let values = self.nested(|parser| parser.values_until(">>"))?;
                set(values).ok_or_else(|| self.unexpected())?
            }
            Some(Token::Symbol("{")) => {
                self.skip();
                Value::M(self.nested(Self::map)?)
            }
            Some(Token::Word(word)) => match &*word.to_ascii_uppercase() {
                "TRUE" | "FALSE" => {
                    self.skip();
                    Value::Bool(word.eq_ignore_ascii_case("true"))
                }
                "NULL" => {
                    self.skip();
                    Value::Null
                }
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(Some(value))
    }

    fn values_until(&mut self, end: &str) -> Result<Vec<Value>, Error> {
        let mut values = Vec::new();
        while !self.eat(end) {
            if !values.is_empty() {
                self.expect(",")?;
            }
            let value = self.literal()?;
            values.push(value.ok_or_else(|| self.unexpected())?);
        }
        Ok(values)
    }

    /// The entries of a map, up to its end.
    fn map(&mut self) -> Result<Item, Error> {
        let mut map = Item::new();
        while !self.eat("}") {
            if !map.is_empty() {
                self.expect(",")?;
            }
            let Some(Token::Text(name) | Token::Quoted(name)) = self.peek().cloned() else {
                return Err(self.unexpected());
            };
            self.skip();
            self.expect(":")?;
            let value = self.literal()?;
            map.insert(name, value.ok_or_else(|| self.unexpected())?);
        }
        Ok(map)
    }
}

/// A set of values of one type.
fn set(values: Vec<Value>) -> Option<Value> {
    let (mut texts, mut numbers, mut binaries) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for value in values {
        match value {
            Value::S(text) => texts.insert(text),
            Value::N(number) => numbers.insert(number),
            Value::B(bytes) => binaries.insert(bytes),
            _ => return None,
        };
    }
    match (texts.is_empty(), numbers.is_empty(), binaries.is_empty()) {
        (false, true, true) => Some(Value::Ss(texts)),
        (true, false, true) => Some(Value::Ns(numbers)),
        (true, true, false) => Some(Value::Bs(binaries)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Statement, Error> {
        Statement::parse(text, &[])
    }

    #[test]
    fn literals_of_all_types_are_read() {
        let text = "INSERT INTO t VALUE {'s': 'it''s', 'n': -1.5, 'b': true, 'u': NULL, 'l': [1, 'a'], 'm': {'k': 2}, \
                    'ss': <<'a', 'b'>>, 'ns': <<1>>}";
        let Ok(Statement::Insert(table, item)) = parse(text) else { panic!("{:?}", parse(text)) };
        let json = super::super::value::item_json(&item);
        assert_eq!(table, "t");
        let expected = serde_json::json!({
            "s": { "S": "it's" }, "n": { "N": "-1.5" }, "b": { "BOOL": true }, "u": { "NULL": true },
            "l": { "L": [{ "N": "1" }, { "S": "a" }] }, "m": { "M": { "k": { "N": "2" } } },
            "ss": { "SS": ["a", "b"] }, "ns": { "NS": ["1"] },
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn statements_need_all_their_parts_and_parameters() {
        for text in [
            "",
            "SELECT",
            "SELECT * FROM",
            "SELECT * FROM t WHERE",
            "SELECT * FROM t WHERE k = ?",
            "INSERT INTO t VALUE 'x'",
            "INSERT INTO t VALUE {'k': <<1, 'a'>>}",
            "UPDATE t WHERE k = 'a'",
            "UPDATE t SET a = 1",
            "DELETE FROM t",
            "DELETE FROM t WHERE k = 'a' RETURNING NOTHING *",
            "EXISTS(SELECT * FROM t",
            "DROP TABLE t",
            "SELECT * FROM t WHERE k = :v",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(Statement::parse("SELECT * FROM t", &[Value::Null]).is_err(), "a parameter too many");
        assert!(Statement::parse("SELECT * FROM t WHERE k = ?", &[Value::Null]).is_ok());
    }
}
