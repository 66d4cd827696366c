//! Tags of a user record: the headers of its trace context, if it has one.

use super::wire::{Field, Reader};
use crate::{aggregated::tag, trace_context::TraceContext};

/// Values of the tags with a trace context, as they were written.
#[derive(Debug, Default)]
pub(super) struct Tags<'a> {
    traceparent: Option<&'a [u8]>,
    tracestate: Option<&'a [u8]>,
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
        match key? {
            tag::TRACEPARENT => self.traceparent = self.traceparent.or(value),
            tag::TRACESTATE => self.tracestate = self.tracestate.or(value),
            _ => {}
        }
        Some(())
    }

    /// The trace context. `None` without one, and if it cannot be read.
    pub(super) fn trace_context(&self) -> Option<TraceContext> {
        TraceContext::of_tags(self.traceparent?, self.tracestate)
    }
}
