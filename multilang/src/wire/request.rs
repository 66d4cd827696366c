//! Lines of a child: statuses, requests for a checkpoint, and text. Reading is lenient: what is no message is text.

use std::{borrow::Cow, collections::HashMap};

use kcl::{Position, SequenceNumber};
use serde_json::value::RawValue;

/// A line of a child's standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// Nothing but space.
    Empty,
    /// The end of an action, by its name; None if it names none.
    Status { response_for: Option<String> },
    /// A wish to checkpoint.
    Checkpoint(Request),
    /// Anything else.
    Text(String),
}

/// A wish to checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The numbers as the acknowledgement repeats them.
    pub(crate) echo: Echo,
    pub(crate) wanted: Wanted,
}

/// Numbers of a request, in the types of an acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Echo {
    pub(crate) sequence_number: Option<String>,
    pub(crate) sub_sequence_number: Option<i64>,
}

/// Extent of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// No number: what was delivered; at the shard's end the shard.
    Everything,
    /// Up to this position. Without a sub-sequence number it is that of 0.
    UpTo(Position),
    /// Numbers that are none.
    Unreadable,
}

type Object<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

/// Reads a line, without its end.
pub(crate) fn read(line: &[u8]) -> Line {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Line::Empty;
    }
    object(line).and_then(message).unwrap_or_else(|| Line::Text(String::from_utf8_lossy(line).into_owned()))
}

/// The object that a line begins with; what follows it does not count.
fn object(line: &[u8]) -> Option<Object<'_>> {
    if line.first() != Some(&b'{') {
        return None;
    }
    serde_json::Deserializer::from_slice(line).into_iter().next()?.ok()
}

#[expect(clippy::needless_pass_by_value, reason = "the next step of a chain")]
fn message(object: Object<'_>) -> Option<Line> {
    match text(object.get("action")?)?.as_str() {
        "status" => {
            Some(Line::Status { response_for: object.get("responseFor").and_then(|response_for| text(response_for)) })
        }
        "checkpoint" => Some(Line::Checkpoint(request(object.get("sequenceNumber"), object.get("subSequenceNumber")))),
        _ => None,
    }
}

fn request(sequence_number: Option<&&RawValue>, sub_sequence_number: Option<&&RawValue>) -> Request {
    let present = |value: &&&RawValue| value.get() != "null";
    let (sequence, sub) = (sequence_number.filter(present), sub_sequence_number.filter(present));
    let echo = Echo {
        sequence_number: sequence.and_then(|value| text_or_number(value)),
        sub_sequence_number: sub.and_then(|value| text_or_number(value)?.parse().ok()),
    };
    let wanted = match (sequence, sub) {
        (None, _) => Wanted::Everything,
        (Some(_), Some(_)) if echo.sub_sequence_number.is_none() => Wanted::Unreadable,
        (Some(_), _) => position(&echo).map_or(Wanted::Unreadable, Wanted::UpTo),
    };
    Request { echo, wanted }
}

fn position(echo: &Echo) -> Option<Position> {
    let sequence_number: SequenceNumber = echo.sequence_number.as_ref()?.parse().ok()?;
    let sub_sequence_number = u64::try_from(echo.sub_sequence_number.unwrap_or_default()).ok()?;
    Some(Position::new(sequence_number, sub_sequence_number))
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// A string's text, or a number's digits: all of them, where a number type would round.
fn text_or_number(value: &RawValue) -> Option<String> {
    text(value).or_else(|| {
        let raw = value.get();
        raw.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then(|| raw.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(text: &str) -> Line {
        read(text.as_bytes())
    }

    fn status(response_for: &str) -> Line {
        Line::Status { response_for: Some(response_for.to_owned()) }
    }

    fn checkpoint(text: &str) -> Request {
        match line(text) {
            Line::Checkpoint(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn up_to(number: &str, sub: u64) -> Wanted {
        Wanted::UpTo(Position::new(number.parse().unwrap(), sub))
    }

    fn is_text(text: &str) -> bool {
        line(text) == Line::Text(text.trim_ascii().to_owned())
    }

    #[test]
    fn statuses_of_all_clients_are_read() {
        assert_eq!(line(r#"{"action": "status", "responseFor": "initialize"}"#), status("initialize"), "Python");
        assert_eq!(line(r#"{"action":"status","responseFor":"initialize"}"#), status("initialize"), "Node.js, Ruby");
        assert_eq!(line("{\"action\":\"status\",\"responseFor\":\"initialize\"}\r"), status("initialize"), ".NET");
    }

    #[test]
    fn checkpoints_of_all_clients_are_read() {
        for text in [
            r#"{"action": "checkpoint", "sequenceNumber": null, "subSequenceNumber": null}"#,
            r#"{"action":"checkpoint","sequenceNumber":null}"#,
            r#"{"action":"checkpoint"}"#,
            r#"{"action":"checkpoint","error":null,"sequenceNumber":null}"#,
        ] {
            assert_eq!(checkpoint(text), Request { echo: Echo::default(), wanted: Wanted::Everything }, "{text}");
        }
        for text in [
            r#"{"action": "checkpoint", "sequenceNumber": "49", "subSequenceNumber": null}"#,
            r#"{"action":"checkpoint","sequenceNumber":"49"}"#,
            r#"{"action":"checkpoint","error":null,"sequenceNumber":"49"}"#,
            r#"{"action":"checkpoint","sequenceNumber":49}"#,
        ] {
            let request = checkpoint(text);
            assert_eq!((request.echo.sequence_number.as_deref(), request.echo.sub_sequence_number), (Some("49"), None));
            assert_eq!(request.wanted, up_to("49", 0), "{text}");
        }
        let both = checkpoint(r#"{"action": "checkpoint", "sequenceNumber": "49", "subSequenceNumber": 2}"#);
        assert_eq!((both.echo.sub_sequence_number, both.wanted), (Some(2), up_to("49", 2)));
    }

    #[test]
    fn numbers_may_be_of_the_other_type_and_keep_their_digits() {
        let number = "49590338271490256608559692538361571095921575989136588898";
        let request =
            checkpoint(&format!(r#"{{"action":"checkpoint","sequenceNumber":{number},"subSequenceNumber":"3"}}"#));

        assert_eq!(request.echo.sequence_number.as_deref(), Some(number));
        assert_eq!((request.echo.sub_sequence_number, request.wanted), (Some(3), up_to(number, 3)));
    }

    #[test]
    fn what_is_no_number_cannot_be_checkpointed() {
        for value in
            ["\"\"", "\"TRIM_HORIZON\"", "\"LATEST\"", "\"SHARD_END\"", "\"abc\"", "-1", "1.5", "true", "[]", "{}"]
        {
            let text = format!(r#"{{"action":"checkpoint","sequenceNumber":{value}}}"#);
            assert_eq!(checkpoint(&text).wanted, Wanted::Unreadable, "{text}");
        }
        for value in ["-1", "\"x\"", "1.5", "false"] {
            let text = format!(r#"{{"action":"checkpoint","sequenceNumber":"4","subSequenceNumber":{value}}}"#);
            assert_eq!(checkpoint(&text).wanted, Wanted::Unreadable, "{text}");
        }
        let below = checkpoint(r#"{"action":"checkpoint","sequenceNumber":"4","subSequenceNumber":-1}"#);
        assert_eq!(below.echo.sub_sequence_number, Some(-1), "it is repeated");
    }

    #[test]
    fn further_keys_other_orders_spaces_and_trailing_text_are_accepted() {
        assert_eq!(
            line("  { \"responseFor\" : \"leaseLost\" , \"x\":{\"y\":[1]}, \"action\":\"status\" } bye"),
            status("leaseLost")
        );
        assert_eq!(
            line("{\"action\":\"text\",\"action\":\"status\",\"responseFor\":\"leaseLost\"}"),
            status("leaseLost")
        );
        let extra = checkpoint(r#"{"action":"checkpoint","sequenceNumber":"4","more":1,"error":"x"}"#);
        assert_eq!(extra.wanted, up_to("4", 0));
    }

    #[test]
    fn a_status_may_name_no_action() {
        for text in [
            r#"{"action":"status"}"#,
            r#"{"action":"status","responseFor":7}"#,
            r#"{"action":"status","responseFor":null}"#,
        ] {
            assert_eq!(line(text), Line::Status { response_for: None }, "{text}");
        }
    }

    #[test]
    fn what_is_no_message_is_text() {
        for text in [
            "hello",
            "[1,2]",
            "17",
            "\"status\"",
            "null",
            "{}",
            "{\"responseFor\":\"initialize\"}",
            "{\"action\":\"dance\"}",
            "{\"action\":7}",
            "{\"action\":\"status\"",
            "done {\"action\":\"status\",\"responseFor\":\"initialize\"}",
        ] {
            assert!(is_text(text), "{text}: {:?}", line(text));
        }
        assert_eq!(read(b"\xff{}"), Line::Text("\u{fffd}{}".to_owned()));
        assert_eq!((line(""), line(" \t\r")), (Line::Empty, Line::Empty));
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd_to_be_read(bytes: Vec<u8>, tail in ".*") {
            let _ = read(&bytes);
            let _ = line(&format!("{{\"action\":\"checkpoint\",\"sequenceNumber\":{tail}"));
        }
    }
}
