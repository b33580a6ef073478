//! Asking the API from within the process.

use std::pin::Pin;

use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, body, http::StatusCode};
use serde_json::Value;

use crate::error::Result;

/// What the API answered.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Reply {
    /// The sentence for people, of a refusal.
    pub(super) fn message(&self) -> String {
        let message = self.body.get("message").and_then(Value::as_str).unwrap_or("Something went wrong");
        let field = |error: &Value| {
            Some(format!("{} {}", error.get("field")?.as_str()?, error.get("message")?.as_str()?))
        };
        let fields = self.body.get("errors").and_then(Value::as_array);
        let fields: Vec<String> = fields.into_iter().flatten().filter_map(field).collect();
        if fields.is_empty() { message.to_owned() } else { format!("{message}: {}", fields.join(", ")) }
    }

    /// Answered as asked.
    pub(super) fn is_good(&self) -> bool {
        self.status.is_success()
    }
}

/// An endpoint that pages read. It sees the page's request: its session, its parameters, its path.
pub(super) type Source = Box<dyn Fn(HttpRequest) -> Pin<Box<dyn Future<Output = Reply>>>>;

/// A handler of the API, as a source.
pub(super) fn source<F, Args>(handler: F) -> Source
where
    F: Handler<Args, Output = Result<HttpResponse>> + Clone,
    Args: FromRequest + 'static,
{
    Box::new(move |request| Box::pin(ask(handler.clone(), request)))
}

/// What a handler answers to a page's request.
pub(super) async fn ask<F, Args>(handler: F, request: HttpRequest) -> Reply
where
    F: Handler<Args, Output = Result<HttpResponse>>,
    Args: FromRequest,
{
    let response = match Args::extract(&request).await {
        Ok(args) => match handler.call(args).await {
            Ok(response) => response,
            Err(refused) => actix_web::ResponseError::error_response(&refused),
        },
        Err(refused) => refused.into().error_response(),
    };
    let status = response.status();
    let bytes = body::to_bytes(response.into_body()).await.unwrap_or_default();
    Reply { status, body: serde_json::from_slice(&bytes).unwrap_or_default() }
}
