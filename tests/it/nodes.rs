//! Several chat servers as one: the same stories on one node, on two that talk through the database, and
//! on two that talk through Redis.

use std::time::Duration;

use serde_json::{Value, json};
use shared::config::{Config, RealtimeAdapter, Secret};
use tests::{Buyer, Chat, Seller, Socket, TestApp, redis::Redis};

use crate::dead_letters::souk_with;

const SEND: &str = "/api/messages/create-new-message";

/// A shopper and a shop who share a conversation, and chat servers that know of each other.
struct Nodes {
    app: TestApp,
    adapter: RealtimeAdapter,
    redis: Option<Redis>,
    here: Chat,
    /// None where one node is to do it all.
    second: Option<Chat>,
    ann: Buyer,
    bobs: Seller,
    conversation: String,
}

impl Nodes {
    async fn one(change: fn(&mut Config)) -> Self {
        Self::open(RealtimeAdapter::Local, change).await
    }

    async fn over_mongodb(change: fn(&mut Config)) -> Self {
        Self::open(RealtimeAdapter::Mongodb, change).await
    }

    async fn over_redis(change: fn(&mut Config)) -> Self {
        Self::open(RealtimeAdapter::Redis, change).await
    }

    async fn open(adapter: RealtimeAdapter, change: fn(&mut Config)) -> Self {
        let app = TestApp::start().await;
        let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
        let conversation = ann.talk_to(&bobs).await;
        let redis = match adapter {
            RealtimeAdapter::Redis => Some(Redis::start(app.home().to_path_buf()).await),
            _ => None,
        };
        let here = node(&app, adapter, redis.as_ref(), change).await;
        let second = match adapter {
            RealtimeAdapter::Local => None,
            _ => Some(node(&app, adapter, redis.as_ref(), change).await),
        };
        Self { app, adapter, redis, here, second, ann, bobs, conversation }
    }

    async fn another(&self, change: fn(&mut Config)) -> Chat {
        node(&self.app, self.adapter, self.redis.as_ref(), change).await
    }

    fn there(&self) -> &Chat {
        self.second.as_ref().unwrap_or(&self.here)
    }

    fn said(&self, text: &str) -> Value {
        json!({ "senderId": self.ann.id.hex(), "receiverId": self.bobs.id.hex(), "text": text })
    }

    async fn say_over_rest(&self, text: &str) {
        let said = json!({ "conversationId": self.conversation, "sender": self.ann.id.hex(), "text": text });
        self.ann.post(SEND).json(&said).await.expect(201);
    }
}

async fn node(
    app: &TestApp,
    adapter: RealtimeAdapter,
    redis: Option<&Redis>,
    change: fn(&mut Config),
) -> Chat {
    let url = redis.map(Redis::url);
    app.chat_with(|config| {
        config.realtime_adapter = adapter;
        config.redis_url = url.map(Secret::new);
        change(config);
    })
    .await
}

/// The same story for each way.
macro_rules! stories {
    ($($way:ident: $open:ident { $($story:ident($change:expr)),* $(,)? })*) => {
        $(mod $way {
            $(#[tokio::test]
            async fn $story() {
                super::$story(super::Nodes::$open($change).await).await;
            })*
        })*
    };
}

stories! {
    on_one_node: one {
        messages_reach_every_tab_on_every_node_once_and_in_order(|_| {}),
        a_person_is_online_from_the_first_socket_to_the_last_over_all_nodes(|_| {}),
        above_the_limit_contacts_are_told_of_over_all_nodes(|c| c.presence_broadcast_limit = 0),
        last_messages_and_receipts_reach_every_node(|_| {}),
    }
    on_two_nodes_over_mongodb: over_mongodb {
        messages_reach_every_tab_on_every_node_once_and_in_order(|_| {}),
        a_person_is_online_from_the_first_socket_to_the_last_over_all_nodes(|_| {}),
        above_the_limit_contacts_are_told_of_over_all_nodes(|c| c.presence_broadcast_limit = 0),
        last_messages_and_receipts_reach_every_node(|_| {}),
        a_node_that_stops_takes_leave_and_a_new_one_learns_who_is_there(super::PATIENT),
        the_people_of_a_node_that_dies_are_cleared(super::HASTY),
    }
    on_two_nodes_over_redis: over_redis {
        messages_reach_every_tab_on_every_node_once_and_in_order(|_| {}),
        a_person_is_online_from_the_first_socket_to_the_last_over_all_nodes(|_| {}),
        above_the_limit_contacts_are_told_of_over_all_nodes(|c| c.presence_broadcast_limit = 0),
        last_messages_and_receipts_reach_every_node(|_| {}),
        a_node_that_stops_takes_leave_and_a_new_one_learns_who_is_there(super::PATIENT),
        the_people_of_a_node_that_dies_are_cleared(super::HASTY),
        while_redis_is_away_messages_go_on_and_afterwards_presence_is_right(|_| {}),
    }
}

/// Nobody counts as dead because of silence.
const PATIENT: fn(&mut Config) = |config| config.node_silence = Duration::from_secs(3_600);

/// Soon.
const HASTY: fn(&mut Config) = |config| config.node_silence = Duration::from_secs(2);

async fn messages_reach_every_tab_on_every_node_once_and_in_order(nodes: Nodes) {
    let mut tabs = vec![nodes.here.connect(&nodes.bobs).await, nodes.there().connect(&nodes.bobs).await];
    tabs.push(nodes.there().connect(&nodes.bobs).await);
    let mut anns = [nodes.here.connect(&nodes.ann).await, nodes.there().connect(&nodes.ann).await];
    let mut sent = Vec::new();
    for i in 0..30 {
        let text = format!("message {i}");
        match i % 3 {
            0 => nodes.say_over_rest(&text).await,
            // Acknowledged is stored, so the next one, on another node, comes after it.
            one => _ = anns[one - 1].ask("sendMessage", &nodes.said(&text)).await,
        }
        sent.push(text);
    }
    // Any that came twice would come before this one.
    nodes.say_over_rest("the end").await;
    sent.push("the end".to_owned());
    for tab in &mut tabs {
        for text in &sent {
            assert_eq!(tab.next("getMessage").await["text"], text.as_str());
        }
    }
}

async fn a_person_is_online_from_the_first_socket_to_the_last_over_all_nodes(nodes: Nodes) {
    let (ann, bobs) = (nodes.ann.id.hex(), nodes.bobs.id.hex());
    let eve = nodes.app.buyer("eve").await;
    let mut watcher = nodes.here.connect(&nodes.bobs).await;
    watcher.online(std::slice::from_ref(&bobs)).await;
    let first = nodes.there().connect(&nodes.ann).await;
    watcher.online(&[ann.clone(), bobs.clone()]).await;
    let second = nodes.here.connect(&nodes.ann).await;
    first.close().await;
    // Whatever is told until eve is there, ann is online.
    let eves = nodes.there().connect(&eve).await;
    loop {
        let list = watcher.next("getUsers").await;
        assert!(names(&list).contains(&ann), "{list}");
        if names(&list).contains(&eve.id.hex()) {
            break;
        }
    }
    second.close().await;
    watcher.online(&[bobs.clone(), eve.id.hex()]).await;
    eves.close().await;
    watcher.online(&[bobs]).await;
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one["userId"].as_str().unwrap().to_owned()).collect()
}

async fn above_the_limit_contacts_are_told_of_over_all_nodes(nodes: Nodes) {
    let (ann, bobs) = (nodes.ann.id.hex(), nodes.bobs.id.hex());
    let eve = nodes.app.buyer("eve").await;
    let mut eves = nodes.there().connect(&eve).await;
    eves.online(&[eve.id.hex()]).await;
    let mut bob = nodes.here.connect(&nodes.bobs).await;
    bob.online(std::slice::from_ref(&bobs)).await;
    let anns = nodes.there().connect(&nodes.ann).await;
    assert_eq!(sorted(&bob.next("getUsers").await), sorted_names(&[&ann, &bobs]), "and not of eve");
    eve.talk_to(&nodes.bobs).await;
    bob.online(&[ann, bobs.clone(), eve.id.hex()]).await;
    eves.online(&[bobs.clone(), eve.id.hex()]).await;
    anns.close().await;
    bob.online(&[bobs, eve.id.hex()]).await;
}

fn sorted(list: &Value) -> Vec<String> {
    let mut names = names(list);
    names.sort();
    names
}

fn sorted_names(names: &[&String]) -> Vec<String> {
    let mut names: Vec<String> = names.iter().map(|name| (*name).clone()).collect();
    names.sort();
    names
}

/// Both are there, and both nodes know.
async fn both(nodes: &Nodes) -> (Socket, Socket) {
    let both = [nodes.ann.id.hex(), nodes.bobs.id.hex()];
    let mut ann = nodes.here.connect(&nodes.ann).await;
    let mut bob = nodes.there().connect(&nodes.bobs).await;
    ann.online(&both).await;
    bob.online(&both).await;
    (ann, bob)
}

async fn last_messages_and_receipts_reach_every_node(nodes: Nodes) {
    let (mut ann, mut bob) = both(&nodes).await;
    for text in ["Is it bright?", "Is it warm?"] {
        let stored = ann.ask("sendMessage", &nodes.said(text)).await["messageId"].clone();
        let hint = json!({ "lastMessage": text, "lastMessageId": nodes.ann.id.hex() });
        ann.emit("updateLastMessage", &hint).await;
        // One each: the next one is of the next message.
        assert_eq!(ann.next("getLastMessage").await, hint);
        assert_eq!(bob.next("getLastMessage").await, hint);
        let ids = (nodes.ann.id.hex(), nodes.bobs.id.hex());
        let seen = json!({ "senderId": ids.0, "receiverId": ids.1, "messageId": stored });
        bob.emit("messageSeen", &seen).await;
        assert_eq!(ann.next("messageSent").await, seen);
    }
}

async fn a_node_that_stops_takes_leave_and_a_new_one_learns_who_is_there(mut nodes: Nodes) {
    let (mut ann, bob) = both(&nodes).await;
    nodes.second.take().unwrap().stop().await;
    ann.online(&[nodes.ann.id.hex()]).await;
    drop(bob);
    let third = nodes.another(PATIENT).await;
    let mut bob = third.connect(&nodes.bobs).await;
    bob.online(&[nodes.ann.id.hex(), nodes.bobs.id.hex()]).await;
    ann.online(&[nodes.ann.id.hex(), nodes.bobs.id.hex()]).await;
}

async fn the_people_of_a_node_that_dies_are_cleared(mut nodes: Nodes) {
    let (mut ann, bob) = both(&nodes).await;
    nodes.second.take().unwrap().die().await;
    ann.online(&[nodes.ann.id.hex()]).await;
    drop(bob);
    // It comes back, under another name.
    let again = nodes.another(HASTY).await;
    let mut bob = again.connect(&nodes.bobs).await;
    ann.online(&[nodes.ann.id.hex(), nodes.bobs.id.hex()]).await;
    bob.online(&[nodes.ann.id.hex(), nodes.bobs.id.hex()]).await;
}

async fn while_redis_is_away_messages_go_on_and_afterwards_presence_is_right(mut nodes: Nodes) {
    let (ann, mut bob) = both(&nodes).await;
    let (eve, dan) = (nodes.app.buyer("eve").await, nodes.app.buyer("dan").await);
    nodes.redis.as_mut().unwrap().kill().await;
    let mut anns = nodes.here.connect(&nodes.ann).await;
    anns.ask("sendMessage", &nodes.said("all the same")).await;
    assert_eq!(bob.next("getMessage").await["text"], "all the same");
    // Some come and go, which nobody tells the other node.
    ann.close().await;
    anns.close().await;
    let mut eves = nodes.here.connect(&eve).await;
    let mut dans = nodes.there().connect(&dan).await;
    nodes.redis.as_mut().unwrap().restart().await;
    let online = [nodes.bobs.id.hex(), dan.id.hex(), eve.id.hex()];
    for socket in [&mut bob, &mut eves, &mut dans] {
        socket.online(&online).await;
    }
}

#[tokio::test]
async fn a_signal_stays_in_the_database_for_a_while_and_no_longer() {
    let nodes = Nodes::over_mongodb(|_| {}).await;
    let (_ann, _bob) = both(&nodes).await;
    let signals = nodes.app.db.raw::<bson::Document>("chatsignals");
    let one = signals.find_one(bson::doc! { "expiresAt": { "$exists": true } }).await.unwrap().unwrap();
    assert!(one.get_str("batch").unwrap().contains("presence"), "{one}");
    let indexes = signals.list_index_names().await.unwrap();
    assert!(indexes.contains(&"chatsignals_ttl".to_owned()), "{indexes:?}");
}

#[tokio::test]
async fn nodes_hear_each_other_again_after_their_signals_were_dropped() {
    let nodes = Nodes::over_mongodb(PATIENT).await;
    let (mut ann, mut bob) = both(&nodes).await;
    nodes.app.db.raw::<bson::Document>("chatsignals").drop().await.unwrap();
    let eve = nodes.app.buyer("eve").await;
    let _eves = nodes.there().connect(&eve).await;
    let online = [nodes.ann.id.hex(), nodes.bobs.id.hex(), eve.id.hex()];
    ann.online(&online).await;
    bob.online(&online).await;
}

#[tokio::test]
async fn the_doctor_tries_redis() {
    let app = TestApp::start().await;
    let mut redis = Redis::start(app.home().to_path_buf()).await;
    let url = redis.url();
    let settings = [("REALTIME_ADAPTER", "redis"), ("REDIS_URL", url.as_str())];
    let (ended, said) = souk_with(&app, &["doctor"], &settings).await;
    assert!(ended.success() && said.contains("Redis passes on"), "{said}");
    redis.kill().await;
    let (ended, said) = souk_with(&app, &["doctor"], &settings).await;
    assert!(!ended.success() && said.contains("REDIS_URL"), "{said}");
}
