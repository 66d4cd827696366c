//! The metrics that clients put to CloudWatch.

use std::time::{Duration, SystemTime};

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit, StatisticSet};
use kinesis_local::{LocalAws, MetricForm};

use super::code;

async fn start() -> (LocalAws, Client) {
    let aws = LocalAws::start().await;
    let cloudwatch = Client::new(&aws.sdk_config());
    (aws, cloudwatch)
}

fn datum(name: &str) -> aws_sdk_cloudwatch::types::builders::MetricDatumBuilder {
    MetricDatum::builder().metric_name(name)
}

#[tokio::test(start_paused = true)]
async fn a_metric_is_kept_as_it_was_put() {
    let (aws, cloudwatch) = start().await;
    let dimension = Dimension::builder().name("StreamName").value("orders").build();
    let metric = datum("UserRecordsPut").dimensions(dimension).value(3.0).unit(StandardUnit::Count);
    let metric = metric.timestamp(DateTime::from_millis(1_763_616_000_500)).storage_resolution(1).build();

    cloudwatch.put_metric_data().namespace("App").metric_data(metric).send().await.unwrap();

    let [metric] = &aws.metrics()[..] else { panic!("{:?}", aws.metrics()) };
    assert_eq!((&*metric.namespace, &*metric.name), ("App", "UserRecordsPut"));
    assert_eq!(metric.dimension("StreamName"), Some("orders"));
    assert_eq!(metric.dimension("ShardId"), None);
    assert_eq!((metric.unit.as_deref(), metric.storage_resolution), (Some("Count"), 1));
    assert_eq!((metric.sample_count, metric.sum, metric.minimum, metric.maximum), (1.0, 3.0, 3.0, 3.0));
    assert_eq!(metric.form, MetricForm::Value);
    assert_eq!(metric.timestamp, SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_616_000_500));

    aws.clear_metrics();
    assert!(aws.metrics().is_empty());
}

#[tokio::test(start_paused = true)]
async fn values_and_statistics_come_to_the_same() {
    let (aws, cloudwatch) = start().await;
    let values = datum("values").values(1.0).values(4.0).counts(2.0).counts(1.0).build();
    let set = StatisticSet::builder().sample_count(3.0).sum(6.0).minimum(1.0).maximum(4.0).build();
    let statistics = datum("statistics").statistic_values(set).build();

    let put = cloudwatch.put_metric_data().namespace("App").metric_data(values).metric_data(statistics);
    put.send().await.unwrap();

    let metrics = aws.metrics();
    let forms: Vec<_> = metrics.iter().map(|metric| metric.form).collect();
    assert_eq!(forms, [MetricForm::Values, MetricForm::Statistics]);
    for metric in metrics {
        assert_eq!((metric.sample_count, metric.sum, metric.minimum, metric.maximum), (3.0, 6.0, 1.0, 4.0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_request_comes_compressed() {
    let (aws, cloudwatch) = start().await;
    let data = (0..1000).map(|n| datum(&format!("metric-number-{n}")).value(f64::from(n)).build()).collect();

    cloudwatch.put_metric_data().namespace("App").set_metric_data(Some(data)).send().await.unwrap();

    let metrics = aws.metrics();
    assert_eq!(metrics.len(), 1000);
    assert_eq!((&*metrics[999].name, metrics[999].sum), ("metric-number-999", 999.0));
}

#[tokio::test(start_paused = true)]
async fn refuses_data_that_is_no_metric() {
    let (aws, cloudwatch) = start().await;
    let put = async |namespace: &str, metric: MetricDatum| {
        cloudwatch.put_metric_data().namespace(namespace).metric_data(metric).send().await
    };
    let value = || datum("m").value(1.0).build();

    assert_eq!(code(put("AWS/Kinesis", value()).await), "InvalidParameterValueException");
    assert_eq!(code(put("App", datum("m").build()).await), "InvalidParameterValueException");
    assert_eq!(code(put("App", datum("m").value(f64::NAN).build()).await), "InvalidParameterValueException");
    let both = datum("m").value(1.0).values(1.0).build();
    assert_eq!(code(put("App", both).await), "InvalidParameterValueException");
    let none = cloudwatch.put_metric_data().namespace("App").send().await;
    assert_eq!(code(none), "MissingRequiredParameterException");
    let many = cloudwatch.put_metric_data().namespace("App").set_metric_data(Some(vec![value(); 1001])).send().await;
    assert_eq!(code(many), "InvalidParameterValueException");
    assert_eq!(code(cloudwatch.list_metrics().send().await), "UnknownOperationException");
    assert!(aws.metrics().is_empty());
}

#[tokio::test(start_paused = true)]
async fn cloudwatch_has_faults_and_denials_as_well() {
    let (aws, cloudwatch) = start().await;
    let put = || cloudwatch.put_metric_data().namespace("App").metric_data(datum("m").value(1.0).build()).send();

    let fault = aws.faults().on("cloudwatch:PutMetricData").times(2).fail();
    put().await.unwrap();
    assert_eq!((fault.count(), aws.metrics().len()), (2, 1));

    aws.deny("cloudwatch:PutMetricData");
    assert_eq!(code(put().await), "AccessDeniedException");
}
