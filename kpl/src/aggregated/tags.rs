//! Tags of a user record: written and read here alone. `docs/record-tags.md` lists them; others are skipped.

use super::{
    tag,
    wire::{Field, Reader, bytes_field_len, put_bytes, put_varint},
};
use crate::{record_number::RecordNumber, trace_context::TraceContext};

const TRACEPARENT: &[u8] = b"traceparent";
const TRACESTATE: &[u8] = b"tracestate";
const NUMBER: &[u8] = b"number";

/// Values of the known tags, as they were written.
#[derive(Debug, Default)]
pub(super) struct Tags<'a> {
    traceparent: Option<&'a [u8]>,
    tracestate: Option<&'a [u8]>,
    number: Option<&'a [u8]>,
}

impl<'a> Tags<'a> {
    /// Reads a tag. `None` if it has no key: that makes the aggregate a plain record, as for the KCL.
    pub(super) fn read(&mut self, bytes: &'a [u8]) -> Option<()> {
        let (mut key, mut value) = (None, None);
        let mut reader = Reader { rest: bytes };
        while !reader.rest.is_empty() {
            match reader.field()? {
                (tag::TAG_KEY, Field::Bytes(bytes)) => key = Some(bytes),
                (tag::TAG_VALUE, Field::Bytes(bytes)) => value = Some(bytes),
                _ => {}
            }
        }
        let known = match key? {
            TRACEPARENT => &mut self.traceparent,
            TRACESTATE => &mut self.tracestate,
            NUMBER => &mut self.number,
            _ => return Some(()),
        };
        *known = known.or(value);
        Some(())
    }

    /// The trace context. `None` without one, and if it cannot be read.
    pub(super) fn trace_context(&self) -> Option<TraceContext> {
        TraceContext::of_tags(self.traceparent?, self.tracestate)
    }

    /// The number with which a run begins. The inner `None`: it ends the run before, without another one.
    pub(super) fn number(&self) -> Option<Option<RecordNumber>> {
        self.number.map(RecordNumber::of_text)
    }
}

/// Length of the fields of a trace context's tags.
pub(super) fn context_len(context: &TraceContext) -> usize {
    of_context(context).map(|(key, value)| field_len(key, value)).sum()
}

pub(super) fn put_context(out: &mut Vec<u8>, context: &TraceContext) {
    of_context(context).for_each(|(key, value)| put(out, key, value));
}

/// Length of the field of a number's tag, whose value has so many bytes.
pub(super) fn number_len(value: &[u8]) -> usize {
    field_len(NUMBER, value)
}

/// Adds the tag of a number; its value comes last.
pub(super) fn put_number(out: &mut Vec<u8>, value: &[u8]) {
    put(out, NUMBER, value);
}

/// Keys and values of a trace context's tags.
fn of_context(context: &TraceContext) -> impl Iterator<Item = (&[u8], &[u8])> {
    let tracestate = context.tracestate().map(|text| (TRACESTATE, text.as_bytes()));
    [(TRACEPARENT, context.traceparent().as_bytes())].into_iter().chain(tracestate)
}

fn field_len(key: &[u8], value: &[u8]) -> usize {
    bytes_field_len(tag_len(key, value))
}

fn tag_len(key: &[u8], value: &[u8]) -> usize {
    bytes_field_len(key.len()) + bytes_field_len(value.len())
}

fn put(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    out.push(tag::TAG);
    put_varint(out, tag_len(key, value) as u64);
    put_bytes(out, tag::TAG_KEY, key);
    put_bytes(out, tag::TAG_VALUE, value);
}
