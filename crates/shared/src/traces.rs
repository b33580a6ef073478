//! Traces for whoever collects them: with `OTEL_EXPORTER_OTLP_ENDPOINT` set, what requests and jobs take goes there, as
//! protobuf over HTTP. Without it nothing of this runs.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use opentelemetry::{
    propagation::TextMapPropagator as _,
    trace::{TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{
    Layer,
    filter::{FilterExt as _, Targets, filter_fn},
    registry::LookupSpan,
};

use crate::config::Traces;

/// A collector that has not answered by then does not; what it was sent is lost then, and nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// What hands spans to the collector. Only ours: the exporter's own requests would make more of themselves.
pub(crate) fn layer<S>(settings: &Traces) -> anyhow::Result<impl Layer<S> + use<S>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(Client::new()?)
        .with_endpoint(format!("{}/v1/traces", settings.endpoint))
        .with_timeout(PATIENCE)
        .build()?;
    // Where a request was sampled before it came here, all of it is; and otherwise so many of them.
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.share)));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler)
        .with_resource(Resource::builder().with_service_name(settings.service.clone()).build())
        .build();
    let tracer = provider.tracer("souk");
    _ = PROVIDER.set(provider);
    let ours = ["api", "realtime", "shared", "souk"].map(|name| (name, Level::INFO));
    // Lines of the log stay here: in development the mails' links are among them.
    let ours = Targets::new().with_targets(ours).and(filter_fn(|of| of.is_span()));
    Ok(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours))
}

/// Sends what waits, at the end of the process.
pub fn flush() {
    if let Some(provider) = PROVIDER.get()
        && let Err(error) = provider.shutdown_with_timeout(PATIENCE)
    {
        tracing::warn!(%error, "the last traces could not be sent");
    }
}

/// Whether anybody collects them: what would only be for them can be left out otherwise.
pub fn are_collected() -> bool {
    PROVIDER.get().is_some()
}

/// Makes a span part of a trace that began elsewhere (`traceparent`, as W3C's Trace Context has it).
pub fn go_on(span: &Span, traceparent: &str) {
    if !are_collected() {
        return;
    }
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    // What is no such text makes no parent.
    _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
}

/// What those who go on elsewhere have to know of a span.
pub fn traceparent(span: &Span) -> Option<String> {
    if !are_collected() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove("traceparent")
}

/// What a span is called, once that is known.
pub fn name(span: &Span, name: impl FnOnce() -> String) {
    if are_collected() {
        span.context().span().update_name(name());
    }
}

/// What a request turned out to be, in the names that collectors know.
pub fn describe(span: &Span, method: &'static str, route: &'static str, status: u16) {
    if !are_collected() {
        return;
    }
    name(span, || format!("{method} {route}"));
    span.set_attribute("http.request.method", method);
    span.set_attribute("http.route", route);
    span.set_attribute("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.set_status(opentelemetry::trace::Status::error(""));
    }
}

/// Sends on a runtime of its own: the exporter waits in a thread that belongs to none, also when all others have ended.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Arc<tokio::runtime::Runtime>,
}

impl Client {
    fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("traces")
            .enable_all()
            .build()?;
        let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
        Ok(Self { http, runtime: Arc::new(runtime) })
    }
}

impl HttpClient for Client {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let http = self.http.clone();
        let sending = self.runtime.spawn(async move { http.send_bytes(request).await });
        Box::pin(async move { sending.await? })
    }
}
