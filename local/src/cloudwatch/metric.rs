//! A metric as a client put it, read from the wire.

use std::time::{Duration, SystemTime};

use ciborium::Value;

use crate::refusal::Refusal;

/// Maximum number of different values of a datum. docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html
const MAX_VALUES: usize = 150;

/// Maximum number of dimensions of a datum. Same source.
const MAX_DIMENSIONS: usize = 30;

/// Form in which a client gave a metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MetricForm {
    /// One value.
    Value,
    /// Values, with how often each occurred. CloudWatch computes percentiles of them.
    Values,
    /// Statistics of the values: their number, sum, minimum and maximum.
    Statistics,
}

/// A metric as a client put it: one datum of PutMetricData, with values or with their statistics.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// The namespace of the request.
    pub namespace: String,
    /// The metric's name.
    pub name: String,
    /// Names and values, in the order of the request.
    pub dimensions: Vec<(String, String)>,
    /// Time of the measurement; time of the call if the client gave none.
    pub timestamp: SystemTime,
    /// Unit, such as `Milliseconds`; `None` if the client gave none.
    pub unit: Option<String>,
    /// Storage resolution in seconds: 1 for high resolution, else 60.
    pub storage_resolution: u32,
    /// Form in which the client gave the values.
    pub form: MetricForm,
    /// Number of values.
    pub sample_count: f64,
    /// Sum of the values.
    pub sum: f64,
    /// Minimum of the values.
    pub minimum: f64,
    /// Maximum of the values.
    pub maximum: f64,
}

impl Metric {
    /// The value of a dimension.
    pub fn dimension(&self, name: &str) -> Option<&str> {
        self.dimensions.iter().find(|(dimension, _)| dimension == name).map(|(_, value)| &**value)
    }

    pub(super) fn read(namespace: &str, datum: &Value, now: SystemTime) -> Result<Self, Refusal> {
        let name = text(datum, "MetricName").unwrap_or_default();
        if name.is_empty() || name.len() > 255 {
            return Err(invalid("The parameter MetricData.member.MetricName must have 1 to 255 characters."));
        }
        let dimension = |value: &Value| {
            let [name, value] = ["Name", "Value"].map(|key| text(value, key).unwrap_or_default().to_owned());
            (name, value)
        };
        let dimensions: Vec<_> = list(datum, "Dimensions").iter().map(dimension).collect();
        if dimensions.len() > MAX_DIMENSIONS
            || dimensions.iter().any(|(name, value)| name.is_empty() || value.is_empty())
        {
            return Err(invalid("The parameter MetricData.member.Dimensions is invalid."));
        }
        let mut metric = Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            dimensions,
            timestamp: number(datum, "Timestamp").and_then(time).unwrap_or(now),
            unit: text(datum, "Unit").map(str::to_owned),
            storage_resolution: number(datum, "StorageResolution").map_or(60, |seconds| seconds as u32),
            form: MetricForm::Value,
            sample_count: 0.0,
            sum: 0.0,
            minimum: f64::INFINITY,
            maximum: f64::NEG_INFINITY,
        };
        metric.measure(datum)?;
        Ok(metric)
    }

    /// Reads the values, which a client may give in one of three forms.
    fn measure(&mut self, datum: &Value) -> Result<(), Refusal> {
        let (value, values, statistics) =
            (number(datum, "Value"), list(datum, "Values"), field(datum, "StatisticValues"));
        match (value, values, statistics) {
            (Some(value), [], None) => self.add(value, 1.0),
            (None, values, None) if !values.is_empty() && values.len() <= MAX_VALUES => {
                self.form = MetricForm::Values;
                let counts = list(datum, "Counts");
                if !counts.is_empty() && counts.len() != values.len() {
                    return Err(invalid("The parameters Values and Counts must be of the same size."));
                }
                for (n, value) in values.iter().enumerate() {
                    let count = counts.get(n).map_or(Some(1.0), as_number);
                    let (Some(value), Some(count)) = (as_number(value), count) else {
                        return Err(invalid("The parameter MetricData.member.Values is invalid."));
                    };
                    self.add(value, count);
                }
            }
            (None, [], Some(set)) => {
                self.form = MetricForm::Statistics;
                let part = |key| number(set, key).ok_or_else(|| invalid(&format!("StatisticValues lacks {key}.")));
                self.sample_count = part("SampleCount")?;
                self.sum = part("Sum")?;
                self.minimum = part("Minimum")?;
                self.maximum = part("Maximum")?;
            }
            _ => {
                return Err(invalid(
                    "A metric must have one of Value, Values of at most 150 numbers, and StatisticValues.",
                ));
            }
        }
        let numbers = [self.sample_count, self.sum, self.minimum, self.maximum];
        if numbers.iter().all(|number| number.is_finite()) {
            return Ok(());
        }
        Err(invalid("The value of a metric must be a finite number."))
    }

    fn add(&mut self, value: f64, count: f64) {
        self.sample_count += count;
        self.sum += value * count;
        self.minimum = self.minimum.min(value);
        self.maximum = self.maximum.max(value);
    }
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(400, "InvalidParameterValueException", message)
}

fn time(seconds: f64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// The field of a map; `None` as well when it is null.
fn field<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    let (_, value) = value.as_map()?.iter().find(|(name, _)| name.as_text() == Some(key))?;
    (!value.is_null()).then_some(value)
}

pub(super) fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    field(value, key)?.as_text()
}

pub(super) fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    field(value, key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> Option<f64> {
    field(value, key).and_then(as_number)
}

/// A number, a time included, which is a number with a tag.
fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Integer(number) => Some(i128::from(*number) as f64),
        Value::Tag(_, value) => value.as_float().or_else(|| value.as_integer().map(|n| i128::from(n) as f64)),
        _ => None,
    }
}
