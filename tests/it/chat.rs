//! Storing what sockets send, many messages in one transaction.

use std::{collections::BTreeMap, sync::Arc};

use bson::{Document, doc};
use futures_util::{TryStreamExt as _, future::join_all};
use serde_json::json;
use shared::{
    chat::{Recorder, Saying},
    id::Id,
    model::{Conversation, Message},
};
use tests::{Buyer, Seller, TestApp};

/// Several shoppers who talk to one shop.
struct Talk {
    app: TestApp,
    shop: Seller,
    buyers: Vec<(Buyer, Id<Conversation>)>,
    recorder: Arc<Recorder>,
}

impl Talk {
    async fn of(count: usize) -> Self {
        let app = TestApp::start().await;
        let shop = app.seller("shop").await;
        let mut buyers = Vec::new();
        for i in 0..count {
            let buyer = app.buyer(&format!("buyer {i}")).await;
            let id = buyer.talk_to(&shop).await.parse().unwrap();
            buyers.push((buyer, id));
        }
        let recorder = Arc::new(Recorder::new(app.db.clone(), tokio::runtime::Handle::current()));
        Self { app, shop, buyers, recorder }
    }

    fn saying(&self, conversation: Id<Conversation>, sender: impl ToString, text: &str) -> Saying {
        let at = self.app.clock.now();
        Saying { conversation, sender: sender.to_string(), text: text.to_owned(), picture: None, at }
    }

    /// In the order in which the database keeps them for lists.
    async fn stored(&self, conversation: Id<Conversation>) -> Vec<Message> {
        let of = doc! { "conversationId": conversation.hex() };
        let messages = self.app.db.of::<Message>();
        let found = messages.find(of).sort(doc! { "createdAt": 1, "_id": 1 });
        found.await.unwrap().try_collect().await.unwrap()
    }
}

#[tokio::test]
async fn what_is_stored_together_keeps_its_order_and_the_newest_is_the_conversations_last() {
    let talk = Talk::of(3).await;
    // Both members of three conversations, in turns: 120 jobs, of several messages each.
    let mut jobs = Vec::new();
    for i in 0..60 {
        for (buyer, id) in &talk.buyers {
            let (anns, shops) = (format!("{i} a"), format!("{i} b"));
            jobs.push(vec![
                talk.saying(*id, buyer.id, &anns),
                talk.saying(*id, talk.shop.id, &shops),
                talk.saying(*id, buyer.id, &format!("{i} c")),
            ]);
        }
    }
    for outcomes in join_all(jobs.into_iter().map(|job| talk.recorder.record(job))).await {
        assert!(outcomes.into_iter().all(|outcome| !outcome.unwrap().unwrap().paired));
    }
    let wanted: Vec<String> =
        (0..60).flat_map(|i| ["a", "b", "c"].map(|part| format!("{i} {part}"))).collect();
    for (_, id) in &talk.buyers {
        let stored = talk.stored(*id).await;
        assert_eq!(stored.iter().map(|message| message.text.clone()).collect::<Vec<_>>(), wanted);
        assert!(stored.windows(2).all(|two| two[0].created_at < two[1].created_at), "each is later");
        let conversation =
            talk.app.db.of::<Conversation>().find_one(doc! { "_id": *id }).await.unwrap().unwrap();
        assert_eq!(conversation.last_message.as_deref(), Some("59 c"));
        assert_eq!(conversation.updated_at, stored.last().unwrap().created_at);
    }
}

#[tokio::test]
async fn announced_both_ways_at_once_in_groups_each_is_stored_once() {
    let talk = Talk::of(4).await;
    let texts: Vec<String> = (0..12).map(|i| if i % 4 == 0 { "ok".into() } else { format!("{i}") }).collect();
    let (talk, texts) = (&talk, &texts);
    let over_sockets = talk.buyers.iter().flat_map(|(buyer, id)| {
        texts.iter().map(|text| talk.recorder.record(vec![talk.saying(*id, buyer.id, text)]))
    });
    let over_rest = talk.buyers.iter().flat_map(|(buyer, id)| {
        texts.iter().map(move |text| {
            let body = json!({ "conversationId": id.hex(), "sender": buyer.id.hex(), "text": text });
            async move { buyer.post("/api/messages/create-new-message").json(&body).await.expect(201) }
        })
    });
    let (sockets, rest) = tokio::join!(join_all(over_sockets), join_all(over_rest));
    assert!(sockets.into_iter().flatten().all(|outcome| outcome.unwrap().is_some()));
    assert_eq!(rest.len(), 48);
    for (_, id) in &talk.buyers {
        let mut stored: Vec<_> = talk.stored(*id).await.into_iter().map(|message| message.text).collect();
        let mut wanted = texts.clone();
        stored.sort();
        wanted.sort();
        assert_eq!(stored, wanted);
    }
}

#[tokio::test]
async fn one_that_cannot_be_stored_fails_alone_and_one_that_may_not_be_said_is_left_out() {
    let talk = Talk::of(2).await;
    let validator = doc! { "collMod": "messages", "validator": { "text": { "$ne": "poison" } } };
    _ = talk.app.db.database().create_collection("messages").await;
    talk.app.db.database().run_command(validator).await.unwrap();
    let mut sayings = Vec::new();
    for i in 0..20 {
        let (buyer, id) = &talk.buyers[i % 2];
        let text = if i == 7 { "poison".to_owned() } else { format!("{i}") };
        // One claims to be somebody who is no member.
        let sender = if i == 13 { talk.buyers[(i + 1) % 2].0.id } else { buyer.id };
        sayings.push(talk.saying(*id, sender, &text));
    }
    sayings.push(talk.saying(Id::new(), talk.shop.id, "nowhere"));
    let outcomes = talk.recorder.record(sayings).await;
    for (i, outcome) in outcomes.iter().enumerate() {
        match i {
            7 => assert!(outcome.is_err(), "{outcome:?}"),
            13 | 20 => assert!(matches!(outcome, Ok(None)), "{outcome:?}"),
            _ => assert!(matches!(outcome, Ok(Some(_))), "{i}: {outcome:?}"),
        }
    }
    let mut texts = BTreeMap::new();
    for (_, id) in &talk.buyers {
        texts.insert(*id, talk.stored(*id).await.into_iter().map(|message| message.text).collect::<Vec<_>>());
    }
    let of = |odd: usize| -> Vec<String> {
        (0..20).filter(|i| i % 2 == odd && ![7, 13].contains(i)).map(|i| i.to_string()).collect()
    };
    assert_eq!(texts[&talk.buyers[0].1], of(0));
    assert_eq!(texts[&talk.buyers[1].1], of(1));
}

#[tokio::test]
async fn what_somebody_has_sent_is_stored_although_they_do_not_wait_for_it() {
    let talk = Talk::of(1).await;
    let (buyer, id) = &talk.buyers[0];
    for i in 0..5 {
        let given_up = talk.recorder.record(vec![talk.saying(*id, buyer.id, &format!("{i}"))]);
        // Looked at once, so that it is on its way, and dropped.
        tokio::select! {
            biased;
            _ = given_up => {}
            () = std::future::ready(()) => {}
        }
    }
    // Whoever comes behind them waits for them too.
    talk.recorder.record(vec![talk.saying(*id, buyer.id, "last")]).await;
    let texts: Vec<_> = talk.stored(*id).await.into_iter().map(|message| message.text).collect();
    assert_eq!(texts, ["0", "1", "2", "3", "4", "last"]);
}

#[tokio::test]
async fn the_other_announcement_is_found_by_its_index() {
    let talk = Talk::of(1).await;
    let (buyer, id) = &talk.buyers[0];
    talk.app.db.database().run_command(doc! { "profile": 2 }).await.unwrap();
    talk.recorder.record(vec![talk.saying(*id, buyer.id, "one"), talk.saying(*id, buyer.id, "two")]).await;
    talk.app.db.database().run_command(doc! { "profile": 0 }).await.unwrap();
    let asked = doc! { "ns": { "$regex": "\\.messages$" }, "op": "query" };
    let profile = talk.app.db.raw::<Document>("system.profile");
    let asked: Vec<Document> = profile.find(asked).await.unwrap().try_collect().await.unwrap();
    assert_eq!(asked.len(), 1, "one question for both: {asked:?}");
    assert!(asked[0].get_str("planSummary").unwrap().starts_with("IXSCAN"), "{}", asked[0]);
}
