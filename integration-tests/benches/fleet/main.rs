//! Cost of leases: `cargo bench -p integration-tests --bench fleet`. One line of JSON for each measure.
//!
//! A worker with 1, 100 and 1,000 idle shards: resident memory, CPU as a part of one core, DynamoDB requests, by polling and by
//! enhanced fan-out. `_seldom`: leases of 30 s and a read each 5 s, instead of 10 s and 1 s. `_apart`: each shard is read at its
//! own time, instead of in step. `bare_calls`: no worker, but the
//! calls alone that polling takes, by the same SDK; the least that any consumer can cost that reads so often. The services run
//! in a process of their own, so that only the worker is measured: over TLS and HTTP/2, as on AWS. Linux only, as it reads
//! /proc. And [`takeover`]: how long shards stand still when one of three workers goes. And [`rest`]:
//! what two workers at rest take of the lease table, by operation.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_types::SdkConfig;
use integration_tests::{
    bench::{self, argument, told},
    conformance::config,
};
use kcl::{BoxError, CheckpointEvery, FanOut, InitialPosition, Polling, Retrieval, ShardPhase, Worker, WorkerHandle};
use kinesis_local::{LocalAws, ServeOptions};
use tokio::time::{Instant, sleep};

mod rest;
mod takeover;

/// Measurements, each in a process of its own, whose memory nothing else has used before.
const MEASURES: [(&str, usize); 11] = [
    ("polling", 1),
    ("polling", 100),
    ("polling", 1_000),
    ("polling_apart", 1_000),
    ("fan_out", 1_000),
    ("polling_seldom", 1_000),
    ("fan_out_seldom", 1_000),
    (BARE_CALLS, 1_000),
    (takeover::NAME, 1_000),
    (rest::NAME, 4),
    (rest::NAME, 64),
];
/// Set for the process that serves.
const SERVES: &str = "FLEET_SERVES";
/// Duration of the measurement of an idle worker.
const MEASURED: Duration = Duration::from_secs(30);
/// Lease duration and pause between reads by default, and where they are to cost less.
const USUAL: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(1));
const SELDOM: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(5));
const BARE_CALLS: &str = "bare_calls";
/// A worker renews each lease as often within its duration.
const RENEWALS: u32 = 3;
/// Clock ticks in a second, as /proc counts them.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if env::var_os(SERVES).is_some() {
        return runtime.block_on(serve());
    }
    let Some(name) = env::args().skip(1).find(|argument| !argument.starts_with('-')) else {
        for (name, shards) in MEASURES {
            let ended = Command::new(env::current_exe()?).args([name, &shards.to_string()]).status()?;
            assert!(ended.success(), "{name} failed");
        }
        return Ok(());
    };
    let shards = argument(1_000);
    match name.as_str() {
        takeover::NAME => takeover::measure(shards),
        rest::NAME => rest::measure(shards),
        BARE_CALLS => runtime.block_on(measure_bare_calls(shards)),
        name => {
            let seldom = name.ends_with("_seldom");
            let polling = Polling::new().idle_between_reads(if seldom { SELDOM.1 } else { USUAL.1 });
            let retrieval = match name.starts_with("fan_out") {
                true => FanOut::new().into(),
                false => polling.in_step(!name.ends_with("_apart")).into(),
            };
            runtime.block_on(measure(name, shards, retrieval, if seldom { SELDOM.0 } else { USUAL.0 }))
        }
    }
}

/// Serves until its standard input ends.
async fn serve() -> Result<(), BoxError> {
    let server = LocalAws::start().await.serve(ServeOptions::default().tls(true)).await?;
    println!("{}", server.kinesis_url());
    println!("{}", server.dynamodb_url());
    println!("{}\n", server.certificate_pem().ok_or("it serves over TLS")?.trim());
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    Ok(())
}

/// The services in another process; they end with this.
struct Services {
    process: Child,
    kinesis: SdkConfig,
    dynamodb: SdkConfig,
}

impl Services {
    fn start() -> Result<Self, BoxError> {
        let mut process =
            Command::new(env::current_exe()?).env(SERVES, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("output is piped")?).lines();
        let mut next = || -> Result<String, BoxError> { Ok(lines.next().ok_or("serving process ended")??) };
        let (kinesis, dynamodb) = (next()?, next()?);
        let mut certificate = String::new();
        for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
            certificate.push_str(&line);
            certificate.push('\n');
        }
        let trusted = TrustStore::empty().with_pem_certificate(certificate.as_bytes());
        let https = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(TlsContext::builder().with_trust_store(trusted).build()?)
            .build_https();
        let (kinesis, dynamodb) = (config(&kinesis, https.clone()), config(&dynamodb, https));
        Ok(Self { process, kinesis, dynamodb })
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        // Its input ends, and then it does.
        drop(self.process.stdin.take());
        let _ = self.process.wait(); // it is gone
    }
}

async fn measure(name: &str, shards: usize, retrieval: Retrieval, lease_duration: Duration) -> Result<(), BoxError> {
    let services = Services::start()?;
    let requests = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&requests);
    let dynamodb = told::of_calls(&services.dynamodb, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let kinesis = aws_sdk_kinesis::Client::new(&services.kinesis);
    kinesis.create_stream().stream_name("idle").shard_count(i32::try_from(shards)?).send().await?;
    let begun = Instant::now();
    let worker = Worker::builder(&services.kinesis, "idle", "idle")
        .lease_table_config(&dynamodb)
        .initial_position(InitialPosition::Latest)
        .retrieval(retrieval)
        .lease_duration(lease_duration)
        .build_for_each(CheckpointEvery::default(), 1, |_| async { Ok::<(), BoxError>(()) })?
        .start();
    until_all_are_processed(&worker, shards).await;
    let name = format!("{shards} shards, {name}");
    report(&name, "time until all shards have a processor", begun.elapsed().as_secs_f64(), "s");
    report_cost(&name, Some(&requests)).await?;
    drop(worker);
    Ok(())
}

/// Cost of this process up to now.
async fn report_cost(name: &str, requests: Option<&AtomicU64>) -> Result<(), BoxError> {
    sleep(Duration::from_secs(10)).await;
    let sent = || requests.map(|requests| requests.load(Ordering::Relaxed) as f64);
    let (cpu_before, sent_before, begun) = (cpu_seconds()?, sent(), Instant::now());
    sleep(MEASURED).await;
    let seconds = begun.elapsed().as_secs_f64();
    report(name, "CPU while idle", (cpu_seconds()? - cpu_before) / seconds * 100.0, "% of a core");
    report(name, "resident memory while idle", resident_mib()?, "MiB");
    if let (Some(before), Some(after)) = (sent_before, sent()) {
        report(name, "DynamoDB requests while idle", (after - before) / seconds, "requests/s");
    }
    Ok(())
}

/// A read of each shard and a renewal of each lease, as often as a worker makes them, and nothing else.
async fn measure_bare_calls(shards: usize) -> Result<(), BoxError> {
    let services = Services::start()?;
    let kinesis = aws_sdk_kinesis::Client::new(&services.kinesis);
    kinesis.create_stream().stream_name("idle").shard_count(i32::try_from(shards)?).send().await?;
    let worker = Worker::builder(&services.kinesis, "idle", "idle").lease_table_config(&services.dynamodb);
    let worker = worker.build_for_each(CheckpointEvery::default(), 1, |_| async { Ok::<(), BoxError>(()) })?.start();
    until_all_are_processed(&worker, shards).await; // there is a table now
    worker.stop().await?;
    let dynamodb = aws_sdk_dynamodb::Client::new(&services.dynamodb);
    let mut calls = tokio::task::JoinSet::new();
    for shard in 0..shards {
        let shard_id = format!("shardId-{shard:012}");
        calls.spawn(bare_reads(kinesis.clone(), shard_id.clone()));
        calls.spawn(bare_renewals(dynamodb.clone(), shard_id));
    }
    report_cost(&format!("{shards} shards, {BARE_CALLS}"), None).await?;
    assert!(calls.try_join_next().is_none(), "a call failed");
    calls.abort_all();
    Ok(())
}

async fn bare_reads(kinesis: aws_sdk_kinesis::Client, shard_id: String) -> Result<(), BoxError> {
    let latest = aws_sdk_kinesis::types::ShardIteratorType::Latest;
    let open = kinesis.get_shard_iterator().stream_name("idle").shard_id(shard_id).shard_iterator_type(latest);
    let mut iterator = open.send().await?.shard_iterator;
    sleep(USUAL.1.mul_f64(fastrand::f64())).await; // spread over time, as a worker's calls are
    while let Some(next) = iterator {
        sleep(USUAL.1).await;
        iterator = kinesis.get_records().shard_iterator(next).send().await?.next_shard_iterator;
    }
    Ok(())
}

async fn bare_renewals(dynamodb: aws_sdk_dynamodb::Client, shard_id: String) -> Result<(), BoxError> {
    use aws_sdk_dynamodb::types::AttributeValue;
    sleep((USUAL.0 / RENEWALS).mul_f64(fastrand::f64())).await;
    loop {
        sleep(USUAL.0 / RENEWALS).await;
        let update = dynamodb.update_item().table_name("idle").key("leaseKey", AttributeValue::S(shard_id.clone()));
        let update = update.update_expression("ADD leaseCounter :one");
        update.expression_attribute_values(":one", AttributeValue::N("1".to_owned())).send().await?;
    }
}

async fn until_all_are_processed(worker: &WorkerHandle, shards: usize) {
    let reads = || worker.shards().iter().filter(|shard| shard.phase == ShardPhase::Processing).count();
    while reads() < shards {
        assert!(worker.is_running(), "worker ended");
        sleep(Duration::from_millis(100)).await;
    }
}

fn report(what: &str, measure: &str, value: f64, unit: &str) {
    bench::report(&format!("{what}: {measure}"), value, unit);
}

/// CPU time of this process so far.
fn cpu_seconds() -> Result<f64, BoxError> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // User and system time, the 14th and 15th fields; the second may contain spaces and ends with a parenthesis.
    let fields = stat.rsplit_once(')').ok_or("stat has a name")?.1.split_whitespace().skip(11).take(2);
    let ticks: Result<Vec<f64>, _> = fields.map(str::parse).collect();
    Ok(ticks?.into_iter().sum::<f64>() / TICKS_PER_SECOND)
}

fn resident_mib() -> Result<f64, BoxError> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("status tells it")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}
