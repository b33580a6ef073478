//! Those who drop out of the chat and come back: each gets what was said meanwhile, once, in order.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bson::{Document, doc};
use serde_json::{Value, json};
use tests::{Browser, Chat, Market, Socket};

/// Exactly this comes, and nothing else before what is said now.
async fn assert_comes(market: &Market, socket: &mut Socket, texts: &[&str]) {
    for text in texts {
        assert_eq!(socket.next("getMessage").await["text"], *text);
    }
    market.assert_nothing_else_comes(socket).await;
}

#[tokio::test]
async fn who_drops_and_comes_back_gets_what_was_said_meanwhile_every_time() {
    let market = Market::open().await;
    let mut tab = market.chat.connect(&market.bobs).await;
    market.say("before").await;
    assert_comes(&market, &mut tab, &["before"]).await;
    for round in ["first", "second", "third"] {
        tab.hang_up().await;
        market.say(&format!("{round}, one")).await;
        market.say(&format!("{round}, two")).await;
        let pid = tab.pid.clone();
        tab = market.chat.come_back(&market.bobs, &tab).await;
        assert_eq!(tab.pid, pid, "which is how the client knows that it is the same connection");
        assert_comes(&market, &mut tab, &[&format!("{round}, one"), &format!("{round}, two")]).await;
    }
}

#[tokio::test]
async fn nothing_need_have_come_before() {
    let market = Market::open().await;
    let mut tab = market.chat.connect(&market.bobs).await;
    for _ in 0..2 {
        tab.hang_up().await;
        assert_eq!(tab.offset, None);
        tab = market.chat.come_back(&market.bobs, &tab).await;
    }
    tab.hang_up().await;
    market.say("missed").await;
    let mut tab = market.chat.come_back(&market.bobs, &tab).await;
    assert_comes(&market, &mut tab, &["missed"]).await;
}

#[tokio::test]
async fn what_was_sent_into_a_dead_connection_comes_again_and_only_that() {
    let market = Market::open().await;
    let mut dead = market.chat.connect(&market.bobs).await;
    market.say("received").await;
    assert_comes(&market, &mut dead, &["received"]).await;
    // The server goes on believing in the connection, whose client sees nothing of it any more.
    market.say("lost").await;
    let mut tab = market.chat.come_back(&market.bobs, &dead).await;
    assert_comes(&market, &mut tab, &["lost"]).await;
    // It is the same client, so its connection before is over.
    while dead.packet().await.is_some() {}
}

#[tokio::test]
async fn another_node_serves_who_comes_back_also_one_that_started_later() {
    let market = Market::open().await;
    let mut tab = market.chat.connect(&market.bobs).await;
    market.say("before").await;
    assert_comes(&market, &mut tab, &["before"]).await;
    let Market { app, chat, ann, bobs, conversation } = market;
    chat.stop().await;
    while tab.packet().await.is_some() {}
    let market = Market { chat: app.chat().await, app, ann, bobs, conversation };
    market.say("while another ran").await;
    let later = market.app.chat().await;
    let mut tab = later.come_back(&market.bobs, &tab).await;
    assert_comes(&market, &mut tab, &["while another ran"]).await;
}

#[tokio::test]
async fn a_client_that_remembers_nothing_is_known_by_its_looks() {
    let market = Market::open().await;
    let cookies = market.bobs.cookie_header().unwrap();
    let python = [("cookie", cookies.as_str()), ("user-agent", "Python/3.11 aiohttp/3.9")];
    let mut program = market.chat.connect_with(&python, Some(json!({}))).await;
    market.say("before").await;
    assert_comes(&market, &mut program, &["before"]).await;
    program.hang_up().await;
    market.say("missed").await;
    let mut program = market.chat.connect_with(&python, Some(json!({}))).await;
    assert_comes(&market, &mut program, &["missed"]).await;
    // Another program of the same person never was there before.
    let other = [("cookie", cookies.as_str()), ("user-agent", "Python/3.12 aiohttp/3.9")];
    program.hang_up().await;
    market.say("missed again").await;
    let mut stranger = market.chat.connect_with(&other, Some(json!({}))).await;
    assert_comes(&market, &mut stranger, &[]).await;
}

#[tokio::test]
async fn of_several_that_look_alike_the_last_one_goes_on() {
    let market = Market::open().await;
    let cookies = market.bobs.cookie_header().unwrap();
    let python = [("cookie", cookies.as_str()), ("user-agent", "Python/3.11 aiohttp/3.9")];
    // Dead, and noticed to be only when the program is back for a while already.
    let mut dead = market.chat.connect_with(&python, Some(json!({}))).await;
    let mut program = market.chat.connect_with(&python, Some(json!({}))).await;
    dead.hang_up().await;
    market.say("received").await;
    assert_comes(&market, &mut program, &["received"]).await;
    program.hang_up().await;
    market.say("missed").await;
    let mut program = market.chat.connect_with(&python, Some(json!({}))).await;
    assert_comes(&market, &mut program, &["missed"]).await;
}

#[tokio::test]
async fn who_announced_itself_without_a_cookie_need_not_do_it_again() {
    let market = Market::with(&[("AUTH_MODE", "auto")]).await;
    let mut dead = market.chat.visitor().await;
    dead.emit("addUser", &json!(market.bobs.id.hex())).await;
    dead.online(&[market.bobs.id.hex()]).await;
    market.say("into a connection that nobody has noticed to be dead").await;
    let mut tab = market.chat.connect_with(&[], Some(dead.memory())).await;
    assert_comes(&market, &mut tab, &["into a connection that nobody has noticed to be dead"]).await;
    tab.hang_up().await;
    market.say("missed").await;
    let mut tab = market.chat.connect_with(&[], Some(tab.memory())).await;
    assert_comes(&market, &mut tab, &["missed"]).await;
}

#[tokio::test]
async fn nobody_guesses_by_what_another_client_is_known_and_ends_its_connection() {
    let market = Market::open().await;
    let mut secrets = Vec::new();
    for _ in 0..3 {
        let pid = market.chat.visitor().await.pid.unwrap();
        secrets.push(pid.split_once('~').unwrap().1.to_owned());
    }
    for two in secrets.windows(2) {
        let same = two[0].bytes().zip(two[1].bytes()).filter(|(one, other)| one == other).count();
        assert!(two[0].len() == 32 && same < 16, "{two:?}");
    }
}

#[tokio::test]
async fn a_page_that_is_opened_anew_is_told_nothing_old() {
    let market = Market::open().await;
    let cookies = market.bobs.cookie_header().unwrap();
    let browser = [("cookie", cookies.as_str()), ("user-agent", "Mozilla/5.0"), ("origin", tests::CLIENT)];
    let mut page = market.chat.connect_with(&browser, None).await;
    market.say("before").await;
    assert_comes(&market, &mut page, &["before"]).await;
    page.hang_up().await;
    market.say("it is read over REST").await;
    let mut page = market.chat.connect_with(&browser, None).await;
    assert_comes(&market, &mut page, &[]).await;
}

#[tokio::test]
async fn more_than_a_queue_holds_follows_at_the_readers_pace() {
    const MESSAGES: usize = 1_000;
    let market = Market::open().await;
    let mut stays = market.chat.connect(&market.bobs).await;
    let mut drops = market.chat.connect(&market.bobs).await;
    drops.hang_up().await;
    let texts: Vec<String> = (0..MESSAGES).map(|i| format!("{i} {}", "x".repeat(2_000))).collect();
    // All at once, as from a program.
    let messages = texts.iter().map(|text| {
        doc! { "conversationId": &market.conversation, "sender": market.ann.id.hex(), "text": text }
    });
    market.app.db.raw::<Document>("messages").insert_many(messages).await.unwrap();
    let mut back = market.chat.come_back(&market.bobs, &drops).await;
    let reads = async |tab: &mut Socket| {
        for text in &texts {
            assert_eq!(tab.next("getMessage").await["text"], *text);
        }
    };
    tokio::join!(reads(&mut stays), reads(&mut back));
    assert_comes(&market, &mut stays, &[]).await;
    assert_eq!(back.next("getMessage").await["text"].as_str().unwrap().split(' ').next(), Some("sentinel"));
}

#[tokio::test]
async fn of_two_tabs_one_drops_and_each_gets_everything_once() {
    let market = Market::open().await;
    let mut stays = market.chat.connect(&market.bobs).await;
    let mut drops = market.chat.connect(&market.bobs).await;
    market.say("one").await;
    for tab in [&mut stays, &mut drops] {
        assert_eq!(tab.next("getMessage").await["text"], "one");
    }
    drops.hang_up().await;
    market.say("two").await;
    let mut back = market.chat.come_back(&market.bobs, &drops).await;
    market.say("three").await;
    for text in ["two", "three"] {
        assert_eq!(stays.next("getMessage").await["text"], text);
        assert_eq!(back.next("getMessage").await["text"], text);
    }
    assert_comes(&market, &mut stays, &[]).await;
}

#[tokio::test]
async fn what_a_client_claims_to_remember_opens_nobody_elses_messages() {
    let market = Market::open().await;
    let tab = market.chat.connect(&market.bobs).await;
    let memory = tab.memory();
    drop(tab);
    market.say("for the shop").await;
    let (eve, ann) = (market.app.buyer("eve").await, &market.ann);
    for browser in [&*eve, &**ann] {
        let mut socket = with_memory(&market.chat, browser, &memory).await;
        let answer = socket.ask("sendMessage", &Value::Null).await;
        assert_eq!(answer["success"], false);
        assert!(!socket.has_heard("getMessage"), "{browser:?}");
    }
    // Nonsense is as good as nothing.
    for memory in [
        json!({ "pid": "~" }),
        json!({ "pid": "0.0.0~x", "offset": "0.0.0" }),
        json!({ "pid": "ffffffff.0.0~x", "offset": "ffffffff.0.0" }),
        json!({ "pid": "1.2~x", "offset": 7 }),
        json!({ "pid": {}, "offset": [] }),
        json!({ "pid": "x".repeat(10_000) }),
        json!("pid"),
    ] {
        let mut socket = with_memory(&market.chat, &market.bobs, &memory).await;
        assert_comes(&market, &mut socket, &[]).await;
    }
}

async fn with_memory(chat: &Chat, browser: &Browser, memory: &Value) -> Socket {
    let cookies = browser.cookie_header().unwrap();
    chat.connect_with(
        &[("cookie", &cookies), ("user-agent", "Mozilla/5.0"), ("origin", tests::CLIENT)],
        Some(memory.clone()),
    )
    .await
}

#[tokio::test]
async fn however_often_one_drops_everything_comes_once_and_in_order() {
    const MESSAGES: usize = 300;
    let market = Arc::new(Market::open().await);
    let done = Arc::new(AtomicBool::new(false));
    let speaker = tokio::spawn({
        let (market, done) = (Arc::clone(&market), Arc::clone(&done));
        async move {
            let mut ann = market.chat.connect(&market.ann).await;
            for i in 0..MESSAGES {
                let said = json!({ "senderId": market.ann.id.hex(), "receiverId": market.bobs.id.hex(), "text": format!("{i}") });
                let receipt = ann.ask("sendMessage", &said).await;
                assert_eq!(receipt["success"], true, "{receipt}");
            }
            done.store(true, Ordering::SeqCst);
        }
    });
    let mut tab = market.chat.connect(&market.bobs).await;
    let mut got = Vec::new();
    let mut round = 0;
    while got.len() < MESSAGES {
        // In the middle of whatever is under way: after none, one, two… messages.
        for _ in 0..(round % 4).min(MESSAGES - got.len()) {
            got.push(tab.next("getMessage").await["text"].as_str().unwrap().to_owned());
        }
        round += 1;
        // What has reached the client before it hangs up has been received.
        got.extend(
            tab.hang_up().await.into_iter().map(|payload| payload["text"].as_str().unwrap().to_owned()),
        );
        tab = market.chat.come_back(&market.bobs, &tab).await;
        if done.load(Ordering::SeqCst) {
            break;
        }
    }
    while got.len() < MESSAGES {
        got.push(tab.next("getMessage").await["text"].as_str().unwrap().to_owned());
    }
    speaker.await.unwrap();
    let sent: Vec<String> = (0..MESSAGES).map(|i| i.to_string()).collect();
    assert_eq!(got, sent);
    assert_comes(&market, &mut tab, &[]).await;
}
