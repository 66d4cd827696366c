//! Settings from outside the code: from a file by `serde`, or from the environment.
//!
//! A setting is written as people write it: a duration as `200ms` or `1m 30s`, a size as `64MiB` or a number of bytes, a
//! choice as a word. What is not written stays as it is. Unknown keys are refused, with the nearest known one.
//!
//! Of several sources the one that is named first wins, setting by setting:
//!
//! ```
//! use kpl::settings::ProducerSettings;
//!
//! # fn example(text: &str, aws: &aws_types::SdkConfig) -> Result<(), Box<dyn std::error::Error>> {
//! let variables = ProducerSettings::from_variables("KPL_", std::env::vars())?; // such as KPL_RECORD_TTL=1m
//! let file: ProducerSettings = serde_json::from_str(text)?; // or of TOML, or any other format of serde
//! let builder = kpl::Producer::builder(aws, "orders").settings(&variables.or(file));
//! # Ok(())
//! # }
//! ```

use std::fmt;

mod form;
#[cfg(feature = "producer")]
mod producer;
mod schema;
mod table;

pub use form::{Choice, Count, Flag, Form, Labels, Moment, OrNever, Positive, Size, Text, Time, Value, Words};
#[cfg(feature = "producer")]
pub use producer::{Codec, Grouping, ProducerSettings};
pub use schema::{Described, schema};

/// Setting from outside that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// There is no such setting.
    #[error("there is no setting {key}{}", Nearest(*.nearest))]
    #[non_exhaustive]
    Unknown {
        /// Its name, as it was written.
        key: String,
        /// The known name that is most like it, if one is.
        nearest: Option<&'static str>,
    },
    /// The value cannot be read.
    #[error("{key} is {value:?}, accepted: {accepted}")]
    #[non_exhaustive]
    Unreadable {
        /// Name of the setting.
        key: &'static str,
        /// The value, as it was written.
        value: String,
        /// Values that are accepted, with an example.
        accepted: String,
    },
    /// A variable of the environment cannot be taken.
    #[error("variable {name}: {error}")]
    #[non_exhaustive]
    Variable {
        /// Name of the variable.
        name: String,
        /// Its fault.
        error: Box<SettingError>,
    },
}

struct Nearest(Option<&'static str>);

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |key| write!(f, "; {key} is one"))
    }
}

impl SettingError {
    /// The error for a key that is none of these.
    pub fn unknown(key: &str, keys: &[&'static str]) -> Self {
        let likeness = |known: &&&'static str| (strsim::normalized_damerau_levenshtein(key, known) * 1000.0) as u32;
        let nearest = keys.iter().max_by_key(likeness).filter(|known| likeness(known) >= 600).copied();
        Self::Unknown { key: key.to_owned(), nearest }
    }

    /// The error for what a variable of this name says.
    pub fn variable(self, name: String) -> Self {
        Self::Variable { name, error: Box::new(self) }
    }

    /// The error for a value that is not of its form.
    pub fn unreadable(key: &'static str, value: &str, accepted: String) -> Self {
        Self::Unreadable { key, value: value.to_owned(), accepted }
    }
}
