//! Administrators look for accounts, block them and let new shops sell.

use bson::doc;
use futures_util::{TryStreamExt as _, future::join_all};
use serde_json::{Value, json};
use shared::model::{AuditEntry, Shop, User};
use tests::{Browser, Buyer, Seller, TestApp, people::PASSWORD};

const USERS: &str = "/api/admin/users";
const SHOPS: &str = "/api/admin/shops";

async fn block(by: &Browser, path: &str) -> tests::Answer {
    by.put(&format!("{path}/block")).json(&json!({ "reason": "Sells what is not theirs." })).await
}

fn user_path(buyer: &Buyer) -> String {
    format!("{USERS}/{}", buyer.id)
}

fn shop_path(seller: &Seller) -> String {
    format!("{SHOPS}/{}", seller.id)
}

async fn decisions(app: &TestApp) -> Vec<AuditEntry> {
    let filter = doc! { "action": { "$in": ["block_account", "unblock_account", "approve_shop"] } };
    let found = app.db.of::<AuditEntry>().find(filter).sort(doc! { "_id": 1 }).await.unwrap();
    found.try_collect().await.unwrap()
}

fn names(page: &Value, key: &str) -> Vec<String> {
    page[key].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// Every name on a walk through all pages.
async fn walk(root: &Buyer, path: &str, key: &str) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    for _ in 0..100 {
        let page = root.get(&format!("{path}&cursor={cursor}")).await.expect(200);
        all.extend(names(&page, key));
        match page["nextCursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return all,
        }
    }
    panic!("the walk never ends: {all:?}")
}

#[tokio::test]
async fn users_are_found_filtered_ordered_and_counted_page_by_page() {
    let app = TestApp::start().await;
    let root = app.admin("Root").await;
    for name in ["zoe", "Ann", "bob", "anna"] {
        app.buyer(name).await;
    }
    // What old data may hold: no name, a name that is none, a role in capitals.
    app.db.of::<User>().update_one(doc! { "name": "bob" }, doc! { "$unset": { "name": "" } }).await.unwrap();
    app.db
        .of::<User>()
        .update_one(doc! { "name": "zoe" }, doc! { "$set": { "role": "ADMIN" } })
        .await
        .unwrap();
    let all = root.get(USERS).await.expect(200);
    assert_eq!(all["total"], 5);
    assert_eq!(names(&all, "users"), ["anna", "", "Ann", "zoe", "Root"]);
    assert_eq!(all["nextCursor"], Value::Null);
    assert_eq!(all["users"][0]["email"], "anna@example.com");
    for limit in 1..=5 {
        let by = |sort: &str| format!("{USERS}?sort={sort}&limit={limit}");
        assert_eq!(walk(&root, &by("newest"), "users").await, ["anna", "", "Ann", "zoe", "Root"], "{limit}");
        assert_eq!(walk(&root, &by("oldest"), "users").await, ["Root", "zoe", "Ann", "", "anna"], "{limit}");
        assert_eq!(walk(&root, &by("name"), "users").await, ["", "Ann", "anna", "Root", "zoe"], "{limit}");
    }
    let found = |query: &str| {
        let path = format!("{USERS}?sort=name&{query}");
        let root = root.clone();
        async move {
            let page = root.get(&path).await.expect(200);
            let names = names(&page, "users");
            assert_eq!(page["total"], names.len(), "{path}");
            names
        }
    };
    assert_eq!(found("q=ANN").await, ["Ann", "anna"]);
    assert_eq!(found("q=bob@").await, [""]);
    assert_eq!(found("q=.*").await, [""; 0]);
    assert_eq!(found(&format!("q={}", root.id)).await, ["Root"]);
    assert_eq!(found("role=Admin").await, ["Root", "zoe"]);
    assert_eq!(found("role=user&q=a").await, ["", "Ann", "anna"]);
    assert_eq!(found("blocked=true").await, [""; 0]);
    for (query, field) in [
        ("sort=price", "sort"),
        ("role=king", "role"),
        ("blocked=perhaps", "blocked"),
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
        ("q=a%00b", "q"),
    ] {
        let refused = root.get(&format!("{USERS}?{query}")).await.refused(400, "invalid_input");
        assert_eq!(refused["errors"][0]["field"], field);
    }
    // A place in one order is none in another.
    let next = root.get(&format!("{USERS}?sort=name&limit=2")).await.expect(200);
    let next = next["nextCursor"].as_str().unwrap();
    root.get(&format!("{USERS}?sort=newest&cursor={next}")).await.refused(400, "invalid_input");
}

#[tokio::test]
async fn shops_are_found_by_how_they_stand_and_ordered_by_what_they_are_owed() {
    let app = TestApp::start().await;
    let root = app.admin("root").await;
    let [bob, mal, _new] = [app.seller("bob").await, app.seller("mal").await, app.seller("new").await];
    for (name, change) in [
        ("bob", doc! { "$set": { "balanceMinor": 700_i64, "availableBalance": 7 } }),
        ("mal", doc! { "$set": { "balanceMinor": -5_i64, "availableBalance": -0.05 } }),
        ("new", doc! { "$set": { "awaitingApproval": true } }),
    ] {
        app.db.of::<Shop>().update_one(doc! { "name": name }, change).await.unwrap();
    }
    block(&root, &shop_path(&mal)).await.expect(200);
    for limit in 1..=3 {
        let path = format!("{SHOPS}?sort=balance&limit={limit}");
        assert_eq!(walk(&root, &path, "shops").await, ["bob", "new", "mal"]);
    }
    for (state, expected) in
        [("open", vec!["bob"]), ("waiting", vec!["new"]), ("blocked", vec!["mal"]), ("closed", vec![])]
    {
        let page = root.get(&format!("{SHOPS}?state={state}")).await.expect(200);
        assert_eq!(names(&page, "shops"), expected, "{state}");
        assert_eq!(page["total"], expected.len());
    }
    let one = root.get(&format!("{SHOPS}?q={}", bob.id)).await.expect(200);
    assert_eq!(one["shops"][0]["availableBalance"], json!(7));
}

#[tokio::test]
async fn who_is_blocked_is_logged_out_for_good_until_somebody_takes_it_back() {
    let app = TestApp::start().await;
    let (root, mal) = (app.admin("root").await, app.buyer("mal").await);
    let path = user_path(&mal);
    root.put(&format!("{path}/block")).json(&json!({})).await.refused(400, "invalid_input");
    root.put(&format!("{path}/block")).json(&json!({ "reason": "a\nb" })).await.refused(400, "invalid_input");
    root.put(&format!("{USERS}/6744a0b1c2d3e4f5a6b7c8ff/block"))
        .json(&json!({ "reason": "x" }))
        .await
        .refused(404, "user_not_found");
    let blocked = block(&root, &path).await.expect(200);
    assert_eq!(blocked["user"]["blocked"], true);
    assert_eq!(blocked["user"]["blocking"]["reason"], "Sells what is not theirs.");
    assert_eq!(blocked["user"]["blocking"]["by"], json!(root.id.hex()));
    mal.get("/api/user/getUser").await.expect(401);
    let log_in = json!({ "email": mal.email, "password": PASSWORD });
    app.browser().post("/api/user/login-user").json(&log_in).await.expect(403);
    // Once is enough.
    let again = block(&root, &path).await.expect(200);
    assert_eq!(again["user"], blocked["user"]);
    let back = root.put(&format!("{path}/unblock")).await.expect(200);
    assert_eq!((&back["user"]["blocked"], &back["user"]["blocking"]), (&json!(false), &Value::Null));
    root.put(&format!("{path}/unblock")).await.expect(200);
    // The session that was ended stays so.
    mal.get("/api/user/getUser").await.expect(401);
    app.browser().post("/api/user/login-user").json(&log_in).await.expect(200);
    let said: Vec<_> = decisions(&app).await.into_iter().map(|entry| (entry.action, entry.note)).collect();
    let reason = Some("Sells what is not theirs.".to_owned());
    assert_eq!(said, [("block_account".to_owned(), reason), ("unblock_account".to_owned(), None)]);
}

#[tokio::test]
async fn there_always_is_an_administrator_who_can_log_in() {
    let app = TestApp::start().await;
    let (root, mal) = (app.admin("root").await, app.admin("mal").await);
    block(&root, &user_path(&root)).await.refused(409, "own_account");
    // Both at the same moment, again and again: one of them comes second.
    for round in 0..12 {
        let calls = [(&root, &mal), (&mal, &root)];
        let answers =
            join_all(calls.map(|(by, whom)| async move { block(by, &user_path(whom)).await.status })).await;
        let left = doc! { "role": "Admin", "blocked": { "$ne": true } };
        assert_eq!(app.db.of::<User>().count_documents(left).await.unwrap(), 1, "{round}: {answers:?}");
        let open = doc! { "$set": { "blocked": false, "ver": 0 }, "$unset": { "blocking": "" } };
        app.db.of::<User>().update_many(doc! {}, open).await.unwrap();
    }
    // The last one, although it would be another's.
    let gone = doc! { "$set": { "blocked": true } };
    app.db.of::<User>().update_one(doc! { "_id": mal.id }, gone).await.unwrap();
    let other = app.admin("other").await;
    block(&root, &user_path(&other)).await.expect(200);
    block(&root, &user_path(&mal)).await.expect(200);
    assert_eq!(decisions(&app).await.last().unwrap().about.as_ref().unwrap().id, Some(other.id.hex()));
}

#[tokio::test]
async fn nothing_of_a_blocked_shop_is_shown_found_or_bought_and_its_orders_go_on() {
    let app = TestApp::start().await;
    let (root, ann, bob) = (app.admin("root").await, app.buyer("ann").await, app.seller("bob").await);
    let lamp = bob.product("Brass lamp", "20", 5).await;
    let order = ann.order(&[(&lamp, 1)]).await.remove(0);
    let id = lamp["_id"].as_str().unwrap().to_owned();
    let places = [
        "/api/product/get-all-products".to_owned(),
        "/api/product/get-all-products?q=lamp".to_owned(),
        format!("/api/product/get-all-products-shop/{}", bob.id),
        format!("/api/product/get-all-products-shop/{}?q=lamp", bob.id),
    ];
    let seen = |times: usize| {
        let (ann, places, id) = (&ann, &places, &id);
        async move {
            for place in places {
                let answer = ann.get(place).await.expect(200);
                assert_eq!(answer["products"].as_array().unwrap().len(), times, "{place}");
            }
            let page = ann.get(&format!("/api/product/get-product/{id}")).await;
            assert_eq!(page.status, if times == 0 { 404 } else { 200 });
        }
    };
    seen(1).await;
    block(&root, &shop_path(&bob)).await.expect(200);
    seen(0).await;
    let cart = tests::people::in_cash(&[(&lamp, 2)]);
    let refused = ann.post("/api/order/create-order").json(&cart).await.refused(409, "item_gone");
    assert!(refused["message"].as_str().unwrap().contains("Brass lamp"), "{refused}");
    bob.get("/api/shop/getSeller").await.expect(401);
    // What was ordered goes on: the buyer sees it and may call it off.
    let path = format!("/api/order/cancel-order/{}", order["_id"].as_str().unwrap());
    ann.put(&path).json(&json!({})).await.expect(200);
    root.put(&format!("{}/unblock", shop_path(&bob))).await.expect(200);
    seen(1).await;
    ann.order(&[(&lamp, 3)]).await;
}

#[tokio::test]
async fn a_new_shop_waits_for_approval_where_that_is_wanted() {
    let app = TestApp::with(&[("SHOP_APPROVAL", "on")]).await;
    let root = app.admin("root").await;
    let bob = app.open_shop_through_mail("bob").await;
    bob.get("/api/shop/getSeller").await.expect(201);
    let form = || bob.listing_form("Brass lamp", "20", 5);
    let create = "/api/product/create-product";
    bob.post(create).form(form()).await.refused(403, "awaiting_approval");
    let waiting = root.get(&format!("{SHOPS}?state=waiting")).await.expect(200);
    assert_eq!(names(&waiting, "shops"), ["bob"]);
    let approved = root.put(&format!("{}/approve", shop_path(&bob))).await.expect(200);
    assert_eq!(approved["shop"]["state"], "open");
    bob.post(create).form(form()).await.expect(201);
    assert_eq!(
        app.browser().get("/api/product/get-all-products").await.expect(200)["products"][0]["name"],
        "Brass lamp"
    );
    // Once is enough, also for the log.
    root.put(&format!("{}/approve", shop_path(&bob))).await.expect(200);
    assert_eq!(decisions(&app).await.len(), 1);
    // Shops that were there before sell as they did.
    app.seller("old").await.product("Old lamp", "20", 5).await;
}
