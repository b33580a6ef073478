//! The table: Souk's chat beside what the stack under it relays and what the database stores.
//!
//! * `socket` is a client over a bare websocket;
//! * `people` fills a database with accounts and conversations;
//! * `pair` is two who talk, `crowd` is many of them;
//! * `storm` cuts everybody off at once;
//! * `relay` is the servers that only pass messages on;
//! * `stored` is what the bare driver stores of the same messages.

mod crowd;
mod pair;
mod people;
pub(crate) mod relay;
mod socket;
mod stored;
mod storm;

use std::{fs, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use bson::doc;
use shared::{clock::Clock, db::Db, migrate, model::Conversation};
use souk::embedded::EmbeddedMongo;
use tokio::time::Instant;

use self::{
    crowd::{Arrival, Cell, Crowd, Target},
    socket::Person,
    stored::Talks,
    storm::{Outcome, Plan},
};
use crate::{
    ceiling::{self, Shape},
    load::Period,
    machine::{self, Meter},
    server::{Program, Server},
    stage::{Scratch, say, there_or_here, warn_of_debug_builds},
    stats::{Figures, millis, ratio},
};

/// Souk puts no more messages than this into one transaction, so the ceiling does not either.
const GROUP: usize = 256;

/// Connections for which the goals are set.
const GOAL_CONNECTIONS: u64 = 10_000;

/// How to measure.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// How long each row is measured
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How long each row runs before it is measured
    #[arg(long, default_value_t = 2)]
    warm_up: u64,
    /// How many are connected, two by two
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    connections: Vec<usize>,
    /// So many pairs talk at most; the others are connected and listen
    #[arg(long, default_value_t = 500)]
    active: usize,
    /// How many chat servers share the database; the two of a pair are on different ones
    #[arg(long, default_value_t = 1)]
    nodes: usize,
    /// So many are cut off at once and come back; 0 for none
    #[arg(long, default_value_t = 5000)]
    storm: usize,
    /// Seconds within which they come back
    #[arg(long, default_value_t = 5)]
    storm_within: u64,
    /// How much each of them has to say: one message before the cut, the rest after it
    #[arg(long, default_value_t = 3)]
    storm_messages: u32,
    /// Leave out the relays and the bare driver
    #[arg(long)]
    no_ceiling: bool,
    /// A smoke run: small and short
    #[arg(long)]
    quick: bool,
    /// Where the database of the benchmark is kept meanwhile
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Another Socket.IO server to load, such as http://127.0.0.1:4000
    #[arg(long)]
    url: Option<String>,
    /// Who connects to --url: an id a line, and behind a blank the Cookie header that proves it; each two lines are of
    /// two who have a conversation. Else strangers, whom some servers believe
    #[arg(long)]
    people: Option<PathBuf>,
    /// The server at --url knows no receipts
    #[arg(long)]
    legacy: bool,
    /// Send addUser again when coming back, which the existing client does not
    #[arg(long)]
    announce_again: bool,
}

impl Options {
    fn period(&self) -> Period {
        let counted_from = Instant::now() + Duration::from_secs(self.warm_up);
        Period { counted_from, until: counted_from + Duration::from_secs(self.seconds) }
    }

    fn plan(&self) -> Plan {
        Plan {
            within: Duration::from_secs(self.storm_within),
            says: self.storm_messages,
            receipts: !self.legacy,
            announce_again: self.announce_again,
        }
    }

    fn most(&self) -> usize {
        self.connections.iter().copied().chain([self.storm]).max().unwrap_or_default()
    }
}

/// Measures until done or told to stop.
pub(crate) async fn run(mut options: Options) -> anyhow::Result<ExitCode> {
    if options.quick {
        options =
            Options { seconds: 1, warm_up: 1, connections: vec![20], storm: 50, storm_within: 1, ..options };
    }
    let even = |number: &usize| *number > 0 && number.is_multiple_of(2);
    ensure!(
        options.connections.iter().all(even) && options.storm.is_multiple_of(2),
        "connections come in pairs"
    );
    ensure!(options.nodes > 0 && options.active > 0, "one is the least");
    let needed = u64::try_from(options.most())? + 200;
    let allowed = machine::open_files().unwrap_or(u64::MAX);
    ensure!(allowed >= needed, "{allowed} open files are allowed: say `ulimit -n {needed}` first");
    warn_of_debug_builds("chat");
    there_or_here(
        options.url.as_deref(),
        &options.dir,
        async |url| foreign(&options, url).await,
        async |scratch, mongo| beside(&options, scratch, mongo).await,
    )
    .await
}

/// Any other server.
async fn foreign(options: &Options, url: &str) -> anyhow::Result<ExitCode> {
    let address = url.strip_prefix("http://").context("--url must begin with http://")?.trim_end_matches('/');
    let people = match &options.people {
        Some(file) => people::listed(file)?,
        None => people::strangers(options.most()),
    };
    let target =
        Target { addresses: Arc::from([address.to_owned()]), servers: Vec::new(), database: Vec::new() };
    introduction(options, "");
    for connections in &options.connections {
        let (mut crowd, arrival) =
            Crowd::gather(target.clone(), people.get(..*connections).context("too few people")?).await?;
        arrived(address, &arrival);
        heading();
        let rows = rows(options, &mut crowd, *connections, !options.legacy).await?;
        rows.iter().for_each(|(what, cell)| row(*connections, what, cell, [0; 3]));
    }
    let Some(people) = people.get(..options.storm).filter(|people| !people.is_empty()) else {
        return Ok(ExitCode::SUCCESS);
    };
    storm(&storm::run(&target, people, options.plan()).await?, options);
    Ok(ExitCode::SUCCESS)
}

async fn beside(options: &Options, scratch: &Scratch, mongo: &EmbeddedMongo) -> anyhow::Result<ExitCode> {
    let db = Db::connect(mongo.uri(), "bench").await?;
    migrate::run(&db, &Clock::default()).await?;
    let (people, conversations) = people::plant(&db, options.most()).await?;
    let raw = Db::connect(&mongo.uri_for("ceiling"), "bench").await?;
    migrate::run(&raw, &Clock::default()).await?;
    for conversations in conversations.chunks(2_000) {
        raw.of::<Conversation>().insert_many(conversations).await?;
    }
    let version = db.database().run_command(doc! { "buildInfo": 1 }).await?;
    let version = version.get_str("version").unwrap_or("?");
    introduction(options, &format!(", MongoDB {version} on disk, journaled, write concern majority"));
    let stage = Stage { options, scratch, mongo, raw, people, conversations };
    let mut fine = true;
    for connections in &options.connections {
        fine &= stage.cell(*connections).await?;
    }
    if options.storm > 0 {
        let (_servers, target) = stage.start(Program::Chat).await?;
        let outcome =
            storm::run(&target, stage.people.get(..options.storm).context("too few people")?, options.plan())
                .await?;
        storm(&outcome, options);
        fine &= outcome.lost + outcome.twice + outcome.disordered + outcome.refused == 0;
    }
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Stage<'o> {
    options: &'o Options,
    scratch: &'o Scratch,
    mongo: &'o EmbeddedMongo,
    /// The bare driver's database.
    raw: Db,
    people: Vec<Person>,
    conversations: Vec<Conversation>,
}

impl Stage<'_> {
    /// Fresh servers: memory that was used once is not given back.
    async fn start(&self, program: Program) -> anyhow::Result<(Vec<Server>, Target)> {
        let nodes = if program == Program::Chat { self.options.nodes } else { 1 };
        let mut servers = Vec::new();
        for node in 0..nodes {
            let home = self.scratch.path().join(format!("node{node}"));
            fs::create_dir_all(&home)?;
            servers.push(Server::start(program, self.mongo.uri(), &home).await?);
        }
        let target = Target {
            addresses: servers.iter().map(|server| server.address.clone()).collect(),
            servers: servers.iter().filter_map(Server::pid).collect(),
            database: self.mongo.pid().into_iter().collect(),
        };
        Ok((servers, target))
    }

    /// The rows of so many connections. Whether there were no errors.
    async fn cell(&self, connections: usize) -> anyhow::Result<bool> {
        let people = self.people.get(..connections).context("too few people")?;
        say(format!("\n{connections} connections"));
        let programs = [
            (Program::Relay, "bare websocket relay"),
            (Program::LibraryRelay, "socketioxide relay"),
            (Program::Chat, "Souk"),
        ];
        let mut measured = Vec::new();
        for (program, what) in programs {
            if self.options.no_ceiling && program != Program::Chat {
                continue;
            }
            let (_servers, target) = self.start(program).await?;
            let (mut crowd, arrival) = Crowd::gather(target, people).await?;
            arrived(what, &arrival);
            let receipts = program == Program::Chat;
            let rows = rows(self.options, &mut crowd, connections, receipts).await?;
            measured.extend(rows.into_iter().map(|(with, cell)| (format!("{what}{with}"), cell)));
        }
        if !self.options.no_ceiling {
            let pairs = self.options.active.min(connections / 2);
            measured
                .push((format!("driver, {} in a transaction", GROUP.min(pairs)), self.driver(pairs).await?));
        }
        let rate = |of: &str| {
            measured.iter().find(|(what, _)| what.starts_with(of)).map_or(0, |(_, cell)| cell.heard.rate)
        };
        let ceilings = [rate("bare"), rate("socketioxide"), rate("driver")];
        heading();
        for (what, cell) in measured.iter().rev() {
            row(connections, what, cell, if what.starts_with("Souk") { ceilings } else { [0; 3] });
        }
        Ok(measured.iter().all(|(_, cell)| cell.heard.failed == 0 && cell.stray == 0))
    }

    /// The bare driver.
    async fn driver(&self, pairs: usize) -> anyhow::Result<Cell> {
        let period = self.options.period();
        let talks = self.conversations.get(..pairs).context("too few people")?.to_vec();
        let shape = Shape { writers: pairs.div_ceil(GROUP), group: GROUP.min(pairs) };
        let talks = Arc::new(Talks(talks));
        let writing = ceiling::run(&self.raw, &talks, shape, period);
        let metered = async {
            tokio::time::sleep_until(period.counted_from).await;
            let database = self.mongo.pid().into_iter().collect();
            Meter::start(vec![vec![std::process::id()], Vec::new(), database])
        };
        let (tally, meter) = tokio::join!(writing, metered);
        let heard = tally?.figures(period.counted_from.elapsed());
        Ok(Cell { heard, cpu: meter.read(), ..Cell::default() })
    }
}

/// Lets them talk, without receipts and with.
async fn rows(
    options: &Options,
    crowd: &mut Crowd,
    connections: usize,
    receipts: bool,
) -> anyhow::Result<Vec<(&'static str, Cell)>> {
    let active = options.active.min(connections / 2);
    let mut rows = vec![("", crowd.converse(options.period(), active, false).await?)];
    if receipts {
        rows.push((", with receipts", crowd.converse(options.period(), active, true).await?));
    }
    Ok(rows)
}

fn introduction(options: &Options, database: &str) {
    say(format!(
        "{} cores{database}; {} s a row after {} s of warm-up\n\
         closed loop: of each pair one sends, the other hears it and answers; at most {} pairs talk, the others listen\n\
         load generator, {} chat server(s) and database share the cores",
        machine::cores(),
        options.seconds,
        options.warm_up,
        options.active,
        options.nodes,
    ));
}

fn arrived(what: &str, arrival: &Arrival) {
    let Figures { rate, p50, p99, failed, complaint, .. } = &arrival.figures;
    let each = |sum: u64| sum.checked_div(arrival.connections).unwrap_or_default();
    let goals = if what == "Souk" && arrival.connections >= GOAL_CONNECTIONS { " (goal 40)" } else { "" };
    say(format!(
        "  {what}: {rate} connected a second, p50 {} ms, p99 {} ms, {failed} failed; {} KB of memory each{goals}; \
         presence: {} KB in all, {} bytes each",
        millis(*p50),
        millis(*p99),
        each(arrival.grown),
        arrival.presence / 1000,
        each(arrival.presence),
    ));
    if let Some(complaint) = complaint {
        say(format!("    the first failure: {complaint}"));
    }
}

fn heading() {
    say(format!(
        "{:>7}  {:<33} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>6}  {:>6} {:>6} {:>6}   {}",
        "conn.",
        "",
        "messages/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "ack p50",
        "ack p99",
        "errors",
        "/bare",
        "/libr.",
        "/drv.",
        "us of a core a message: load, chat, mongod",
    ));
}

/// The ceilings are what the bare relay, the library's relay and the driver do in a second.
fn row(connections: usize, what: &str, cell: &Cell, ceilings: [u64; 3]) {
    let Cell { heard, stored, stray, cpu } = cell;
    let acknowledged = |time: u64| if stored == &Figures::default() { String::new() } else { millis(time) };
    let [bare, library, driver] =
        ceilings.map(|ceiling| if ceiling == 0 { String::new() } else { ratio(heard.rate, ceiling) });
    let cpu: Vec<String> =
        cpu.iter().map(|percent| format!("{:>5}", each_message(*percent, heard.rate))).collect();
    say(format!(
        "{connections:>7}  {what:<33} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>6}  {bare:>6} {library:>6} {driver:>6}   {}",
        heard.rate,
        millis(heard.p50),
        millis(heard.p99),
        millis(heard.max),
        acknowledged(stored.p50),
        acknowledged(stored.p99),
        heard.failed,
        cpu.join(" "),
    ));
    if *stray > 0 {
        say(format!("{:>9}{stray} messages came that were not expected", ""));
    }
    if let Some(complaint) = &heard.complaint {
        say(format!("{:>9}the first error: {complaint}", ""));
    }
}

/// Microseconds of a core for each message, of so many percent of it.
fn each_message(percent: u64, rate: u64) -> u64 {
    (percent * 10_000).checked_div(rate).unwrap_or_default()
}

fn storm(outcome: &Outcome, options: &Options) {
    let Outcome { clients, refused, lost_again, all_back, figures, .. } = outcome;
    say(format!(
        "\nstorm: {clients} cut off at once, coming back within {} s\n  \
         handshakes refused: {refused} (goal 0); connections lost again: {lost_again}; all back after {} ms; \
         being let in took p50 {} ms, p99 {} ms, max {} ms\n  \
         {} messages said, {} acknowledged; of these lost: {} (goal 0); heard twice: {}; out of order: {}",
        options.storm_within,
        all_back.as_millis(),
        millis(figures.p50),
        millis(figures.p99),
        millis(figures.max),
        outcome.said,
        outcome.acknowledged,
        outcome.lost,
        outcome.twice,
        outcome.disordered,
    ));
    if let Some(complaint) = &outcome.complaint {
        say(format!("  the first complaint: {complaint}"));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_share_of_a_core_is_so_much_a_message() {
        assert_eq!(super::each_message(50, 1_000), 500, "half a second for a thousand messages");
        assert_eq!(super::each_message(50, 0), 0);
    }
}
