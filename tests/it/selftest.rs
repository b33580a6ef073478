//! `souk selftest`, as an operator runs it, with small counts: it passes, and leaves nothing behind.

use std::{path::PathBuf, process::Stdio, time::Duration};

use bson::{Document, doc};
use shared::{clock::Clock, db::Db};
use souk::embedded::{self, EmbeddedMongo, Options};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

/// A MongoDB of one test's, to see everything that is left on it, and a directory beside its data.
struct Deployment {
    mongo: EmbeddedMongo,
    db: Db,
    home: PathBuf,
}

impl Deployment {
    async fn start() -> Self {
        let mongo = embedded::start(Options::for_tests()).await.unwrap();
        let db = Db::connect(mongo.uri(), "souk-test").await.unwrap();
        let home = mongo.data_dir().join("scratch");
        std::fs::create_dir_all(&home).unwrap();
        Self { mongo, db, home }
    }

    fn selftest(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_souk-under-test"));
        command
            .arg("selftest")
            .args(arguments)
            .env_remove("MONGODB_URI")
            .env("DB_URL", self.mongo.uri())
            .env("TMPDIR", &self.home)
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn databases(&self) -> Vec<String> {
        let mut names = self.db.client().list_database_names().await.unwrap();
        names.retain(|name| !["admin", "config", "local"].contains(&name.as_str()));
        names.sort();
        names
    }

    fn files(&self) -> Vec<String> {
        let files = std::fs::read_dir(&self.home).unwrap().flatten();
        files.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Runs some trials, the random ones as every time, and holds that they pass.
    async fn holds(&self, trials: &[&str]) {
        let mut arguments = vec!["--quick", "--seed", "7"];
        trials.iter().for_each(|trial| arguments.extend(["--only", trial]));
        let run = self.selftest(&arguments).output();
        let run = tokio::time::timeout(Duration::from_secs(180), run).await.expect("it hangs").unwrap();
        let told = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "{told}\n{}", String::from_utf8_lossy(&run.stderr));
        assert!(told.contains("Everything held."), "{told}");
        for trial in trials {
            assert!(told.lines().any(|line| line.starts_with(trial) && line.contains(" ok ")), "{told}");
        }
        assert_eq!((self.databases().await, self.files()), (vec![], vec![]));
    }
}

#[tokio::test]
async fn the_trials_of_races_hold_and_leave_nothing_behind() {
    let deployment = Deployment::start().await;
    deployment.holds(&["last-unit", "same-product", "same-request", "carts"]).await;
    deployment.mongo.stop().await;
}

#[tokio::test]
async fn the_trials_of_money_hold_and_leave_nothing_behind() {
    let deployment = Deployment::start().await;
    deployment.holds(&["withdrawals", "once", "refunds", "storm"]).await;
    deployment.mongo.stop().await;
}

#[tokio::test]
async fn the_trials_of_crashes_hold_and_leave_nothing_behind() {
    let deployment = Deployment::start().await;
    deployment.holds(&["kill-server", "kill-database"]).await;
    deployment.mongo.stop().await;
}

#[tokio::test]
async fn an_interrupted_selftest_removes_its_database_and_that_of_a_crashed_one_and_no_other() {
    let deployment = Deployment::start().await;
    let seconds = Clock::default().now().timestamp_millis() / 1000;
    let named = |age: i64| format!("souk_selftest_{:08x}{:016x}", seconds - age, 0);
    let (crashed, running) = (named(2 * 86_400), named(3600));
    let others = [running.as_str(), "souk_selftest_notes", "souk", &format!("x{crashed}")];
    for name in others.into_iter().chain([crashed.as_str()]) {
        let notes = deployment.db.client().database(name).collection::<Document>("notes");
        notes.insert_one(doc! { "_id": 1 }).await.unwrap();
    }
    let crashed_files = deployment.home.join(crashed.replace('_', "-"));
    std::fs::create_dir(&crashed_files).unwrap();

    let mut child = deployment.selftest(&["--full", "--only", "storm"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The trial is under way when its people are there; `mongod` tells nobody.
    let under_way = async {
        loop {
            let names = deployment.databases().await;
            let own = names
                .iter()
                .find(|name| name.starts_with("souk_selftest_") && !others.contains(&name.as_str()));
            if let Some(own) = own.filter(|own| **own != crashed) {
                let orders = deployment.db.client().database(own).collection::<Document>("orders");
                if orders.find_one(doc! {}).await.unwrap().is_some() {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), under_way).await.expect("no trial began");
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let ended = tokio::time::timeout(Duration::from_secs(60), child.wait()).await.expect("it does not end");
    assert!(!ended.unwrap().success(), "an interrupted selftest has not passed");
    let mut told = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        told.push_str(&line);
    }
    assert!(told.contains("everything removed"), "{told}");
    let mut left: Vec<String> = others.iter().map(|name| (*name).to_owned()).collect();
    left.sort();
    assert_eq!((deployment.databases().await, deployment.files()), (left, vec![]));
    deployment.mongo.stop().await;
}
