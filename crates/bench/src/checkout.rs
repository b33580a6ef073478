//! The table: Souk's checkouts beside what the bare driver commits, cell by cell on the same `mongod`.

use std::{fs, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use bson::{Bson, Document, doc};
use futures_util::future::try_join_all;
use shared::{audit, clock::Clock, db::Db, migrate, model::Kind};
use souk::embedded::EmbeddedMongo;
use tokio::time::Instant;

use crate::{
    ceiling::{self, Captured, Shape},
    goods::{self, Browser, Layout, Shelf},
    load::{Client, Credential, Period},
    machine::{self, Meter},
    server::{Program, Server},
    stage::{Scratch, say, there_or_here, warn_of_debug_builds},
    stats::{Figures, Tally, millis, ratio},
};

/// Souk puts no more checkouts than this into one transaction, so the ceiling does not either.
const GROUP: usize = 64;

/// How to measure.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// How long each cell is measured
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How long each cell runs before it is measured
    #[arg(long, default_value_t = 2)]
    warm_up: u64,
    /// How many clients order at once
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
    clients: Vec<usize>,
    /// Only one of the layouts
    #[arg(long, value_parser = ["spread", "hot"])]
    only: Option<String>,
    /// How many API processes share the database and the clients
    #[arg(long, default_value_t = 1)]
    nodes: usize,
    /// So many units of the hot product: once they are sold, the right answer is 409
    #[arg(long)]
    stock: Option<i64>,
    /// Leave out what the bare driver commits
    #[arg(long)]
    no_ceiling: bool,
    /// Where the database of the benchmark is kept meanwhile
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Another server to load, such as http://127.0.0.1:5000: then nothing but its answers is checked
    #[arg(long)]
    url: Option<String>,
    /// A Cookie header to order with, at --url; given several times, clients take turns
    #[arg(long)]
    cookie: Vec<String>,
    /// A token to order with, at --url; likewise
    #[arg(long)]
    bearer: Vec<String>,
}

impl Options {
    fn layouts(&self) -> impl Iterator<Item = Layout> {
        let only = self.only.as_deref();
        let wanted = move |layout: &Layout| match layout {
            Layout::Spread => only != Some("hot"),
            Layout::Hot => only != Some("spread"),
        };
        [Layout::Spread, Layout::Hot].into_iter().filter(wanted)
    }

    fn period(&self) -> Period {
        let counted_from = Instant::now() + Duration::from_secs(self.warm_up);
        Period { counted_from, until: counted_from + Duration::from_secs(self.seconds) }
    }
}

/// Measures until done or told to stop.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    ensure!(options.nodes > 0 && options.clients.iter().all(|n| *n > 0), "one is the least");
    warn_of_debug_builds("checkout");
    there_or_here(
        options.url.as_deref(),
        &options.dir,
        async |url| foreign(&options, url).await,
        async |scratch, mongo| beside(&options, scratch, mongo).await,
    )
    .await
}

async fn beside(options: &Options, scratch: &Scratch, mongo: &EmbeddedMongo) -> anyhow::Result<ExitCode> {
    let db = Db::connect(mongo.uri(), "bench").await?;
    let most = options.clients.iter().copied().max().unwrap_or(1);
    let (hot, tokens) = goods::plant(&db, most, options.stock).await?;
    let raw =
        Db::connect(&format!("{}&maxPoolSize={}", mongo.uri_for("ceiling"), most.max(10)), "bench").await?;
    migrate::run(&raw, &Clock::default()).await?;
    ceiling::copy_products(&db, &raw).await?;
    let mut servers = Vec::new();
    for node in 0..options.nodes {
        let home = scratch.path().join(format!("node{node}"));
        fs::create_dir_all(&home)?;
        servers.push(Server::start(Program::Api, mongo.uri(), &home).await?);
    }
    let addresses: Vec<String> = servers.iter().map(|server| server.address.clone()).collect();
    let cookies =
        tokens.into_iter().map(|token| Credential::Cookie(format!("user_token={token}; token=1"))).collect();
    let listed = Client::connect(addresses.first().context("no server")?, None).await?;
    let mut bench = Bench {
        options,
        shelf: Arc::new(shelf(listed, Some(hot)).await?),
        addresses,
        credentials: cookies,
        pids: vec![
            vec![std::process::id()],
            servers.iter().filter_map(Server::pid).collect(),
            mongo.pid().into_iter().collect(),
        ],
        placed: 0,
        units: 0,
    };
    let version = db.database().run_command(doc! { "buildInfo": 1 }).await?;
    say(format!(
        "{} cores, MongoDB {} on disk, journaled, write concern majority; {} s a cell after {} s of warm-up\n\
         load generator, {} API process(es) and database share the cores",
        machine::cores(),
        version.get_str("version").unwrap_or("?"),
        options.seconds,
        options.warm_up,
        options.nodes,
    ));
    let mut verdicts = Vec::new();
    for layout in options.layouts() {
        heading(layout);
        for clients in &options.clients {
            let souk = bench.souk(layout, *clients).await?;
            if options.no_ceiling {
                row(*clients, "Souk, POST create-order", &souk, None);
                continue;
            }
            let captured = Arc::new(ceiling::capture(&db).await?);
            // On one product a second writer would only get into the way of the first.
            let writers = if layout == Layout::Hot { 1 } else { clients.div_ceil(GROUP) };
            let shape = Shape { writers, group: GROUP.min(*clients) };
            let grouped = bench.ceiling(&raw, &captured, shape).await?;
            let single = bench.ceiling(&raw, &captured, Shape { writers: *clients, group: 1 }).await?;
            row(*clients, "Souk, POST create-order", &souk, Some((&single, &grouped)));
            row(*clients, "driver, one transaction an order", &single, None);
            row(*clients, &format!("driver, {} in a transaction", shape.group), &grouped, None);
            if *clients == GROUP {
                verdicts.push(verdict(layout, &souk.figures, &single.figures, &grouped.figures));
            }
        }
    }
    verdicts.iter().for_each(say);
    check(&db, &bench).await
}

/// What the goals are about.
fn verdict(layout: Layout, souk: &Figures, single: &Figures, grouped: &Figures) -> String {
    format!(
        "{layout:?}, {GROUP} clients: {} of the grouped ceiling (goal 0.70), {} times one transaction an order (goal 3), \
         p99 is {} times p50 (goal below 10)",
        ratio(souk.rate, grouped.rate),
        ratio(souk.rate, single.rate),
        ratio(souk.p99, souk.p50),
    )
}

/// Whatever was ordered is reserved, and nothing else is.
async fn check(db: &Db, bench: &Bench<'_>) -> anyhow::Result<ExitCode> {
    let orders = db.raw::<Document>("orders").count_documents(doc! {}).await?;
    let sum = doc! { "$group": { "_id": Bson::Null, "reserved": { "$sum": "$reserved" },
    "oversold": { "$sum": { "$cond": [{ "$gt": ["$reserved", "$stock"] }, 1, 0] } } } };
    let mut sums = db.listings(Kind::Product).aggregate(vec![sum]).await?;
    let sums = if sums.advance().await? { sums.deserialize_current()? } else { Document::new() };
    let of = |field: &str| sums.get(field).and_then(shared::lenient::as_int).unwrap_or(0);
    let mut differences = audit::run(db).await?.differences;
    if orders != bench.placed {
        differences
            .push(format!("{} checkouts were answered 201, but there are {orders} orders", bench.placed));
    }
    if of("reserved") != bench.units {
        differences.push(format!("{} units were ordered, but {} are reserved", bench.units, of("reserved")));
    }
    if of("oversold") != 0 {
        differences.push(format!("{} products have more reserved than there is", of("oversold")));
    }
    if differences.is_empty() {
        say(format!("audit: {orders} orders, {} units reserved, nothing amiss", bench.units));
        return Ok(ExitCode::SUCCESS);
    }
    differences.iter().for_each(|difference| say(format!("audit: {difference}")));
    Ok(ExitCode::FAILURE)
}

/// Any other server.
async fn foreign(options: &Options, url: &str) -> anyhow::Result<ExitCode> {
    let address = url.strip_prefix("http://").context("--url must begin with http://")?.trim_end_matches('/');
    let cookies = options.cookie.iter().cloned().map(Credential::Cookie);
    let credentials = cookies.chain(options.bearer.iter().cloned().map(Credential::Bearer)).collect();
    let mut bench = Bench {
        options,
        shelf: Arc::new(shelf(Client::connect(address, None).await?, None).await?),
        addresses: vec![address.to_owned()],
        credentials,
        pids: vec![vec![std::process::id()]],
        placed: 0,
        units: 0,
    };
    say(format!(
        "{} cores here; {} s a cell after {} s of warm-up",
        machine::cores(),
        options.seconds,
        options.warm_up
    ));
    for layout in options.layouts() {
        heading(layout);
        for clients in &options.clients {
            let cell = bench.souk(layout, *clients).await?;
            row(*clients, address, &cell, None);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn shelf(
    mut client: Client,
    hot: Option<shared::id::Id<shared::model::Listing>>,
) -> anyhow::Result<Shelf> {
    Shelf::of(&client.get("/api/product/get-all-products").await?, hot)
}

struct Bench<'o> {
    options: &'o Options,
    shelf: Arc<Shelf>,
    addresses: Vec<String>,
    credentials: Vec<Credential>,
    /// The load generator's, the servers', the database's.
    pids: Vec<Vec<u32>>,
    /// Checkouts that were answered 201, in all cells, warming up included.
    placed: u64,
    /// What they were for.
    units: i64,
}

/// One row of the table.
struct Cell {
    figures: Figures,
    /// Percent of a core: load generator, servers, database.
    cpu: Vec<u64>,
}

impl Bench<'_> {
    /// Clients that order over HTTP.
    async fn souk(&mut self, layout: Layout, clients: usize) -> anyhow::Result<Cell> {
        let (addresses, credentials) = (&self.addresses, &self.credentials);
        let connected = (0..clients).map(|i| async move {
            let address = addresses.iter().cycle().nth(i).context("no server")?;
            let mut client = Client::connect(address, credentials.iter().cycle().nth(i).cloned()).await?;
            // Without a credential there is nobody; some servers take that.
            let user = client.get("/api/user/getUser").await.ok();
            anyhow::Ok((client, Browser::new(i, user.as_ref().and_then(|answer| answer.get("user")))))
        });
        let connected = try_join_all(connected).await?;
        let period = self.options.period();
        let shoppers: Vec<_> = connected
            .into_iter()
            .map(|(client, browser)| {
                tokio::spawn(client.shop(browser, Arc::clone(&self.shelf), layout, period))
            })
            .collect();
        tokio::time::sleep_until(period.counted_from).await;
        let meter = Meter::start(self.pids.clone());
        let (mut all, mut counted) = (Tally::default(), Tally::default());
        for shopper in shoppers {
            let (warm, measured) = shopper.await?;
            all.add(warm);
            counted.add(measured);
        }
        let (elapsed, cpu) = (period.counted_from.elapsed(), meter.read());
        self.placed += all.count() + counted.count();
        self.units += all.units + counted.units;
        counted.failed += all.failed;
        counted.complaint = counted.complaint.or(all.complaint);
        Ok(Cell { figures: counted.figures(elapsed), cpu })
    }

    /// The bare driver.
    async fn ceiling(&self, db: &Db, captured: &Arc<Captured>, shape: Shape) -> anyhow::Result<Cell> {
        let period = self.options.period();
        let writing = ceiling::run(db, captured, shape, period);
        let metered = async {
            tokio::time::sleep_until(period.counted_from).await;
            Meter::start(self.pids.clone())
        };
        let (tally, meter) = tokio::join!(writing, metered);
        Ok(Cell { figures: tally?.figures(period.counted_from.elapsed()), cpu: meter.read() })
    }
}

fn heading(layout: Layout) {
    say(match layout {
        Layout::Spread => "\nspread over 1,000 products of 50 shops",
        Layout::Hot => "\nall on one product",
    });
    say(format!(
        "{:>7}  {:<33} {:>8} {:>8} {:>8} {:>8} {:>7} {:>9} {:>8}   {}",
        "clients",
        "",
        "orders/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "errors",
        "/ grouped",
        "/ single",
        "% of a core: load, API, mongod"
    ));
}

fn row(clients: usize, what: &str, cell: &Cell, ceilings: Option<(&Cell, &Cell)>) {
    let figures = &cell.figures;
    let (single, grouped) = ceilings
        .map(|(single, grouped)| {
            (ratio(figures.rate, single.figures.rate), ratio(figures.rate, grouped.figures.rate))
        })
        .unwrap_or_default();
    let cpu: Vec<String> = cell.cpu.iter().map(|percent| format!("{percent:>4}")).collect();
    say(format!(
        "{clients:>7}  {what:<33} {:>8} {:>8} {:>8} {:>8} {:>7} {grouped:>9} {single:>8}   {}",
        figures.rate,
        millis(figures.p50),
        millis(figures.p99),
        millis(figures.max),
        figures.failed,
        cpu.join(" "),
    ));
    if figures.refused > 0 {
        say(format!("{:>9}{} answered 409: not enough left", "", figures.refused));
    }
    if let Some(complaint) = &figures.complaint {
        say(format!("{:>9}the first error: {complaint}", ""));
    }
}
