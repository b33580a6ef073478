//! Everybody is cut off at once and comes back within seconds, talking meanwhile: whatever was acknowledged must arrive,
//! once, in order.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    sync::watch,
    time::{Instant, error::Elapsed, sleep_until, timeout},
};

use super::{
    crowd::Target,
    pair::{announcement, couples, number, receipt, saying, spread},
    socket::{Packet, Person, Place, Socket, text},
};
use crate::stats::{Figures, Tally};

/// A client of the library tries again after about so long.
const AGAIN: Duration = Duration::from_secs(1);

/// So long a client waits to be let in, and for a receipt.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first message goes out at most so long before the cut, so that some are under way when it comes.
const BEFORE: Duration = Duration::from_secs(2);

/// When so long nothing more has arrived, nothing will.
const QUIET: Duration = Duration::from_secs(5);

const CUT_OFF: &str = "cut off";

/// How the storm goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Everybody is back within this time, if let in.
    pub(crate) within: Duration,
    /// How much each has to say, one thing before the cut and the rest after it.
    pub(crate) says: u32,
    /// Receipts are asked for; else what was sent counts as acknowledged.
    pub(crate) receipts: bool,
    /// `addUser` again after each connecting, which the existing client does not do.
    pub(crate) announce_again: bool,
}

/// What has become of everybody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) clients: u64,
    /// Attempts to come back that failed.
    pub(crate) refused: u64,
    /// Connections that were lost again.
    pub(crate) lost_again: u64,
    pub(crate) complaint: Option<String>,
    /// From the cut until the last was back.
    pub(crate) all_back: Duration,
    /// How long being let in again took.
    pub(crate) figures: Figures,
    pub(crate) said: u64,
    pub(crate) acknowledged: u64,
    /// Acknowledged and never heard.
    pub(crate) lost: u64,
    /// Heard again.
    pub(crate) twice: u64,
    /// Acknowledged, and heard after what was said later.
    pub(crate) disordered: u64,
}

/// What has become of one.
#[derive(Debug, Default)]
struct Log {
    said: u32,
    acknowledged: BTreeSet<u32>,
    heard: Vec<u32>,
    refused: u64,
    lost_again: u64,
    complaint: Option<String>,
    back: Option<Duration>,
    let_in: Duration,
}

impl Log {
    fn complain(&mut self, error: &anyhow::Error) {
        self.complaint.get_or_insert(format!("{error:#}"));
    }
}

#[derive(Default)]
struct Progress {
    heard: AtomicU64,
    /// Clients that have said everything.
    finished: AtomicU64,
}

/// Connects everybody, cuts them off, and looks on.
pub(crate) async fn run(target: &Target, people: &[Person], plan: Plan) -> anyhow::Result<Outcome> {
    let progress = Arc::new(Progress::default());
    let (cut, wait_for_cut) = watch::channel(None);
    let (stop, stopped) = watch::channel(false);
    let mut clients = Vec::new();
    let couples = couples(people)?;
    for (i, [one, other]) in couples.into_iter().enumerate() {
        let [here, there] = spread(&target.addresses, i).context("no server")?;
        let ids = [one.id.clone(), other.id.clone()];
        for (person, mate, address) in [(one, &ids[1], here), (other, &ids[0], there)] {
            let mut socket = connect(address, &person, Place::default()).await?;
            socket.send(&announcement(&person)).await?;
            let client = Client {
                // Spread evenly, and neighbours far apart.
                share: u32::try_from(clients.len() * 7919 % people.len() * 1000 / people.len())?,
                socket: Some(socket),
                person,
                mate: mate.clone(),
                address: address.to_owned(),
                log: Log::default(),
                progress: Arc::clone(&progress),
            };
            clients.push(tokio::spawn(client.live(plan, wait_for_cut.clone(), stopped.clone())));
        }
    }
    let count = u64::try_from(clients.len())?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    cut.send_replace(Some(Instant::now() + BEFORE));
    settle(&progress, count).await;
    stop.send_replace(true);
    let mut logs = Vec::new();
    for client in clients {
        logs.push(client.await?);
    }
    Ok(judge(logs, plan))
}

async fn connect(address: &str, person: &Person, place: Place) -> anyhow::Result<Socket> {
    timeout(PATIENCE, Socket::open(address, person, place)).await.context("not let in within 20 s")?
}

/// Returns when everybody has said everything and nothing more arrives.
async fn settle(progress: &Progress, clients: u64) {
    let (mut heard, mut since) = (0, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now_heard = progress.heard.load(Ordering::Relaxed);
        if now_heard != heard || progress.finished.load(Ordering::Relaxed) < clients {
            (heard, since) = (now_heard, Instant::now());
        } else if since.elapsed() > QUIET {
            return;
        }
    }
}

struct Client {
    person: Person,
    mate: String,
    address: String,
    /// None while it is cut off.
    socket: Option<Socket>,
    /// Where in the time of coming back its turn is, in thousandths.
    share: u32,
    log: Log,
    progress: Arc<Progress>,
}

impl Client {
    async fn live(
        mut self,
        plan: Plan,
        mut cut: watch::Receiver<Option<Instant>>,
        mut stop: watch::Receiver<bool>,
    ) -> Log {
        let at = loop {
            tokio::select! {
                told = cut.wait_for(Option::is_some) => match told.map(|at| *at) {
                    Ok(Some(at)) => break at,
                    _ => return self.log,
                },
                read = self.read() => if let Err(error) = read {
                    self.log.complain(&error);
                    return self.log;
                },
            }
        };
        let doomed = async {
            sleep_until(at - BEFORE * self.share / 1000).await;
            self.say(plan).await?;
            loop {
                self.read().await?;
            }
        };
        // A connection that ends before it is cut is lost all the same.
        let _: Result<anyhow::Result<()>, Elapsed> = tokio::time::timeout_at(at, doomed).await;
        self.come_back(at + plan.within * self.share / 1000, plan, true).await;
        self.log.back = Some(at.elapsed());
        let mut finished = false;
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return self.log,
                Err(error) = self.connected(plan, &mut finished) => self.log.complain(&error),
            }
            self.log.lost_again += 1;
            self.come_back(Instant::now() + AGAIN, plan, false).await;
        }
    }

    /// Hangs up, and tries until it is let in again.
    async fn come_back(&mut self, at: Instant, plan: Plan, measured: bool) {
        let place = self.socket.take().map(|socket| socket.place).unwrap_or_default();
        sleep_until(at).await;
        loop {
            let begun = Instant::now();
            match connect(&self.address, &self.person, place.clone()).await {
                Ok(mut socket) => {
                    if plan.announce_again {
                        // Should it be lost already, that shows in the next reading.
                        _ = socket.send(&announcement(&self.person)).await;
                    }
                    self.socket = Some(socket);
                    if measured {
                        self.log.let_in = begun.elapsed();
                    }
                    return;
                }
                Err(error) => {
                    self.log.refused += 1;
                    self.log.complain(&error);
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Says what is left to say, each when the last was acknowledged, and listens for ever.
    async fn connected(&mut self, plan: Plan, finished: &mut bool) -> anyhow::Result<()> {
        while self.log.said < plan.says {
            self.say(plan).await?;
            let wait = async {
                while !self.log.acknowledged.contains(&self.log.said) {
                    self.read().await?;
                }
                anyhow::Ok(())
            };
            match timeout(PATIENCE, wait).await {
                Ok(done) => done?,
                Err(_) => self.log.complain(&anyhow::anyhow!("a receipt did not come")),
            }
        }
        if !std::mem::replace(finished, true) {
            self.progress.finished.fetch_add(1, Ordering::Relaxed);
        }
        loop {
            self.read().await?;
        }
    }

    async fn say(&mut self, plan: Plan) -> anyhow::Result<()> {
        self.log.said += 1;
        let number = self.log.said;
        let saying = saying(&self.person.id, &self.mate, number, plan.receipts);
        self.socket.as_mut().context(CUT_OFF)?.send(&saying).await?;
        if !plan.receipts {
            self.log.acknowledged.insert(number);
        }
        Ok(())
    }

    /// Takes note of the next packet. Loses nothing when it is cancelled.
    async fn read(&mut self) -> anyhow::Result<()> {
        match self.socket.as_mut().context(CUT_OFF)?.packet().await? {
            Packet::Message(message) => {
                self.log.heard.extend(number(&message));
                self.progress.heard.fetch_add(1, Ordering::Relaxed);
            }
            Packet::Receipt(packet) => match receipt(&packet) {
                Some((number, true)) => _ = self.log.acknowledged.insert(number),
                _ => self.log.complain(&anyhow::anyhow!("refused: {}", text(&packet))),
            },
            Packet::Other => {}
        }
        Ok(())
    }
}

/// Neighbours talked with each other.
fn judge(logs: Vec<Log>, plan: Plan) -> Outcome {
    let mut outcome = Outcome::default();
    let mut tally = Tally::default();
    for pair in logs.chunks(2) {
        let [one, other] = pair else { continue };
        for (speaker, listener) in [(one, other), (other, one)] {
            let heard: BTreeSet<u32> = listener.heard.iter().copied().collect();
            outcome.said += u64::from(speaker.said);
            outcome.acknowledged += count(speaker.acknowledged.len());
            outcome.lost += count(speaker.acknowledged.difference(&heard).count());
            outcome.twice += count(listener.heard.len() - heard.len());
            // What was cut off before it was acknowledged may still be under way when the next is said.
            let mut heard = listener.heard.clone();
            heard.retain(|number| speaker.acknowledged.contains(number));
            outcome.disordered += count(heard.windows(2).filter(|two| !two.is_sorted()).count());
        }
    }
    for log in logs {
        outcome.clients += 1;
        outcome.refused += log.refused;
        outcome.lost_again += log.lost_again;
        outcome.complaint = outcome.complaint.or(log.complaint);
        if let Some(back) = log.back {
            outcome.all_back = outcome.all_back.max(back);
            tally.done(log.let_in, 1);
        }
    }
    outcome.figures = tally.figures(plan.within);
    outcome
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan =
        Plan { within: Duration::from_secs(5), says: 3, receipts: true, announce_again: false };

    fn log(acknowledged: impl IntoIterator<Item = u32>, heard: &[u32]) -> Log {
        Log {
            said: 3,
            acknowledged: acknowledged.into_iter().collect(),
            heard: heard.to_vec(),
            ..Log::default()
        }
    }

    #[test]
    fn what_was_acknowledged_must_be_heard_once_and_in_order() {
        let fine = judge(vec![log([1, 2, 3], &[1, 2]), log([1], &[1, 2, 3])], PLAN);
        assert_eq!((fine.clients, fine.said, fine.acknowledged), (2, 6, 4));
        assert_eq!(
            (fine.lost, fine.twice, fine.disordered),
            (0, 0, 0),
            "2 was not acknowledged, but may be heard"
        );
        let bad = judge(vec![log([1, 2, 3], &[]), log([], &[3, 1, 3])], PLAN);
        assert_eq!((bad.lost, bad.twice, bad.disordered), (1, 1, 1));
        let overtaken = judge(vec![log([2, 3], &[]), log([], &[2, 1, 3])], PLAN);
        assert_eq!(
            (overtaken.lost, overtaken.disordered),
            (0, 0),
            "1 was under way on the connection before"
        );
    }
}
