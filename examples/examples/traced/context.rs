//! The recipe: trace contexts of spans, spans that link to them, and the layer that exports spans.

use std::collections::HashMap;

use kpl::TraceContext;
use opentelemetry::{
    propagation::TextMapPropagator as _,
    trace::{TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

/// Trace context of the current span, to be sent with a record. `None` outside of spans that are exported.
pub(crate) fn current() -> Option<TraceContext> {
    let mut headers = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut headers);
    let context = TraceContext::parse(headers.get("traceparent")?).ok()?;
    match headers.get("tracestate") {
        Some(tracestate) => context.with_tracestate(tracestate).ok(),
        None => Some(context),
    }
}

/// Links a span to the one in which a record was put. For one trace from the producer to the consumer in place of two that
/// are linked, `span.set_parent(context)`; a span that processes several records can only link to theirs.
pub(crate) fn link(span: &Span, record: &TraceContext) {
    let mut headers = HashMap::from([("traceparent".to_owned(), record.traceparent().to_owned())]);
    if let Some(tracestate) = record.tracestate() {
        headers.insert("tracestate".to_owned(), tracestate.to_owned());
    }
    let context = TraceContextPropagator::new().extract(&headers);
    span.add_link(context.span().span_context().clone());
}

/// Exports the spans of this program and of both libraries, but those that last as long as a worker or its lease: what is in
/// them would be one trace without end.
pub(crate) fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let is_exported = filter_fn(|metadata| {
        let is_of_sdk = metadata.target().starts_with("aws_") || metadata.target().starts_with("hyper");
        *metadata.level() <= Level::DEBUG && !is_of_sdk && !["kcl.worker", "kcl.shard"].contains(&metadata.name())
    });
    tracing_opentelemetry::layer().with_tracer(provider.tracer("trades")).with_filter(is_exported)
}
