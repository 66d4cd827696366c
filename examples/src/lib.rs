//! Samples as library functions; the binaries parse arguments and call them.
//!
//! - [`stock_trade_stream`]: the StockTradeStream tutorial end to end, on the embedded AWS or a real one.
//! - [`stock_producer`], [`stock_consumer`]: its two halves as programs of their own, as one would deploy them.
//! - [`large_trades`]: consumer and producer in the shape of an AWS Lambda function.
//!
//! Shared: [`trade`] (one trade and its JSON), [`generator`] and [`replay`] (sources of trades), [`stats`] (the tutorial's
//! statistics), [`metrics`] (where metrics go), [`probes`] (health over HTTP), [`setup`] (AWS configuration, logs, signals).

pub mod generator;
pub mod large_trades;
pub mod metrics;
pub mod probes;
pub mod replay;
pub mod setup;
pub mod stats;
pub mod stock_consumer;
pub mod stock_producer;
pub mod stock_trade_stream;
pub mod trade;

/// The code of the README files and of the guide, compiled with the documentation's tests.
#[cfg(doctest)]
mod readmes {
    #[doc = include_str!("../../README.md")]
    struct Workspace;
    #[doc = include_str!("../../kpl/README.md")]
    struct Kpl;
    #[doc = include_str!("../../kcl/README.md")]
    struct Kcl;
    #[doc = include_str!("../../cloudwatch/README.md")]
    struct Cloudwatch;
    #[doc = include_str!("../../docs/settings.md")]
    struct Settings;
    #[doc = include_str!("../../local/README.md")]
    struct Local;
    #[doc = include_str!("../../docs/start.md")]
    struct Start;
    #[doc = include_str!("../../docs/http-service.md")]
    struct HttpService;
    #[doc = include_str!("../../docs/local.md")]
    struct Tests;
    #[doc = include_str!("../../docs/metrics.md")]
    struct Metrics;
    #[doc = include_str!("../../docs/traces.md")]
    struct Traces;
    #[doc = include_str!("../../docs/exactly-once.md")]
    struct ExactlyOnce;
    #[doc = include_str!("../../docs/compressed-records.md")]
    struct CompressedRecords;
    #[doc = include_str!("../../docs/record-tags.md")]
    struct RecordTags;
    #[doc = include_str!("../../docs/migrate/producer.md")]
    struct FromKpl;
    #[doc = include_str!("../../docs/migrate/consumer.md")]
    struct FromKcl;
}
