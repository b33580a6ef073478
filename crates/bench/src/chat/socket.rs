//! A Socket.IO client over a bare websocket: no more than is needed, since it shares the machine with what
//! it measures.

use std::net::IpAddr;

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream, lookup_host},
};

const PRESENCE: &[u8] = b"42[\"getUsers\"";
const MESSAGE: &[u8] = b"42[\"getMessage\"";
/// A relay passes on what it got.
const RELAYED: &[u8] = b"42[\"sendMessage\"";
/// The longest event: presence of ten thousand people.
const LONGEST: usize = 16 << 20;

/// Somebody who chats.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) id: String,
    /// The Cookie header of the handshake.
    pub(crate) cookie: Option<String>,
    /// Where the connection comes from: on this machine everybody has an address of their own.
    pub(crate) from: Option<IpAddr>,
}

/// Where a client that comes back goes on: what `socket.io-client` remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// What the server called the last connection.
    pid: Option<String>,
    /// The last argument of the last event, if that was a text.
    offset: Option<String>,
}

impl Place {
    /// The packet that asks to be let in.
    fn greeting(&self) -> String {
        match (&self.pid, &self.offset) {
            (Some(pid), Some(offset)) => format!(r#"40{{"pid":"{pid}","offset":"{offset}"}}"#),
            (Some(pid), None) => format!(r#"40{{"pid":"{pid}"}}"#),
            (None, _) => "40".to_owned(),
        }
    }

    fn note(&mut self, event: &[u8]) {
        if self.pid.is_some()
            && let Some(offset) = last_argument(event)
        {
            self.offset = Some(offset);
        }
    }
}

/// The text that ends an event's arguments; the texts of this benchmark hold no quotes.
fn last_argument(event: &[u8]) -> Option<String> {
    let text = event.strip_suffix(b"\"]")?;
    let begin = text.iter().rposition(|byte| *byte == b'"')? + 1;
    String::from_utf8(text.get(begin..)?.to_vec()).ok()
}

/// What a server has sent.
#[derive(Debug)]
pub(crate) enum Packet {
    /// Somebody has said something.
    Message(Bytes),
    /// What became of something said here.
    Receipt(Bytes),
    /// It does not matter.
    Other,
}

/// A connection that was let in.
pub(crate) struct Socket {
    stream: TcpStream,
    inbox: BytesMut,
    pub(crate) place: Place,
    /// Bytes of `getUsers`.
    pub(crate) presence: u64,
}

impl Socket {
    /// Connects, and returns once the server has confirmed.
    pub(crate) async fn open(address: &str, person: &Person, place: Place) -> anyhow::Result<Self> {
        let stream = dial(address, person.from).await?;
        stream.set_nodelay(true)?;
        let mut socket = Self { stream, inbox: BytesMut::new(), place, presence: 0 };
        socket.upgrade(address, person).await?;
        let opening = socket.frame().await?;
        ensure!(opening.starts_with(b"0{"), "the server does not begin with its terms: {}", text(&opening));
        let greeting = socket.place.greeting();
        socket.send(&greeting).await?;
        loop {
            let frame = socket.frame().await?;
            if let Some(confirmed) = frame.strip_prefix(b"40") {
                socket.place.pid = serde_json::from_slice::<serde_json::Value>(confirmed)
                    .ok()
                    .and_then(|answer| answer.get("pid")?.as_str().map(str::to_owned));
                return Ok(socket);
            }
            ensure!(!frame.starts_with(b"44"), "not let in: {}", text(&frame));
            socket.read(frame)?;
        }
    }

    async fn upgrade(&mut self, address: &str, person: &Person) -> anyhow::Result<()> {
        let cookie = person.cookie.as_ref().map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {address}\r\nUser-Agent: Mozilla/5.0 (bench)\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{cookie}\r\n"
        );
        self.stream.write_all(request.as_bytes()).await?;
        loop {
            if let Some(end) = self.inbox.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.inbox.split_to(end + 4);
                let status = head.get(9..12).unwrap_or_default();
                ensure!(status == b"101", "the handshake was answered {}", text(status));
                return Ok(());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        self.inbox.reserve(512);
        let read = self.stream.read_buf(&mut self.inbox).await?;
        ensure!(read > 0, "the server hung up");
        Ok(())
    }

    /// The next text. Loses nothing when it is cancelled.
    async fn frame(&mut self) -> anyhow::Result<Bytes> {
        loop {
            match take(&mut self.inbox)? {
                Some((1, payload)) => return Ok(payload),
                Some((8, reason)) => {
                    let code = reason.first_chunk().map(|code| u16::from_be_bytes(*code)).unwrap_or_default();
                    bail!("the server closed the connection with code {code}");
                }
                Some(_) => {}
                None => self.more().await?,
            }
        }
    }

    /// The next packet that is not about the connection itself. Loses nothing when it is cancelled.
    pub(crate) async fn packet(&mut self) -> anyhow::Result<Packet> {
        loop {
            let frame = self.frame().await?;
            if let Some(packet) = self.read(frame)? {
                return Ok(packet);
            }
        }
    }

    fn read(&mut self, frame: Bytes) -> anyhow::Result<Option<Packet>> {
        if frame.starts_with(MESSAGE) || frame.starts_with(RELAYED) {
            self.place.note(&frame);
            return Ok(Some(Packet::Message(frame)));
        }
        if frame.starts_with(PRESENCE) {
            self.presence += u64::try_from(frame.len())?;
        }
        if frame.starts_with(b"42") {
            self.place.note(&frame);
            return Ok(Some(Packet::Other));
        }
        match frame.get(..2) {
            Some(b"43") => return Ok(Some(Packet::Receipt(frame))),
            Some(b"41") => bail!("the server ended the session"),
            None if *frame == *b"2" => {
                let pong = client_frame("3");
                // Seven bytes find a place, unless the server has stopped reading.
                ensure!(self.stream.try_write(&pong)? == pong.len(), "the server does not read");
            }
            _ => {}
        }
        Ok(None)
    }

    pub(crate) async fn send(&mut self, packet: &str) -> anyhow::Result<()> {
        Ok(self.stream.write_all(&client_frame(packet)).await?)
    }
}

async fn dial(address: &str, from: Option<IpAddr>) -> anyhow::Result<TcpStream> {
    let to = lookup_host(address).await?.next().with_context(|| format!("{address} is nowhere"))?;
    let Some(from) = from.filter(|_| to.ip().is_loopback() && to.is_ipv4()) else {
        return Ok(TcpStream::connect(to).await?);
    };
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    Ok(socket.connect(to).await?)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(200).collect()
}

/// A text as clients send it: masked, with a mask of zeros, which changes nothing.
fn client_frame(payload: &str) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    frame.push(0x81);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..126), _) => frame.push(0x80 | length),
        (_, Ok(length)) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend(u64::try_from(payload.len()).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload.as_bytes());
    frame
}

/// Takes a server's frame out of what was read, if it is whole: what kind it is, and its payload.
fn take(inbox: &mut BytesMut) -> anyhow::Result<Option<(u8, Bytes)>> {
    let Some([kind, short]) = inbox.first_chunk::<2>().copied() else { return Ok(None) };
    ensure!(kind & 0x80 != 0 && short < 0x80, "a frame in parts, or masked, is more than this client reads");
    let (head, length) = match short {
        126 => (4, inbox.get(2..).and_then(<[u8]>::first_chunk).map(|l| u64::from(u16::from_be_bytes(*l)))),
        127 => (10, inbox.get(2..).and_then(<[u8]>::first_chunk).map(|l| u64::from_be_bytes(*l))),
        length => (2, Some(u64::from(length))),
    };
    let Some(length) = length else { return Ok(None) };
    let length = usize::try_from(length)?;
    ensure!(length <= LONGEST, "a frame of {length} bytes");
    if inbox.len() < head + length {
        inbox.reserve(head + length - inbox.len());
        return Ok(None);
    }
    inbox.advance(head);
    Ok(Some((kind & 0x0f, inbox.split_to(length).freeze())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_whole_and_one_after_the_other() {
        let mut inbox = BytesMut::new();
        let long = vec![b'x'; 300];
        let whole = [b"\x81\x01\x32\x81\x7e\x01\x2c".as_slice(), &long, b"\x89\x00"].concat();
        let mut taken = Vec::new();
        for byte in whole {
            inbox.extend([byte]);
            taken.extend(take(&mut inbox).unwrap());
        }
        assert_eq!(taken, [(1, Bytes::from("2")), (1, Bytes::from(long)), (9, Bytes::new())]);
        assert!(inbox.is_empty());
        assert!(take(&mut BytesMut::from(b"\x81\x80".as_slice())).is_err(), "servers do not mask");
    }

    #[test]
    fn client_frames_have_the_shortest_header_and_a_mask() {
        assert_eq!(client_frame("40"), b"\x81\x82\0\0\0\x0040");
        let longer = client_frame(&"x".repeat(126));
        assert_eq!((longer.get(..4).unwrap(), longer.len()), (b"\x81\xfe\0\x7e".as_slice(), 8 + 126));
        assert_eq!(client_frame(&"x".repeat(70_000)).len(), 14 + 70_000);
    }

    #[test]
    fn a_client_goes_on_where_its_last_event_was() {
        let mut place = Place::default();
        place.note(br#"42["getMessage",{"text":"a"},"17"]"#);
        assert_eq!(place.greeting(), "40", "without a pid there is nothing to go on from");
        place.pid = Some("p".to_owned());
        assert_eq!(place.greeting(), r#"40{"pid":"p"}"#);
        place.note(br#"42["getMessage",{"text":"a"},"17"]"#);
        place.note(br#"42["getUsers",[{"userId":"b"}]]"#);
        assert_eq!(place.greeting(), r#"40{"pid":"p","offset":"17"}"#);
    }
}
