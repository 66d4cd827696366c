//! Checks of single fields, in the words of the service's ValidationException.

use std::fmt::{Display, Write as _};

use super::error::Error;
use super::hash_key::HashKey;
use super::request::Text;
use crate::{ACCOUNT_ID, REGION};

/// Maximum length of a stream's name. docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html
const MAX_NAME: usize = 128;

/// Maximum number of characters of a partition key. docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html
const MAX_PARTITION_KEY: usize = 256;

/// Collects everything that is wrong with a request, since the service reports all of it at once.
#[derive(Debug, Default)]
pub(super) struct Check {
    failures: usize,
    text: String,
}

impl Check {
    /// The collected failures, if any.
    pub(super) fn finish(self) -> Result<(), Error> {
        match self.failures {
            0 => Ok(()),
            1 => Err(Error::validation(format!("1 validation error detected: {}", self.text))),
            n => Err(Error::validation(format!("{n} validation errors detected: {}", self.text))),
        }
    }

    pub(super) fn fail(&mut self, value: impl Display, field: impl Display, constraint: impl Display) {
        if self.failures > 0 {
            self.text.push_str("; ");
        }
        self.failures += 1;
        write!(self.text, "Value {value} at '{field}' failed to satisfy constraint: Member must {constraint}")
            .expect("writing to a string cannot fail");
    }

    /// The field must be there.
    pub(super) fn required<T>(&mut self, value: &Option<T>, field: impl Display) {
        if value.is_none() {
            self.fail("null", field, "not be null");
        }
    }

    /// The number, when there is one, must lie in the range.
    pub(super) fn range(&mut self, value: Option<i64>, field: &str, min: i64, max: i64) {
        match value {
            Some(n) if n < min => {
                self.fail(format_args!("'{n}'"), field, format_args!("have value greater than or equal to {min}"));
            }
            Some(n) if n > max => {
                self.fail(format_args!("'{n}'"), field, format_args!("have value less than or equal to {max}"));
            }
            _ => {}
        }
    }

    /// The text, when there is one, must be one of these.
    pub(super) fn one_of(&mut self, value: Option<&str>, field: &str, values: &[&str]) {
        if let Some(text) = value
            && !values.contains(&text)
        {
            let set = format_args!("satisfy enum value set: [{}]", values.join(", ")).to_string();
            self.fail(format_args!("'{text}'"), field, set);
        }
    }

    /// A required partition key: 1 to 256 characters.
    pub(super) fn partition_key(&mut self, key: Option<&Text<'_>>, field: impl Display) {
        match key {
            None => self.fail("null", field, "not be null"),
            Some(key) if key.is_empty() => self.fail("''", field, "have length greater than or equal to 1"),
            // As many bytes as characters at least, so most keys need no counting.
            Some(key) if key.len() > MAX_PARTITION_KEY && key.chars().count() > MAX_PARTITION_KEY => self.fail(
                format_args!("'{}'", &**key),
                field,
                format_args!("have length less than or equal to {MAX_PARTITION_KEY}"),
            ),
            Some(_) => {}
        }
    }

    /// An optional hash key must look like one; [`hash_key`] checks its range.
    pub(super) fn hash_key(&mut self, key: Option<&Text<'_>>, field: impl Display) {
        if let Some(key) = key
            && !HashKey::is_well_formed(key)
        {
            self.fail(format_args!("'{}'", &**key), field, r"satisfy regular expression pattern: 0|([1-9]\d{0,38})");
        }
    }

    /// An optional sequence number must be a decimal number, ours or not.
    pub(super) fn sequence_number(&mut self, number: Option<&Text<'_>>, field: &str) {
        if let Some(number) = number {
            let digits = number.len() <= 129 && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            if !digits || (number.starts_with('0') && number.len() > 1) {
                self.fail(
                    format_args!("'{}'", &**number),
                    field,
                    r"satisfy regular expression pattern: 0|([1-9]\d{0,128})",
                );
            }
        }
    }

    /// An optional name of a stream must be of letters, digits and `_.-`.
    pub(super) fn stream_name(&mut self, name: Option<&str>) {
        self.name(name, "streamName");
    }

    /// An optional name of a stream or a consumer must be of letters, digits and `_.-`.
    pub(super) fn name(&mut self, name: Option<&str>, field: &str) {
        let Some(name) = name else { return };
        if name.is_empty() {
            self.fail("''", field, "have length greater than or equal to 1");
        }
        if name.len() > MAX_NAME {
            let constraint = format_args!("have length less than or equal to {MAX_NAME}").to_string();
            self.fail(format_args!("'{name}'"), field, constraint);
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
            self.fail(format_args!("'{name}'"), field, "satisfy regular expression pattern: [a-zA-Z0-9_.-]+");
        }
    }
}

/// A hash key in the range 0 to 2^128 - 1.
pub(super) fn hash_key(text: &str, field: &str) -> Result<HashKey, Error> {
    HashKey::parse(text).ok_or_else(|| {
        Error::invalid_argument(format!(
            "Invalid {field}. {field} must be in the range: [0, 2^128-1]. Specified value was {text}"
        ))
    })
}

/// The name of the stream that a request is about, by name, by ARN, or by both.
pub(super) fn stream<'r>(name: Option<&'r Text<'_>>, arn: Option<&'r Text<'_>>) -> Result<&'r str, Error> {
    let mut check = Check::default();
    check.stream_name(name.map(|name| &**name));
    let from_arn = arn.map(|arn| split_arn(arn));
    if let (Some(None), Some(arn)) = (&from_arn, arn) {
        check.fail(
            format_args!("'{}'", &**arn),
            "streamARN",
            r"satisfy regular expression pattern: arn:aws.*:kinesis:.*:\d{12}:stream/\S+",
        );
    }
    check.finish()?;
    match (name.map(|name| &**name), from_arn.flatten()) {
        (None, None) => Err(Error::invalid_argument("Either StreamName or StreamARN must be provided.")),
        (Some(name), None) => Ok(name),
        (name, Some(arn)) => {
            if let Some(name) = name
                && name != arn.name
            {
                return Err(Error::invalid_argument(format!(
                    "StreamName {name} does not match the stream name {} of StreamARN.",
                    arn.name
                )));
            }
            if !arn.is_ours() {
                return Err(Error::no_stream(arn.name, arn.account));
            }
            Ok(arn.name)
        }
    }
}

/// A consumer as its ARN names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConsumerArn<'r> {
    pub(super) stream: &'r str,
    pub(super) consumer: &'r str,
}

/// Reads the ARN of a consumer: that of its stream, `/consumer/`, its name, and the second of its registration.
pub(super) fn consumer_arn(text: &str) -> Result<ConsumerArn<'_>, Error> {
    let parts = split_arn(text).and_then(|arn| {
        let (stream, rest) = arn.name.split_once("/consumer/")?;
        let (consumer, second) = rest.rsplit_once(':')?;
        let is_well_formed = !second.is_empty() && second.bytes().all(|b| b.is_ascii_digit());
        is_well_formed.then_some((arn, ConsumerArn { stream, consumer }))
    });
    let Some((arn, consumer)) = parts else {
        let mut check = Check::default();
        check.fail(
            format_args!("'{text}'"),
            "consumerARN",
            r"satisfy regular expression pattern: ^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+",
        );
        check.finish()?;
        return Err(Error::no_consumer(text));
    };
    if !arn.is_ours() {
        return Err(Error::no_consumer(text));
    }
    Ok(consumer)
}

struct Arn<'a> {
    partition: &'a str,
    region: &'a str,
    account: &'a str,
    name: &'a str,
}

impl Arn<'_> {
    fn is_ours(&self) -> bool {
        (self.partition, self.region, self.account) == ("aws", REGION, ACCOUNT_ID)
    }
}

fn split_arn(text: &str) -> Option<Arn<'_>> {
    let mut parts = text.splitn(6, ':');
    let (arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let name = resource.strip_prefix("stream/")?;
    let account_is_valid = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    let valid = arn == "arn" && partition.starts_with("aws") && service == "kinesis" && account_is_valid;
    (valid && !name.is_empty()).then_some(Arn { partition, region, account, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Text<'_> {
        serde::Deserialize::deserialize(serde::de::value::BorrowedStrDeserializer::<serde_json::Error>::new(value))
            .unwrap()
    }

    #[test]
    fn names_everything_that_is_wrong_at_once() {
        let mut check = Check::default();
        check.required(&None::<i64>, "records");
        check.partition_key(Some(&text("")), "partitionKey");

        let error = check.finish().unwrap_err();

        assert_eq!(
            error.to_string(),
            "ValidationException: 2 validation errors detected: Value null at 'records' failed to satisfy constraint: \
             Member must not be null; Value '' at 'partitionKey' failed to satisfy constraint: Member must have \
             length greater than or equal to 1"
        );
    }

    #[test]
    fn partition_keys_are_counted_in_characters() {
        let passes = |key: &str| {
            let mut check = Check::default();
            check.partition_key(Some(&text(key)), "partitionKey");
            check.finish().is_ok()
        };
        assert!(passes("k") && passes(&"k".repeat(256)) && passes(&"ü".repeat(256)));
        assert!(!passes("") && !passes(&"k".repeat(257)) && !passes(&"ü".repeat(257)));
    }

    #[test]
    fn a_stream_is_found_by_name_or_arn() {
        let arn = text("arn:aws:kinesis:us-east-1:000000000000:stream/orders");
        assert_eq!(stream(Some(&text("orders")), None).unwrap(), "orders");
        assert_eq!(stream(None, Some(&arn)).unwrap(), "orders");
        assert_eq!(stream(Some(&text("orders")), Some(&arn)).unwrap(), "orders");

        let code = |name: Option<&str>, arn: Option<&str>| {
            stream(name.map(text).as_ref(), arn.map(text).as_ref()).unwrap_err().code
        };
        assert_eq!(code(None, None), "InvalidArgumentException");
        assert_eq!(code(Some("other"), Some(&arn)), "InvalidArgumentException");
        assert_eq!(code(Some("a b"), None), "ValidationException");
        assert_eq!(code(Some(&"a".repeat(129)), None), "ValidationException");
        assert_eq!(code(None, Some("orders")), "ValidationException");
        assert_eq!(code(None, Some("arn:aws:kinesis:us-east-1:1:stream/orders")), "ValidationException");
        let elsewhere = "arn:aws:kinesis:us-east-1:123456789012:stream/orders";
        assert_eq!(code(None, Some(elsewhere)), "ResourceNotFoundException");
        let in_china = "arn:aws-cn:kinesis:us-east-1:000000000000:stream/orders";
        assert_eq!(code(None, Some(in_china)), "ResourceNotFoundException");
        assert!(consumer_arn(&format!("{in_china}/consumer/app:1")).is_err());
    }
}
