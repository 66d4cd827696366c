//! The place of zstd where it is not built in.

use crate::compressed::dictionary::Dictionary;

/// No value of it exists.
#[derive(Debug)]
pub(in crate::compressed) enum Encoder {}

impl Encoder {
    pub(super) fn new(_: i32, _: Option<&Dictionary>) -> Option<Self> {
        None
    }

    pub(super) fn payload(&mut self, _: &[u8], _: usize) -> Option<&[u8]> {
        match *self {}
    }
}

pub(super) fn content(_: &[u8], _: usize, _: Option<&Dictionary>) -> Option<Vec<u8>> {
    None
}
