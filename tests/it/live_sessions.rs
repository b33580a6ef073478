//! Open connections of the chat end with the session that proved them.

use bson::{Document, doc};
use serde_json::json;
use shared::{auth::Kind, clock::plus, id::Id};
use tests::{Browser, Market, Socket, people::PASSWORD};

async fn is_ann(market: &Market, socket: &mut Socket) -> bool {
    socket.ask("sendMessage", &market.said("Is it me?")).await["success"] == true
}

async fn change(market: &Market, collection: &str, id: Id<()>, change: Document) {
    let accounts = market.app.db.raw::<Document>(collection);
    assert_eq!(accounts.update_one(doc! { "_id": id }, change).await.unwrap().modified_count, 1);
}

/// Returns once the server has ended the connection.
async fn hung_up(mut socket: Socket) {
    while socket.packet().await.is_some() {}
}

#[tokio::test]
async fn logging_out_everywhere_hangs_up_every_connection_and_nobody_elses() {
    let market = Market::open().await;
    let other = market.app.chat().await;
    let here = market.chat.connect(&market.ann).await;
    let there = other.connect(&market.ann).await;
    let mut bobs = market.chat.connect(&market.bobs).await;
    let cookie = market.ann.cookie_header().unwrap();
    market.ann.put("/api/user/logout-everywhere").await.expect(200);
    hung_up(here).await;
    hung_up(there).await;
    // With the cookie of the session that has ended it is a visitor's connection.
    let mut back = market.chat.connect_with(&[("cookie", &cookie)], None).await;
    assert!(!is_ann(&market, &mut back).await);
    let answer = json!({ "senderId": market.bobs.id.hex(), "receiverId": market.ann.id.hex(), "text": "x" });
    assert_eq!(bobs.ask("sendMessage", &answer).await["success"], true);
}

#[tokio::test]
async fn logging_out_hangs_up_the_connections_of_that_session_alone() {
    let market = Market::open().await;
    let laptop = market.app.browser();
    for _ in 0..2 {
        // The second log-out is one more in a list, which the database tells in other words.
        let login = json!({ "email": market.ann.email, "password": PASSWORD });
        laptop.post("/api/user/login-user").json(&login).await.expect(200);
        let (here, mut elsewhere) =
            (market.chat.connect(&laptop).await, market.chat.connect(&market.ann).await);
        laptop.get("/api/user/logout").await.expect(200);
        hung_up(here).await;
        assert!(is_ann(&market, &mut elsewhere).await);
    }
}

#[tokio::test]
async fn a_session_whose_time_is_over_is_hung_up_on() {
    let market = Market::open().await;
    let lasts = i64::try_from(market.app.inside().config.session_ttl.as_millis()).unwrap();
    let begun = plus(market.app.clock.now(), 60_000 - lasts);
    let token = market.app.sessions().issue(Kind::User, &market.ann.id.hex(), 0, begun).unwrap();
    let (ends, mut stays) = (
        market.chat.connect_with(&[("cookie", &format!("user_token={token}"))], None).await,
        market.chat.connect(&market.ann).await,
    );
    market.app.clock.advance(120_000);
    // Whatever changes with any account has everybody looked at; otherwise it takes half a minute.
    change(&market, "shops", market.bobs.id.cast(), doc! { "$unset": { "blocked": "" } }).await;
    hung_up(ends).await;
    assert!(is_ann(&market, &mut stays).await);
}

#[tokio::test]
async fn a_new_password_ends_other_connections_and_the_browser_that_set_it_comes_back() {
    let market = Market::open().await;
    let thief = Browser::new(&market.app.base);
    thief.set_cookie("user_token", &market.ann.token);
    let (own, stolen) = (market.chat.connect(&market.ann).await, market.chat.connect(&thief).await);
    let new = json!({ "oldPassword": PASSWORD, "newPassword": "another one", "confPassword": "another one" });
    market.ann.put("/api/user/updatePassword").json(&new).await.expect(200);
    hung_up(own).await;
    hung_up(stolen).await;
    assert!(is_ann(&market, &mut market.chat.connect(&market.ann).await).await);
    assert!(!is_ann(&market, &mut market.chat.connect(&thief).await).await);
}

#[tokio::test]
async fn blocked_or_removed_accounts_are_hung_up_on_users_and_shops() {
    let market = Market::open().await;
    let eve = market.app.buyer("eve").await;
    let (ann, bobs) = (market.chat.connect(&market.ann).await, market.chat.connect(&market.bobs).await);
    let eves = market.chat.connect(&eve).await;
    let blocked = doc! { "$set": { "blocked": true } };
    change(&market, "users", market.ann.id.cast(), blocked.clone()).await;
    change(&market, "shops", market.bobs.id.cast(), blocked).await;
    hung_up(ann).await;
    hung_up(bobs).await;
    market.app.db.raw::<Document>("users").delete_one(doc! { "_id": eve.id }).await.unwrap();
    hung_up(eves).await;
}

#[tokio::test]
async fn other_changes_of_an_account_end_nothing() {
    let market = Market::open().await;
    let mut ann = market.chat.connect(&market.ann).await;
    let id = market.ann.id.cast();
    change(&market, "users", id, doc! { "$set": { "name": "Ann Lee" } }).await;
    // What might have ended it, and has not.
    change(&market, "users", id, doc! { "$unset": { "blocked": "" } }).await;
    // Changes are looked at in order: when the one behind them has ended somebody's, they are done.
    let bobs = market.chat.connect(&market.bobs).await;
    change(&market, "shops", market.bobs.id.cast(), doc! { "$inc": { "ver": 1_i64 } }).await;
    hung_up(bobs).await;
    assert!(is_ann(&market, &mut ann).await);
}

#[tokio::test]
async fn a_connection_of_two_ends_with_either() {
    let market = Market::open().await;
    let both = Browser::new(&market.app.base);
    for (name, session) in [("user_token", &market.ann.token), ("seller_token", &market.bobs.token)] {
        both.set_cookie(name, session);
    }
    let socket = market.chat.connect(&both).await;
    change(&market, "shops", market.bobs.id.cast(), doc! { "$inc": { "ver": 1_i64 } }).await;
    hung_up(socket).await;
    assert!(is_ann(&market, &mut market.chat.connect(&both).await).await);
}

#[tokio::test]
async fn a_program_whose_token_has_ended_is_hung_up_on() {
    let market = Market::open().await;
    let auth = json!({ "token": market.ann.token });
    let socket = market.chat.connect_with(&[], Some(auth)).await;
    change(&market, "users", market.ann.id.cast(), doc! { "$inc": { "ver": 1_i64 } }).await;
    hung_up(socket).await;
}

#[tokio::test]
async fn a_session_that_ends_while_it_connects_is_hung_up_on_too() {
    let market = Market::open().await;
    let sessions = market.app.sessions();
    let token = sessions.issue(Kind::User, &market.ann.id.hex(), 0, market.app.clock.now()).unwrap();
    let cookie = format!("user_token={token}");
    let mut socket = Socket::open(market.chat.address, &[("cookie", &cookie)]).await;
    // What it proves has been looked up; it is not connected yet.
    let witness = market.chat.connect(&market.ann).await;
    change(&market, "users", market.ann.id.cast(), doc! { "$inc": { "ver": 1_i64 } }).await;
    hung_up(witness).await;
    socket.send("40").await;
    hung_up(socket).await;
}
