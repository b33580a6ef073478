//! Request bodies while they arrive: the first of each in memory, the rest in a file that has no name, so that who
//! sends much and slowly costs room on a disk and keeps nobody else waiting.
//!
//! How much all of them together take, and all of one address, is bounded; whoever comes beyond that is told to come
//! back. A file without a name is gone with the process, however that ends.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write as _},
    net::IpAddr,
    ops::Range,
    os::unix::fs::FileExt as _,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use shared::tally::{Place, Tally};
use tokio::task::spawn_blocking;

use crate::{
    error::{Error, Result},
    load,
};

/// So much of a body is in memory at a time.
const BUFFER: usize = 64 * 1024;
/// What all bodies may take, in buffers: 4 GB.
const MOST: usize = 64 * 1024;
/// And those of one address.
const MOST_OF_ONE: usize = MOST / 4;

static ROOM: LazyLock<Arc<Tally>> = LazyLock::new(|| Tally::new(MOST, MOST_OF_ONE));

/// A body that is arriving.
pub(crate) struct Spool {
    /// What has come since the file was last written to.
    recent: Vec<u8>,
    file: Option<Arc<File>>,
    written: u64,
    room: Place,
}

impl Spool {
    /// For what somebody at this address sends.
    pub(crate) fn begin(address: Option<IpAddr>) -> Result<Self> {
        Self::within(&ROOM, address)
    }

    fn within(room: &Arc<Tally>, address: Option<IpAddr>) -> Result<Self> {
        let room = room.take(address).map_err(|_full| Error::from(load::BUSY))?;
        Ok(Self { recent: Vec::new(), file: None, written: 0, room })
    }

    /// How many bytes have come.
    pub(crate) fn len(&self) -> u64 {
        self.written.saturating_add(u64::try_from(self.recent.len()).unwrap_or(u64::MAX))
    }

    /// Takes in what has come. Beyond the room there is: 503.
    ///
    /// It is written at once, mostly into the system's own memory: whoever gave it to another thread would fall behind
    /// a fast connection, and of one that ends behind its form the rest would be lost.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some((now, later)) = bytes.split_at_checked(BUFFER.saturating_sub(self.recent.len())) {
            self.recent.extend_from_slice(now);
            bytes = later;
            if bytes.is_empty() {
                return Ok(());
            }
            self.room.widen().map_err(|_full| Error::from(load::BUSY))?;
            self.flush()?;
        }
        self.recent.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.write_recent().map_err(|cause| {
            Error::Unavailable(anyhow::Error::new(cause).context("a request body cannot be kept on disk"))
        })
    }

    fn write_recent(&mut self) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => Arc::new(tempfile::tempfile()?),
        };
        (&*file).write_all(&self.recent)?;
        self.file = Some(file);
        self.written = self.len();
        self.recent.clear();
        Ok(())
    }

    /// All that has come, to be read.
    pub(crate) fn end(mut self) -> Result<Spooled> {
        if self.file.is_some() {
            self.flush()?;
        }
        let length = self.len();
        let held = match self.file {
            Some(file) => Held::OnDisk(file),
            None => Held::InMemory(self.recent.into()),
        };
        Ok(Spooled { held, range: 0..length, _room: Some(Arc::new(self.room)) })
    }
}

#[derive(Clone, Debug)]
enum Held {
    InMemory(Bytes),
    OnDisk(Arc<File>),
}

/// What has arrived, or part of it. Its room is free again with the last clone.
#[derive(Clone, Debug)]
pub struct Spooled {
    held: Held,
    range: Range<u64>,
    _room: Option<Arc<Place>>,
}

impl From<Vec<u8>> for Spooled {
    fn from(bytes: Vec<u8>) -> Self {
        let bytes = Bytes::from(bytes);
        let range = 0..u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self { held: Held::InMemory(bytes), range, _room: None }
    }
}

impl Spooled {
    /// How many bytes it has.
    pub(crate) fn len(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// The part between two places counted from its own beginning, as far as it reaches.
    pub(crate) fn part(&self, range: Range<u64>) -> Self {
        let place = |offset: u64| self.range.start.saturating_add(offset).min(self.range.end);
        Self { range: place(range.start)..place(range.end), ..self.clone() }
    }

    /// Reads it in place, wherever it is: may wait for a disk.
    pub(crate) fn reader(&self) -> Reader {
        Reader { of: self.clone(), position: 0 }
    }

    /// All of it at once.
    pub(crate) async fn read(&self) -> Result<Bytes> {
        let this = self.clone();
        let read = match self.held {
            Held::InMemory(_) => this.piece(0, this.len()),
            Held::OnDisk(_) => {
                let reading = spawn_blocking(move || this.piece(0, this.len()));
                reading.await.map_err(|lost| Error::Unexpected(lost.into()))?
            }
        };
        read.map_err(|cause| {
            Error::Unexpected(anyhow::Error::new(cause).context("reading back a request body"))
        })
    }

    /// All of it, piece by piece.
    pub(crate) fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let buffer = u64::try_from(BUFFER).unwrap_or(u64::MAX);
        stream::try_unfold((self, 0), move |(this, position)| async move {
            if position >= this.len() {
                return Ok(None);
            }
            let reading = spawn_blocking(move || (this.piece(position, buffer), this));
            let (piece, this) = reading.await.map_err(io::Error::other)?;
            Ok(Some((piece?, (this, position.saturating_add(buffer)))))
        })
    }

    /// So many bytes from there on, or as many as there are.
    fn piece(&self, position: u64, most: u64) -> io::Result<Bytes> {
        let part = self.part(position..position.saturating_add(most));
        let length = usize::try_from(part.len()).map_err(io::Error::other)?;
        match &part.held {
            Held::InMemory(bytes) => {
                let start = usize::try_from(part.range.start).map_err(io::Error::other)?;
                Ok(bytes.slice(start..start.saturating_add(length)))
            }
            Held::OnDisk(file) => {
                let mut piece = vec![0; length];
                file.read_exact_at(&mut piece, part.range.start)?;
                Ok(piece.into())
            }
        }
    }
}

/// See [`Spooled::reader`].
pub(crate) struct Reader {
    of: Spooled,
    position: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        let part = self.of.part(self.position..self.position.saturating_add(wanted));
        let read = match &part.held {
            Held::OnDisk(file) => {
                let length = usize::try_from(part.len()).map_err(io::Error::other)?;
                match buffer.get_mut(..length) {
                    Some(buffer) if length > 0 => file.read_at(buffer, part.range.start)?,
                    _ => 0,
                }
            }
            Held::InMemory(_) => part.piece(0, wanted)?.as_ref().read(buffer)?,
        };
        self.position = self.position.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.of.len().checked_add_signed(by),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;

    fn room(most: usize, most_of_one: usize) -> Arc<Tally> {
        Tally::new(most, most_of_one)
    }

    /// Bytes that differ wherever one looks.
    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap()).collect()
    }

    #[tokio::test]
    async fn what_was_pushed_is_read_in_whole_in_parts_and_in_pieces_wherever_it_is_kept() {
        for length in [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER + 17] {
            for chunk in [1000, BUFFER, 5 * BUFFER] {
                let sent = bytes(length);
                let mut spool = Spool::within(&room(100, 100), None).unwrap();
                for chunk in sent.chunks(chunk) {
                    spool.push(chunk).unwrap();
                }
                assert_eq!(spool.len(), u64::try_from(length).unwrap());
                let spooled = spool.end().unwrap();
                assert_eq!(spooled.read().await.unwrap(), sent);
                let pieces: Vec<Bytes> = spooled.clone().stream().try_collect().await.unwrap();
                assert_eq!(pieces.concat(), sent);
                let mut read = Vec::new();
                spooled.reader().read_to_end(&mut read).unwrap();
                assert_eq!(read, sent);
                let (from, to) = (length / 3, length - length / 4);
                let part = spooled.part(from.try_into().unwrap()..to.try_into().unwrap());
                assert_eq!(part.read().await.unwrap(), sent[from..to]);
                let mut reader = part.reader();
                reader.seek(SeekFrom::End(-i64::try_from((to - from) / 2).unwrap())).unwrap();
                let mut read = Vec::new();
                reader.read_to_end(&mut read).unwrap();
                assert_eq!(read, sent[to - (to - from) / 2..to]);
                assert_eq!(part.part(0..u64::MAX).len(), part.len(), "a part ends where the whole does");
            }
        }
    }

    #[tokio::test]
    async fn room_is_taken_by_what_has_come_and_free_again_with_the_last_who_reads_it() {
        let (room, one, another) = (room(6, 4), "192.0.2.1".parse().ok(), "192.0.2.2".parse::<IpAddr>().ok());
        let mut large = Spool::within(&room, one).unwrap();
        assert_eq!(room.open(), 1, "nothing has come yet, whatever is announced");
        large.push(&bytes(4 * BUFFER)).unwrap();
        assert_eq!(room.open(), 4);
        assert!(large.push(b"x").is_err(), "one address takes no more");
        let mut other = Spool::within(&room, another).unwrap();
        assert!(Spool::within(&room, one).is_err());
        other.push(&bytes(2 * BUFFER)).unwrap();
        assert!(other.push(b"x").is_err() && Spool::within(&room, None).is_err(), "all is taken");
        drop(large);
        let spooled = other.end().unwrap();
        let part = spooled.part(0..10);
        drop(spooled);
        assert_eq!(room.open(), 2);
        drop(part);
        assert_eq!(room.open(), 0);
    }
}
