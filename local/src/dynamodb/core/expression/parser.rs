//! The parser that all expressions and statements share: tokens, paths and operands.

use super::super::error::Error;
use super::super::path::{Path, Step};
use super::super::value::Value;
use super::condition::Operand;
use super::lexer::{MAX_EXPRESSION, Token, tokens};
use super::placeholders::Placeholders;

/// Words that are no names of attributes.
/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html
const RESERVED: &str = include_str!("../reserved.txt");

/// Maximum number of operators in an expression.
/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
const MAX_OPERATORS: usize = 300;

/// Maximum number of nested brackets and negations: a bound on the stack.
const MAX_NESTING: usize = 64;

/// Reads one expression or statement from its start to its end.
#[derive(Debug)]
pub(in super::super) struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    /// The field of the request.
    pub(super) label: &'static str,
    values: Values<'a>,
    operators: usize,
    nesting: usize,
}

/// Source of values.
#[derive(Debug)]
enum Values<'a> {
    Placeholders(&'a mut Placeholders),
    /// Of a statement, in order of its question marks.
    Parameters(std::slice::Iter<'a, Value>),
}

impl<'a> Parser<'a> {
    pub(in super::super) fn of_expression(
        label: &'static str,
        text: &str,
        placeholders: &'a mut Placeholders,
    ) -> Result<Self, Error> {
        if text.trim().is_empty() {
            return Err(Error::validation(format!("Invalid {label}: The expression can not be empty;")));
        }
        if text.len() > MAX_EXPRESSION {
            let length = text.len();
            return Err(Error::validation(format!(
                "Invalid {label}: Expression size has exceeded the maximum allowed size; expression size: {length}"
            )));
        }
        let tokens = tokens(text, false).map_err(|rest| {
            let token: String = rest.chars().take(1).collect();
            Error::validation(format!("Invalid {label}: Syntax error; token: \"{token}\", near: \"{rest}\""))
        })?;
        let values = Values::Placeholders(placeholders);
        Ok(Self { tokens, at: 0, label, values, operators: 0, nesting: 0 })
    }

    pub(in super::super) fn of_statement(text: &str, parameters: &'a [Value]) -> Result<Self, Error> {
        let tokens = tokens(text, true).map_err(|rest| not_well_formed(&rest))?;
        let values = Values::Parameters(parameters.iter());
        Ok(Self { tokens, at: 0, label: "Statement", values, operators: 0, nesting: 0 })
    }

    pub(in super::super) fn is_statement(&self) -> bool {
        matches!(self.values, Values::Parameters(_))
    }

    pub(in super::super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    /// True if the symbol comes next; passes it then.
    pub(in super::super) fn eat(&mut self, symbol: &str) -> bool {
        let is_next = matches!(self.peek(), Some(Token::Symbol(next)) if *next == symbol);
        self.at += usize::from(is_next);
        is_next
    }

    pub(in super::super) fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(next)) if next.eq_ignore_ascii_case(word))
    }

    /// True if the keyword comes next; passes it then.
    pub(in super::super) fn eat_word(&mut self, word: &str) -> bool {
        let is_next = self.is_word(word);
        self.at += usize::from(is_next);
        is_next
    }

    pub(in super::super) fn expect(&mut self, symbol: &str) -> Result<(), Error> {
        if self.eat(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(in super::super) fn expect_word(&mut self, word: &str) -> Result<(), Error> {
        if self.eat_word(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// The name of a function, if a call comes next: the word and its bracket are passed.
    pub(in super::super) fn eat_call(&mut self) -> Option<String> {
        match (self.peek(), self.tokens.get(self.at + 1)) {
            (Some(Token::Word(name)), Some(Token::Symbol("("))) => {
                let name = name.clone();
                self.at += 2;
                Some(name)
            }
            _ => None,
        }
    }

    pub(in super::super) fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Passes when nothing is left: no token, and no parameter.
    pub(in super::super) fn finish(&mut self) -> Result<(), Error> {
        if !self.is_at_end() {
            return Err(self.unexpected());
        }
        match &self.values {
            Values::Parameters(left) if left.len() > 0 => Err(wrong_parameters()),
            _ => Ok(()),
        }
    }

    /// The refusal of what comes next.
    pub(in super::super) fn unexpected(&self) -> Error {
        let token = self.peek().map_or("<EOF>", Token::text);
        let from = self.at.saturating_sub(1).min(self.tokens.len());
        let near: Vec<_> = self.tokens[from..].iter().take(3).map(Token::text).collect();
        if self.is_statement() {
            return not_well_formed(token);
        }
        let (label, near) = (self.label, near.join(" "));
        Error::validation(format!("Invalid {label}: Syntax error; token: \"{token}\", near: \"{near}\""))
    }

    pub(super) fn invalid(&self, problem: impl std::fmt::Display) -> Error {
        Error::validation(format!("Invalid {}: {problem}", self.label))
    }

    /// Counts an operator.
    pub(super) fn operator(&mut self) -> Result<(), Error> {
        self.operators += 1;
        if self.operators <= MAX_OPERATORS {
            return Ok(());
        }
        let count = self.operators;
        Err(self.invalid(format!("The expression contains too many operators; operator count: {count}")))
    }

    /// Goes a level deeper for the time of `read`.
    pub(in super::super) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(self.invalid("The expression has too many levels of nesting"));
        }
        let result = read(self);
        self.nesting -= 1;
        result
    }

    /// A document path.
    pub(in super::super) fn path(&mut self) -> Result<Path, Error> {
        let attribute = self.name()?;
        let mut steps = Vec::new();
        loop {
            if self.eat(".") {
                steps.push(Step::Field(self.name()?));
            } else if self.eat("[") {
                let Some(Token::Number(digits)) = self.peek() else { return Err(self.unexpected()) };
                let index = digits.parse().map_err(|_| self.unexpected())?;
                self.at += 1;
                self.expect("]")?;
                steps.push(Step::Index(index));
            } else {
                return Ok(Path { attribute, steps });
            }
        }
    }

    fn name(&mut self) -> Result<String, Error> {
        match self.peek().cloned() {
            Some(Token::Word(word)) => {
                if !self.is_statement() && is_reserved(&word) {
                    let problem = format!("Attribute name is a reserved keyword; reserved keyword: {word}");
                    return Err(self.invalid(problem));
                }
                self.at += 1;
                Ok(word)
            }
            Some(Token::Quoted(name)) => {
                self.at += 1;
                Ok(name)
            }
            Some(Token::Name(key)) => {
                self.at += 1;
                let Values::Placeholders(placeholders) = &mut self.values else { return Err(self.unexpected()) };
                placeholders.name(&key).ok_or_else(|| {
                    self.invalid(format!(
                        "An expression attribute name used in the document path is not defined; attribute name: {key}"
                    ))
                })
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A name of a table or an index in a statement.
    pub(in super::super) fn identifier(&mut self) -> Result<String, Error> {
        match self.next() {
            Some(Token::Word(name) | Token::Quoted(name)) => Ok(name),
            _ => {
                self.at -= 1;
                Err(self.unexpected())
            }
        }
    }

    /// A value, if one comes next: a placeholder, or a literal of a statement.
    pub(in super::super) fn value(&mut self) -> Result<Option<Value>, Error> {
        if let Some(Token::Value(key)) = self.peek().cloned() {
            self.at += 1;
            let Values::Placeholders(placeholders) = &mut self.values else { return Err(self.unexpected()) };
            return placeholders.value(&key).map(Some).ok_or_else(|| {
                self.invalid(format!(
                    "An expression attribute value used in expression is not defined; attribute value: {key}"
                ))
            });
        }
        if self.is_statement() { self.literal() } else { Ok(None) }
    }

    /// The value of the next question mark.
    pub(in super::super) fn parameter(&mut self) -> Result<Value, Error> {
        match &mut self.values {
            Values::Parameters(parameters) => parameters.next().cloned().ok_or_else(wrong_parameters),
            Values::Placeholders(_) => Err(self.unexpected()),
        }
    }

    /// Operand of a condition: a value, a path, or the size of what is at a path.
    pub(in super::super) fn operand(&mut self) -> Result<Operand, Error> {
        if let Some(value) = self.value()? {
            return Ok(Operand::Value(value));
        }
        let is_size = self.is_word("size");
        let at = self.at;
        match self.eat_call() {
            None => Ok(Operand::Path(self.path()?)),
            Some(_) if is_size => {
                let operand = self.path()?;
                self.expect(")")?;
                Ok(Operand::Size(operand))
            }
            Some(name) => {
                self.at = at;
                Err(self.invalid(format!("Invalid function name; function: {name}")))
            }
        }
    }

    /// Passes one token of whatever kind.
    pub(in super::super) fn skip(&mut self) {
        self.at += 1;
    }
}

pub(in super::super) fn is_reserved(word: &str) -> bool {
    let word = word.to_ascii_uppercase();
    RESERVED.split_ascii_whitespace().any(|reserved| reserved == word)
}

fn not_well_formed(token: &str) -> Error {
    Error::validation(format!("Statement wasn't well formed, can't be processed: Unexpected term: {token}"))
}

fn wrong_parameters() -> Error {
    Error::validation("Number of parameters in request and statement don't match.")
}
