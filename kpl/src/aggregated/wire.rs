//! The protobuf wire format, as far as aggregates need it: fields read and written.

/// Takes protobuf fields off the front. `None` means malformed.
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

pub(super) enum Field<'a> {
    Integer(u64),
    Bytes(&'a [u8]),
    Other,
}

/// Maximum depth of nested groups, as in Google's parsers.
const MAX_GROUP_DEPTH: usize = 100;

impl<'a> Reader<'a> {
    /// The next field and its tag; 0 stands for tags above those of the format.
    pub(super) fn field(&mut self) -> Option<(u8, Field<'a>)> {
        let tag = self.tag()?;
        let field = match tag & 7 {
            0 => Field::Integer(self.varint()?),
            2 => Field::Bytes(self.bytes()?),
            _ => {
                self.skip(tag)?;
                Field::Other
            }
        };
        Some((u8::try_from(tag).unwrap_or(0), field))
    }

    fn tag(&mut self) -> Option<u64> {
        // Field number 0 does not exist, numbers end at 2^29 - 1.
        self.varint().filter(|tag| (8..=u32::MAX.into()).contains(tag))
    }

    /// Skips a field of a type that no field of the format has.
    fn skip(&mut self, tag: u64) -> Option<()> {
        let mut open_groups = Vec::new();
        let mut tag = tag;
        loop {
            match tag & 7 {
                0 => drop(self.varint()?),
                1 => drop(self.take(8)?),
                2 => drop(self.bytes()?),
                3 if open_groups.len() < MAX_GROUP_DEPTH => open_groups.push(tag >> 3),
                4 => {
                    open_groups.pop().filter(|open| *open == tag >> 3)?;
                }
                5 => drop(self.take(4)?),
                _ => return None,
            }
            if open_groups.is_empty() {
                return Some(());
            }
            tag = self.tag()?;
        }
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.varint()?;
        self.take(usize::try_from(len).ok()?)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

pub(super) fn bytes_field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

pub(super) fn varint_len(value: u64) -> usize {
    // Seven bits a byte, and at least one byte.
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

pub(super) fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
