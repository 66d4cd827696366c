//! The canned shards' subscriptions: each page an event, as fast as a shard gives bytes.

use std::{sync::Arc, time::Duration};

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::{
    body::SdkBody,
    event_stream::{Header, HeaderValue, Message},
};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::{sync::mpsc, time::sleep};

use super::{canned_shards::CannedShard, pages::Page};

/// Rate of a shard's subscription. Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
const BYTES_PER_SECOND: f64 = 2.0 * 1024.0 * 1024.0;
/// A sign of life comes as often.
const SILENCE: Duration = Duration::from_secs(5);

/// Of the answer to SubscribeToShard. Never ends by itself.
pub(super) fn body(shards: Arc<Vec<CannedShard>>, number: usize) -> SdkBody {
    let (frames, mut receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _ = give(&shards[number], frames).await; // nobody listens any more
    });
    let frames = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
    let frames = futures::StreamExt::map(frames, |frame| Ok::<_, std::convert::Infallible>(Frame::data(frame)));
    SdkBody::from_body_1_x(StreamBody::new(frames))
}

async fn give(shard: &CannedShard, frames: mpsc::Sender<Bytes>) -> Result<(), mpsc::error::SendError<Bytes>> {
    frames.send(event("initial-response", b"{}".to_vec())).await?;
    let pace = Duration::from_secs_f64(shard.page.bytes as f64 / BYTES_PER_SECOND);
    let beside =
        |number: &str, behind: u32| format!(r#""ContinuationSequenceNumber":"{number}","MillisBehindLatest":{behind}"#);
    let mut told = "1".to_owned();
    // Who does not listen any more must not take a page.
    while !frames.is_closed() {
        let page = shard.next(usize::MAX, |given, behind| {
            told = Page::last_number(given);
            beside(&told, behind)
        });
        if let Some(page) = page {
            frames.send(event("SubscribeToShardEvent", page)).await?;
            sleep(pace).await;
            continue;
        }
        tokio::select! {
            () = frames.closed() => {}
            () = shard.more.notified() => {}
            () = sleep(SILENCE) => {
                let nothing = format!(r#"{{"Records":[],{}}}"#, beside(&told, 0));
                frames.send(event("SubscribeToShardEvent", nothing.into_bytes())).await?;
            }
        }
    }
    Ok(())
}

fn event(kind: &'static str, payload: Vec<u8>) -> Bytes {
    let headers = [(":message-type", "event"), (":event-type", kind), (":content-type", "application/x-amz-json-1.1")];
    let headers = headers.map(|(name, value)| Header::new(name, HeaderValue::String(value.into())));
    let mut frame = Vec::with_capacity(payload.len() + 256);
    write_message_to(&Message::new_from_parts(headers.to_vec(), payload), &mut frame).expect("it fits a frame");
    frame.into()
}
