//! Many pairs at once: connecting them, and letting some of them talk.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{
    pair::{Pair, Talked, couples, spread},
    socket::Person,
};
use crate::{
    load::Period,
    machine::{self, Meter},
    stats::{Figures, Tally},
};

/// So many pairs connect at once.
const AT_ONCE: usize = 64;

/// So long after the last has connected, everything has been announced and nothing is in use that is not needed.
const SETTLED: Duration = Duration::from_secs(3);

/// Where the servers are, and whose processor time and memory is looked at.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) addresses: Arc<[String]>,
    pub(crate) servers: Vec<u32>,
    pub(crate) database: Vec<u32>,
}

impl Target {
    fn meter(&self) -> Meter {
        Meter::start(vec![vec![std::process::id()], self.servers.clone(), self.database.clone()])
    }

    fn resident(&self) -> u64 {
        self.servers.iter().filter_map(|pid| machine::resident(*pid)).sum()
    }
}

/// What connecting was like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrival {
    pub(crate) connections: u64,
    /// Connections a second, and how long each took.
    pub(crate) figures: Figures,
    /// Bytes of `getUsers`, to all of them.
    pub(crate) presence: u64,
    /// Kilobytes that the servers grew by.
    pub(crate) grown: u64,
}

/// What talking was like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) heard: Figures,
    pub(crate) stored: Figures,
    pub(crate) stray: u64,
    /// Percent of a core: load generator, servers, database.
    pub(crate) cpu: Vec<u64>,
}

/// Connected pairs.
pub(crate) struct Crowd {
    target: Target,
    pairs: Vec<Pair>,
}

impl Crowd {
    /// Connects all of them, and waits until nothing more comes of it.
    pub(crate) async fn gather(target: Target, people: &[Person]) -> anyhow::Result<(Self, Arrival)> {
        let before = target.resident();
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        let (stop, stopped) = watch::channel(false);
        let (report, mut reports) = mpsc::unbounded_channel();
        let begun = Instant::now();
        let mut opening: Vec<JoinHandle<anyhow::Result<Pair>>> = Vec::new();
        for (i, couple) in couples(people)?.into_iter().enumerate() {
            let (addresses, permits) = (Arc::clone(&target.addresses), Arc::clone(&permits));
            let (stopped, report) = (stopped.clone(), report.clone());
            opening.push(tokio::spawn(async move {
                let permit = permits.acquire().await?;
                let opened = Pair::open(spread(&addresses, i).context("no server")?, couple).await;
                drop(permit);
                drop(report);
                let mut pair = opened?;
                pair.idle(stopped).await.context("a connection was lost while nothing was said")?;
                Ok(pair)
            }));
        }
        drop(report);
        // Nothing is ever sent: it ends when the last has let go of its end.
        let _: Option<()> = reports.recv().await;
        let took = begun.elapsed();
        tokio::time::sleep(SETTLED).await;
        let grown = target.resident().saturating_sub(before);
        stop.send_replace(true);
        let (mut pairs, mut tally) = (Vec::new(), Tally::default());
        for opened in opening {
            match opened.await? {
                Ok(pair) => {
                    tally.done(pair.one.opened_in, 1);
                    tally.done(pair.other.opened_in, 1);
                    pairs.push(pair);
                }
                Err(error) => tally.fail(format!("{error:#}")),
            }
        }
        let presence = pairs.iter().map(|pair| pair.one.socket.presence + pair.other.socket.presence).sum();
        let arrival = Arrival { connections: tally.count(), figures: tally.figures(took), presence, grown };
        Ok((Self { target, pairs }, arrival))
    }

    /// Lets the first so many pairs talk; the others are there and listen.
    pub(crate) async fn converse(
        &mut self,
        period: Period,
        active: usize,
        receipts: bool,
    ) -> anyhow::Result<Cell> {
        let (stop, stopped) = watch::channel(false);
        let mut pairs = std::mem::take(&mut self.pairs);
        let listeners: Vec<_> = pairs
            .split_off(active.min(pairs.len()))
            .into_iter()
            .map(|mut pair| {
                let stopped = stopped.clone();
                tokio::spawn(async move { pair.idle(stopped).await.map(|()| pair) })
            })
            .collect();
        let talkers: Vec<_> =
            pairs.into_iter().map(|pair| tokio::spawn(pair.talk(period, receipts))).collect();
        tokio::time::sleep_until(period.counted_from).await;
        let meter = self.target.meter();
        let (mut heard, mut stored, mut stray) = (Tally::default(), Tally::default(), 0);
        for talker in talkers {
            let talked: Talked = talker.await?;
            heard.add(talked.heard);
            stored.add(talked.stored);
            stray += talked.stray;
            if !talked.broken {
                self.pairs.push(talked.pair);
            }
        }
        let (elapsed, cpu) = (period.counted_from.elapsed(), meter.read());
        stop.send_replace(true);
        for listener in listeners {
            match listener.await? {
                Ok(pair) => self.pairs.push(pair),
                Err(error) => heard.fail(format!("a listener was lost: {error:#}")),
            }
        }
        Ok(Cell { heard: heard.figures(elapsed), stored: stored.figures(elapsed), stray, cpu })
    }
}
