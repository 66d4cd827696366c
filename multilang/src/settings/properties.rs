//! The syntax of Java's `.properties` files. Pure.
//!
//! A line is `key=value`, `key:value` or `key value`; space around the separator does not count, space at the end of the
//! value does. `#` and `!` begin a comment; a line that ends in an odd number of backslashes goes on in the next.
//! Source: `java.util.Properties.load`.

/// An escape that is cut off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text:?} is not \\uXXXX with four hexadecimal digits")]
pub(crate) struct MalformedEscape {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// Keys and values, in order. A key may occur more than once; the last one counts.
pub(crate) fn parse(text: &str) -> Result<Vec<(String, String)>, MalformedEscape> {
    let mut pairs = Vec::new();
    for (number, line) in logical_lines(text) {
        let (key, value) = split(&line);
        let read = |text: &str| unescape(text).map_err(|text| MalformedEscape { line: number, text });
        pairs.push((read(key)?, read(value)?));
    }
    Ok(pairs)
}

/// Lines with what they continue in, without comments, and the number of their first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = text.split('\n').enumerate();
    let mut logical = Vec::new();
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start_matches(is_space);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut whole = line.to_owned();
        while is_continued(&whole) {
            whole.pop();
            let Some((_, next)) = lines.next() else { break };
            whole.push_str(next.trim_start_matches(is_space));
        }
        logical.push((number + 1, whole));
    }
    logical
}

fn is_continued(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn split(line: &str) -> (&str, &str) {
    let mut is_escaped = false;
    let end = line.find(|c: char| {
        let ends = !is_escaped && (is_space(c) || c == '=' || c == ':');
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(is_space);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(is_space))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut units = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let mut buffer = [0; 2];
        if c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut buffer));
            continue;
        }
        match chars.next() {
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let is_code = digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                let code = u16::from_str_radix(&digits, 16).ok().filter(|_| is_code);
                units.push(code.ok_or_else(|| format!("\\u{digits}"))?);
            }
            Some(c) => units.extend_from_slice(escaped(c).encode_utf16(&mut buffer)),
            None => {}
        }
    }
    Ok(String::from_utf16_lossy(&units))
}

fn escaped(c: char) -> char {
    match c {
        't' => '\t',
        'n' => '\n',
        'r' => '\r',
        'f' => '\u{c}',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap()
    }

    fn one(text: &str) -> (String, String) {
        let mut found = pairs(text);
        assert_eq!(found.len(), 1, "{text:?}: {found:?}");
        found.remove(0)
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn separators_are_an_equals_sign_a_colon_or_space() {
        for text in ["a=b", "a = b", "a:b", "a : b", "a b", "a\tb", "  a=  b", "a   =b", "a\u{c}b"] {
            assert_eq!(one(text), pair("a", "b"), "{text:?}");
        }
        assert_eq!(one("a==b"), pair("a", "=b"));
        assert_eq!(one("a=:b"), pair("a", ":b"));
        assert_eq!((one("a="), one("a"), one("=b")), (pair("a", ""), pair("a", ""), pair("", "b")));
    }

    #[test]
    fn space_at_the_end_of_a_value_stays() {
        assert_eq!(one("a = b c \t"), pair("a", "b c \t"));
    }

    #[test]
    fn comments_and_empty_lines_are_skipped() {
        assert_eq!(
            pairs("# a=b\n  ! c=d\n\n \t\ne=f # no comment\r\ng=h"),
            [pair("e", "f # no comment"), pair("g", "h")]
        );
    }

    #[test]
    fn an_odd_number_of_backslashes_continues_a_line() {
        assert_eq!(one("a=b\\\n   c\\\r\n\td"), pair("a", "bcd"));
        assert_eq!(pairs("a=b\\\\\nc=d"), [pair("a", "b\\"), pair("c", "d")]);
        assert_eq!(one("a=b\\"), pair("a", "b"));
        assert_eq!(pairs("# comment \\\na=b"), [pair("a", "b")], "a comment does not go on");
    }

    #[test]
    fn escapes_are_read_in_keys_and_values() {
        assert_eq!(one(r"a\=b\:c\ d=\t\n\r\f\\\"), pair("a=b:c d", "\t\n\r\u{c}\\"));
        assert_eq!(one(r"a=\u0041\u00e9\ud83d\ude00\q"), pair("a", "A\u{e9}\u{1f600}q"));
    }

    #[test]
    fn a_cut_off_escape_is_an_error_with_its_line() {
        let error = parse("a=b\n\nc=\\u12").unwrap_err();
        assert_eq!(error.to_string(), r#"line 3: "\\u12" is not \uXXXX with four hexadecimal digits"#);
        assert!(parse("a=\\u+123").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).*") {
            let _ = parse(&text);
        }

        #[test]
        fn plain_pairs_are_read_back(found in proptest::collection::vec(("[a-zA-Z.]{1,9}", "[a-z0-9/,|-][ a-z0-9=:/#!,|-]{0,9}"), 0..5)) {
            let text: String = found.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
            prop_assert_eq!(pairs(&text), found);
        }
    }
}
