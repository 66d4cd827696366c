//! Monitoring of a shop: orders and declined payments in windows of ten seconds, and an alert when payments are
//! declined far more often than before.
//!
//! Guarantees: each event counts once while the process lives, also when workers crash. A window is judged when all
//! shards have passed its end, once; what comes for it later, by a clock that is behind, is counted as late. The
//! judgement is by the twelve windows before: more than their mean and four standard deviations, and at least ten. An
//! event that cannot be read fails its batch, which is delivered again until it can or an error policy says otherwise.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use kcl::{BoxError, CheckpointEvery, InitialPosition, Record, ShardContext, ShardId, Worker};
use kinesis_local::LocalAws;
use kpl::{Delivery, Producer, UserRecord};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use crate::{
    picture::{Line, chart},
    tally::{Effects, Tally},
};

const STREAM: &str = "Shop";
/// The stream has as many and is not resharded: a window waits for each of them.
const SHARDS: usize = 2;
const WINDOW_MILLIS: u64 = 10_000;
/// Windows by which one is judged.
const BEFORE: u64 = 12;
const DEVIATIONS: f64 = 4.0;
/// Declined payments of a window below which there is no alert.
const MIN_DECLINED: u64 = 10;
const SECONDS: u64 = 300;
const EVENTS_PER_SECOND: u64 = 12;
/// Seconds in which the payment service declines half of the payments.
const OUTAGE: std::ops::Range<u64> = 210..250;
const PATIENCE: Duration = Duration::from_secs(60);

/// Something that a customer did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShopEvent {
    /// Customer; the partition key.
    pub customer: String,
    /// Milliseconds since the shop opened.
    pub at_millis: u64,
    /// Kind of the event.
    pub kind: EventKind,
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EventKind {
    /// A page was looked at.
    Viewed,
    /// An order was paid.
    Ordered,
    /// A payment was declined.
    Declined,
}

/// Counts of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Orders that were paid.
    pub ordered: u64,
    /// Payments that were declined.
    pub declined: u64,
}

/// A window in which more payments were declined than the ones before let expect.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Number of the window, from 0.
    pub window: u64,
    /// Declined payments.
    pub declined: u64,
    /// The maximum that gives no alert.
    pub expected_at_most: f64,
}

/// The shop as its events have it.
#[derive(Debug, Default)]
pub struct Shop {
    /// Counts by window.
    pub windows: BTreeMap<u64, Counts>,
    /// Alerts, in the order of their windows.
    pub alerts: Vec<Alert>,
    /// Events whose window was judged before they came.
    pub late: u64,
    /// Latest time of each shard.
    passed: HashMap<ShardId, u64>,
    /// The first window that is not judged yet.
    next: u64,
}

impl Shop {
    /// Counts an event.
    fn count(&mut self, event: &ShopEvent) {
        let window = event.at_millis / WINDOW_MILLIS;
        self.late += u64::from(window < self.next);
        let counts = self.windows.entry(window).or_default();
        match event.kind {
            EventKind::Viewed => {}
            EventKind::Ordered => counts.ordered += 1,
            EventKind::Declined => counts.declined += 1,
        }
    }

    /// Judges the windows that all shards have passed.
    fn judge(&mut self) {
        let Some(passed) = self.passed.values().min().filter(|_| self.passed.len() == SHARDS) else { return };
        while self.next < passed / WINDOW_MILLIS {
            let declined = self.counts(self.next).declined;
            let before = self.next.saturating_sub(BEFORE)..self.next;
            let expected_at_most =
                maximum(&before.map(|window| self.counts(window).declined as f64).collect::<Vec<_>>());
            if declined >= MIN_DECLINED && declined as f64 > expected_at_most {
                self.alerts.push(Alert { window: self.next, declined, expected_at_most });
            }
            self.next += 1;
        }
    }

    /// Counts of a window, in which there may have been nothing.
    fn counts(&self, window: u64) -> Counts {
        self.windows.get(&window).copied().unwrap_or_default()
    }

    /// Orders, declined payments and the first alert as a picture.
    pub fn picture(&self) -> String {
        let windows = 0..self.windows.keys().next_back().map_or(0, |last| last + 1);
        let line = |name: &str, value: fn(Counts) -> u64| {
            let values = windows.clone().map(|window| value(self.counts(window)) as f64).collect();
            Line { name: name.to_owned(), values }
        };
        let lines = [line("orders", |counts| counts.ordered), line("declined payments", |counts| counts.declined)];
        let word = |alert: &Alert| usize::try_from(alert.window).ok().map(|window| (window, "alert".to_owned()));
        let words: Vec<_> = self.alerts.iter().take(1).filter_map(word).collect();
        chart("A shop, in windows of 10 seconds", &lines, &words)
    }
}

/// Mean and four standard deviations; before there are windows enough, everything is expected.
fn maximum(before: &[f64]) -> f64 {
    let number = before.len() as f64;
    if number < BEFORE as f64 {
        return f64::INFINITY;
    }
    let mean = before.iter().sum::<f64>() / number;
    let variance = before.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / number;
    mean + DEVIATIONS * variance.sqrt()
}

impl Effects for Shop {
    type Event = ShopEvent;

    fn read(record: &Record) -> Result<ShopEvent, BoxError> {
        Ok(serde_json::from_slice(&record.data)?)
    }

    fn add(&mut self, shard_id: &ShardId, event: ShopEvent) {
        self.count(&event);
        let passed = self.passed.entry(shard_id.clone()).or_default();
        *passed = event.at_millis.max(*passed);
        self.judge();
    }
}

/// Events of five minutes, the same each time.
fn events() -> Vec<ShopEvent> {
    let mut random = fastrand::Rng::with_seed(3);
    let mut events = Vec::new();
    for second in 0..SECONDS {
        for number in 0..EVENTS_PER_SECOND {
            let declined_percent = if OUTAGE.contains(&second) { 50 } else { 4 };
            let kind = match random.u64(..100) {
                60.. => EventKind::Viewed,
                percent if percent * 100 / 60 < declined_percent => EventKind::Declined,
                _ => EventKind::Ordered,
            };
            let at_millis = second * 1_000 + number * 1_000 / EVENTS_PER_SECOND;
            events.push(ShopEvent { customer: format!("customer-{}", random.u16(..400)), at_millis, kind });
        }
    }
    events
}

/// Puts events and monitors the shop; `report` is given each alert as it comes. Returns the shop, and an independent
/// count.
///
/// # Errors
/// The events cannot be put.
pub async fn run(
    local: &LocalAws,
    mut report: impl FnMut(&Alert),
) -> Result<(Tally<Shop>, BTreeMap<u64, Counts>), BoxError> {
    local.create_stream(STREAM, SHARDS.try_into()?)?;
    let (aws, tally) = (local.sdk_config(), Tally::<Shop>::default());
    let worker = Worker::builder(&aws, "monitoring", STREAM).initial_position(InitialPosition::TrimHorizon);
    let sink = tally.clone();
    let worker = worker.build_sink(CheckpointEvery::default(), move |_: &ShardContext| sink.clone())?.start();

    let producer = Producer::builder(&aws, STREAM).build()?;
    let mut expected = Shop::default();
    let mut deliveries: Vec<Delivery> = Vec::new();
    for event in events() {
        expected.count(&event);
        deliveries.push(producer.put(UserRecord::new(&*event.customer, serde_json::to_vec(&event)?)).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    producer.shutdown().await;

    let mut reported = 0;
    let mut report_fresh = || {
        let fresh: Vec<Alert> = tally.look(|shop| shop.alerts.iter().skip(reported).cloned().collect());
        fresh.iter().for_each(&mut report);
        reported += fresh.len();
    };
    let monitored = async {
        while tally.look(|shop| shop.windows != expected.windows) {
            sleep(Duration::from_millis(100)).await;
            report_fresh();
        }
    };
    let _ = timeout(PATIENCE, monitored).await; // the caller compares
    report_fresh();
    worker.stop().await?;
    Ok((tally, expected.windows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_gives_an_alert_and_all_is_as_in_the_picture_of_the_docs() {
        let mut reported = Vec::new();
        let (tally, expected) = run(&LocalAws::start().await, |alert| reported.push(alert.clone())).await.unwrap();

        tally.look(|shop| {
            assert_eq!((&shop.windows, shop.late), (&expected, 0));
            let windows: Vec<u64> = shop.alerts.iter().map(|alert| alert.window).collect();
            assert_eq!(windows.first(), Some(&(OUTAGE.start * 1_000 / WINDOW_MILLIS)), "{:?}", shop.alerts);
            assert!(windows.iter().all(|window| OUTAGE.contains(&(window * WINDOW_MILLIS / 1_000))), "{windows:?}");
            assert_eq!(shop.picture(), include_str!("../../docs/pictures/shop.svg"));
            assert_eq!(shop.alerts, reported);
        });
    }

    #[test]
    fn few_declined_payments_and_the_first_windows_give_no_alert() {
        assert_eq!(maximum(&[1.0; 11]), f64::INFINITY);
        assert_eq!(maximum(&[1.0; 12]), 1.0);
        let other = [ShardId::from("shardId-000000000000"), ShardId::from("shardId-000000000001")];
        let mut shop = Shop::default();
        let mut add = |window: u64, declined: u64| {
            for shard_id in &other {
                for _ in 0..declined / 2 {
                    let customer = String::new();
                    let event = ShopEvent { customer, at_millis: window * WINDOW_MILLIS, kind: EventKind::Declined };
                    shop.add(shard_id, event);
                }
            }
        };
        (0..14).for_each(|window| add(window, 2));
        add(14, 8);
        add(15, 40);
        add(16, 2);

        assert_eq!(shop.alerts.iter().map(|alert| alert.window).collect::<Vec<_>>(), [15]);
    }
}
