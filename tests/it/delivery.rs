//! The delivery trial: many pages of the real JavaScript client talk in pairs while their connections break in every way
//! and a node is killed and started again. What was stored is what every page has shown: all of it, once, in order.

use std::{collections::HashMap, fmt::Write as _, process::Stdio, time::Duration};

use bson::doc;
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::{
    auth::{SELLER_COOKIE, USER_COOKIE},
    id::Id,
    model::{Conversation, Message, Shop, User},
};
use tests::TestApp;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

use crate::crash::{Process, free_port};

/// How much of it.
struct Size {
    pairs: usize,
    plan: Value,
    patience: Duration,
}

impl Size {
    /// The whole trial takes three minutes, and both cores of a small machine.
    #[expect(clippy::disallowed_methods, reason = "no setting of the program's: how much to test")]
    fn wanted() -> Self {
        if std::env::var("SOUK_TRIAL").is_ok_and(|size| size == "full") {
            Self::full()
        } else {
            Self::reduced()
        }
    }

    fn reduced() -> Self {
        let plan = json!({
            "seconds": 12, "every": 500, "calm": [300, 4000], "away": [0, 2000], "stall": [50, 1000], "orphans": 1500,
            "backoff": [20, 200], "patience": 30_000,
        });
        Self { pairs: 30, plan, patience: Duration::from_secs(120) }
    }

    fn full() -> Self {
        let plan = json!({
            "seconds": 120, "every": 10_000, "calm": [1000, 60_000], "away": [0, 30_000], "stall": [500, 15_000],
            "orphans": 20_000, "backoff": [500, 2000], "patience": 120_000,
        });
        Self { pairs: 500, plan, patience: Duration::from_secs(600) }
    }
}

/// What a page tells about itself in the end.
#[derive(Deserialize)]
struct Page {
    who: String,
    person: String,
    conversation: String,
    /// Conversation, message, sender, text.
    shown: Vec<[String; 4]>,
    confirmed: Vec<String>,
    unknown: Vec<String>,
    refused: Vec<String>,
    story: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_shown_once_and_in_order_whatever_breaks() {
    let size = Size::wanted();
    let app = TestApp::start().await;
    let pairs = people(&app, size.pairs).await;
    let settings = [("RATE_LIMITS", "off")];
    let (port, other) = (free_port(), free_port());
    let _lasting = Process::chat(&app, other, &settings).await;
    let mortal = Process::chat(&app, port, &settings).await;

    let mut plan = size.plan;
    let report = app.home().join("trial-report.json");
    plan["seed"] = 4.into();
    plan["api"] = app.base.clone().into();
    plan["nodes"] = json!([port, other]);
    plan["pairs"] = pairs.into();
    plan["report"] = report.to_str().unwrap().into();
    let file = app.home().join("trial.json");
    std::fs::write(&file, plan.to_string()).unwrap();

    let trial = async {
        let mut node = Command::new("node")
            .arg("delivery.mjs")
            .current_dir(crate::journey::with_libraries().await)
            .env("SOUK_TRIAL", &file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut commands = node.stdin.take().unwrap();
        let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
        let mut mortal = Some(mortal);
        while let Some(line) = lines.next_line().await.unwrap() {
            println!("{line}");
            if line == "kill" {
                mortal.take().unwrap().kill().await;
                mortal = Some(Process::chat(&app, port, &settings).await);
                commands.write_all(b"it is back\n").await.unwrap();
            }
        }
        assert!(node.wait().await.unwrap().success(), "the trial was not carried out");
    };
    tokio::time::timeout(size.patience, trial).await.expect("the trial hangs");
    let pages: Vec<Page> = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(pages.iter().filter(|page| page.who.starts_with('p')).count(), size.pairs * 2);
    let verdict = judge(&pages, &stored(&app).await);
    println!("{}", verdict.summary);
    assert!(verdict.faults.is_empty(), "{}\n{}", verdict.summary, verdict.faults.join("\n"));
}

/// So many shoppers and shops with a conversation each, put straight into the database.
async fn people(app: &TestApp, pairs: usize) -> Vec<Value> {
    let mut all = Vec::new();
    for i in 0..pairs {
        let (ann, bobs) = (app.buyer(&format!("ann{i}")).await, app.seller(&format!("bob{i}")).await);
        let conversation = Conversation {
            id: Id::new(),
            title: format!("{}{}", bobs.id, ann.id),
            members: vec![ann.id.hex(), bobs.id.hex()],
            created_at: Some(app.clock.now()),
            updated_at: Some(app.clock.now()),
            ..Conversation::default()
        };
        app.db.of::<Conversation>().insert_one(&conversation).await.unwrap();
        let person = |id: String, token: &str, cookie: &str| {
            let conversation = conversation.id.hex();
            json!({ "id": id, "token": token, "cookies": format!("{cookie}={token}"), "conversation": conversation })
        };
        let shopper = person(ann.id.hex(), &ann.token, USER_COOKIE);
        all.push(json!([shopper, person(bobs.id.hex(), &bobs.token, SELLER_COOKIE)]));
    }
    assert_eq!(app.db.of::<User>().count_documents(doc! {}).await.unwrap(), u64::try_from(pairs).unwrap());
    assert_eq!(app.db.of::<Shop>().count_documents(doc! {}).await.unwrap(), u64::try_from(pairs).unwrap());
    all
}

/// What is stored of a conversation, oldest first: message, sender, text.
type Stored = HashMap<String, Vec<(String, String, String)>>;

async fn stored(app: &TestApp) -> Stored {
    let mut all = Stored::new();
    let sorted = app.db.of::<Message>().find(doc! {}).sort(doc! { "createdAt": 1, "_id": 1 }).await.unwrap();
    let messages: Vec<Message> = sorted.try_collect().await.unwrap();
    for message in messages {
        let one = (message.id.hex(), message.sender, message.text);
        all.entry(message.conversation_id.hex()).or_default().push(one);
    }
    all
}

#[derive(Default)]
struct Verdict {
    summary: String,
    faults: Vec<String>,
}

/// Compares what pages have shown, and were told, with what is stored.
fn judge(pages: &[Page], stored: &Stored) -> Verdict {
    let mut faults = Vec::new();
    let (mut lost, mut twice, mut disordered, mut unstored, mut repeated) = (0, 0, 0, 0, 0);
    let nothing = Vec::new();
    for page in pages {
        let conversation = stored.get(&page.conversation).unwrap_or(&nothing);
        let expected: Vec<&String> =
            conversation.iter().filter(|(_, sender, _)| *sender != page.person).map(|(id, ..)| id).collect();
        let shown: Vec<&String> = page.shown.iter().map(|[_, message, ..]| message).collect();
        let times = count(&shown);
        let mut fault = String::new();
        for id in &expected {
            if !times.contains_key(id) {
                lost += 1;
                let text = conversation.iter().find(|(known, ..)| known == *id).map(|(_, _, text)| text);
                writeln!(fault, "  lost {id} {text:?}").unwrap();
            }
        }
        for (id, times) in &times {
            if *times > 1 {
                twice += times - 1;
                writeln!(fault, "  shown {times} times: {id}").unwrap();
            }
        }
        // The order of what is there, each counted at its first time.
        let mut first: Vec<&String> = Vec::new();
        for id in shown {
            if !first.contains(&id) {
                first.push(id);
            }
        }
        let in_order: Vec<&String> = expected.iter().copied().filter(|id| times.contains_key(id)).collect();
        if first != in_order {
            disordered += 1;
            writeln!(fault, "  order: shown {first:?}\n         stored {in_order:?}").unwrap();
        }
        let own: Vec<&String> = conversation
            .iter()
            .filter(|(_, sender, _)| *sender == page.person)
            .map(|(.., text)| text)
            .collect();
        let own = count(&own);
        for text in page.confirmed.iter().filter(|text| !own.contains_key(text)) {
            unstored += 1;
            writeln!(fault, "  acknowledged and not stored: {text}").unwrap();
        }
        for (text, times) in own.into_iter().filter(|(_, times)| *times > 1) {
            repeated += 1;
            writeln!(fault, "  said once and stored {times} times: {text}").unwrap();
        }
        if !page.refused.is_empty() {
            writeln!(fault, "  refused: {:?}", page.refused).unwrap();
        }
        if !fault.is_empty() && faults.len() < 5 {
            faults.push(format!("{}:\n{fault}  its story:\n    {}", page.who, page.story.join("\n    ")));
        } else if !fault.is_empty() {
            faults.push(format!("{}:\n{fault}", page.who));
        }
    }
    let sum = |of: fn(&Page) -> usize| pages.iter().map(of).sum::<usize>();
    let breaks = sum(|page| page.story.iter().filter(|line| line.contains(" disconnect ")).count());
    let summary = format!(
        "{} pages, {} messages acknowledged, {} of unknown fate, {} shown, {breaks} breaks; lost {lost}, shown twice \
         {twice}, pages out of order {disordered}, acknowledged and not stored {unstored}, stored twice {repeated}",
        pages.len(),
        sum(|page| page.confirmed.len()),
        sum(|page| page.unknown.len()),
        sum(|page| page.shown.len()),
    );
    Verdict { summary, faults }
}

fn count<'a>(things: &[&'a String]) -> HashMap<&'a String, usize> {
    let mut times = HashMap::new();
    things.iter().for_each(|thing| *times.entry(*thing).or_default() += 1);
    times
}

#[test]
fn the_judge_sees_what_is_lost_shown_twice_out_of_order_or_never_stored() {
    let stored = |texts: &[&str]| {
        let line = |text: &&str| ((*text).to_owned(), "peer".to_owned(), (*text).to_owned());
        Stored::from([("c".to_owned(), texts.iter().map(line).collect())])
    };
    let page = |shown: &[&str], confirmed: &[&str]| Page {
        who: "p0".to_owned(),
        person: "me".to_owned(),
        conversation: "c".to_owned(),
        shown: shown.iter().map(|id| ["c", id, "peer", id].map(str::to_owned)).collect(),
        confirmed: confirmed.iter().map(|text| (*text).to_owned()).collect(),
        unknown: vec![],
        refused: vec![],
        story: vec![],
    };
    let faults = |page: Page| judge(&[page], &stored(&["1", "2", "3"])).faults;
    assert!(faults(page(&["1", "2", "3"], &[])).is_empty());
    for (shown, confirmed, word) in [
        (&["1", "3"][..], &[][..], "lost 2"),
        (&["1", "2", "2", "3"], &[], "shown 2 times"),
        (&["2", "1", "3"], &[], "order"),
        (&["1", "2", "3", "4"], &[], "order"),
        (&["1", "2", "3"], &["mine"], "acknowledged and not stored"),
    ] {
        let faults = faults(page(shown, confirmed));
        assert!(faults.len() == 1 && faults[0].contains(word), "{shown:?}: {faults:?}");
    }
}
