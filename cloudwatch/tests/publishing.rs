//! Publishing to the CloudWatch of `kinesis-local`, by the real client of the SDK.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use kinesis_cloudwatch::{Builder, InstallError, Publisher, Recorder};
use kinesis_local::{LocalAws, Metric};
use metrics::{counter, gauge, histogram};
use tokio::time::sleep;
use tracing_subscriber::fmt::MakeWriter;

const SECOND: Duration = Duration::from_secs(1);

async fn local() -> (LocalAws, Builder) {
    let local = LocalAws::start().await;
    let builder = kinesis_cloudwatch::builder(&local.sdk_config()).application_namespace("Shop");
    (local, builder)
}

fn build(builder: Builder) -> (Recorder, Publisher) {
    builder.build().expect("settings are right")
}

fn named<'m>(metrics: &'m [Metric], name: &str) -> Vec<&'m Metric> {
    metrics.iter().filter(|metric| metric.name == name).collect()
}

/// Lines that were logged, at warn and above and from `info` of this crate.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().expect("no panic").clone();
        let text = String::from_utf8(bytes).expect("text");
        text.lines().filter(|line| line.contains("kinesis_cloudwatch")).map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn logged() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[tokio::test(start_paused = true)]
async fn values_are_published_with_name_unit_dimensions_and_statistics() {
    let (local, builder) = local().await;
    let (recorder, publisher) = build(builder);
    let _guard = metrics::set_default_local_recorder(&recorder);
    metrics::describe_histogram!("Latency", metrics::Unit::Milliseconds, "time");

    histogram!("Latency", "Route" => "/orders", "Empty" => "").record(3.0);
    histogram!("Latency", "Route" => "/orders", "Empty" => "").record_many(5.0, 3);
    counter!("Orders").increment(4);
    gauge!("Queue").set(7.0);
    gauge!("Queue").set(f64::NAN);
    publisher.flush().await;

    let all = local.metrics();
    let [latency] = named(&all, "Latency")[..] else { panic!("{all:?}") };
    assert_eq!((latency.namespace.as_str(), latency.unit.as_deref()), ("Shop", Some("Milliseconds")));
    assert_eq!(latency.dimensions, [("Route".to_owned(), "/orders".to_owned())]);
    assert_eq!((latency.sample_count, latency.sum, latency.minimum, latency.maximum), (4.0, 18.0, 3.0, 5.0));
    assert_eq!((named(&all, "Orders")[0].sum, named(&all, "Queue")[0].sum), (4.0, 7.0));
    assert_eq!(publisher.status().published, 3);

    publisher.flush().await;
    assert_eq!(local.metrics().len(), 3, "nothing was recorded since");
    publisher.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_gauge_that_is_held_is_published_in_each_window() {
    let (local, builder) = local().await;
    let (recorder, publisher) = build(builder);
    let _guard = metrics::set_default_local_recorder(&recorder);
    let held = gauge!("Held");
    held.set(3.0);

    sleep(SECOND * 185).await;
    assert_eq!(local.metrics().iter().map(|metric| metric.sum).collect::<Vec<_>>(), [3.0; 3]);
    drop(held);
    publisher.flush().await;
    publisher.shutdown().await;
    assert_eq!(local.metrics().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn more_metrics_and_values_than_a_request_takes_are_published_whole() {
    let (local, builder) = local().await;
    let (recorder, publisher) = build(builder);
    let _guard = metrics::set_default_local_recorder(&recorder);
    let sizes = |bytes| local.faults().on("cloudwatch:PutMetricData").larger_than(bytes).delay(Duration::ZERO);
    let (uncompressed, sent) = (sizes(250_000), sizes(0));

    for n in 0..2_500 {
        // Together far more than 1 MB.
        counter!(format!("{}{n}", "m".repeat(200)), "Long" => "v".repeat(1_000)).increment(n);
    }
    let many = histogram!("Many");
    (0..1_000).for_each(|n| many.record(f64::from(n)));
    for n in 0..40 {
        let labels: Vec<metrics::Label> =
            (0..40).map(|label| metrics::Label::new(format!("l{label:02}"), n.to_string())).collect();
        counter!("Labels", labels).increment(1);
    }
    publisher.shutdown().await;

    let all = local.metrics();
    assert_eq!(all.len(), 2_541, "CloudWatch refuses requests beyond its limits, and this does, too");
    assert_eq!((sent.count() >= 4, uncompressed.count()), (true, 0), "requests of up to 1 MB are compressed");
    let [many] = named(&all, "Many")[..] else { panic!("it is one datum") };
    assert_eq!((many.sample_count, many.sum, many.minimum, many.maximum), (1_000.0, 499_500.0, 0.0, 999.0));
    assert!(named(&all, "Labels").iter().all(|metric| metric.dimensions.len() == 30));
}

#[tokio::test(start_paused = true)]
async fn a_cloudwatch_that_does_not_answer_is_reported_once_and_gets_all_that_is_kept() {
    let (local, builder) = local().await;
    let (log, _logged) = logged();
    let (recorder, publisher) = build(builder);
    let _guard = metrics::set_default_local_recorder(&recorder);
    let failing = local.faults().on("cloudwatch:PutMetricData").fail();
    sleep(SECOND * 30).await; // in the middle of a window

    for minute in 0..10 {
        counter!("Orders").increment(minute);
        sleep(SECOND * 60).await;
    }
    assert_eq!(local.metrics().len(), 0);
    assert!(publisher.status().is_failing);
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("cannot be published"), "{lines:?}");

    failing.remove();
    sleep(SECOND * 120).await;
    let orders: Vec<f64> = local.metrics().iter().map(|metric| metric.sum).collect();
    assert_eq!(orders, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    let lines = log.lines();
    assert!(lines.len() == 2 && lines[1].contains("published to cloudwatch again"), "{lines:?}");
    let status = publisher.status();
    assert_eq!((status.published, status.lost, status.is_failing), (10, 0, false));
    publisher.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_cloudwatch_that_refuses_loses_metrics_only_and_no_more_than_fit_are_kept() {
    let (local, builder) = local().await;
    let (log, _logged) = logged();
    let (recorder, publisher) = build(builder.max_queue(20));
    let _guard = metrics::set_default_local_recorder(&recorder);
    local.faults().on("cloudwatch:PutMetricData").refuse(403, "AccessDenied", "not you");

    for _ in 0..10 {
        for n in 0..5 {
            counter!(format!("m{n}")).increment(1);
        }
        sleep(SECOND * 60).await;
    }
    assert!(publisher.status().lost >= 25, "{:?}", publisher.status());
    assert_eq!(log.lines().len(), 1, "{:?}", log.lines());
    // What is left when it ends is lost, too; it does not wait for ever.
    publisher.shutdown().await;
    assert_eq!(local.metrics().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_no_more_than_ten_seconds() {
    let (local, builder) = local().await;
    let (recorder, publisher) = build(builder);
    let _guard = metrics::set_default_local_recorder(&recorder);
    local.faults().on("cloudwatch:PutMetricData").delay(SECOND * 3_600);
    counter!("Orders").increment(1);

    let begun = tokio::time::Instant::now();
    publisher.shutdown().await;
    assert!(begun.elapsed() <= SECOND * 10, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn metrics_that_are_refused_as_wrong_are_not_sent_again() {
    let (local, builder) = local().await;
    let (recorder, publisher) = build(builder);
    let _guard = metrics::set_default_local_recorder(&recorder);
    let faults = local.faults();
    let refusing = faults.on("cloudwatch:PutMetricData").refuse(400, "InvalidParameterValueException", "wrong");
    counter!("Orders").increment(1);
    publisher.flush().await;
    assert_eq!((publisher.status().lost, publisher.status().published), (1, 0));

    refusing.remove();
    counter!("Orders").increment(2);
    publisher.flush().await;
    assert_eq!(local.metrics().iter().map(|metric| metric.sum).collect::<Vec<_>>(), [2.0]);
    publisher.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_refused_holds_up_no_other() {
    let (local, builder) = local().await;
    let (log, _logged) = logged();
    let (recorder, publisher) = build(builder);
    let _guard = metrics::set_default_local_recorder(&recorder);
    let of_application = |application: &'static str| {
        let metadata = metrics::Metadata::new("kcl", metrics::Level::INFO, None);
        let labels = [("Application", application), ("Operation", "ProcessTask")];
        let labels: Vec<metrics::Label> = labels.iter().map(metrics::Label::from).collect();
        metrics::Recorder::register_counter(&recorder, &metrics::Key::from_parts("RecordsProcessed", labels), &metadata)
    };
    let (refused, accepted) = (of_application("AWS/Refused"), of_application("Accepted"));

    for _ in 0..60 {
        refused.increment(1);
        accepted.increment(1);
        sleep(SECOND * 10).await;
    }
    publisher.flush().await;

    let all = local.metrics();
    assert_eq!(all.iter().map(|metric| metric.sum).sum::<f64>(), 60.0, "{all:?}");
    assert!(all.iter().all(|metric| metric.namespace == "Accepted"));
    assert!(publisher.status().is_failing);
    assert_eq!(log.lines().len(), 1, "{:?}", log.lines());
    publisher.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_metric_that_is_refused_is_lost_alone() {
    let (local, builder) = local().await;
    let (log, _logged) = logged();
    let (recorder, publisher) = build(builder);
    let _guard = metrics::set_default_local_recorder(&recorder);
    // Only a request with the bad one is as large: its labels are of 22 KB, whatever the compression.
    let rule = local.faults().on("cloudwatch:PutMetricData").larger_than(15_000);
    let refusing = rule.refuse(400, "InvalidParameterValueException", "wrong");
    let mut random = fastrand::Rng::with_seed(1);
    let mut value = || (0..1_000).map(|_| random.alphanumeric()).collect::<String>();
    let labels: Vec<metrics::Label> = (0..29).map(|n| metrics::Label::new(format!("l{n}"), value())).collect();

    for window in 1..3 {
        for n in 0..700 {
            counter!(format!("Good{n}")).increment(1);
        }
        counter!("Bad", labels.clone()).increment(1);
        publisher.flush().await;
        assert_eq!((publisher.status().published, publisher.status().lost), (window * 700, window));
    }

    assert_eq!((local.metrics().len(), refusing.count() > 10), (1400, true));
    let lines = log.lines();
    assert!(lines.len() == 1 && lines[0].contains("refuses a metric"), "{lines:?}");
    publisher.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_bound_of_what_is_kept_is_reported_once() {
    let (local, builder) = local().await;
    let (log, _logged) = logged();
    let (recorder, publisher) = build(builder);
    let _guard = metrics::set_default_local_recorder(&recorder);

    let many: Vec<_> = (0..3_500).map(|n| histogram!(format!("h{n}"))).collect();
    for _ in 0..2 {
        many.iter().for_each(|histogram| (0..150).for_each(|value| histogram.record(f64::from(value))));
        publisher.flush().await;
    }

    assert!(local.metrics().iter().all(|metric| metric.sample_count == 150.0), "no sample is lost");
    let lines = log.lines();
    assert!(lines.len() == 1 && lines[0].contains("reached a bound"), "{lines:?}");
    publisher.shutdown().await;
}

#[tokio::test]
async fn settings_out_of_bounds_are_refused() {
    let (_, builder) = local().await;
    let refused = |builder: Builder| builder.build().err().map(|error| error.to_string()).unwrap_or_default();

    assert!(refused(builder.clone().producer_namespace("AWS/Kinesis")).starts_with("namespace is"));
    assert!(refused(builder.clone().consumer_namespace("x".repeat(256))).starts_with("namespace is"));
    assert_eq!(refused(builder.clone().consumer_namespace("x".repeat(255))), "");
    let short = Duration::from_millis(999);
    assert_eq!(refused(builder.clone().consumer_interval(short)), "consumer_interval is 999ms, accepted: at least 1 s");
    assert_eq!(refused(builder.max_queue(0)), "max_queue is 0, accepted: at least 1");
}

#[test]
fn a_runtime_is_needed() {
    let aws =
        aws_types::SdkConfig::builder().behavior_version(aws_sdk_cloudwatch::config::BehaviorVersion::latest()).build();
    let built = kinesis_cloudwatch::builder(&aws).build();
    assert!(matches!(built, Err(InstallError::NoRuntime)));
}
