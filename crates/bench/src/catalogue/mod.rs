//! The catalogue: whole lists beside the same framework answering bytes that never change, and pages of very large ones.

mod hammer;
mod many;
pub(crate) mod still;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bson::doc;
use clap::Args;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use shared::{
    auth::Hasher,
    db::Db,
    id::Id,
    model::{Kind, Listing, User},
    money::Money,
};
use souk::embedded::EmbeddedMongo;
use tokio::{task::JoinHandle, time::Instant};

use self::hammer::{Ask, Cell, Pace, hammer};
use crate::{
    goods,
    load::Client,
    machine,
    server::{Program, Server},
    stage::{Scratch, say, there_or_here, warn_of_debug_builds},
    stats::{Figures, Tally, micros, millis, ratio},
};

const WHOLE: &str = "/api/product/get-all-products";

/// How to measure.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// How long each cell is measured
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How long each cell runs before it is measured
    #[arg(long, default_value_t = 1)]
    warm_up: u64,
    /// How many clients ask at once
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// How many products there are where pages are searched for; none leaves that out
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    sizes: Vec<u32>,
    /// Leave out what 1,000 products are measured by
    #[arg(long)]
    only_search: bool,
    /// Where the database of the benchmark is kept meanwhile
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Another server to load, such as http://127.0.0.1:5000, with whatever it lists
    #[arg(long)]
    url: Option<String>,
}

impl Options {
    fn pace(&self) -> Pace {
        Pace {
            clients: self.clients,
            warm_up: Duration::from_secs(self.warm_up),
            time: Duration::from_secs(self.seconds),
            every: None,
        }
    }

    /// People who look at ten pages a second each, a quarter as many as otherwise.
    fn strolling(&self) -> Pace {
        Pace { clients: self.clients.div_ceil(4), every: Some(Duration::from_millis(100)), ..self.pace() }
    }
}

/// Measures until done or told to stop.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    warn_of_debug_builds("catalogue");
    say(format!(
        "{} cores, shared by load generator, server and database; {} s a cell after {} s of warm-up",
        machine::cores(),
        options.seconds,
        options.warm_up
    ));
    there_or_here(
        options.url.as_deref(),
        &options.dir,
        async |url| foreign(&options, url).await,
        async |scratch, mongo| beside(&options, scratch, mongo).await,
    )
    .await
}

async fn beside(options: &Options, scratch: &Scratch, mongo: &EmbeddedMongo) -> anyhow::Result<ExitCode> {
    if !options.only_search {
        thousand(options, scratch, mongo).await?;
    }
    for size in &options.sizes {
        large(options, scratch, mongo, *size).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A server with processes whose time is told apart.
struct Bench {
    server: Server,
    pids: Vec<Vec<u32>>,
}

impl Bench {
    async fn start(
        program: Program,
        database: &str,
        home: &Path,
        mongo: &EmbeddedMongo,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(home)?;
        let server = Server::start(program, database, home).await?;
        let pids = vec![
            vec![std::process::id()],
            server.pid().into_iter().collect(),
            mongo.pid().into_iter().collect(),
        ];
        Ok(Self { server, pids })
    }

    async fn cell(&self, asks: Vec<Ask>, pace: Pace) -> anyhow::Result<Cell> {
        hammer(&self.server.address, &Arc::new(asks), pace, self.pids.clone()).await
    }

    fn memory(&self) -> String {
        let kilobytes = self.server.pid().and_then(machine::resident);
        kilobytes.map_or_else(|| "?".to_owned(), |kilobytes| format!("{} MiB", kilobytes / 1024))
    }
}

/// What is asked of a catalogue, by name.
async fn questions(address: &str) -> anyhow::Result<Vec<(&'static str, Ask)>> {
    let mut client = Client::connect(address, None).await?;
    let listed = client.get(WHOLE).await?;
    let first = listed.get("products").and_then(|products| products.get(0)).context("nothing is listed")?;
    let text = |name: &str| first.get(name).and_then(Value::as_str).map(str::to_owned);
    let shop = Ask::plain(format!(
        "/api/product/get-all-products-shop/{}",
        text("shopId").or(text("shopeId")).context("no shop")?
    ));
    let one = Ask::plain(format!("/api/product/get-product/{}", text("_id").context("no id")?));
    let mut asks = vec![("whole list, plain", Ask::plain(WHOLE)), ("whole list, gzip", Ask::gzip(WHOLE))];
    if let Some(tag) = Ask::plain(WHOLE).tag(&mut client).await? {
        asks.push(("whole list, unchanged (304)", Ask::plain(WHOLE).unchanged(tag)));
    }
    asks.push(("one shop's list", shop));
    asks.push(("one product", one));
    Ok(asks)
}

/// A catalogue of a thousand products.
async fn thousand(options: &Options, scratch: &Scratch, mongo: &EmbeddedMongo) -> anyhow::Result<()> {
    let db = Db::connect(mongo.uri(), "bench").await?;
    goods::plant(&db, 1, None).await?;
    let home = scratch.path().join("thousand");
    // The first start makes the indexes.
    drop(Bench::start(Program::Api, mongo.uri(), &home, mongo).await?);
    let begun = Instant::now();
    let bench = Bench::start(Program::Api, mongo.uri(), &home, mongo).await?;
    let ready = begun.elapsed();
    Client::connect(&bench.server.address, None).await?.get(WHOLE).await?;
    say(format!(
        "\n1,001 products: ready {} ms after its start (goal 150), the first whole list {} ms after it; idle {} (goal 40 MiB)",
        ready.as_millis(),
        begun.elapsed().as_millis(),
        bench.memory()
    ));
    let asks = questions(&bench.server.address).await?;
    let still = standing_still(&asks, &bench.server.address, scratch, mongo).await?;
    heading();
    for (name, ask) in &asks {
        let goal = if name.starts_with("whole") { "0.85" } else { "0.60" };
        let souk = bench.cell(vec![ask.clone()], options.pace()).await?;
        let mut asked = ask.at(&file_name(&ask.path));
        if name.contains("304") {
            asked = Ask::plain(asked.path).unchanged(hyper::header::HeaderValue::from_static("\"still\""));
        }
        let ceiling = still.cell(vec![asked], options.pace()).await?;
        row(name, &souk, &format!("{} (goal {goal})", ratio(souk.figures.rate, ceiling.figures.rate)));
        row("  the same bytes, standing still", &ceiling, "");
    }
    drop(still);
    seen_elsewhere(&bench, &db).await?;
    storm(options, &bench, &db).await
}

/// The same answers from the bare framework.
async fn standing_still(
    asks: &[(&'static str, Ask)],
    address: &str,
    scratch: &Scratch,
    mongo: &EmbeddedMongo,
) -> anyhow::Result<Bench> {
    let bodies = scratch.path().join("bodies");
    fs::create_dir_all(&bodies)?;
    let mut client = Client::connect(address, None).await?;
    for (_, ask) in asks {
        let file = bodies.join(file_name(&ask.path).trim_start_matches('/'));
        fs::write(&file, Ask::plain(&ask.path).once(&mut client).await?.1)?;
        if ask.path == WHOLE {
            fs::write(file.with_extension("gz"), Ask::gzip(WHOLE).once(&mut client).await?.1)?;
        }
    }
    Bench::start(Program::Still, "", &bodies, mongo).await
}

fn file_name(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/').replace(['/', '?', '&', '='], "-"))
}

/// How long it takes until a write that Souk did not make is seen.
async fn seen_elsewhere(bench: &Bench, db: &Db) -> anyhow::Result<()> {
    let products = db.listings(Kind::Product);
    let one = products.find_one(doc! {}).await?.context("nothing to change")?;
    let path = format!("/api/product/get-product/{}", one.id.hex());
    let mut client = Client::connect(&bench.server.address, None).await?;
    let mut tally = Tally::default();
    let begun = Instant::now();
    for round in 0..200 {
        let price = Money::from_minor(10_000 + round);
        let set = doc! { "$set": { "discountPrice": price.to_bson() } };
        products.update_one(doc! { "_id": one.id }, set).await?;
        let written = Instant::now();
        let wanted = json!(price);
        loop {
            let seen = client.get(&path).await?;
            if seen.get("product").and_then(|product| product.get("discountPrice")) == Some(&wanted) {
                break;
            }
            ensure!(written.elapsed() < Duration::from_secs(5), "a write was not seen for five seconds");
        }
        tally.done(written.elapsed(), 0);
    }
    let Figures { p50, p99, max, .. } = tally.figures(begun.elapsed());
    say(format!(
        "a write elsewhere is seen after {} ms (p50), {} ms (p99, goal 100), {} ms (slowest of 200)",
        millis(p50),
        millis(p99),
        millis(max)
    ));
    Ok(())
}

/// How the catalogue fares while as many people log in as can, and they beside it.
async fn storm(options: &Options, bench: &Bench, db: &Db) -> anyhow::Result<()> {
    const PASSWORD: &str = "correct horse battery";
    let hasher = Arc::new(Hasher::new(10)?);
    let hash = hasher.hash(PASSWORD.to_owned()).await?;
    let set = doc! { "$set": { "password": &hash } };
    db.of::<User>().update_many(doc! {}, set).await?;
    let email = db.of::<User>().find_one(doc! {}).await?.context("nobody to log in")?.email;
    let raw = {
        let begun = Instant::now();
        let time = Duration::from_secs(options.seconds);
        let threads: Vec<JoinHandle<anyhow::Result<u64>>> = (0..machine::cores())
            .map(|_| {
                let (hasher, hash) = (Arc::clone(&hasher), hash.clone());
                tokio::spawn(async move {
                    let mut count = 0;
                    while begun.elapsed() < time {
                        ensure!(hasher.verify(PASSWORD.to_owned(), &hash).await?, "a wrong password");
                        count += 1;
                    }
                    Ok(count)
                })
            })
            .collect();
        let mut count = 0;
        for thread in threads {
            count += thread.await??;
        }
        rate(count, begun.elapsed())
    };
    let asks = vec![Ask::gzip(WHOLE), Ask::plain(WHOLE)];
    let quiet = bench.cell(asks.clone(), options.strolling()).await?;
    let logged_in = Arc::new(AtomicU64::new(0));
    let stormers: Vec<JoinHandle<anyhow::Result<()>>> = (0..machine::cores() * 4)
        .map(|_| {
            let (logged_in, address) = (Arc::clone(&logged_in), bench.server.address.clone());
            let body = json!({ "email": email, "password": PASSWORD }).to_string();
            tokio::spawn(async move {
                let mut client = Client::connect(&address, None).await?;
                loop {
                    let (status, _) = client.call(Method::POST, "/api/user/login-user", body.clone()).await?;
                    ensure!(status == StatusCode::OK, "a log-in answers {status}");
                    logged_in.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let (before, begun) = (logged_in.load(Ordering::Relaxed), Instant::now());
    let stormy = bench.cell(asks, options.strolling()).await?;
    let log_ins = rate(logged_in.load(Ordering::Relaxed) - before, begun.elapsed());
    for stormer in stormers {
        ensure!(!stormer.is_finished(), "a log-in failed: {:?}", stormer.await);
        stormer.abort();
    }
    say(format!(
        "while {} log-ins a second go on ({} of the {raw} hashes a second of all cores, goal 0.90): the whole list within \
         {} ms (p99), {} times the {} ms without (goal 3)",
        log_ins,
        ratio(log_ins, raw),
        millis(stormy.figures.p99),
        ratio(stormy.figures.p99, quiet.figures.p99),
        millis(quiet.figures.p99)
    ));
    Ok(())
}

fn rate(count: u64, time: Duration) -> u64 {
    count.saturating_mul(1_000_000).checked_div(micros(time)).unwrap_or(0)
}

/// Pages of a catalogue of very many products.
async fn large(options: &Options, scratch: &Scratch, mongo: &EmbeddedMongo, size: u32) -> anyhow::Result<()> {
    let uri = mongo.uri_for(&format!("catalogue{size}"));
    let db = Db::connect(&uri, "bench").await?;
    let ids = many::plant(&db, size).await?;
    let home = scratch.path().join(format!("catalogue{size}"));
    let begun = Instant::now();
    let bench = Bench::start(Program::Api, &uri, &home, mongo).await?;
    let mut client = Client::connect(&bench.server.address, None).await?;
    loop {
        let page = client.get(&format!("{WHOLE}?limit=1")).await;
        let total = page.ok().and_then(|page| page.get("total").and_then(Value::as_u64));
        if total == Some(u64::from(size)) {
            break;
        }
        ensure!(
            begun.elapsed() < Duration::from_secs(600),
            "the catalogue is not there after ten minutes: {total:?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    say(format!(
        "\n{size} products: searchable {} ms after the start; {}",
        begun.elapsed().as_millis(),
        bench.memory()
    ));
    heading();
    let asks = many::searches(2_000);
    let souk = bench.cell(asks.clone(), options.pace()).await?;
    row("pages of 50, filtered, in order, with counts", &souk, "p99 goal 5.0 ms");
    let quiet = bench.cell(asks.clone(), options.strolling()).await?;
    row("  the same, ten a second each", &quiet, "");
    let writing = tokio::spawn(write(db.clone(), ids));
    let busy = bench.cell(asks, options.strolling()).await?;
    ensure!(!writing.is_finished(), "the writes failed: {:?}", writing.await);
    writing.abort();
    row(
        "  the same, beside 100 writes a second",
        &busy,
        &format!("p99 {} times (goal 2)", ratio(busy.figures.p99, quiet.figures.p99)),
    );
    let extra = busy.cpu.get(1).zip(quiet.cpu.get(1)).map_or(0, |(busy, quiet)| busy.saturating_sub(*quiet));
    say(format!("the writes cost the server {extra} % of a core (goal 33); {}", bench.memory()));
    drop(bench);
    db.database().drop().await?;
    Ok(())
}

/// A hundred times a second somebody else changes a price or what there is.
async fn write(db: Db, ids: Vec<Id<Listing>>) -> anyhow::Result<()> {
    let mut random = many::Random::seeded(3);
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    loop {
        tick.tick().await;
        let chosen = usize::try_from(random.below(u32::try_from(ids.len())?))?;
        let Some(id) = ids.get(chosen) else { continue };
        let price = Money::from_minor(i64::from(100 + random.below(100_000)));
        let set = doc! { "discountPrice": price.to_bson(), "stock": i64::from(random.below(40)) };
        db.listings(Kind::Product).update_one(doc! { "_id": *id }, doc! { "$set": set }).await?;
    }
}

/// Any other server, with what it has.
async fn foreign(options: &Options, url: &str) -> anyhow::Result<ExitCode> {
    let address = url.strip_prefix("http://").context("--url must begin with http://")?.trim_end_matches('/');
    heading();
    let pids = vec![vec![std::process::id()]];
    for (name, ask) in questions(address).await? {
        row(name, &hammer(address, &Arc::new(vec![ask]), options.pace(), pids.clone()).await?, "");
    }
    Ok(ExitCode::SUCCESS)
}

fn heading() {
    say(format!(
        "{:<45} {:>9} {:>8} {:>8} {:>8} {:>7}   {:<24} {}",
        "",
        "answers/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "errors",
        "of the ceiling",
        "% of a core: load, server, mongod"
    ));
}

fn row(what: &str, cell: &Cell, beside: &str) {
    let Figures { rate, p50, p99, max, failed, complaint, .. } = &cell.figures;
    let cpu: Vec<String> = cell.cpu.iter().map(|percent| format!("{percent:>4}")).collect();
    say(format!(
        "{what:<45} {rate:>9} {:>8} {:>8} {:>8} {failed:>7}   {beside:<24} {}",
        millis(*p50),
        millis(*p99),
        millis(*max),
        cpu.join(" ")
    ));
    if let Some(complaint) = complaint {
        say(format!("  the first error: {complaint}"));
    }
}
