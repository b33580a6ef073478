//! Who gets in where: every operation of `openapi.yaml` with every kind of caller, and what must come of it follows from
//! `x-access` and `x-stranger` alone. The owner succeeds; whoever is refused has changed nothing at all.

mod world;

pub use world::unsubscribe_token;

use std::{
    collections::BTreeSet,
    fmt,
    time::{Duration, Instant},
};

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use shared::{
    auth::{Kind, SELLER_COOKIE, Sessions, USER_COOKIE},
    clock::plus,
};
use tests::{Answer, contract::Spec, people::PASSWORD};

use self::world::{Case, Party, World};

/// What the server writes of its own accord, or about those it refuses.
const NOT_OF_ANYBODY: [&str; 3] = ["turns", "auditlog", "ratelimits"];

/// Longer for what the server does by itself, and it does not do it.
const PATIENCE: Duration = Duration::from_secs(60);

/// An id that nobody has.
const NOBODY: &str = "6744a0b1c2d3e4f5a6b7c8ff";

struct Operation {
    /// `GET /api/order/get-order/{id}`.
    name: String,
    method: &'static str,
    access: &'static str,
    stranger: Stranger,
}

/// What somebody of the right kind gets to whom the thing does not belong.
#[derive(Clone, Copy)]
enum Stranger {
    Refused(u16),
    /// Something of their own.
    Own,
    /// The same as everybody.
    Served,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    Anonymous,
    /// A valid session as a user, as a shop, as both.
    OtherUser,
    OtherSeller,
    Both,
    Admin,
    /// The owner's own credential, or what looks like one.
    Bad(Bad, Carrier),
    Owner {
        as_shop: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bad {
    Forged,
    Expired,
    /// `alg: none`.
    Unsigned,
    /// A user's as a shop's, and the reverse.
    Swapped,
    OfNobody,
    WithAnOperator,
    Junk,
    OtherScheme,
    /// All sessions were ended.
    Revoked,
    Blocked,
    Removed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    Cookies,
    UserBearer,
    SellerBearer,
}

/// What an answer has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Served,
    Refused(u16),
    /// Whatever the caller's own things give reason to, and nothing of anybody else's changes.
    Own,
}

impl fmt::Display for Caller {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => write!(out, "nobody"),
            Self::OtherUser => write!(out, "another user"),
            Self::OtherSeller => write!(out, "another shop"),
            Self::Both => write!(out, "another user with another shop"),
            Self::Admin => write!(out, "an administrator"),
            Self::Bad(bad, carrier) => write!(out, "{bad:?} {carrier:?}"),
            Self::Owner { as_shop: false } => write!(out, "its owner"),
            Self::Owner { as_shop: true } => write!(out, "the shop that owns it"),
        }
    }
}

impl Operation {
    fn all() -> Vec<Self> {
        let spec = Spec::load();
        let read = |(method, template): (&'static str, &'static str)| {
            let operation = &spec.document()["paths"][template][method.to_ascii_lowercase()];
            let name = format!("{method} {template}");
            let access = operation["x-access"].as_str().unwrap_or_else(|| panic!("{name} has no x-access"));
            let stranger = match &operation["x-stranger"] {
                Value::Number(status) => Stranger::Refused(status.as_u64().unwrap().try_into().unwrap()),
                Value::String(text) if text == "own" => Stranger::Own,
                _ => Stranger::Served,
            };
            Self { name, method, access, stranger }
        };
        spec.operations().into_iter().map(read).collect()
    }

    fn is_bare(&self) -> bool {
        self.access.starts_with("bare-")
    }

    fn is_for_everybody(&self) -> bool {
        self.access == "anonymous"
    }

    fn is_for_admins(&self) -> bool {
        self.access.ends_with("admin")
    }

    /// Of which kind its owner may be.
    fn owners(&self) -> &'static [Caller] {
        const USER: Caller = Caller::Owner { as_shop: false };
        const SHOP: Caller = Caller::Owner { as_shop: true };
        match self.access {
            "anonymous" | "gateway" => &[Caller::Anonymous],
            "user" | "bare-user" => &[USER],
            // Administrators have their own of these; to what is a shop's they are strangers.
            "seller" | "bare-seller" | "admin-or-seller" => &[SHOP],
            "buyer-or-seller" | "bare-any" => &[USER, SHOP],
            "admin" | "bare-admin" => &[Caller::Admin],
            other => panic!("{}: x-access {other} is unknown", self.name),
        }
    }

    /// Whether its success uses up what it is about.
    fn works_once(&self) -> bool {
        self.method != "GET" && !(self.is_for_everybody() && self.method == "POST")
    }

    fn takes(&self, as_shop: bool) -> bool {
        self.owners().contains(&Caller::Owner { as_shop })
    }

    /// What the document promises this caller.
    fn promises(&self, caller: Caller, bare_is_accepted: bool) -> Outcome {
        let stranger = match self.stranger {
            Stranger::Refused(status) => Outcome::Refused(status),
            Stranger::Own => Outcome::Own,
            Stranger::Served => Outcome::Served,
        };
        match caller {
            _ if self.is_for_everybody() => Outcome::Served,
            // Only a signature counts, and nobody here has one.
            _ if self.access == "gateway" => Outcome::Refused(400),
            Caller::Owner { .. } => Outcome::Served,
            // A scheme that is none of ours may be a proxy's, and says nothing to us.
            Caller::Anonymous | Caller::Bad(Bad::OtherScheme, _) if self.is_bare() && bare_is_accepted => {
                Outcome::Served
            }
            Caller::Anonymous | Caller::Bad(..) => Outcome::Refused(401),
            Caller::OtherUser if self.access == "admin-or-seller" => Outcome::Refused(403),
            Caller::Admin if self.access == "admin-or-seller" => stranger,
            Caller::Admin if self.is_for_admins() => Outcome::Served,
            _ if self.is_for_admins() => Outcome::Refused(403),
            Caller::OtherUser | Caller::Admin if self.takes(false) => stranger,
            Caller::OtherSeller if self.takes(true) => stranger,
            Caller::Both => stranger,
            Caller::OtherUser | Caller::OtherSeller | Caller::Admin => Outcome::Refused(401),
        }
    }
}

/// Everybody but the owner.
const STRANGERS: [Caller; 5] =
    [Caller::Anonymous, Caller::OtherUser, Caller::OtherSeller, Caller::Both, Caller::Admin];

/// With credentials that prove nobody.
fn impostors() -> Vec<Caller> {
    use Bad::{
        Blocked, Expired, Forged, Junk, OfNobody, OtherScheme, Removed, Revoked, Swapped, Unsigned,
        WithAnOperator,
    };
    let in_cookies =
        [Forged, Expired, Unsigned, Swapped, OfNobody, WithAnOperator, Junk, Revoked, Blocked, Removed];
    let cookies = in_cookies.map(|bad| Caller::Bad(bad, Carrier::Cookies));
    let users =
        [Forged, Expired, Unsigned, OtherScheme, Revoked].map(|bad| Caller::Bad(bad, Carrier::UserBearer));
    let sellers = [Forged, Unsigned, Revoked].map(|bad| Caller::Bad(bad, Carrier::SellerBearer));
    cookies.into_iter().chain(users).chain(sellers).collect()
}

fn everybody() -> Vec<Caller> {
    STRANGERS.into_iter().chain(impostors()).collect()
}

/// Everybody who calls about one thing.
struct Cast {
    owner: Party,
    other: Party,
    /// In one browser.
    pair: Party,
    admin: tests::Buyer,
}

impl World {
    async fn cast(&self) -> Cast {
        let (owner, other, pair, admin) =
            tokio::join!(self.party(), self.party(), self.party(), self.admin());
        Cast { owner, other, pair, admin }
    }

    /// What a caller sends to prove who they are.
    fn credential(&self, cast: &Cast, caller: Caller) -> Option<(&'static str, String)> {
        let cookies = |user: &str, shop: &str| {
            let pairs = [(USER_COOKIE, user), (SELLER_COOKIE, shop)];
            let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
            let pairs: Vec<_> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
            Some(("cookie", pairs.join("; ")))
        };
        let Cast { owner, other, pair, admin } = cast;
        match caller {
            Caller::Anonymous => None,
            Caller::OtherUser => cookies(&other.buyer.token, ""),
            Caller::OtherSeller => cookies("", &other.seller.token),
            Caller::Both => cookies(&pair.buyer.token, &pair.seller.token),
            Caller::Admin => cookies(&admin.token, ""),
            Caller::Owner { as_shop: false } => cookies(&owner.buyer.token, ""),
            Caller::Owner { as_shop: true } => cookies("", &owner.seller.token),
            Caller::Bad(bad, carrier) => {
                let (user, shop) = self.bad_sessions(owner, bad);
                let scheme = if bad == Bad::OtherScheme { "Basic" } else { "Bearer" };
                match carrier {
                    Carrier::Cookies => {
                        let (name, value) = cookies(&user, &shop)?;
                        Some((name, format!("{value}; token={user}")))
                    }
                    Carrier::UserBearer => Some(("authorization", format!("{scheme} {user}"))),
                    Carrier::SellerBearer => Some(("authorization", format!("{scheme} {shop}"))),
                }
            }
        }
    }

    /// A user's and a shop's.
    fn bad_sessions(&self, owner: &Party, bad: Bad) -> (String, String) {
        let (user, shop, now) = (owner.buyer.id.hex(), owner.seller.id.hex(), self.app.clock.now());
        let ours = self.app.sessions();
        let issue = |sessions: &Sessions, [user, shop]: [&str; 2], at| {
            let user = sessions.issue(Kind::User, user, 0, at).unwrap();
            (user, sessions.issue(Kind::Seller, shop, 0, at).unwrap())
        };
        let (own, ttl) = ([user.as_str(), shop.as_str()], self.app.config.session_ttl.as_millis());
        let tokens = (owner.buyer.token.clone(), owner.seller.token.clone());
        match bad {
            Bad::Forged => issue(&Sessions::new("another secret", 3600), own, now),
            Bad::Expired => issue(&ours, own, plus(now, -i64::try_from(ttl).unwrap() - 1000)),
            Bad::Unsigned => (unsigned(&tokens.0), unsigned(&tokens.1)),
            Bad::Swapped => (tokens.1, tokens.0),
            Bad::OfNobody => issue(&ours, [NOBODY, NOBODY], now),
            Bad::WithAnOperator => issue(&ours, [r#"{"$gt":""}"#, ""], now),
            Bad::Junk => ("\u{1f980}".to_owned(), ".".repeat(3000)),
            Bad::OtherScheme | Bad::Revoked | Bad::Blocked | Bad::Removed => tokens,
        }
    }

    /// Sends it. What makes the owner's credential a bad one is undone afterwards.
    async fn send(&self, operation: &Operation, case: &Case, cast: &Cast, caller: Caller) -> Answer {
        let browser = self.app.browser();
        let mut call = case.call(&browser, operation.method);
        if let Some((name, value)) = self.credential(cast, caller) {
            call = call.header(name, &value);
        }
        let accounts = [("users", cast.owner.buyer.id.hex()), ("shops", cast.owner.seller.id.hex())];
        let mut kept = Vec::new();
        for (collection, id) in accounts {
            let collection = self.app.db.raw::<Document>(collection);
            let one = doc! { "_id": bson::oid::ObjectId::parse_str(&id).unwrap() };
            let Caller::Bad(bad @ (Bad::Revoked | Bad::Blocked | Bad::Removed), _) = caller else { continue };
            let account = collection.find_one(one.clone()).await.unwrap().unwrap();
            match bad {
                Bad::Revoked => _ = collection.update_one(one.clone(), doc! { "$inc": { "ver": 1 } }).await,
                Bad::Blocked => {
                    _ = collection.update_one(one.clone(), doc! { "$set": { "blocked": true } }).await;
                }
                _ => _ = collection.delete_one(one.clone()).await,
            }
            kept.push((collection, one, account));
        }
        let answer = call.await;
        for (collection, one, account) in kept {
            collection.replace_one(one, account).upsert(true).await.unwrap();
        }
        answer
    }

    /// Waits until the server has done what follows from what was asked of it.
    async fn at_rest(&self) {
        // The sandbox's calls, and then what our inbox makes of them.
        for (collection, left) in [
            ("sandboxevents", doc! { "held": false, "left": { "$gt": 0 } }),
            ("webhookevents", doc! { "applied": false }),
            ("webhookdeliveries", doc! { "state": "waiting" }),
        ] {
            let begun = Instant::now();
            let events = self.app.db.raw::<Document>(collection);
            while events.count_documents(left.clone()).await.unwrap() > 0 {
                assert!(begun.elapsed() < PATIENCE, "{collection} has things left to do");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        crate::mail::nothing_is_due(&self.app).await;
    }

    /// Every collection's digest.
    async fn digests(&self) -> Document {
        let hashed = self.app.db.raw::<Document>("users").client().clone();
        let database = self.app.db.raw::<Document>("users").namespace().db;
        let answer = hashed.database(&database).run_command(doc! { "dbHash": 1 }).await.unwrap();
        let digests = answer.get_document("collections").unwrap().clone();
        digests.into_iter().filter(|(name, _)| !NOT_OF_ANYBODY.contains(&name.as_str())).collect()
    }

    /// Every document, each a line.
    async fn documents(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        for (name, _) in self.digests().await {
            let mut all = self.app.db.raw::<Document>(&name).find(doc! {}).await.unwrap();
            while let Some(document) = all.try_next().await.unwrap() {
                lines.insert(format!("{name} {}", Bson::Document(document)));
            }
        }
        lines
    }
}

/// The same claims under `{"alg":"none","typ":"JWT"}` and without a signature.
fn unsigned(token: &str) -> String {
    format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", token.split('.').nth(1).unwrap())
}

/// Whether an answer is what was promised; if not, how.
fn judge(operation: &Operation, caller: Caller, wanted: Outcome, answer: &Answer) -> Option<String> {
    let fits = match wanted {
        Outcome::Served => (200..400).contains(&answer.status),
        Outcome::Own => answer.status < 500 && ![401, 403].contains(&answer.status),
        Outcome::Refused(status) => answer.status == status,
    };
    let said = || format!("{} as {caller}: {} {}", operation.name, answer.status, answer.text());
    (!fits).then(|| format!("{}\n    but openapi.yaml promises {wanted:?}", said()))
}

/// One operation, about things of one owner's.
struct Scene<'w> {
    world: &'w World,
    operation: &'w Operation,
    case: Case,
    cast: Cast,
    wrong: Vec<String>,
}

impl Scene<'_> {
    /// With other people, and things of theirs.
    async fn start_anew(&mut self, as_shop: bool) {
        self.cast = self.world.cast().await;
        let case = self.world.case(&self.operation.name, &self.cast.owner, as_shop).await;
        self.case = case.unwrap();
    }

    async fn call(&mut self, caller: Caller, wanted: Outcome) {
        let answer = self.world.send(self.operation, &self.case, &self.cast, caller).await;
        self.wrong.extend(judge(self.operation, caller, wanted, &answer));
    }

    /// Those who are refused: together they change nothing.
    async fn refuse(&mut self, callers: &[(Caller, Outcome)]) {
        let before = self.world.digests().await;
        for (caller, wanted) in callers {
            self.call(*caller, *wanted).await;
        }
        let after = self.world.digests().await;
        let changed: Vec<&String> =
            after.keys().filter(|name| before.get(name.as_str()) != after.get(name.as_str())).collect();
        if !changed.is_empty() {
            self.wrong.push(format!("{}: somebody who was refused changed {changed:?}", self.operation.name));
        }
    }

    /// Those whom it serves with what is their own: they change nothing of the owner's.
    async fn serve_with_their_own(&mut self, callers: &[(Caller, Outcome)]) {
        let mut about = self.case.about.clone();
        about.extend([self.cast.owner.buyer.id.hex(), self.cast.owner.seller.id.hex()]);
        let before = self.world.documents().await;
        for (caller, wanted) in callers {
            self.call(*caller, *wanted).await;
        }
        let after = self.world.documents().await;
        let concerns = |line: &&String| about.iter().any(|id| line.contains(id));
        let changed: Vec<_> = before.symmetric_difference(&after).filter(concerns).cloned().collect();
        if !changed.is_empty() {
            let changed = changed.join("\n    ");
            self.wrong.push(format!(
                "{}: somebody changed what is not theirs:\n    {changed}",
                self.operation.name
            ));
        }
    }

    /// The gateway, which nobody else could have proven to be.
    async fn prove(&mut self) {
        let mut call = self.case.call(&self.world.app.browser(), self.operation.method);
        for (name, value) in &self.case.proof {
            call = call.header(name, value);
        }
        let answer = call.await;
        self.wrong.extend(judge(self.operation, Caller::Anonymous, Outcome::Served, &answer));
    }
}

/// Plays every operation to these callers, and then to its owner.
async fn play(mode: &str, callers: &[Caller], plays: impl Fn(&Operation) -> bool) {
    let (world, begun) = (World::new(mode).await, Instant::now());
    let mut wrong = Vec::new();
    for operation in Operation::all().iter().filter(|operation| plays(operation)) {
        for owner in operation.owners() {
            let as_shop = *owner == Caller::Owner { as_shop: true };
            let cast = world.cast().await;
            let Some(case) = world.case(&operation.name, &cast.owner, as_shop).await else {
                wrong.push(format!("{}: there is no owner's case of it in world.rs", operation.name));
                break;
            };
            world.at_rest().await;
            // For whoever reads why it failed, or what takes long.
            println!("{mode}, {:?}: {}", begun.elapsed(), operation.name);
            let mut scene = Scene { world: &world, operation, case, cast, wrong: Vec::new() };
            let turns = callers.iter().map(|caller| (*caller, operation.promises(*caller, mode != "strict")));
            let (served, others): (Vec<_>, Vec<_>) =
                turns.partition(|(_, wanted)| *wanted == Outcome::Served);
            let (own, refused): (Vec<_>, Vec<_>) =
                others.into_iter().partition(|(_, wanted)| *wanted == Outcome::Own);
            // Whoever succeeds may use up what it is about, so those who are refused come first.
            scene.refuse(&refused).await;
            if !own.is_empty() {
                scene.serve_with_their_own(&own).await;
                // They may have taken what there is one of, such as a name.
                scene.start_anew(as_shop).await;
            }
            if operation.access == "gateway" {
                scene.prove().await;
            } else {
                scene.call(*owner, Outcome::Served).await;
            }
            for (caller, wanted) in served.into_iter().filter(|(caller, _)| caller != owner) {
                // What is open to everybody looks at no credential; a few show that.
                if matches!(caller, Caller::Bad(bad, _) if ![Bad::Forged, Bad::Junk, Bad::Revoked, Bad::OtherScheme].contains(&bad))
                {
                    continue;
                }
                if operation.works_once() {
                    scene.start_anew(as_shop).await;
                }
                scene.call(caller, wanted).await;
            }
            wrong.extend(scene.wrong);
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn owners_get_in_everywhere_and_strangers_where_the_document_says_so() {
    play("strict", &everybody(), |_| true).await;
}

/// Where no credential is needed, one that is there is looked at all the same.
#[tokio::test]
async fn a_credential_that_proves_nobody_opens_nothing_even_where_none_is_needed() {
    play("compat", &everybody(), Operation::is_bare).await;
}

#[tokio::test]
async fn who_has_logged_out_is_out_wherever_the_session_was_copied_to_and_may_come_back_at_once() {
    let world = World::new("strict").await;
    let app = &world.app;
    let Party { buyer, seller } = world.party().await;
    for (name, email, enter, leave, own) in [
        (USER_COOKIE, &buyer.email, "/api/user/login-user", "/api/user/logout", "/api/user/getUser"),
        (
            SELLER_COOKIE,
            &seller.email,
            "/api/shop/shop-login",
            "/api/shop/logout-seller",
            "/api/shop/getSeller",
        ),
    ] {
        let page = app.browser();
        let enter = || page.post(enter).json(&json!({ "email": email, "password": PASSWORD }));
        let first = enter().await.expect(200)["token"].as_str().unwrap().to_owned();
        // Elsewhere, in the same second.
        let other = enter().await.expect(200)["token"].as_str().unwrap().to_owned();
        assert_ne!(first, other);
        let thief = app.browser();
        thief.set_cookie(name, &first);
        thief.get(own).await.expect(201);
        for _ in 0..2 {
            page.get(leave).bare().header("cookie", &format!("{name}={first}")).await.expect(200);
        }
        for call in [app.browser().get(own).bearer(&first), thief.get(own)] {
            call.await.refused(401, "unauthenticated");
        }
        page.get(own).await.expect(201);
        page.get(leave).await.expect(200);
        app.browser().get(own).bearer(&other).await.refused(401, "unauthenticated");
        enter().await.expect(200);
        page.get(own).await.expect(201);
    }
}
