//! Traces from a producer to a consumer, over an AWS embedded in this process: `cargo run -p examples --example traced`.
//!
//! Puts three trades, each in a span of its own, processes them, and prints the spans, with the links of those that process
//! to those that put. In a service, an exporter of `opentelemetry-otlp` takes the place of the one in memory.

use kinesis_local::LocalAws;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use tracing_subscriber::prelude::*;

mod context;
mod trades;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    tracing_subscriber::registry().with(context::layer(&provider)).init();

    trades::put_and_process(&LocalAws::start().await).await?;

    for span in exporter.get_finished_spans()? {
        let (trace, id) = (span.span_context.trace_id(), span.span_context.span_id());
        println!("{trace} {id} {}", span.name);
        for link in span.links.iter() {
            println!("    -> {} {}", link.span_context.trace_id(), link.span_context.span_id());
        }
    }
    Ok(())
}
