//! [`Link`]: the network between clients in the process and the services.
//!
//! (A) Bytes are carried in parts of at most a tenth of a second, in the order in which calls ask for them, so that
//! concurrent calls share the link, and a dropped one wastes at most a part.
//! (B) Over any time, at most the limit is carried, and a millisecond's worth more by which timers are late.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::Instant;

use crate::event_stream::EventStream;

/// Maximum size of a part that is carried at once.
const MAX_PART: usize = 16 << 10;

/// Minimum number of parts per second on a slow link.
const PARTS_PER_SECOND: u64 = 10;

/// Maximum lateness of timers.
const LATENESS: Duration = Duration::from_millis(1);

/// A network link of limited bandwidth, the same in both directions, shared by all calls of its clients. Clones are the
/// same link.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use kinesis_local::{Link, LocalAws};
///
/// let aws = LocalAws::start().await;
/// let uplink = Link::new(100_000);
/// let kinesis = aws_sdk_kinesis::Client::new(&aws.sdk_config_over(&uplink));
///
/// kinesis.list_streams().send().await.unwrap();
/// assert_eq!(uplink.bytes_sent(), 2); // {}
/// # }
/// ```
///
/// Only bodies count, in bytes as sent: data is a third larger in JSON. Time is tokio's, paused or not.
#[derive(Clone, Debug, Default)]
pub struct Link {
    up: Arc<Lane>,
    down: Arc<Lane>,
}

impl Link {
    /// A link with this bandwidth each way.
    ///
    /// # Panics
    /// The bandwidth is 0.
    pub fn new(bytes_per_second: u64) -> Self {
        let link = Self::unlimited();
        link.limit(bytes_per_second);
        link
    }

    /// A link without a limit, which only counts bytes.
    pub fn unlimited() -> Self {
        Self::default()
    }

    /// Sets the bandwidth each way from now on.
    ///
    /// # Panics
    /// The bandwidth is 0.
    pub fn limit(&self, bytes_per_second: u64) {
        assert!(bytes_per_second > 0, "a link that carries nothing keeps its calls for ever");
        for lane in [&self.up, &self.down] {
            lane.lock().bytes_per_second = Some(bytes_per_second);
        }
    }

    /// Removes the limit; parts that are under way keep their time.
    pub fn lift_limit(&self) {
        for lane in [&self.up, &self.down] {
            lane.lock().bytes_per_second = None;
        }
    }

    /// Bytes of requests that were sent, by cancelled calls too.
    pub fn bytes_sent(&self) -> u64 {
        self.up.carried.load(Ordering::Relaxed)
    }

    /// Bytes of answers that were received.
    pub fn bytes_received(&self) -> u64 {
        self.down.carried.load(Ordering::Relaxed)
    }

    /// Completes when a request of that size has arrived.
    pub(crate) async fn send(&self, bytes: usize) {
        let mut left = bytes;
        while left > 0 {
            left -= self.up.carry(left).await;
        }
    }

    /// The body of an answer as it arrives.
    pub(crate) fn receive(&self, answer: Vec<u8>) -> SdkBody {
        let is_limited = self.down.lock().bytes_per_second.is_some();
        if !is_limited {
            self.down.carried.fetch_add(answer.len() as u64, Ordering::Relaxed);
            return SdkBody::from(answer);
        }
        let parts = futures::stream::unfold((Arc::clone(&self.down), Bytes::from(answer)), async |(lane, mut left)| {
            if left.is_empty() {
                return None;
            }
            let part = left.split_to(lane.carry(left.len()).await);
            Some((Ok::<_, std::convert::Infallible>(Frame::data(part)), (lane, left)))
        });
        // HTTP stacks ask again after the end.
        SdkBody::from_body_1_x(StreamBody::new(Box::pin(parts.fuse())))
    }

    /// Events as they arrive.
    pub(crate) fn receive_events(
        &self,
        events: EventStream,
    ) -> impl Stream<Item = std::io::Result<Frame<Bytes>>> + Send + Sync + 'static {
        let lane = Arc::clone(&self.down);
        Box::pin(events.then(move |frame| {
            let lane = Arc::clone(&lane);
            async move {
                let mut left = frame.as_ref().map_or(0, |frame| frame.data_ref().map_or(0, Bytes::len));
                while left > 0 {
                    left -= lane.carry(left).await;
                }
                frame
            }
        }))
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    carried: AtomicU64,
    // Protects the end of what was accepted for the length of one look.
    pace: Mutex<Pace>,
}

#[derive(Debug, Default)]
struct Pace {
    bytes_per_second: Option<u64>,
    /// Time at which all accepted parts have arrived.
    free_at: Option<Instant>,
}

impl Lane {
    /// Carries the first part of `bytes`, and returns its size.
    async fn carry(&self, bytes: usize) -> usize {
        let (part, arrives_at) = self.lock().accept(bytes, Instant::now());
        self.carried.fetch_add(part as u64, Ordering::Relaxed);
        if let Some(arrives_at) = arrives_at {
            tokio::time::sleep_until(arrives_at).await;
        }
        part
    }

    fn lock(&self) -> MutexGuard<'_, Pace> {
        // Two plain fields are whole even when a thread panicked between two changes.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    fn accept(&mut self, bytes: usize, now: Instant) -> (usize, Option<Instant>) {
        let Some(rate) = self.bytes_per_second else { return (bytes, None) };
        let share = usize::try_from((rate / PARTS_PER_SECOND).max(1)).unwrap_or(MAX_PART);
        let part = bytes.min(share).min(MAX_PART);
        // The lateness of a timer is not lost to the link.
        let begin = self.free_at.filter(|free_at| now.saturating_duration_since(*free_at) <= LATENESS).unwrap_or(now);
        let arrives_at = begin + Duration::from_secs_f64(part as f64 / rate as f64);
        self.free_at = Some(arrives_at);
        (part, Some(arrives_at))
    }
}
