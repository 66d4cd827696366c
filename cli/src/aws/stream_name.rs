//! A stream as it is named on the command line: by its name or its ARN.

use std::{fmt, str::FromStr};

/// Maximum characters of a stream's name.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html>
const MAX_CHARS: usize = 128;

/// A name that Kinesis accepts, or an ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamName(String);

/// A text that is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stream's name has 1 to 128 of the characters a-z, A-Z, 0-9, _, . and -; its ARN begins with arn:")]
pub(crate) struct ParseStreamNameError;

impl FromStr for StreamName {
    type Err = ParseStreamNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let is_name = (1..=MAX_CHARS).contains(&text.len()) && text.bytes().all(valid);
        let is_arn = text.starts_with("arn:") && text.contains(":stream/");
        if is_name || is_arn { Ok(Self(text.to_owned())) } else { Err(ParseStreamNameError) }
    }
}

impl StreamName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// For `set_stream_name` of a request.
    pub(crate) fn name(&self) -> Option<String> {
        self.arn().is_none().then(|| self.0.clone())
    }

    /// For `set_stream_arn` of a request.
    pub(crate) fn arn(&self) -> Option<String> {
        self.0.starts_with("arn:").then(|| self.0.clone())
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_names_from_arns_and_refuses_the_rest() {
        let name: StreamName = "orders.v2".parse().unwrap();
        let arn: StreamName = "arn:aws:kinesis:us-east-1:000000000000:stream/orders".parse().unwrap();

        assert_eq!((name.name().as_deref(), name.arn()), (Some("orders.v2"), None));
        assert_eq!((arn.name(), arn.arn().as_deref()), (None, Some(arn.as_str())));
        for text in ["", "a b", "orders/1", &"x".repeat(129), "arn:aws:dynamodb:us-east-1:0:table/orders"] {
            assert!(text.parse::<StreamName>().is_err(), "{text}");
        }
    }
}
