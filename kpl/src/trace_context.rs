//! The trace context of a user record, as W3C Trace Context has it: the trace and the span in which the record was put.
//!
//! It travels as tags of the user record in its aggregate: see [`crate::aggregated`].
//! Source: <https://www.w3.org/TR/trace-context/>, version 00.

use std::fmt;

/// Length of a `traceparent`, in bytes: version, trace id, parent id and flags in hexadecimal digits.
const TRACEPARENT_LEN: usize = 55;
/// Version that is written.
const VERSION: &[u8] = b"00";
/// Maximum length of a `tracestate`, in bytes, and of its members. W3C asks to pass on at least as many.
const TRACESTATE_MAX_LEN: usize = 512;
const TRACESTATE_MAX_MEMBERS: usize = 32;

/// Trace context of a user record: the header `traceparent`, and `tracestate` if there is one.
///
/// ```
/// use kpl::{TraceContext, UserRecord};
///
/// let context = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")?.with_tracestate("vendor=1")?;
/// let record = UserRecord::new("AMZN", "bought").with_trace_context(context);
/// assert_eq!(record.trace_context().and_then(TraceContext::tracestate), Some("vendor=1"));
/// # Ok::<_, kpl::ParseTraceContextError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TraceContext {
    traceparent: [u8; TRACEPARENT_LEN],
    tracestate: Option<Box<str>>,
}

/// A text that is not the header that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {header} of W3C Trace Context")]
pub struct ParseTraceContextError {
    header: &'static str,
    text: String,
}

impl TraceContext {
    /// Reads the value of a header `traceparent`: `00-` trace id `-` parent id `-` flags, in lower-case hexadecimal digits.
    /// One of a later version becomes one of version 00 with the flag `sampled` alone, as W3C has it.
    ///
    /// # Errors
    /// If `traceparent` is no such text, or an id is zero.
    pub fn parse(traceparent: &str) -> Result<Self, ParseTraceContextError> {
        Self::of_traceparent(traceparent.as_bytes())
            .ok_or_else(|| ParseTraceContextError { header: "traceparent", text: traceparent.to_owned() })
    }

    /// Adds the value of a header `tracestate`: up to 512 bytes and 32 members. An empty one is none.
    ///
    /// # Errors
    /// If `tracestate` is no such text.
    pub fn with_tracestate(self, tracestate: &str) -> Result<Self, ParseTraceContextError> {
        if !is_tracestate(tracestate) {
            return Err(ParseTraceContextError { header: "tracestate", text: tracestate.to_owned() });
        }
        Ok(Self { tracestate: Some(tracestate).filter(|text| !text.is_empty()).map(Into::into), ..self })
    }

    /// Value of the header `traceparent`, of 55 bytes.
    pub fn traceparent(&self) -> &str {
        str::from_utf8(&self.traceparent).unwrap_or_default()
    }

    /// Value of the header `tracestate`.
    pub fn tracestate(&self) -> Option<&str> {
        self.tracestate.as_deref()
    }

    /// Bytes of both headers' values.
    #[cfg(feature = "producer")]
    pub(crate) fn len(&self) -> usize {
        TRACEPARENT_LEN + self.tracestate.as_ref().map_or(0, |text| text.len())
    }

    /// The context of two tags' values. A `tracestate` that is none is left out, as W3C has it.
    pub(crate) fn of_tags(traceparent: &[u8], tracestate: Option<&[u8]>) -> Option<Self> {
        let context = Self::of_traceparent(traceparent)?;
        let tracestate = tracestate.and_then(|text| str::from_utf8(text).ok()).filter(|text| is_tracestate(text));
        Some(Self { tracestate: tracestate.filter(|text| !text.is_empty()).map(Into::into), ..context })
    }

    fn of_traceparent(text: &[u8]) -> Option<Self> {
        let (&(mut traceparent), rest) = text.split_first_chunk::<TRACEPARENT_LEN>()?;
        let [version, trace_id, parent_id, flags] = fields(&traceparent)?;
        let is_later = version != VERSION;
        let is_zero = |id: &[u8]| id.iter().all(|digit| *digit == b'0');
        if version == b"ff" || is_zero(trace_id) || is_zero(parent_id) {
            return None;
        }
        match rest.first() {
            None => {}
            Some(b'-') if is_later => {}
            Some(_) => return None,
        }
        if is_later {
            let sampled = b'0' | (hex_digit(flags[1])? & 1);
            traceparent[..2].copy_from_slice(VERSION);
            traceparent[TRACEPARENT_LEN - 2..].copy_from_slice(&[b'0', sampled]);
        }
        Some(Self { traceparent, tracestate: None })
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceContext")
            .field("traceparent", &self.traceparent())
            .field("tracestate", &self.tracestate)
            .finish()
    }
}

/// Version, trace id, parent id and flags, in hexadecimal digits.
fn fields(traceparent: &[u8; TRACEPARENT_LEN]) -> Option<[&[u8]; 4]> {
    let mut fields = traceparent.split(|byte| *byte == b'-');
    let mut field =
        |len| fields.next().filter(|field| field.len() == len && field.iter().all(|b| hex_digit(*b).is_some()));
    Some([field(2)?, field(32)?, field(16)?, field(2)?])
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Returns whether the text is a list of members `key=value`; empty ones are allowed.
fn is_tracestate(text: &str) -> bool {
    let members = || text.split(',').map(|member| member.trim_matches([' ', '\t']));
    text.len() <= TRACESTATE_MAX_LEN
        && members().filter(|member| !member.is_empty()).count() <= TRACESTATE_MAX_MEMBERS
        && members().all(|member| member.is_empty() || member.split_once('=').is_some_and(is_member))
}

fn is_member((key, value): (&str, &str)) -> bool {
    let is_key_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    let begins = key.starts_with(|char: char| char.is_ascii_lowercase() || char.is_ascii_digit());
    let is_value_byte = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'=';
    begins && key.len() <= 256 && key.bytes().all(is_key_byte) && !value.is_empty() && value.bytes().all(is_value_byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_comes_out_as_it_went_in() {
        for text in [PARENT, &PARENT.replace("-01", "-00"), &PARENT.replace("-01", "-03")] {
            assert_eq!(TraceContext::parse(text).expect("valid").traceparent(), text);
        }
    }

    #[test]
    fn texts_that_are_no_traceparent_are_refused() {
        let zero_trace = PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        let zero_parent = PARENT.replace("00f067aa0ba902b7", &"0".repeat(16));
        let (upper, longer) = (PARENT.replace('b', "B"), format!("{PARENT}-x"));
        let (shorter, moved) = (&PARENT[..54], PARENT.replace("36-0", "3-60"));
        let never = PARENT.replacen("00", "ff", 1);
        for text in ["", shorter, &longer, &upper, &zero_trace, &zero_parent, &moved, &never, &PARENT.replace('-', "_")]
        {
            let error = TraceContext::parse(text).expect_err(text);
            assert_eq!(error.to_string(), format!("{text:?} is not a traceparent of W3C Trace Context"));
        }
    }

    #[test]
    fn a_later_version_becomes_version_00_with_the_sampled_flag_alone() {
        let later = PARENT.replacen("00", "cc", 1).replace("-01", "-ff");
        assert_eq!(TraceContext::parse(&later).expect("valid").traceparent(), PARENT);
        assert_eq!(TraceContext::parse(&format!("{later}-what-else")).expect("valid").traceparent(), PARENT);
        assert!(TraceContext::parse(&format!("{later}.what-else")).is_err());
        let unsampled = later.replace("-ff", "-fe");
        assert_eq!(TraceContext::parse(&unsampled).expect("valid").traceparent(), PARENT.replace("-01", "-00"));
    }

    #[test]
    fn a_tracestate_is_kept_to_its_limits() {
        let with = |text: &str| TraceContext::parse(PARENT).expect("valid").with_tracestate(text);
        let (long, longer) = (format!("k={}", "v".repeat(510)), format!("k={}", "v".repeat(511)));
        let members = |count: usize| vec!["k=v"; count].join(",");

        for text in ["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "a@b=1, ,c/d= x", &long, &members(32)] {
            assert_eq!(with(text).expect(text).tracestate(), Some(text));
        }
        assert_eq!(with("").expect("none").tracestate(), None);
        for text in ["k", "=v", "k=", "K=v", "k=a=b", "k=\u{e9}", "k=v\n", &longer, &members(33)] {
            assert!(with(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_tag_with_a_wrong_tracestate_keeps_its_traceparent() {
        let kept = TraceContext::of_tags(PARENT.as_bytes(), Some(b"\xff")).expect("valid");
        assert_eq!((kept.traceparent(), kept.tracestate()), (PARENT, None));
        #[cfg(feature = "producer")]
        assert_eq!(kept.len(), PARENT.len());
        assert_eq!(TraceContext::of_tags(b"none", Some(b"k=v")), None);
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_accepted_again(bytes in prop::collection::vec(prop::sample::select(b"0f-1".to_vec()), 50..60)) {
            if let Some(context) = TraceContext::of_tags(&bytes, None) {
                prop_assert_eq!(TraceContext::parse(context.traceparent()), Ok(context));
            }
        }
    }
}
