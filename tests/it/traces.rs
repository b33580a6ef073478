//! Traces reach a collector, and go on where they began and where their work goes on.

use std::time::Duration;

use serde_json::json;
use tests::{Browser, TestApp};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

use crate::crash::Process;

/// Whether these bytes are among those.
fn has(body: &[u8], wanted: &[u8]) -> bool {
    body.windows(wanted.len()).any(|window| window == wanted)
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Everything that a collector was sent so far.
async fn received(collector: &MockServer) -> Vec<u8> {
    let requests = collector.received_requests().await.unwrap();
    for request in &requests {
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
    }
    requests.into_iter().flat_map(|request| request.body).collect()
}

#[tokio::test]
async fn a_request_and_what_follows_from_it_are_one_trace_that_began_at_the_proxy() {
    let collector = MockServer::start().await;
    let taken = Mock::given(method("POST")).and(path("/v1/traces")).respond_with(ResponseTemplate::new(200));
    taken.mount(&collector).await;
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let endpoint = collector.uri();
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_SERVICE_NAME", "souk-of-the-test"),
        // Nobody's own request is traced; the proxy's are, as it says.
        ("OTEL_TRACES_SAMPLER_ARG", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("TRUSTED_PROXIES", "127.0.0.0/8"),
        // Whatever is logged.
        ("RUST_LOG", "error"),
    ];
    let process = Process::start_with(&app, &settings).await;
    let there = Browser::new(&process.base);
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    there.get("/api/product/get-product/unsampled").unchecked().await;
    let forgot =
        there.post("/api/user/forgot-password").header("traceparent", &format!("00-{trace}-{parent}-01"));
    forgot.json(&json!({ "email": ann.email })).await.expect(200);
    let wanted: [&[u8]; 6] = [
        &bytes(trace),
        &bytes(parent),
        b"souk-of-the-test",
        b"POST /api/user/forgot-password",
        b"job resetLink",
        b"job mail",
    ];
    let arriving = async {
        loop {
            let body = received(&collector).await;
            if wanted.iter().all(|wanted| has(&body, wanted)) {
                return body;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let body = match tokio::time::timeout(Duration::from_secs(30), arriving).await {
        Ok(body) => body,
        Err(_) => panic!("{}", String::from_utf8_lossy(&received(&collector).await)),
    };
    assert!(!has(&body, b"GET /api/product/get-product/{id}"), "it was not to be traced");
    // The request, the job, and the job that follows from that: all of one trace.
    let spans = body.windows(16).filter(|window| *window == bytes(trace)).count();
    assert!(spans >= 3, "{spans} spans of the trace");
    let secret = String::from_utf8_lossy(&body).contains(&ann.email);
    assert!(!secret, "a collector learns nobody's address");
    process.terminate().await;
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_nobody_anything() {
    let app = TestApp::start().await;
    let nowhere = format!("http://127.0.0.1:{}", crate::crash::free_port());
    let process = Process::start_with(&app, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &nowhere)]).await;
    let there = Browser::new(&process.base);
    for _ in 0..20 {
        there.get("/api/product/get-all-products").await.expect(200);
        there.get("/readyz").await.expect(200);
    }
    process.terminate().await;
}
