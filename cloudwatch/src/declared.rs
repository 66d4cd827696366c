//! The tables of the libraries whose metrics are published.

use kpl::metric::Metric;

#[cfg(feature = "producer")]
pub(crate) const PRODUCER: &[Metric] = kpl::METRICS;
#[cfg(not(feature = "producer"))]
pub(crate) const PRODUCER: &[Metric] = &[];

#[cfg(feature = "consumer")]
pub(crate) const CONSUMER: &[Metric] = kcl::METRICS;
#[cfg(not(feature = "consumer"))]
pub(crate) const CONSUMER: &[Metric] = &[];
