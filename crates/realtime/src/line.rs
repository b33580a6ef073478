//! The stream under a websocket, so that a connection can be more than socketioxide lets it be: its
//! confirmation carries the client's pid, it can be dropped without the farewell that keeps clients
//! away, and it tells how the client closed it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use shared::tally::Place;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    time::Sleep,
};

use crate::control::{Control, Lines, Why};

/// What a client would send to end its session (Engine.IO's `close`), as a frame with an empty mask.
const CLOSE: [u8; 7] = [0x81, 0x81, 0, 0, 0, 0, b'1'];

/// How long nothing must have come from a client that is to go: what it had sent may be under way still.
const QUIET: Duration = Duration::from_millis(250);

/// How long a client that was sent off may take to close its end.
const LINGER: Duration = Duration::from_secs(2);

/// A connection that counts its bytes and does not wait for ever for a peer that takes nothing.
pub(crate) struct Wire {
    stream: TcpStream,
    lines: Arc<Lines>,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl Wire {
    pub(crate) const fn new(stream: TcpStream, lines: Arc<Lines>, place: Place) -> Self {
        Self { stream, lines, stalled: None, _place: place }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.lines.received.increment(count(buf.filled().len().saturating_sub(before)));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, buf) {
            self.stalled = None;
            if let Ok(written) = written {
                self.lines.sent.increment(count(written));
            }
            return Poll::Ready(written);
        }
        let limit = self.lines.limits.stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The stream of one websocket, after the handshake.
pub(crate) struct Line {
    /// None once it has been given away.
    wire: Option<Wire>,
    control: Arc<Control>,
    /// What came together with the handshake.
    early: Bytes,
    incoming: Frames,
    /// What was written last was only a part of what there was, so that a frame may be half written.
    midway: bool,
    /// How much of the frame that is being written is still to come, while the confirmation is
    /// waited for.
    passing: usize,
    /// A frame of ours, to be written first.
    ours: Bytes,
    /// Runs while nothing comes from a client that is to go.
    quiet: Option<Pin<Box<Sleep>>>,
    /// The session was told that its client closes it.
    closed: bool,
}

impl Line {
    pub(crate) fn new(wire: Wire, early: Bytes, control: Arc<Control>) -> Self {
        control.on_line();
        // An empty part would still hold on to the whole.
        let early = if early.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(&early) };
        Self {
            wire: Some(wire),
            control,
            early,
            incoming: Frames::default(),
            midway: false,
            passing: 0,
            ours: Bytes::new(),
            quiet: None,
            closed: false,
        }
    }

    /// Whether nothing has come for a while, nothing is being done, and the client is to go.
    fn may_leave(&mut self, cx: &mut Context<'_>) -> bool {
        let idle = self.control.is_leaving() && !self.control.is_busy() && !self.closed;
        if !idle || !self.incoming.is_between_frames() {
            self.quiet = None;
            return false;
        }
        let quiet = self.quiet.get_or_insert_with(|| Box::pin(tokio::time::sleep(QUIET)));
        quiet.as_mut().poll(cx).is_ready()
    }

    fn wire(&mut self) -> io::Result<Pin<&mut Wire>> {
        match &mut self.wire {
            Some(wire) if !self.control.is_hung_up() => Ok(Pin::new(wire)),
            _ => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.wire()?.poll_write(cx, buf);
        match &written {
            Poll::Pending => {
                self.control.writer.register(cx.waker());
                if self.control.is_hung_up() {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
            }
            // Errors of the writer are ignored further up: only the reader ends a session.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                self.control.hang_up(Why::Slow);
            }
            Poll::Ready(_) => {}
        }
        written
    }

    /// Writes what is ours.
    fn write_ours(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ours.is_empty() {
            let ours = self.ours.clone();
            let written = ready!(self.write(cx, &ours))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.ours.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Looks at the frame that is about to be written. Its length, and whether another
    /// one goes out in its place.
    fn look(&mut self, buf: &[u8]) -> (usize, bool) {
        if self.passing > 0 {
            return (self.passing.min(buf.len()), false);
        }
        // Frames are written whole into the buffer that is written from.
        let Some((payload, rest)) = first_frame(buf) else { return (buf.len(), false) };
        let length = buf.len().saturating_sub(rest.len());
        match std::str::from_utf8(payload).ok().and_then(|packet| self.control.tell(packet)) {
            Some(told) => {
                self.ours = text_frame(told.as_bytes());
                (length, true)
            }
            None => {
                self.passing = length;
                (length, false)
            }
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if this.early.is_empty() {
            let read = this.wire()?.poll_read(cx, buf);
            if read.is_pending() {
                this.control.reader.register(cx.waker());
                if this.control.is_hung_up() {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
                if buf.remaining() >= CLOSE.len() && this.may_leave(cx) {
                    // The session ends as if its client had closed it, which sends what is waiting.
                    this.closed = true;
                    buf.put_slice(&CLOSE);
                    return Poll::Ready(Ok(()));
                }
            }
            ready!(read)?;
            this.quiet = None;
        } else {
            let some = this.early.split_to(this.early.len().min(buf.remaining()));
            buf.put_slice(&some);
        }
        let new = buf.filled().get(before..).unwrap_or_default();
        if this.incoming.follow(new) == Some(GOING_AWAY) {
            this.control.note_left();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.write_ours(cx))?;
        if this.passing == 0 && (this.midway || !this.control.is_untold()) {
            let written = ready!(this.write(cx, buf))?;
            this.midway = written < buf.len();
            return Poll::Ready(Ok(written));
        }
        let (length, replaced) = this.look(buf);
        if replaced {
            // As far as it goes; the rest follows before anything else.
            _ = this.write_ours(cx)?;
            return Poll::Ready(Ok(length));
        }
        let written = ready!(this.write(cx, buf.get(..length).unwrap_or(buf)))?;
        this.passing = this.passing.saturating_sub(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_ours(cx))?;
        self.wire()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_ours(cx))?;
        self.wire()?.poll_shutdown(cx)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.control.off_line();
        let Some(wire) = self.wire.take() else { return };
        if self.control.is_aborted() {
            // What the kernel still holds for this reader is thrown away with it.
            _ = wire.stream.set_zero_linger();
        } else if self.closed && tokio::runtime::Handle::try_current().is_ok() {
            // To close a connection with something unread resets it, and what the client was sent
            // last may be lost with that.
            tokio::spawn(tokio::time::timeout(LINGER, farewell(wire)));
        }
    }
}

async fn farewell(mut wire: Wire) -> io::Result<()> {
    wire.shutdown().await?;
    let mut nowhere = [0; 1024];
    while wire.read(&mut nowhere).await? > 0 {}
    Ok(())
}

/// The code of a page that is left.
const GOING_AWAY: u16 = 1001;

/// Follows the frames of a client without looking at their payloads.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; 16],
    have: usize,
    /// So much of the payload is still to come.
    left: u64,
}

impl Frames {
    fn is_between_frames(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// The code of a close frame, if one ends its head here.
    fn follow(&mut self, mut bytes: &[u8]) -> Option<u16> {
        let mut code = None;
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left = self.left.saturating_sub(count(here));
                bytes = bytes.get(here..).unwrap_or_default();
                continue;
            }
            bytes = rest;
            if let Some(place) = self.head.get_mut(self.have) {
                *place = *first;
            }
            self.have += 1;
            if self.have == self.wanted() {
                self.left = self.payload().saturating_sub(self.of_payload());
                code = self.code().or(code);
                self.have = 0;
            }
        }
        code
    }

    fn is_close(&self) -> bool {
        self.head[0] & 0x0f == 8
    }

    /// The length of the head; of a close frame with its code.
    fn wanted(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        let extended = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + mask + usize::try_from(self.of_payload()).unwrap_or(0)
    }

    /// So much of the payload is read into the head.
    fn of_payload(&self) -> u64 {
        if self.is_close() && (2..126).contains(&(self.head[1] & 0x7f)) { 2 } else { 0 }
    }

    fn payload(&self) -> u64 {
        let [_, length, a, b, c, d, e, f, g, h, ..] = self.head;
        match length & 0x7f {
            126 => u64::from(u16::from_be_bytes([a, b])),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => u64::from(short),
        }
    }

    fn code(&self) -> Option<u16> {
        if self.of_payload() == 0 {
            return None;
        }
        // A mask has four bytes.
        let [_, length, a, b, _, _, e, f, ..] = self.head;
        Some(u16::from_be_bytes(if length & 0x80 == 0 { [a, b] } else { [a ^ e, b ^ f] }))
    }
}

/// The payload of the whole frame that this begins with, and what comes after it.
fn first_frame(buf: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = buf.split_first_chunk::<2>()?;
    let (length, rest) = match head[1] {
        126 => rest.split_first_chunk::<2>().map(|(b, rest)| (u64::from(u16::from_be_bytes(*b)), rest))?,
        127 => rest.split_first_chunk::<8>().map(|(b, rest)| (u64::from_be_bytes(*b), rest))?,
        short => (u64::from(short), rest),
    };
    rest.split_at_checked(usize::try_from(length).ok()?)
}

fn text_frame(payload: &[u8]) -> Bytes {
    let mut frame = vec![0x81];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..126), _) => frame.push(short),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend(count(payload.len()).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame.into()
}

/// See [`crate::fuzzing::frames`].
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn same_however_cut(stream: &[u8], piece: usize) {
    let (mut whole, mut cut) = (Frames::default(), Frames::default());
    let last = stream.chunks(piece).filter_map(|bytes| cut.follow(bytes)).last();
    assert_eq!(whole.follow(stream), last);
    assert_eq!((whole.have, whole.left), (cut.have, cut.left));
    let written = text_frame(stream);
    assert_eq!(first_frame(&written), Some((stream, &[][..])));
    if let Some((payload, rest)) = first_frame(stream) {
        assert!(stream.ends_with(rest) && payload.len() + rest.len() < stream.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [7, 1, 200, 9];
        let mut frame = vec![0x80 | opcode];
        let plain = text_frame(payload);
        frame.push(plain[1] | 0x80);
        frame.extend(&plain[2..plain.len() - payload.len()]);
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn close(code: u16) -> Vec<u8> {
        frame(8, &[&code.to_be_bytes()[..], b"bye"].concat())
    }

    #[test]
    fn a_close_is_found_wherever_the_stream_is_cut() {
        let mut stream = Vec::new();
        for length in [0, 1, 2, 125, 126, 300, 65_535, 65_536] {
            // What looks like a close in it is none.
            stream.extend(frame(1, &close(1001).repeat(length / 11 + 1)[..length]));
            stream.extend(frame(9, b""));
        }
        let before = stream.len();
        stream.extend(close(1001));
        for piece in [1, 2, 3, 7, 1000, stream.len()] {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for (i, bytes) in stream.chunks(piece).enumerate() {
                found.extend(frames.follow(bytes).map(|code| (code, (i + 1) * piece > before)));
            }
            assert_eq!(found, [(1001, true)], "{piece}");
            assert!(frames.is_between_frames());
        }
    }

    #[test]
    fn closes_have_other_codes_or_none() {
        let follow = |bytes: &[u8]| Frames::default().follow(bytes);
        assert_eq!(follow(&close(1000)), Some(1000));
        assert_eq!(follow(&frame(8, b"")), None);
        assert_eq!(follow(&frame(8, b"x")), None);
        // Not as the protocol has it, but not lost either.
        assert_eq!(follow(&[0x88, 2, 3, 0xe9]), Some(1001));
        let mut frames = Frames::default();
        frames.follow(&frame(1, b"half of it")[..8]);
        assert!(!frames.is_between_frames());
    }

    #[test]
    fn frames_that_are_written_can_be_read() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut bytes = text_frame(&payload).to_vec();
            assert_eq!(first_frame(&bytes), Some((&payload[..], &[][..])));
            assert_eq!(first_frame(&bytes[..bytes.len() - 1]), None);
            bytes.push(1);
            assert_eq!(first_frame(&bytes).unwrap().1, [1]);
        }
    }
}
