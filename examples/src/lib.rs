//! Samples as library functions; the binaries parse arguments and call them.
//!
//! - [`stock_trade_stream`]: the StockTradeStream tutorial end to end, on the embedded AWS or a real one.
//! - [`stock_producer`], [`stock_consumer`]: its two halves as programs of their own, as one would deploy them.
//! - [`large_trades`]: consumer and producer in the shape of an AWS Lambda function.
//!
//! Shared: [`trade`] (what is put), [`generator`] and [`replay`] (where trades come from), [`stats`] (what is made of
//! them), [`setup`] (AWS configuration, logs, signals).

pub mod generator;
pub mod large_trades;
pub mod replay;
pub mod setup;
pub mod stats;
pub mod stock_consumer;
pub mod stock_producer;
pub mod stock_trade_stream;
pub mod trade;

/// The README's code, compiled with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
