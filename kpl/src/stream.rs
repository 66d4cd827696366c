//! The name of a stream.

use std::{fmt, sync::Arc};

use crate::error::ConfigError;

/// Names a stream, within the caller's account and region or anywhere. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stream {
    /// Stream of this name in the client's account and region.
    Name(Arc<str>),
    /// Stream with this Amazon Resource Name.
    Arn(Arc<str>),
}

impl Stream {
    pub(crate) fn parse(text: String) -> Result<Self, ConfigError> {
        let name = |text: &str| {
            (1..=128).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        if name(&text) {
            return Ok(Self::Name(text.into()));
        }
        // arn:aws:kinesis:us-east-1:123456789012:stream/StockTradeStream
        let fields: Vec<&str> = text.splitn(6, ':').collect();
        match fields[..] {
            ["arn", _, "kinesis", _, _, resource] if resource.strip_prefix("stream/").is_some_and(name) => {
                Ok(Self::Arn(text.into()))
            }
            _ => {
                let (setting, expected) = ("stream", "a stream name or a stream ARN");
                Err(ConfigError::InvalidName { setting, value: text, expected })
            }
        }
    }

    /// The stream's name, of an ARN the end.
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Arn(arn) => arn.rsplit('/').next().unwrap_or(arn),
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) | Self::Arn(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_a_name_or_an_arn() {
        let arn = "arn:aws:kinesis:us-east-1:123456789012:stream/StockTradeStream";

        assert_eq!(Stream::parse("StockTradeStream".into()), Ok(Stream::Name("StockTradeStream".into())));
        assert_eq!(Stream::parse(arn.into()), Ok(Stream::Arn(arn.into())));
        assert_eq!(Stream::Arn(arn.into()).name(), "StockTradeStream");
        assert_eq!(Stream::parse("x".repeat(128)), Ok(Stream::Name("x".repeat(128).into())));
        for text in ["", " ", "a b", &"x".repeat(129), "arn:aws:s3:::bucket", "arn:aws:kinesis:r:1:stream/", "é"] {
            let refused = Stream::parse(text.into()).expect_err("neither name nor ARN");
            assert_eq!(refused.to_string(), format!("stream {text:?} is not a stream name or a stream ARN"));
        }
    }
}
