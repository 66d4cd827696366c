//! Trades that are put and processed while workers are killed, shards change and the database is restarted.

use std::{fmt::Write as _, time::Duration};

use anyhow::Context as _;
use examples::generator::Generator;
use kpl::{Delivery, Producer, UserRecord};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::{
    ledger::{self, Positions},
    processes::Processes,
    shards::reshard,
    store::Store,
    surroundings::Surroundings,
};

/// The stream of the trades.
pub(crate) const STREAM: &str = "Trades";
const SHARDS: i32 = 3;
/// Trades put each tenth of a second.
const TRADES: usize = 50;
const RESHARD_EVERY: Duration = Duration::from_secs(7);
const RESTART_EVERY: Duration = Duration::from_secs(11);
/// Time in which the last records are processed.
const PATIENCE: Duration = Duration::from_secs(120);

/// One run.
#[derive(Debug)]
pub(crate) struct Chaos {
    pub(crate) surroundings: Surroundings,
    pub(crate) store: Store,
    pub(crate) length: Duration,
}

/// What happened.
#[derive(Debug, Default)]
struct Happened {
    killed: usize,
    resharded: usize,
    restarted: usize,
}

impl Chaos {
    /// Runs it. False: the balances are not those of the independent count.
    pub(crate) async fn run(self) -> anyhow::Result<bool> {
        let kinesis = aws_sdk_kinesis::Client::new(&self.surroundings.aws);
        kinesis.create_stream().stream_name(STREAM).shard_count(SHARDS).send().await?;
        self.store.create_tables().await.map_err(anyhow::Error::from_boxed)?;
        let mut processes = Processes::start(&self.store, &self.surroundings)?;

        let end = Instant::now() + self.length;
        let (counted, happened) = tokio::join!(self.put(end), self.disturb(&mut processes, &kinesis, end));
        let ((trades, expected), happened) = (counted?, happened?);

        let found = self.settled(&expected).await?;
        let Happened { killed, resharded, restarted } = happened;
        println!("{trades} trades; {killed} workers killed, {resharded} splits and merges, {restarted} restarts");
        println!("{}", compared(&found, &expected));
        Ok(found == expected)
    }

    /// Puts trades until the end. Returns their number and the balances by an independent count.
    async fn put(&self, end: Instant) -> anyhow::Result<(usize, Positions)> {
        let producer = Producer::builder(&self.surroundings.aws, STREAM).build()?;
        let (mut generator, mut ticks) = (Generator::new(1), interval(Duration::from_millis(100)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut trades, mut expected) = (0, Positions::new());
        while Instant::now() < end {
            ticks.tick().await;
            let mut deliveries: Vec<Delivery> = Vec::new();
            for trade in generator.by_ref().take(TRADES) {
                let record = UserRecord::new(&*trade.ticker_symbol, trade.to_json());
                for (symbol, shares) in ledger::positions([trade]) {
                    *expected.entry(symbol).or_default() += shares;
                }
                deliveries.push(producer.put(record).await?);
                trades += 1;
            }
            for delivery in deliveries {
                delivery.await.context("a trade is not stored")?;
            }
        }
        producer.shutdown().await;
        Ok((trades, expected))
    }

    /// Kills a worker each second, and from time to time changes a shard and restarts the database.
    async fn disturb(
        &self,
        processes: &mut Processes,
        kinesis: &aws_sdk_kinesis::Client,
        end: Instant,
    ) -> anyhow::Result<Happened> {
        let (mut happened, mut random) = (Happened::default(), fastrand::Rng::new());
        println!("seed {}", random.get_seed());
        let (mut next_reshard, mut next_restart) = (Instant::now() + RESHARD_EVERY, Instant::now() + RESTART_EVERY);
        while Instant::now() < end {
            sleep(Duration::from_secs(1)).await;
            processes.kill_one(&mut random).await?;
            happened.killed += 1;
            if Instant::now() >= next_reshard {
                happened.resharded += usize::from(reshard(kinesis, &mut random).await?);
                next_reshard += RESHARD_EVERY;
            }
            if let Store::Postgres { server: Some(server), .. } = &self.store
                && Instant::now() >= next_restart
            {
                server.restart().await?;
                happened.restarted += 1;
                next_restart += RESTART_EVERY;
            }
        }
        Ok(happened)
    }

    /// The balances once they are as expected, and a moment later: what counts twice would come then.
    async fn settled(&self, expected: &Positions) -> anyhow::Result<Positions> {
        let read = async || self.store.read().await.map_err(anyhow::Error::from_boxed);
        let as_expected = async {
            while read().await? != *expected {
                sleep(Duration::from_millis(200)).await;
            }
            sleep(Duration::from_secs(5)).await;
            anyhow::Ok(())
        };
        if let Ok(settled) = timeout(PATIENCE, as_expected).await {
            settled?;
        }
        read().await
    }
}

fn compared(found: &Positions, expected: &Positions) -> String {
    if found == expected {
        let sum: i64 = found.values().sum();
        return format!("all {} balances are as counted independently; their sum is {sum}", found.len());
    }
    let mut text = String::from("balances differ from the independent count:");
    for (symbol, shares) in expected {
        let found = found.get(symbol).copied().unwrap_or_default();
        if found != *shares {
            let _ = write!(text, "\n{symbol:6} {found} instead of {shares}"); // a String takes everything
        }
    }
    text
}
