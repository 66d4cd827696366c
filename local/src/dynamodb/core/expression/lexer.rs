//! Tokens of expressions and of PartiQL statements.

/// Maximum length of an expression in bytes.
/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
pub(in super::super) const MAX_EXPRESSION: usize = 4096;

#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Token {
    /// A name or a keyword.
    Word(String),
    /// `#name`, with the sign.
    Name(String),
    /// `:value`, with the sign.
    Value(String),
    /// Digits, in PartiQL with a fraction and an exponent.
    Number(String),
    /// `'text'` of PartiQL.
    Text(String),
    /// `"name"` of PartiQL.
    Quoted(String),
    Symbol(&'static str),
}

impl Token {
    /// As it was written.
    pub(in super::super) fn text(&self) -> &str {
        match self {
            Token::Word(text) | Token::Name(text) | Token::Value(text) => text,
            Token::Number(text) | Token::Text(text) | Token::Quoted(text) => text,
            Token::Symbol(symbol) => symbol,
        }
    }
}

/// Longer ones first.
const SYMBOLS: [&str; 21] =
    ["<=", ">=", "<>", "!=", "<<", ">>", "=", "<", ">", "(", ")", "[", "]", "{", "}", ",", ".", "+", "-", "?", "*"];

/// The tokens of a text; the rest of it where it has no meaning.
pub(in super::super) fn tokens(text: &str, is_statement: bool) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '\'' | '"' if is_statement => quoted(rest, first).ok_or_else(|| rest.to_owned())?,
            '#' | ':' if is_statement => {
                let symbol = if first == ':' { Token::Symbol(":") } else { return Err(rest.to_owned()) };
                (symbol, 1)
            }
            '#' | ':' => {
                let length = 1 + word(&rest[1..]);
                let text = rest[..length].to_owned();
                (if first == '#' { Token::Name(text) } else { Token::Value(text) }, length)
            }
            '0'..='9' => {
                let length = if is_statement {
                    number(rest)
                } else {
                    rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len()
                };
                (Token::Number(rest[..length].to_owned()), length)
            }
            ';' if is_statement && rest[1..].trim().is_empty() => break,
            _ if word(rest) > 0 => (Token::Word(rest[..word(rest)].to_owned()), word(rest)),
            _ => {
                let symbol =
                    SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)).ok_or_else(|| rest.to_owned())?;
                (Token::Symbol(symbol), symbol.len())
            }
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// Length of a word of letters, digits and underscores.
fn word(text: &str) -> usize {
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len())
}

/// Length of a number with fraction and exponent.
fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') {
        end += 1 + digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits((end + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    end
}

/// A text in quotes, which are doubled inside, and its length with them.
fn quoted(text: &str, quote: char) -> Option<(Token, usize)> {
    let mut content = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            content.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            content.push(quote);
        } else {
            let token = if quote == '\'' { Token::Text(content) } else { Token::Quoted(content) };
            return Some((token, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, is_statement: bool) -> Vec<String> {
        tokens(text, is_statement).unwrap().iter().map(|token| token.text().to_owned()).collect()
    }

    #[test]
    fn expressions_and_statements_are_cut_into_tokens() {
        assert_eq!(texts("SET #a.b[0]=:v+1", false), ["SET", "#a", ".", "b", "[", "0", "]", "=", ":v", "+", "1"]);
        let statement = r#"UPDATE "t" SET a=-1.5e3 WHERE k='it''s' AND b<>?;"#;
        let expected = ["UPDATE", "t", "SET", "a", "=", "-", "1.5e3", "WHERE", "k", "=", "it's", "AND", "b", "<>", "?"];
        assert_eq!(texts(statement, true), expected);
        assert_eq!(texts("VALUE {'k': <<1, 2>>}", true), ["VALUE", "{", "k", ":", "<<", "1", ",", "2", ">>", "}"]);
    }

    #[test]
    fn what_has_no_meaning_is_shown() {
        assert_eq!(tokens("a = %", false), Err("%".to_owned()));
        assert_eq!(tokens("a = 'x", true), Err("'x".to_owned()));
        assert_eq!(tokens("ä", false), Err("ä".to_owned()));
    }
}
