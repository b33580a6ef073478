//! What the stack under the chat allows: servers that only pass on what they get. Nobody is asked who they are, nothing
//! is stored, and whoever is away misses it.

use std::{
    collections::HashMap,
    convert::Infallible,
    io::Write as _,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use http_body_util::Empty;
use hyper::{
    Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use socketioxide::{
    SocketIo,
    extract::{Data, SocketRef},
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

/// socketioxide's, which Souk keeps.
const READ_BUFFER: usize = 4096;

/// Which relay.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Relay {
    #[arg(long)]
    port: u16,
    /// Through the library that Souk uses, instead of over bare websockets
    #[arg(long)]
    library: bool,
}

/// Serves until it is killed.
pub(crate) async fn serve(relay: Relay) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, relay.port)).await?;
    _ = writeln!(std::io::stdout(), "listening on {}", relay.port);
    if relay.library { library(listener).await } else { bare(listener).await }
}

async fn library(listener: TcpListener) -> anyhow::Result<()> {
    let (layer, io) = SocketIo::builder().build_layer();
    io.ns("/", |socket: SocketRef| {
        socket.on("addUser", |socket: SocketRef, Data::<String>(person)| {
            socket.join(person);
            std::future::ready(())
        });
        socket.on("sendMessage", async |socket: SocketRef, Data::<serde_json::Value>(message)| {
            if let Some(receiver) = message.get("receiverId").and_then(serde_json::Value::as_str) {
                // Whoever has gone misses it.
                _ = socket.within(receiver.to_owned()).emit("getMessage", &message).await;
            }
        });
        std::future::ready(())
    });
    Ok(axum::serve(listener, axum::Router::new().layer(layer)).await?)
}

/// Who is there, and the way to their socket.
type Present = Arc<Mutex<HashMap<Bytes, mpsc::UnboundedSender<Message>>>>;

async fn bare(listener: TcpListener) -> anyhow::Result<()> {
    let present = Present::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let present = Arc::clone(&present);
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let present = Arc::clone(&present);
                async move { Ok::<_, Infallible>(upgrade(request, present)) }
            });
            // A client that hangs up is no failure of ours.
            _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).with_upgrades().await;
        });
    }
}

fn upgrade(request: Request<Incoming>, present: Present) -> Response<Empty<Bytes>> {
    let accepted =
        request.headers().get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let Some(accepted) = accepted.and_then(|key| key.parse::<header::HeaderValue>().ok()) else {
        let mut refusal = Response::new(Empty::new());
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return refusal;
    };
    tokio::spawn(async move {
        let stream = hyper::upgrade::on(request).await?;
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let websocket =
            WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Server, Some(config)).await;
        chat(websocket, present).await
    });
    let mut answer = Response::new(Empty::new());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accepted);
    answer
}

/// As much of the protocol as the clients of this benchmark need.
async fn chat(
    mut websocket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    present: Present,
) -> anyhow::Result<()> {
    let (way, mut waiting) = mpsc::unbounded_channel();
    websocket.send(Message::text("0{}")).await?;
    let mut own = None;
    loop {
        tokio::select! {
            message = websocket.next() => {
                let Some(message) = message.transpose()? else { break };
                if message.is_close() {
                    break;
                }
                let bytes = message.clone().into_data();
                if *bytes == *b"40" {
                    websocket.send(Message::text("40{}")).await?;
                } else if let Some(person) = between(&bytes, b"[\"addUser\",\"") {
                    own = Some(person.clone());
                    present.lock().unwrap_or_else(PoisonError::into_inner).insert(person, way.clone());
                } else if let Some(receiver) = between(&bytes, b"\"receiverId\":\"")
                    && let Some(way) = present.lock().unwrap_or_else(PoisonError::into_inner).get(&receiver)
                {
                    // Whoever has gone misses it.
                    _ = way.send(message);
                }
            }
            message = waiting.recv() => {
                websocket.feed(message.context("a way is kept here")?).await?;
                // All that waits goes out together.
                while let Some(Some(message)) = waiting.recv().now_or_never() {
                    websocket.feed(message).await?;
                }
                websocket.flush().await?;
            }
        }
    }
    if let Some(own) = own {
        present.lock().unwrap_or_else(PoisonError::into_inner).remove(&own);
    }
    Ok(())
}

/// What stands between a mark and the next quote.
fn between(bytes: &Bytes, mark: &[u8]) -> Option<Bytes> {
    let begin = bytes.windows(mark.len()).position(|part| part == mark)? + mark.len();
    let length = bytes.get(begin..)?.iter().position(|byte| *byte == b'"')?;
    bytes.get(begin..begin + length).map(|found| bytes.slice_ref(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receiver_is_found_without_reading_the_rest() {
        let packet = Bytes::from(super::super::pair::saying("ann", "bob", 1, false));
        assert_eq!(between(&packet, b"\"receiverId\":\"").as_deref(), Some(b"bob".as_slice()));
        assert_eq!(between(&packet, b"[\"addUser\",\""), None);
        assert_eq!(between(&Bytes::from("42[\"addUser\",\"bob"), b"[\"addUser\",\""), None);
    }
}
