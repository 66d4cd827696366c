//! The spans of the sample of that name.

use kinesis_local::LocalAws;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing_subscriber::prelude::*;

#[path = "../examples/traced/context.rs"]
mod context;
#[path = "../examples/traced/trades.rs"]
mod trades;

fn attribute<'s>(span: &'s SpanData, key: &str) -> Option<&'s opentelemetry::Value> {
    span.attributes.iter().find(|attribute| attribute.key.as_str() == key).map(|attribute| &attribute.value)
}

#[tokio::test]
async fn spans_that_process_records_link_to_those_that_put_them() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    // All tasks are polled in this thread.
    let _subscribed = tracing_subscriber::registry().with(context::layer(&provider)).set_default();

    trades::put_and_process(&LocalAws::start().await).await.expect("trades are put and processed");

    let spans = exporter.get_finished_spans().expect("it is not shut down");
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let (puts, settlements) = (named("sell"), named("settle"));
    assert_eq!((puts.len(), settlements.len()), (3, 3), "{spans:?}");
    for (put, settlement) in puts.iter().zip(&settlements) {
        assert_eq!(attribute(put, "symbol"), attribute(settlement, "symbol"));
        assert_eq!(settlement.links.len(), 1);
        assert_eq!(settlement.links[0].span_context.trace_id(), put.span_context.trace_id());
        assert_eq!(settlement.links[0].span_context.span_id(), put.span_context.span_id());
        let batch = spans.iter().find(|span| span.span_context.span_id() == settlement.parent_span_id);
        let batch = batch.expect("each has a batch");
        assert_eq!((&*batch.name, batch.parent_span_id), ("kcl.batch", opentelemetry::trace::SpanId::INVALID));
        assert_eq!(attribute(batch, "stream"), Some(&"StockTradeStream".into()));
        assert_eq!(attribute(batch, "shard_id"), Some(&"shardId-000000000000".into()));
    }
    let sum = |spans: &[&SpanData], key: &str| -> u64 {
        // The layer exports unsigned numbers as text.
        let value = |span: &&SpanData| attribute(span, key).and_then(|value| value.as_str().parse::<u64>().ok());
        spans.iter().map(|span| value(span).expect("a number")).sum()
    };
    let (batches, requests) = (named("kcl.batch"), named("kpl.send"));
    assert_eq!((sum(&batches, "records"), sum(&batches, "bytes")), (3, 12));
    assert_eq!(sum(&requests, "user_records"), 3);
}
