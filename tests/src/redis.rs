//! A Redis server of a test's own, which it may kill and start again.

use std::{net::TcpListener, path::PathBuf, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// How often a port is picked that somebody else takes before the server does.
const TRIES: u32 = 10;

/// A running Redis. Ends when it is dropped.
pub struct Redis {
    port: u16,
    home: PathBuf,
    process: Option<Child>,
}

impl Redis {
    /// Starts one, with nothing in it. Keeps its files, if any, in `home`.
    pub async fn start(home: PathBuf) -> Self {
        for _ in 0..TRIES {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(process) = serve(port, &home).await {
                return Self { port, home, process: Some(process) };
            }
        }
        panic!("no port could be had for redis-server");
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.unwrap();
        }
    }

    /// Starts it again where it was.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.process = serve(self.port, &self.home).await;
        assert!(self.process.is_some(), "the port of redis-server was taken meanwhile");
    }
}

/// The process once it accepts connections; none if it does not.
async fn serve(port: u16, home: &PathBuf) -> Option<Child> {
    let mut process = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|cause| {
            panic!("these tests need redis-server ({cause}); on Debian: apt-get install redis-server")
        });
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap()?;
        if line.contains("Ready to accept connections") {
            break;
        }
    }
    // Or it would stand still once the pipe is full.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Some(process)
}
