//! Event streams on the wire: frames with headers, a payload and checksums.
//!
//! Their content is decided elsewhere; see `subscription.rs`.

use std::io;
use std::pin::Pin;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http_body::Frame;

pub(crate) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// The frames of one answer as they come.
pub(crate) struct EventStream(Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + Sync>>);

impl EventStream {
    pub(crate) fn new(frames: impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static) -> Self {
        // HTTP stacks ask again after the end.
        Self(Box::pin(frames.fuse()))
    }
}

/// The end of a stream whose connection breaks, after what came before it went out.
pub(crate) fn broken() -> impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static {
    futures::stream::once(async {
        tokio::task::yield_now().await;
        Err(io::ErrorKind::ConnectionReset.into())
    })
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventStream")
    }
}

impl Stream for EventStream {
    type Item = io::Result<Frame<Bytes>>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context).map(|frame| frame.map(|bytes| bytes.map(Frame::data)))
    }
}

/// A frame with an event, or with the fields of the answer when the type is `initial-response`.
pub(crate) fn event(event_type: &'static str, content_type: &'static str, payload: Vec<u8>) -> Bytes {
    frame([(":message-type", "event"), (":event-type", event_type), (":content-type", content_type)], payload)
}

/// A frame with an exception; nothing follows it.
pub(crate) fn exception(code: &'static str, content_type: &'static str, payload: Vec<u8>) -> Bytes {
    frame([(":message-type", "exception"), (":exception-type", code), (":content-type", content_type)], payload)
}

fn frame(headers: [(&'static str, &'static str); 3], payload: Vec<u8>) -> Bytes {
    let header = |(name, value): (&'static str, &'static str)| Header::new(name, HeaderValue::String(value.into()));
    let message = Message::new_from_parts(headers.map(header).to_vec(), payload);
    let mut buffer = Vec::with_capacity(message.payload().len() + 256);
    write_message_to(&message, &mut buffer).expect("headers are short, and events far below the limit of a frame");
    buffer.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_can_be_read_back() {
        let bytes = event("SubscribeToShardEvent", "application/x-amz-json-1.1", b"{}".to_vec());

        let message = aws_smithy_eventstream::frame::read_message_from(bytes).unwrap();

        assert_eq!(&message.payload()[..], b"{}");
        let headers: Vec<_> = message.headers().iter().map(|header| header.name().as_str()).collect();
        assert_eq!(headers, [":message-type", ":event-type", ":content-type"]);
    }
}
