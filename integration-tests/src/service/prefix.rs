//! [`Prefix`]: the beginning of every name that a run makes.

use std::fmt;
use std::str::FromStr;

/// Beginning of all prefixes.
const FAMILY: &str = "kinesis-conformance-";

/// Length of the random part in digits of base 36: two runs in an account do not meet.
const RANDOM: usize = 8;

/// The beginning of every name that a run makes, such as `kinesis-conformance-4k1z9q0x-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

/// Text that is no [`Prefix`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPrefix(String);

impl std::error::Error for NoPrefix {}

impl fmt::Display for NoPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no prefix of a run: want {FAMILY}, {RANDOM} small letters or digits, and -", self.0)
    }
}

impl Prefix {
    /// A prefix that no other run has.
    pub fn random() -> Self {
        let mut rng = fastrand::Rng::new();
        let random: String = (0..RANDOM).filter_map(|_| char::from_digit(rng.u32(0..36), 36)).collect();
        Self(format!("{FAMILY}{random}-"))
    }

    /// True if the name begins with the prefix, and has more.
    pub fn owns(&self, name: &str) -> bool {
        name.strip_prefix(&self.0).is_some_and(|rest| !rest.is_empty())
    }

    /// The name of something of this run.
    pub fn name(&self, what: &str) -> String {
        format!("{self}{what}")
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Prefix {
    type Err = NoPrefix;

    fn from_str(text: &str) -> Result<Self, NoPrefix> {
        let random = text.strip_prefix(FAMILY).and_then(|rest| rest.strip_suffix('-'));
        let is_digit = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        match random {
            Some(random) if random.len() == RANDOM && random.bytes().all(is_digit) => Ok(Self(text.to_owned())),
            _ => Err(NoPrefix(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_prefix_is_read_back() {
        let prefix = Prefix::random();

        assert_eq!(prefix.to_string().parse::<Prefix>(), Ok(prefix.clone()));
        assert_ne!(prefix, Prefix::random());
    }

    #[test]
    fn a_prefix_owns_longer_names_alone() {
        let prefix: Prefix = "kinesis-conformance-4k1z9q0x-".parse().unwrap();

        assert!(prefix.owns("kinesis-conformance-4k1z9q0x-stream"));
        for foreign in ["kinesis-conformance-4k1z9q0x-", "kinesis-conformance-4k1z9q0y-stream", "orders", ""] {
            assert!(!prefix.owns(foreign), "{foreign}");
        }
    }

    #[test]
    fn what_would_own_the_names_of_others_is_no_prefix() {
        let texts = [
            "",
            "orders",
            "kinesis-",
            "kinesis-conformance-",
            "kinesis-conformance--",
            "kinesis-conformance-4k1z9q0-",
            "kinesis-conformance-4k1z9q0xx-",
            "kinesis-conformance-4k1z9q0X-",
            "kinesis-conformance-4k1z9q0x",
        ];
        for text in texts {
            assert_eq!(text.parse::<Prefix>(), Err(NoPrefix(text.to_owned())));
        }
    }
}
