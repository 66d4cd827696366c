//! Forms in which people write values, each with its reader and writer.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::json;

use crate::metric::MetricsLevel;

/// Value of a setting as a file has it: text, a number, or true or false.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A word, a duration, a size.
    Text(String),
    /// A count, or a size in bytes.
    Number(u64),
    /// On or off.
    Flag(bool),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl de::Visitor<'_> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number that is not negative, true or false")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        // Refused where it is read, with the name of its setting.
        Ok(u64::try_from(number).map_or_else(|_| Value::Text(number.to_string()), Value::Number))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Text(number.to_string()))
    }
}

/// Way in which values of a type are written.
pub trait Form<T> {
    /// Reads a value; `None` if the text is none.
    fn read(text: &str) -> Option<T>;

    /// Writes a value, as it is read again.
    fn write(value: &T) -> Value;

    /// Description of what is accepted, with an example.
    fn accepted() -> String;

    /// JSON schema of what is accepted.
    fn schema() -> serde_json::Value {
        json!({ "type": "string" })
    }
}

/// Duration, such as `200ms` or `1m 30s`.
#[derive(Debug)]
pub struct Time;

impl Form<Duration> for Time {
    fn read(text: &str) -> Option<Duration> {
        humantime::parse_duration(text).ok()
    }

    fn write(value: &Duration) -> Value {
        Value::Text(humantime::format_duration(*value).to_string())
    }

    fn accepted() -> String {
        "a duration with its unit, such as 200ms or 1m 30s".to_owned()
    }
}

/// Value of another form, or `never` for none.
#[derive(Debug)]
pub struct OrNever<F>(F);

impl<T, F: Form<T>> Form<Option<T>> for OrNever<F> {
    fn read(text: &str) -> Option<Option<T>> {
        if text == "never" { Some(None) } else { F::read(text).map(Some) }
    }

    fn write(value: &Option<T>) -> Value {
        value.as_ref().map_or_else(|| Value::Text("never".to_owned()), F::write)
    }

    fn accepted() -> String {
        format!("{}, or never", F::accepted())
    }
}

/// Point in time, by RFC 3339.
#[derive(Debug)]
pub struct Moment;

impl Form<SystemTime> for Moment {
    fn read(text: &str) -> Option<SystemTime> {
        humantime::parse_rfc3339_weak(text).ok()
    }

    fn write(value: &SystemTime) -> Value {
        Value::Text(humantime::format_rfc3339(*value).to_string())
    }

    fn accepted() -> String {
        "a time in UTC, such as 2026-01-31T08:00:00Z".to_owned()
    }
}

/// Size in bytes, such as `64MiB` or `67108864`.
#[derive(Debug)]
pub struct Size;

impl<T: TryFrom<u64> + TryInto<u64> + Copy> Form<T> for Size {
    fn read(text: &str) -> Option<T> {
        T::try_from(text.parse::<ByteSize>().ok()?.as_u64()).ok()
    }

    fn write(value: &T) -> Value {
        Value::Number((*value).try_into().unwrap_or(u64::MAX))
    }

    fn accepted() -> String {
        "a size, such as 64MiB, or a number of bytes".to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": ["string", "integer"], "minimum": 0 })
    }
}

/// Whole number that is not negative.
#[derive(Debug)]
pub struct Count;

impl<T: TryFrom<u64> + TryInto<u64> + Copy> Form<T> for Count {
    fn read(text: &str) -> Option<T> {
        T::try_from(text.parse::<u64>().ok()?).ok()
    }

    fn write(value: &T) -> Value {
        Value::Number((*value).try_into().unwrap_or(u64::MAX))
    }

    fn accepted() -> String {
        "a whole number".to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "integer", "minimum": 0 })
    }
}

/// Whole number from 1 on.
#[derive(Debug)]
pub struct Positive;

impl Form<std::num::NonZero<u32>> for Positive {
    fn read(text: &str) -> Option<std::num::NonZero<u32>> {
        text.parse().ok()
    }

    fn write(value: &std::num::NonZero<u32>) -> Value {
        Value::Number(value.get().into())
    }

    fn accepted() -> String {
        "a whole number from 1 on".to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "integer", "minimum": 1 })
    }
}

/// `true` or `false`.
#[derive(Debug)]
pub struct Flag;

impl Form<bool> for Flag {
    fn read(text: &str) -> Option<bool> {
        text.parse().ok()
    }

    fn write(value: &bool) -> Value {
        Value::Flag(*value)
    }

    fn accepted() -> String {
        "true or false".to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "boolean" })
    }
}

/// Any text that is not empty.
#[derive(Debug)]
pub struct Text;

impl Form<String> for Text {
    fn read(text: &str) -> Option<String> {
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn write(value: &String) -> Value {
        Value::Text(value.clone())
    }

    fn accepted() -> String {
        "text that is not empty".to_owned()
    }
}

/// Labels, such as `Fleet=blue,Zone=a`.
#[derive(Debug)]
pub struct Labels;

impl Form<BTreeMap<String, String>> for Labels {
    fn read(text: &str) -> Option<BTreeMap<String, String>> {
        let label = |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        text.split(',').filter(|pair| !pair.is_empty()).map(label).collect()
    }

    fn write(value: &BTreeMap<String, String>) -> Value {
        let labels = value.iter().map(|(name, value)| format!("{name}={value}"));
        Value::Text(labels.collect::<Vec<_>>().join(","))
    }

    fn accepted() -> String {
        "labels, such as Fleet=blue,Zone=a".to_owned()
    }
}

/// One of a few words.
#[derive(Debug)]
pub struct Choice;

/// Type whose values are words, for [`Choice`].
pub trait Words: Copy + PartialEq + 'static {
    /// Each value with its word.
    const WORDS: &'static [(&'static str, Self)];
}

impl Words for MetricsLevel {
    const WORDS: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("summary", Self::Summary), ("detailed", Self::Detailed)];
}

impl<T: Words> Form<T> for Choice {
    fn read(text: &str) -> Option<T> {
        T::WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
    }

    fn write(value: &T) -> Value {
        let word = T::WORDS.iter().find(|(_, known)| known == value).map_or("", |(word, _)| word);
        Value::Text(word.to_owned())
    }

    fn accepted() -> String {
        T::WORDS.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
    }

    fn schema() -> serde_json::Value {
        json!({ "enum": T::WORDS.iter().map(|(word, _)| *word).collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T, F: Form<T>>(text: &str) -> Option<T> {
        F::read(text)
    }

    #[test]
    fn durations_and_sizes_are_read_as_people_write_them() {
        assert_eq!(read::<_, Time>("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(read::<_, Time>("1m 30s"), Some(Duration::from_secs(90)));
        assert_eq!(read::<usize, Size>("64MiB"), Some(64 << 20));
        assert_eq!(read::<usize, Size>("64 MB"), Some(64_000_000));
        assert_eq!(read::<usize, Size>("51200"), Some(51_200));
        assert_eq!(read::<_, OrNever<Time>>("never"), Some(None));
    }

    #[test]
    fn what_has_no_unit_is_negative_or_too_large_is_refused() {
        assert_eq!(read::<_, Time>("200"), None);
        assert_eq!(read::<u16, Count>("-1"), None);
        assert_eq!(read::<u16, Count>("65536"), None);
        assert_eq!(read::<u32, Size>("8GiB"), None);
        assert_eq!(read::<_, Positive>("0"), None);
        assert_eq!(read::<_, Flag>("yes"), None);
        assert_eq!(read::<_, Labels>("Fleet"), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let time = Duration::from_millis(90_200);
        assert_eq!(read::<_, Time>(&Time::write(&time).to_string()), Some(time));
        assert_eq!(read::<usize, Size>(&<Size as Form<usize>>::write(&51_200).to_string()), Some(51_200));
        let labels = BTreeMap::from([("Fleet".to_owned(), "blue".to_owned()), ("Zone".to_owned(), "a".to_owned())]);
        assert_eq!(read::<_, Labels>(&Labels::write(&labels).to_string()), Some(labels));
        let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(1_769_846_400_500);
        assert_eq!(read::<_, Moment>(&Moment::write(&moment).to_string()), Some(moment));
    }
}
