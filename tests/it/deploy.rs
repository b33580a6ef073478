//! What lies in `deploy/` speaks of things that exist: metrics, settings, files, headings of the manual.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use bson::{Document, doc};
use serde_json::{Value, json};
use shared::config::{Config, NAMES};
use tests::{Browser, Chat, TestApp, people::in_cash};

use crate::{
    crash::{Process, free_port},
    watching::read_until,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    let mut value: Value =
        serde_saphyr::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    merge(&mut value);
    value
}

/// `<<`, where the reader has left it to us.
fn merge(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Object(inherited)) = map.remove("<<") {
                for (name, value) in inherited {
                    map.entry(name).or_insert(value);
                }
            }
            map.values_mut().for_each(merge);
        }
        Value::Array(all) => all.iter_mut().for_each(merge),
        _ => {}
    }
}

/// Every query of the dashboard and of the alerts.
fn queries() -> Vec<String> {
    fn of(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("expr").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| of(value, found));
            }
            Value::Array(all) => all.iter().for_each(|value| of(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    of(&serde_json::from_str(&text("deploy/grafana/souk.json")).unwrap(), &mut found);
    assert!(found.len() > 40);
    let panels = found.len();
    of(&yaml("deploy/prometheus/souk.rules.yml"), &mut found);
    assert!(found.len() > panels + 15);
    found
}

/// The metrics that a query names: words that are neither functions nor labels.
fn metrics_in(query: &str) -> BTreeSet<String> {
    let mut bare = String::new();
    let (mut labels, mut quoted) = (false, false);
    for letter in query.chars() {
        match letter {
            '"' => quoted = !quoted,
            '{' if !quoted => labels = true,
            '}' if !quoted => labels = false,
            _ if labels || quoted => {}
            letter => bare.push(letter),
        }
    }
    // What is in the brackets of `by (…)` is labels.
    while let Some(at) = bare.find("by (") {
        let end = bare[at..].find(')').unwrap();
        bare.replace_range(at..=at + end, "");
    }
    let known = [
        "sum",
        "rate",
        "increase",
        "max",
        "min",
        "topk",
        "time",
        "histogram_quantile",
        "absent",
        "changes",
        "and",
        "m",
        "h",
        // Prometheus' own.
        "up",
    ];
    bare.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with(|first: char| first.is_ascii_alphabetic()) && !known.contains(word))
        .map(str::to_owned)
        .collect()
}

/// The names of all series.
fn exported(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn dashboard_and_alerts_name_only_metrics_that_the_servers_export() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.buyer("ann").await, app.seller("bob").await);
    let cup = bob.product("cup", "10", 100).await;
    ann.talk_to(&bob).await;
    // As the hourly count and the nightly backup leave it.
    let now = app.clock.now();
    let later = shared::clock::plus(now, 3_600_000);
    let counted = doc! { "$set": { "next": later, "countedAt": now, "differences": 0_i64 } };
    app.db.raw::<Document>("turns").update_one(doc! { "_id": "books" }, counted).upsert(true).await.unwrap();
    let noted = doc! { "_id": shared::backups::LAST, "at": now };
    app.db.raw::<Document>(shared::backups::COLLECTION).insert_one(noted).await.unwrap();
    // A job that is given up, and one that waits for somebody.
    let job = |dead: bool| doc! { "job": { "kind": "mail", "to": "a@b.c", "subject": "s", "text": "t" }, "dueAt": later, "attempts": 0, "dead": dead, "createdAt": now };
    app.db.raw::<Document>("outbox").insert_many([job(true), job(false)]).await.unwrap();

    let (port, chat_port, chat_at) = (free_port(), free_port(), free_port());
    let settings = [("METRICS_PORT", port.to_string()), ("RATE_LIMIT_COUPON", "1".to_owned())];
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let process = Process::start_with(&app, &settings).await;
    let there = Browser::new(&process.base);
    let order = there.post("/api/order/create-order").bearer(&ann.token).json(&in_cash(&[(&cup, 1)]));
    order.await.expect(201);
    there.get("/api/product/get-all-products").await.expect(200);
    for _ in 0..3 {
        there.get("/api/coupan/coupan-verified/NONE").bearer(&ann.token).unchecked().await;
    }
    let settings = [("METRICS_PORT", chat_port.to_string())];
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server = Process::chat(&app, chat_at, &settings).await;
    let chat = Chat::at(server.base.trim_start_matches("http://").parse().unwrap());
    let (mut anns, mut bobs) = (chat.connect(&ann).await, chat.connect(&bob).await);
    let said = json!({ "senderId": ann.id.hex(), "receiverId": bob.id.hex(), "text": "hello" });
    anns.ask("sendMessage", &said).await;
    bobs.next("getMessage").await;

    let needed: BTreeSet<String> = queries().iter().flat_map(|query| metrics_in(query)).collect();
    assert!(needed.len() > 35, "{needed:?}");
    let of_chat = |name: &String| name.starts_with("chat_");
    let missing = |metrics: &str, chat: bool| {
        let found = exported(metrics);
        let needed = needed.iter().filter(|name| of_chat(name) == chat);
        needed.filter(|name| !found.contains(*name)).cloned().collect::<Vec<_>>()
    };
    // Those of the queues are there when somebody has looked, and the catalogue's when a change was read.
    bob.product("pot", "10", 100).await;
    let metrics = read_until(port, |metrics| {
        let missing = missing(metrics, false);
        println!("{missing:?}");
        missing.is_empty()
    });
    let others = read_until(chat_port, |metrics| {
        let missing = missing(metrics, true);
        println!("{missing:?}");
        missing.is_empty()
    });
    tokio::join!(metrics, others);
}

#[test]
fn a_metric_is_told_from_everything_else_in_a_query() {
    let query = "sum by (le, route) (rate(a_total{job=~\"$job\",status=~\"5..\"}[5m])) / max(b_seconds) > 2 * 3600 and absent(c)";
    assert_eq!(metrics_in(query).into_iter().collect::<Vec<_>>(), ["a_total", "b_seconds", "c"]);
}

/// The name that a heading has in an address.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.collect::<String>().replace(' ', "-")
}

#[test]
fn every_alert_leads_to_a_heading_of_the_manual() {
    let manual = text("docs/OPERATIONS.md");
    let headings: BTreeSet<String> = manual
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect();
    let rules = yaml("deploy/prometheus/souk.rules.yml");
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    let mut names = BTreeSet::new();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(names.insert(name), "{name} is there twice");
        let (file, place) = rule["annotations"]["runbook"].as_str().unwrap().split_once('#').unwrap();
        assert_eq!(file, "docs/OPERATIONS.md");
        assert!(headings.contains(place), "{name}: there is no heading {place} in {headings:?}");
        assert!(["page", "warn"].contains(&rule["labels"]["severity"].as_str().unwrap()));
        assert!(manual.contains(&format!("`{name}`")), "the manual does not name {name}");
        assert!(!rule["annotations"]["summary"].as_str().unwrap().is_empty());
    }
}

/// The settings that a container is started with.
fn settings_of(service: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let environment = service["environment"].as_object().unwrap();
    environment.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// A value as compose makes it when nothing is set outside: `${NAME:-default}` is the default.
fn without_outside(value: &str) -> String {
    match value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        Some(inner) => inner.split_once(":-").map_or("", |(_, default)| default).to_owned(),
        None => value.to_owned(),
    }
}

fn is_port_of_everybody(port: &str) -> bool {
    !port.starts_with("127.0.0.1:")
}

#[test]
fn the_compose_files_start_what_there_is_with_settings_that_there_are() {
    let cluster =
        [("api-1", "api"), ("api-2", "api"), ("chat-1", "realtime"), ("chat-2", "realtime")].as_slice();
    for (file, ours, proxy) in [
        ("docker-compose.yml", [("api", "api"), ("realtime", "realtime")].as_slice(), "deploy/Caddyfile"),
        ("docker-compose.cluster.yml", cluster, "deploy/Caddyfile.cluster"),
    ] {
        let compose = yaml(file);
        let services = compose["services"].as_object().unwrap();
        for (name, command) in ours {
            let service = &services[*name];
            assert_eq!(service["command"], json!([command]), "{file} {name}");
            assert_eq!(service["healthcheck"]["test"], json!(["CMD", "souk", "healthcheck", command]));
            assert_eq!(service["image"], "souk");
            let settings = settings_of(service);
            for (setting, _) in &settings {
                assert!(NAMES.contains(&setting.as_str()), "{file} {name}: {setting} is no setting");
            }
            let read = Config::read(|wanted| {
                let (_, value) = settings.iter().find(|(setting, _)| setting == wanted)?;
                let value = if wanted == "JWT_SECRET_KEY" {
                    "0123456789abcdef0123".to_owned()
                } else {
                    without_outside(value)
                };
                Some(value)
            });
            let config = read.unwrap_or_else(|bad| panic!("{file} {name}: {bad}"));
            assert!(config.is_production() && config.metrics_port == 9464);
            assert!(service.get("ports").is_none(), "{name} can be reached past the proxy");
        }
        // Nothing but the proxy is there for everybody.
        for (name, service) in services {
            for port in service["ports"].as_array().into_iter().flatten() {
                assert!(
                    name == "proxy" || !is_port_of_everybody(port.as_str().unwrap()),
                    "{file} {name} {port}"
                );
            }
            for after in service["depends_on"].as_object().into_iter().flat_map(|after| after.keys()) {
                assert!(services.contains_key(after), "{file} {name} waits for {after}");
            }
            for volume in service["volumes"].as_array().into_iter().flatten() {
                let from = volume.as_str().unwrap().split(':').next().unwrap();
                if let Some(path) = from.strip_prefix("./") {
                    assert!(root().join(path).exists(), "{file} {name}: there is no {path}");
                } else if !from.starts_with('$') {
                    assert!(
                        compose["volumes"].as_object().unwrap().contains_key(from),
                        "{file} {name}: {from}"
                    );
                }
            }
        }
        // The proxy knows them by name and port.
        let caddy = text(proxy);
        for (name, command) in ours {
            let port = if *command == "api" { 5000 } else { 4000 };
            assert!(caddy.contains(&format!("{name}:{port}")), "{proxy} does not know {name}");
        }
        assert_eq!(caddy.matches('{').count(), caddy.matches('}').count(), "{proxy}");
    }
    let members = yaml("docker-compose.cluster.yml");
    let members =
        members["services"].as_object().unwrap().keys().filter(|name| name.starts_with("mongo-")).count();
    assert_eq!(members, 3);
}

#[test]
fn the_image_runs_as_nobody_in_particular_and_asks_itself_how_it_is() {
    let image = text("Dockerfile");
    let (_, last) = image.rsplit_once("\nFROM ").unwrap();
    assert!(last.contains("\nUSER 10001"), "{last}");
    assert!(last.contains("CMD [\"souk\", \"healthcheck\"]") && !last.contains("curl"), "{last}");
    for line in last.lines().filter_map(|line| line.strip_prefix("ENV ")) {
        for setting in line.split(' ').map(|pair| pair.split_once('=').unwrap().0) {
            assert!(NAMES.contains(&setting), "{setting} is no setting");
        }
    }
}

#[test]
fn the_units_are_such_as_systemd_reads() {
    let directory = root().join("deploy/systemd");
    let scratch = std::env::temp_dir().join(format!("souk-units-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).unwrap();
    let mut units = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let to = scratch.join(path.file_name().unwrap());
        // It looks whether the program is there.
        let unit = std::fs::read_to_string(&path).unwrap();
        for line in unit.lines().filter_map(|line| line.strip_prefix("Environment=")) {
            for setting in line.split(' ').map(|pair| pair.split_once('=').unwrap().0) {
                assert!(NAMES.contains(&setting), "{}: {setting} is no setting", path.display());
            }
        }
        std::fs::write(&to, unit.replace("/usr/local/bin/souk", "/bin/true")).unwrap();
        units.push(to);
    }
    assert!(units.len() >= 3);
    let verified = std::process::Command::new("systemd-analyze").arg("verify").args(&units).output();
    std::fs::remove_dir_all(&scratch).ok();
    match verified {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{said}");
        }
        // Where there is no systemd there is nobody to ask; the settings have been looked at.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }
}
