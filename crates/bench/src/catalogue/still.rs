//! The ceiling: the same framework, answering the same bytes, which never change.

use std::{path::PathBuf, sync::Arc};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    http::header::{self, HeaderValue},
    web::{self, Bytes},
};
use anyhow::Context as _;
use clap::Args;

use crate::stage::say;

/// What it answers, and where.
#[derive(Args, Debug)]
pub(crate) struct Still {
    /// The port on this machine
    #[arg(long)]
    port: u16,
    /// A directory with the bodies: each file is answered under its name, `*.gz` as gzip of the name before it
    #[arg(long)]
    bodies: PathBuf,
}

/// The validator of every answer.
const TAG: &str = "\"still\"";

struct Body {
    name: String,
    plain: Bytes,
    gzip: Option<Bytes>,
}

/// Serves until it is killed.
pub(crate) async fn serve(options: Still) -> anyhow::Result<()> {
    let mut bodies = Vec::new();
    for entry in std::fs::read_dir(&options.bodies)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a name")?.to_owned();
        if name.ends_with(".gz") {
            continue;
        }
        let gzip = std::fs::read(path.with_file_name(format!("{name}.gz"))).ok().map(Bytes::from);
        bodies.push(Body { name, plain: std::fs::read(&path)?.into(), gzip });
    }
    let bodies = Arc::new(bodies);
    // Its workers are threads with runtimes of their own.
    let serving = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let server = HttpServer::new(move || {
                let bodies = Arc::clone(&bodies);
                let answer = move |request: HttpRequest| {
                    let answer = answer(&bodies, &request);
                    async move { answer }
                };
                App::new().default_service(web::to(answer))
            });
            let server = server.bind(("127.0.0.1", options.port))?.run();
            say(format!("serving at {}", options.port));
            server.await
        })
    });
    let served = tokio::task::spawn_blocking(|| serving.join()).await?;
    served.map_err(|_panic| anyhow::anyhow!("the server panicked"))?.context("serving")
}

fn answer(bodies: &[Body], request: &HttpRequest) -> HttpResponse {
    let name = request.path().trim_start_matches('/');
    let Some(body) = bodies.iter().find(|body| body.name == name) else {
        return HttpResponse::NotFound().finish();
    };
    let is = |name: header::HeaderName, value: &str| {
        request
            .headers()
            .get(name)
            .and_then(|sent| sent.to_str().ok())
            .is_some_and(|sent| sent.contains(value))
    };
    if is(header::IF_NONE_MATCH, TAG) {
        return HttpResponse::NotModified()
            .insert_header((header::ETAG, HeaderValue::from_static(TAG)))
            .finish();
    }
    let mut response = HttpResponse::Ok();
    response.insert_header((header::ETAG, HeaderValue::from_static(TAG)));
    response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
    match &body.gzip {
        Some(gzip) if is(header::ACCEPT_ENCODING, "gzip") => response
            .insert_header((header::CONTENT_ENCODING, HeaderValue::from_static("gzip")))
            .body(gzip.clone()),
        _ => response.body(body.plain.clone()),
    }
}
