//! Data of a record, out of base64, hexadecimal digits or nothing. Pure.

use kpl::{aggregated, compressed};

use super::Encoding;
use crate::failure::Failure;

/// The bytes that `input` stands for.
pub(super) fn decoded(input: Vec<u8>, encoding: Encoding) -> Result<Vec<u8>, Failure> {
    let refused = |name| Failure::new(format!("the input is no {name}"), "check --encoding");
    match encoding {
        Encoding::Binary => Ok(input),
        Encoding::Hex => hex(&input).ok_or_else(|| refused("hexadecimal number")),
        Encoding::Base64 => base64(&input).ok_or_else(|| refused("base64")),
        Encoding::Auto => Ok(guessed(input)),
    }
}

fn guessed(input: Vec<u8>) -> Vec<u8> {
    let is_known = |data: &[u8]| data.starts_with(&aggregated::MAGIC) || data.starts_with(&compressed::MAGIC);
    if is_known(&input) {
        return input;
    }
    let (hex, base64) = (hex(&input), base64(&input));
    let is_aggregate = |data: &Option<Vec<u8>>| data.as_ref().is_some_and(|data| is_known(data));
    let found = if is_aggregate(&base64) && !is_aggregate(&hex) { base64 } else { hex.or(base64) };
    found.filter(|data| !data.is_empty()).unwrap_or(input)
}

fn without_spaces(input: &[u8]) -> Vec<u8> {
    input.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect()
}

fn hex(input: &[u8]) -> Option<Vec<u8>> {
    let digits = without_spaces(input);
    let digits = digits.strip_prefix(b"0x").unwrap_or(&digits);
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?)).collect()
}

fn base64(input: &[u8]) -> Option<Vec<u8>> {
    let text = without_spaces(input);
    let standard = base64_simd::STANDARD.decode_to_vec(&text);
    standard.or_else(|_| base64_simd::URL_SAFE_NO_PAD.decode_to_vec(&text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(input: &[u8]) -> Vec<u8> {
        decoded(input.to_vec(), Encoding::Auto).unwrap()
    }

    #[test]
    fn finds_the_encoding_that_makes_an_aggregate() {
        for input in
            [&b"\xf3\x89\x9a\xc2"[..], b"f3899ac2\n", b"0xF3 89 9A C2", b"84mawg==", b"84ma\nwg==\n", b"84mawg"]
        {
            assert_eq!(auto(input), aggregated::MAGIC, "{input:?}");
        }
        for input in [&compressed::MAGIC[..], b"fa435246", b"+kNSRg=="] {
            assert_eq!(auto(input), compressed::MAGIC, "{input:?}");
        }
        assert_eq!(auto(b"not encoded!"), b"not encoded!");
        assert_eq!(auto(b""), b"");
    }

    #[test]
    fn refuses_what_is_not_in_the_encoding_that_was_named() {
        let failure = decoded(b"xyz".to_vec(), Encoding::Hex).unwrap_err();

        assert_eq!(failure.to_string(), "the input is no hexadecimal number: check --encoding");
        assert!(decoded(b"!".to_vec(), Encoding::Base64).is_err());
    }
}
