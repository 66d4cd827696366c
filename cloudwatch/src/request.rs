//! Requests to CloudWatch: from data to PutMetricData.

use std::time::Duration;

use aws_sdk_cloudwatch::{
    Client,
    config::timeout::TimeoutConfig,
    error::{DisplayErrorContext, ProvideErrorMetadata as _},
    primitives::DateTime,
    types::{Dimension, MetricDatum, StandardUnit, StatisticSet},
};

use crate::datum::Datum;

/// Maximum duration of a call with its retries. Source: twice that of the KCL for Java, which makes none.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A failed request.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: String,
    /// The data are at fault: they would fail again.
    pub(crate) is_of_data: bool,
}

/// The client, with time-outs of its own unless it has some.
pub(crate) fn with_timeouts(client: &Client) -> Client {
    let ours = TimeoutConfig::builder().operation_timeout(CALL_TIMEOUT);
    let timeouts = client.config().timeout_config().map(TimeoutConfig::to_builder).unwrap_or_default();
    let timeouts = timeouts.take_unset_from(ours).build();
    Client::from_conf(client.config().to_builder().timeout_config(timeouts).build())
}

/// Sends data of one namespace.
pub(crate) async fn send(client: Client, data: &[Datum]) -> Result<(), Failure> {
    let Some(first) = data.first() else { return Ok(()) };
    let call = client.put_metric_data().namespace(&first.namespace);
    let sent = call.set_metric_data(Some(data.iter().map(metric_datum).collect())).send().await;
    sent.map(|_| ()).map_err(|error| {
        let faults = ["InvalidParameter", "MissingRequiredParameter", "Serialization", "Validation"];
        let code = error.code().unwrap_or_default();
        let is_of_data = faults.iter().any(|fault| code.starts_with(fault));
        Failure { error: DisplayErrorContext(&error).to_string(), is_of_data }
    })
}

fn metric_datum(datum: &Datum) -> MetricDatum {
    let dimension = |(name, value): (&String, &String)| Dimension::builder().name(name).value(value).build();
    let builder = MetricDatum::builder()
        .metric_name(&datum.name)
        .set_dimensions(Some(datum.dimensions.iter().map(dimension).collect()))
        .set_timestamp(datum.at.map(DateTime::from))
        .set_unit(datum.unit.map(StandardUnit::from));
    let stats = &datum.stats;
    match stats.values() {
        Some(values) => {
            let (values, counts) = values.unzip();
            builder.set_values(Some(values)).set_counts(Some(counts)).build()
        }
        None => {
            let set = StatisticSet::builder().sample_count(stats.count).sum(stats.sum);
            builder.statistic_values(set.minimum(stats.min).maximum(stats.max).build()).build()
        }
    }
}
