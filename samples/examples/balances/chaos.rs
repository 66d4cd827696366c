//! Trades that are put and processed while workers are killed, shards change and the database is restarted.

use std::{fmt::Write as _, time::Duration};

use anyhow::Context as _;
use examples::generator::Generator;
use kpl::{Delivery, Producer, UserRecord};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

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
const KILL_EVERY: Duration = Duration::from_secs(1);
const RESHARD_EVERY: Duration = Duration::from_secs(7);
const RESTART_EVERY: Duration = Duration::from_secs(11);
/// Time in which the balances change while records are left.
const PATIENCE: Duration = Duration::from_secs(120);

/// One run.
#[derive(Debug)]
pub(crate) struct Chaos {
    pub(crate) surroundings: Surroundings,
    pub(crate) store: Store,
    pub(crate) length: Duration,
}

/// Events of the chaos, counted.
#[derive(Debug)]
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
        let what =
            format!("{trades} trades, {killed} workers killed, {resharded} splits and merges, {restarted} restarts");
        if found == expected {
            println!("all {} balances are as counted independently: {what}", found.len());
        } else {
            println!("balances differ from the independent count: {what}{}", differences(&found, &expected));
        }
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

    /// Kills workers, changes shards and restarts the database, side by side, until the end.
    async fn disturb(
        &self,
        processes: &mut Processes,
        kinesis: &aws_sdk_kinesis::Client,
        end: Instant,
    ) -> anyhow::Result<Happened> {
        let (mut kills, mut changes) = (fastrand::Rng::new(), fastrand::Rng::new());
        println!("seeds {} and {}", kills.get_seed(), changes.get_seed());
        let (mut killed, mut resharded, mut restarted) = (0, 0, 0);
        let killing = async {
            while wait(KILL_EVERY, end).await {
                processes.kill_one(&mut kills).await?;
                killed += 1;
            }
            anyhow::Ok(())
        };
        let resharding = async {
            while wait(RESHARD_EVERY, end).await {
                resharded += usize::from(reshard(kinesis, &mut changes).await?);
            }
            anyhow::Ok(())
        };
        let restarting = async {
            if let Store::Postgres { server: Some(server), .. } = &self.store {
                while wait(RESTART_EVERY, end).await {
                    server.restart().await?;
                    restarted += 1;
                }
            }
            anyhow::Ok(())
        };
        tokio::try_join!(killing, resharding, restarting)?;
        Ok(Happened { killed, resharded, restarted })
    }

    /// The balances once they are as expected, and a moment later: what counts twice would come then. Or as they are when they
    /// do not change any more.
    async fn settled(&self, expected: &Positions) -> anyhow::Result<Positions> {
        let (mut found, mut changed) = (self.read().await?, Instant::now());
        while found != *expected && changed.elapsed() < PATIENCE {
            sleep(Duration::from_millis(200)).await;
            let now = self.read().await?;
            if now != found {
                (found, changed) = (now, Instant::now());
            }
        }
        sleep(Duration::from_secs(5)).await;
        self.read().await
    }

    async fn read(&self) -> anyhow::Result<Positions> {
        self.store.read().await.map_err(anyhow::Error::from_boxed)
    }
}

/// Waits for the next time. False: the end comes before.
async fn wait(time: Duration, end: Instant) -> bool {
    let next = Instant::now() + time;
    sleep_until(next.min(end)).await;
    next < end
}

fn differences(found: &Positions, expected: &Positions) -> String {
    let mut text = String::new();
    for (symbol, shares) in expected {
        let found = found.get(symbol).copied().unwrap_or_default();
        if found != *shares {
            let _ = write!(text, "\n{symbol:6} {found} instead of {shares}"); // a String takes everything
        }
    }
    text
}
