//! Pages of the lists that grow for ever: orders, conversations, messages.

use std::collections::BTreeSet;

use bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use futures_util::TryStreamExt as _;
use serde_json::Value;
use shared::id::Id;
use tests::{Browser, Buyer, Seller, TestApp};

/// Enough for many pages.
const MANY: usize = 420;
/// So many at most have one time.
const TIED: i32 = 40;

/// A list that has pages.
struct List<'a> {
    browser: &'a Browser,
    path: String,
    status: u16,
    field: &'static str,
    collection: &'static str,
    /// The field whose order it has.
    by: &'static str,
    /// What a new document needs to be in it.
    fitting: Document,
}

impl List<'_> {
    async fn get(&self, query: &str) -> Value {
        self.browser.get(&format!("{}{query}", self.path)).await.expect(self.status)
    }

    /// The ids of an answer, the latest first.
    fn ids(&self, answer: &Value) -> Vec<String> {
        let id = |one: &Value| one["_id"].as_str().unwrap().to_owned();
        let mut ids: Vec<String> = answer[self.field].as_array().unwrap().iter().map(id).collect();
        if self.field == "messages" {
            ids.reverse();
        }
        ids
    }

    /// All pages, with a look at each.
    async fn walk(&self, limit: usize, mut between: impl AsyncFnMut(usize, &Value)) -> Vec<String> {
        let (mut ids, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = self.get(&format!("?limit={limit}{cursor}")).await;
            let shown = self.ids(&page);
            assert!(shown.len() <= limit, "{page}");
            ids.extend(shown);
            pages += 1;
            assert!(pages <= 10 * MANY / limit, "the walk goes round");
            between(pages, &page).await;
            match page.get("nextCursor").expect("it is there, if only as null") {
                Value::Null => return ids,
                next => cursor = format!("&cursor={}", next.as_str().unwrap()),
            }
        }
    }
}

struct Old {
    app: TestApp,
    ann: Buyer,
    bobs: Seller,
    chat: Id<()>,
}

impl Old {
    /// Lists with many documents, many of them at the same time, some of them as old or foreign programs may
    /// have left them, among those of others.
    async fn new() -> Self {
        let app = TestApp::start().await;
        let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
        let old = Self { app, ann, bobs, chat: Id::new() };
        let chat = doc! { "_id": old.chat, "members": [old.ann.id.hex(), old.bobs.id.hex()] };
        old.app.db.raw::<Document>("conversations").insert_one(chat).await.unwrap();
        for list in old.lists() {
            let mut documents = Vec::new();
            for i in 0..MANY {
                let mut document = doc! { "_id": Id::<()>::new() };
                document.extend(if i % 7 == 0 { Document::new() } else { list.fitting.clone() });
                if i % 3 == 0 && document.remove("shopId").is_some() {
                    // As the old server wrote it.
                    document
                        .insert("cart", vec![doc! { "_id": Id::<()>::new(), "shopeId": old.bobs.id.hex() }]);
                }
                document.extend(odd_time(i).map(|at| (list.by.to_owned(), at)));
                documents.push(document);
            }
            old.app.db.raw(list.collection).insert_many(documents).await.unwrap();
        }
        old
    }

    fn lists(&self) -> Vec<List<'_>> {
        let (ann, bob) = (self.ann.id.hex(), self.bobs.id.hex());
        let orders = |browser, path, fitting| List {
            browser,
            path,
            status: 200,
            field: "orders",
            collection: "orders",
            by: "createdAt",
            fitting,
        };
        let conversations = |browser, path, member| List {
            browser,
            path,
            status: 201,
            field: "conversations",
            collection: "conversations",
            by: "updatedAt",
            fitting: doc! { "members": [Id::<()>::new().hex(), member] },
        };
        let messages = |browser| List {
            browser,
            path: format!("/api/messages/get-all-messages/{}", self.chat),
            status: 201,
            field: "messages",
            collection: "messages",
            by: "createdAt",
            fitting: doc! { "conversationId": self.chat.hex(), "sender": &ann, "text": "Is it bright?" },
        };
        vec![
            orders(
                &self.ann.browser,
                format!("/api/order/getOrders/{ann}"),
                doc! { "user": { "_id": &ann } },
            ),
            orders(&self.bobs.browser, format!("/api/order/getShopOrders/{bob}"), doc! { "shopId": &bob }),
            conversations(
                &self.ann.browser,
                format!("/api/conversation/get-all-conversation-user/{ann}"),
                &ann,
            ),
            conversations(
                &self.bobs.browser,
                format!("/api/conversation/get-all-conversation-seller/{bob}"),
                &bob,
            ),
            messages(&self.ann.browser),
        ]
    }
}

/// A time, or what old and foreign programs write in its place.
fn odd_time(i: usize) -> Option<Bson> {
    let millis = 1_700_000_000_000 + i64::try_from(i / 40).unwrap() * 60_000;
    match i % 20 {
        1 | 2 => None,
        3 => Some(Bson::Null),
        4 | 5 => Some("2024-01-01T00:00:00.000Z".into()),
        6 => Some(format!("2024-01-01T00:00:{:02}.000Z", i % 60).into()),
        7 => Some(Bson::Int64(millis)),
        8 => Some(Bson::Double(1.7e12)),
        9 => Some(ObjectId::from_bytes([1; 12]).into()),
        10 => Some(true.into()),
        _ => Some(DateTime::from_millis(millis).into()),
    }
}

#[tokio::test]
async fn the_pages_of_a_list_are_the_list_whatever_old_documents_lack() {
    let old = Old::new().await;
    for list in old.lists() {
        let whole = list.get("").await;
        let fields: BTreeSet<&str> = whole.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, BTreeSet::from(["success", list.field]), "as ever without parameters");
        let whole = list.ids(&whole);
        assert!(whole.len() > MANY / 2, "{}", whole.len());
        for limit in [3, 41, 200] {
            let walked = list.walk(limit, async |_, page| assert_eq!(page["total"], whole.len())).await;
            assert_eq!(walked, whole, "{} by {limit}", list.path);
        }
        // Where nobody says how many, it is fifty.
        let first = list.get("?limit=50").await;
        let next = first["nextCursor"].as_str().unwrap();
        let second = list.get(&format!("?cursor={next}")).await;
        assert_eq!(list.ids(&second), whole[50..100]);
    }
}

#[tokio::test]
async fn whoever_keeps_its_place_is_shown_once_while_others_come_and_move() {
    let old = Old::new().await;
    for list in old.lists() {
        let before = list.ids(&list.get("").await);
        let documents = old.app.db.raw::<Document>(list.collection);
        let mut moved = BTreeSet::new();
        let walked = list
            .walk(9, async |page, _| {
                let now = old.app.clock.now();
                let mut new = doc! { "_id": Id::<()>::new(), list.by: now };
                new.extend(list.fitting.clone());
                documents.insert_one(new).await.unwrap();
                // One that was shown and one that was not move to the top.
                for id in [before.get(page * 2), before.get(before.len() - page)].into_iter().flatten() {
                    moved.insert(id.clone());
                    let this = doc! { "_id": ObjectId::parse_str(id).unwrap() };
                    documents.update_one(this, doc! { "$set": { list.by: now } }).await.unwrap();
                }
            })
            .await;
        let once: BTreeSet<&String> = walked.iter().collect();
        assert_eq!(once.len(), walked.len(), "{}: nothing is shown twice", list.path);
        let walked: Vec<&String> = walked.iter().filter(|id| !moved.contains(*id)).collect();
        let stayed: Vec<&String> = before.iter().filter(|id| !moved.contains(*id)).collect();
        assert!(moved.len() > 20 && stayed.len() > 100);
        assert_eq!(walked, stayed, "{}", list.path);
    }
}

#[tokio::test]
async fn every_page_is_read_from_an_index_in_its_order() {
    let old = Old::new().await;
    let database = old.app.db.database();
    let profile = old.app.db.raw::<Document>("system.profile");
    for list in old.lists() {
        database.run_command(doc! { "profile": 2, "filter": { "ns": { "$ne": "" } } }).await.unwrap();
        list.walk(10, async |_, _| ()).await;
        list.get("").await;
        database.run_command(doc! { "profile": 0 }).await.unwrap();
        let asked = doc! {
            "ns": format!("{}.{}", database.name(), list.collection),
            "command.sort": { "$exists": true },
        };
        let reads: Vec<Document> = profile.find(asked).await.unwrap().try_collect().await.unwrap();
        assert!(reads.len() > 20, "{} {}", list.path, reads.len());
        for (page, read) in reads.iter().enumerate() {
            let plan = read.get_str("planSummary").unwrap();
            assert!(plan.starts_with("IXSCAN") && !plan.contains("COLLSCAN"), "{read}");
            assert!(!read.contains_key("hasSortStage"), "{read}");
            // Among the dates each page begins where the one before has ended, however deep that is.
            let keys = read.get_i32("keysExamined").unwrap();
            assert!(page >= 14 || keys < 10 + 1 + TIED, "{page}: {read}");
        }
        profile.drop().await.unwrap();
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_is_refused_and_an_empty_list_has_one() {
    let app = TestApp::start().await;
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    let other = app.buyer("eve").await;
    let nowhere = Id::<()>::new();
    for (browser, path, status, field) in [
        (&ann.browser, format!("/api/order/getOrders/{}", ann.id), 200, "orders"),
        (&ann.browser, "/api/order/getOrders/undefined".to_owned(), 200, "orders"),
        (&bobs.browser, format!("/api/order/getShopOrders/{}", bobs.id), 200, "orders"),
        (
            &ann.browser,
            format!("/api/conversation/get-all-conversation-user/{}", ann.id),
            201,
            "conversations",
        ),
        (
            &bobs.browser,
            format!("/api/conversation/get-all-conversation-seller/{}", bobs.id),
            201,
            "conversations",
        ),
        (&ann.browser, format!("/api/messages/get-all-messages/{nowhere}"), 201, "messages"),
        (&ann.browser, "/api/messages/get-all-messages/undefined".to_owned(), 201, "messages"),
    ] {
        let empty = browser.get(&format!("{path}?limit=5")).await.expect(status);
        assert_eq!(empty, serde_json::json!({ "success": true, field: [], "total": 0, "nextCursor": null }));
        let whole = browser.get(&format!("{path}?limit=&cursor=")).await.expect(status);
        assert_eq!(whole, serde_json::json!({ "success": true, field: [] }));
        for (query, named) in [
            ("limit=0", "limit"),
            ("limit=201", "limit"),
            ("limit=1.5", "limit"),
            ("cursor=x", "cursor"),
            ("cursor=BQAAAAA", "cursor"),
            ("limit=5&cursor=%00", "cursor"),
        ] {
            let refused = browser.get(&format!("{path}?{query}")).await.refused(400, "invalid_input");
            assert_eq!(refused["errors"][0]["field"], named, "{path}?{query}");
        }
        // What nobody was given is a place all the same.
        for forged in
            [doc! { "at": { "$gt": "" }, "id": "$_id" }, doc! { "at": ["$where"], "id": Bson::MaxKey }]
        {
            let forged = base64_url(&bson::serialize_to_vec(&forged).unwrap());
            browser.get(&format!("{path}?cursor={forged}")).await.expect(status);
        }
    }
    other.get(&format!("/api/order/getOrders/{}?limit=0", ann.id)).await.refused(403, "not_yours");
}

fn base64_url(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(bytes)
}
