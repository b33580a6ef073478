//! What thousands of connections that send a byte a second cost everybody else.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use crate::{
    server::{Program, Server},
    stage::{on_a_database, say, until_stopped},
    stats::{Figures, Tally},
};

/// How many, and for how long.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Connections that send a byte a second
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Clients that are measured, each asking ten times a second
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Measure the chat server instead of the API
    #[arg(long)]
    chat: bool,
    /// Where the database is put
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

/// Measures without and with them, and fails if the slowest of a hundred take twice as long.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or_default();
    let wanted = u64::try_from(options.connections)?.saturating_add(1_000);
    anyhow::ensure!(files >= wanted, "a process may have only {files} files open here: fewer --connections");
    until_stopped(on_a_database(&options.dir, async |scratch, mongo| {
        let program = if options.chat { Program::Chat } else { Program::Api };
        let server = Server::start(program, mongo.uri(), scratch.path()).await?;
        let before = healthy(&server.address, &options).await?;
        let memory = resident(&server);
        let (over, open) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let slow: Vec<_> = (0..options.connections)
            .map(|i| {
                let (over, open, address) = (Arc::clone(&over), Arc::clone(&open), server.address.clone());
                tokio::spawn(async move {
                    // Not all in the same moment of the second.
                    tokio::time::sleep(Duration::from_micros(u64::try_from(i % 1_000).unwrap_or(0) * 1_000))
                        .await;
                    while !over.load(Ordering::Relaxed) {
                        _ = drip(&address, &open).await;
                    }
                })
            })
            .collect();
        // What is measured is the siege, not how it begins.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let held = open.load(Ordering::Relaxed);
        let during = healthy(&server.address, &options).await?;
        let grown = resident(&server).zip(memory).map(|(now, before)| now.saturating_sub(before));
        over.store(true, Ordering::Relaxed);
        slow.iter().for_each(tokio::task::JoinHandle::abort);
        say(format!("without slow connections: {}", line(&before)));
        say(format!("with {held:>6} of them:     {}", line(&during)));
        say(format!("memory grew by {} MiB", grown.map_or_else(|| "?".to_owned(), |mib| mib.to_string())));
        let held_up = during.failed > 0 || during.p99 >= before.p99.saturating_mul(2).max(20_000);
        Ok(if held_up { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }))
    .await
}

fn line(figures: &Figures) -> String {
    let Figures { rate, p50, p99, max, failed, .. } = figures;
    format!("{rate} answers a second, p50 {p50} µs, p99 {p99} µs, slowest {max} µs, {failed} failed")
}

/// Sends a head byte by byte until it is sent off.
async fn drip(address: &str, open: &AtomicUsize) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    open.fetch_add(1, Ordering::Relaxed);
    let sent_off = async {
        stream.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").await?;
        let mut told = [0; 256];
        loop {
            match tokio::time::timeout(Duration::from_secs(1), stream.read(&mut told)).await {
                Ok(Ok(count)) if count > 0 => {}
                Ok(_) => return Ok(()),
                Err(_) => stream.write_all(b"x").await?,
            }
        }
    }
    .await;
    open.fetch_sub(1, Ordering::Relaxed);
    sent_off
}

/// What people who behave see meanwhile.
async fn healthy(address: &str, options: &Options) -> anyhow::Result<Figures> {
    let begun = Instant::now();
    let time = Duration::from_secs(options.seconds);
    // One is answered from memory, and one asks the database.
    let path = if options.chat { "/" } else { "/api/product/get-all-products" };
    let client = async || {
        let mut tally = Tally::default();
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let mut answer = vec![0; 64 * 1024];
        while begun.elapsed() < time {
            let asked = Instant::now();
            stream.write_all(request.as_bytes()).await?;
            let count = stream.read(&mut answer).await?;
            if answer.get(..count).is_some_and(|answer| answer.starts_with(b"HTTP/1.1 200")) {
                tally.done(asked.elapsed(), 0);
            } else {
                tally.fail("not served".to_owned());
                stream = TcpStream::connect(address).await?;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(tally)
    };
    let mut all = Tally::default();
    for tally in join_all((0..options.clients).map(|_| client())).await {
        all.add(tally.context("somebody who behaves was not served")?);
    }
    Ok(all.figures(begun.elapsed()))
}

/// MiB.
fn resident(server: &Server) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()?)).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib / 1024)
}
