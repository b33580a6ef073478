//! Keeping the memory right. One task does it all, one thing after another, so that nothing older ever takes the
//! place of something newer: it opens the stream of the database's changes, fills the memory, and from
//! then on reads again whatever the stream or this process' own writes say has changed.
//!
//! Where the stream breaks, it is resumed where everything before it has been read; where the database has
//! forgotten that place, or a whole collection was dropped or renamed, the memory is filled anew.

use std::{collections::HashSet, convert::Infallible, sync::Arc, sync::atomic::Ordering, time::Duration};

use bson::{Bson, Timestamp, doc};
use futures_util::StreamExt as _;
use mongodb::{
    change_stream::{ChangeStream, event::ResumeToken},
    error::ErrorKind,
};
use serde::Deserialize;
use shared::{
    db::is_unavailable,
    id::Id,
    model::{Kind, Listing, Shop, Stored as _, User},
    touched::Touched,
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Memory,
    entry::{Entry, ShopText},
    index,
    load::{Read, Reader},
    state::State,
};
use crate::state::App;

/// How many changes are taken together.
const TOGETHER: usize = 1024;

/// How many listings are read together.
const BATCH: usize = 256;

/// What others write is gathered for so long before it is read.
const GATHER: Duration = Duration::from_millis(5);

/// What was written here is read at the latest then, although nobody asks and the stream says nothing.
const UNASKED: Duration = Duration::from_millis(100);

/// How long to wait before the next try; doubled each time up to this.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// A change in the database, as far as we look at it.
#[derive(Deserialize)]
struct Change {
    #[serde(rename = "_id")]
    token: ResumeToken,
    #[serde(rename = "operationType")]
    operation: String,
    #[serde(rename = "clusterTime")]
    at: Option<Timestamp>,
    ns: Option<Namespace>,
    #[serde(rename = "documentKey")]
    key: Option<Key>,
}

#[derive(Deserialize)]
struct Namespace {
    coll: Option<String>,
}

#[derive(Deserialize)]
struct Key {
    #[serde(rename = "_id")]
    id: Bson,
}

/// Why following ended.
enum End {
    /// Of what has been read again nothing need be read once more.
    Broken(mongodb::error::Error),
    /// All has to be read anew.
    Lost(&'static str),
}

impl From<mongodb::error::Error> for End {
    fn from(error: mongodb::error::Error) -> Self {
        // Refused, as opposed to not heard: the place is gone from the database's log.
        match &*error.kind {
            ErrorKind::Command(_) if !is_unavailable(&error) => {
                warn!(%error, "the changes of the catalogue cannot be followed from where they were");
                Self::Lost("the database refused to go on")
            }
            _ => Self::Broken(error),
        }
    }
}

/// What has changed and has not been read again.
#[derive(Default)]
struct Heard {
    touched: HashSet<Touched>,
    /// Where to go on once it has been read.
    token: Option<ResumeToken>,
    at: Option<Timestamp>,
}

impl Heard {
    fn add(&mut self, change: Change) -> Result<(), End> {
        let collection = change.ns.and_then(|ns| ns.coll).unwrap_or_default();
        match (change.operation.as_str(), change.key) {
            ("insert" | "update" | "replace" | "delete", Some(Key { id: Bson::ObjectId(id) })) => {
                let touched = if collection == Shop::COLLECTION {
                    Touched::Shop(Id::from_oid(id))
                } else if collection == Kind::Event.collection() {
                    Touched::Listing(Kind::Event, Id::from_oid(id))
                } else {
                    Touched::Listing(Kind::Product, Id::from_oid(id))
                };
                self.touched.insert(touched);
            }
            // Documents with ids of another kind are not shown.
            ("insert" | "update" | "replace" | "delete", _) => {}
            _ => return Err(End::Lost("a collection was dropped or renamed")),
        }
        self.token = Some(change.token);
        self.at = change.at.or(self.at);
        Ok(())
    }
}

/// Keeps the memory until told to quit.
pub(crate) async fn keep(app: Arc<App>, quit: CancellationToken) {
    let memory = Arc::clone(&app.catalogue);
    memory.forget_freshness();
    tokio::select! {
        () = quit.cancelled() => {}
        never = keep_on(&memory) => match never {},
    }
    memory.forget_freshness();
}

async fn keep_on(memory: &Memory) -> Infallible {
    let mut place = None;
    let mut pause = PAUSES.0;
    loop {
        let resumed = place.is_some();
        let end = match follow(memory, &mut place).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        let was_fresh = memory.is_fresh();
        memory.forget_freshness();
        metrics::counter!("catalogue_memory_interruptions_total").increment(1);
        match end {
            End::Broken(error) => {
                warn!(%error, resumed, "the catalogue's changes cannot be followed, lists come from the database");
            }
            End::Lost(why) => {
                info!("the catalogue is read anew: {why}");
                place = None;
            }
        }
        if was_fresh {
            pause = PAUSES.0;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Follows the changes from a place on, or fills the memory first where there is none.
async fn follow(memory: &Memory, place: &mut Option<ResumeToken>) -> Result<Infallible, End> {
    let begun = memory.db.database().run_command(doc! { "ping": 1 }).await?;
    let begun = begun.get_timestamp("operationTime").ok();
    let mut stream = watch(memory, place.clone(), begun).await?;
    let mut reader = Reader::begin(&memory.db).await?;
    let mut heard = Heard::default();
    if place.is_some() {
        // What was missed. An answer without any change in it means that there are no more.
        while let Some(change) = stream.next_if_any().await? {
            heard.add(change)?;
        }
    } else {
        let token = stream.resume_token();
        fill(memory, &mut reader).await?;
        *place = token;
        // Whatever was there before the stream is in what was read after.
        heard.at = begun;
    }
    refresh(memory, &mut reader, &mut heard, place).await?;
    memory.say_fresh();
    let marks = memory.db.marks();
    let mut stream = stream.ready_chunks(TOGETHER);
    let mut due: Option<Instant> = None;
    loop {
        let next = due.unwrap_or_else(|| Instant::now() + UNASKED);
        tokio::select! {
            changes = stream.next() => {
                let Some(changes) = changes else { return Err(End::Lost("the database was dropped")) };
                for change in changes {
                    heard.add(change?)?;
                }
                due = due.or_else(|| Some(Instant::now() + GATHER));
            }
            () = marks.wanted().notified() => {
                refresh(memory, &mut reader, &mut heard, place).await?;
                due = None;
            }
            () = sleep_until(next) => {
                if due.is_some() || !marks.is_clear() {
                    refresh(memory, &mut reader, &mut heard, place).await?;
                }
                due = None;
            }
        }
    }
}

/// The changes of products, events and shops, by anybody, from a place or a moment on. Only what they are about, not
/// what they say.
async fn watch(
    memory: &Memory,
    from: Option<ResumeToken>,
    begin: Option<Timestamp>,
) -> mongodb::error::Result<ChangeStream<Change>> {
    let ours = vec![Kind::Product.collection(), Kind::Event.collection(), Shop::COLLECTION];
    let about = doc! { "$or": [
        { "ns.coll": { "$in": ours.clone() } },
        { "to.coll": { "$in": ours } },
        { "operationType": { "$in": ["dropDatabase", "invalidate"] } },
    ] };
    let fields = doc! { "operationType": 1, "clusterTime": 1, "ns.coll": 1, "documentKey._id": 1 };
    let mut watch =
        memory.db.database().watch().pipeline([doc! { "$match": about }, doc! { "$project": fields }]);
    watch = match (from, begin) {
        (Some(token), _) => watch.resume_after(token),
        (None, Some(moment)) => watch.start_at_operation_time(moment),
        (None, None) => watch,
    };
    Ok(watch.await?.with_type::<Change>())
}

/// Reads everything, with nothing known before. The stream has begun already: what changes meanwhile is read again.
async fn fill(memory: &Memory, reader: &mut Reader) -> Result<(), End> {
    let begun = Instant::now();
    memory.change(|state| state.clear(memory.clock.now()));
    for kind in [Kind::Product, Kind::Event] {
        let mut index = search::Builder::new();
        let mut listings = reader.all(kind).await?;
        loop {
            let batch = listings.next(BATCH).await?;
            if batch.is_empty() {
                break;
            }
            let shops = unknown_shops(memory, &batch);
            // The cursor has the session to itself.
            let shops = if shops.is_empty() {
                Vec::new()
            } else {
                look_up(memory, &mut Reader::begin(&memory.db).await?, &shops).await?
            };
            memory.change(|state| shops.into_iter().for_each(|(shop, text)| state.put_shop(shop, text)));
            let entries = written(memory, kind, batch, Shops::AsKnown, |filed| match filed {
                File::In(entry) => index.add(entry),
                File::Out(_) => {}
            });
            memory.change(|state| entries.into_iter().for_each(|entry| state.put(kind, entry)));
            tokio::task::yield_now().await;
        }
        drop(listings);
        load(memory, kind, index).await;
    }
    let state = memory.read();
    info!(
        products = state.len(Kind::Product),
        events = state.len(Kind::Event),
        bytes = state.cost(),
        millis = begun.elapsed().as_millis(),
        "the catalogue is in memory"
    );
    Ok(())
}

/// Reads again what has changed, whoever has changed it.
async fn refresh(
    memory: &Memory,
    reader: &mut Reader,
    heard: &mut Heard,
    place: &mut Option<ResumeToken>,
) -> Result<(), End> {
    let begun = Instant::now();
    let marks = memory.db.marks();
    let (own, up_to) = marks.all();
    let changes = Changes::of(heard.touched.iter().copied().chain(own));
    let mut products = changes.products;
    for user in changes.reviewers {
        products.extend(reader.reviewed_by(user).await?);
    }
    let mut events = changes.events;
    // Of a shop without listings nothing is shown.
    let shops: Vec<_> = changes.shops.into_iter().filter(|shop| memory.read().has_looked_up(*shop)).collect();
    for some in shops.chunks(BATCH) {
        let found = look_up(memory, reader, some).await?;
        for (shop, text) in &found {
            // Listings are found by their shop's name, too, and not at all where it is shut.
            let name = text.as_ref().map(|text| &text.name);
            let shut = text.as_ref().is_some_and(|text| text.shut);
            let was = memory.read();
            let differs = was.shop_name(*shop).as_ref() != name || was.shop_is_shut(*shop) != shut;
            drop(was);
            if differs {
                products.extend(memory.read().listings_of(Kind::Product, *shop));
                events.extend(memory.read().listings_of(Kind::Event, *shop));
            }
        }
        let (gone, there): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, text)| text.is_none());
        memory.change(|state| there.into_iter().for_each(|(shop, text)| state.put_shop(shop, text)));
        for (shop, _) in gone {
            forget_shop(memory, reader, shop).await?;
        }
    }
    for (kind, ids) in [(Kind::Product, &mut products), (Kind::Event, &mut events)] {
        let ids: Vec<_> = ids.drain().collect();
        for some in ids.chunks(BATCH) {
            let batch = read(reader, kind, some).await?;
            let unknown = unknown_shops(memory, &batch);
            let shops = look_up(memory, reader, &unknown).await?;
            memory.change(|state| shops.into_iter().for_each(|(shop, text)| state.put_shop(shop, text)));
            let index = &memory.kept(kind).index;
            let entries = written(memory, kind, batch, Shops::AsKnown, |filed| filed.with(index));
            memory.change(|state| {
                let there: HashSet<_> = entries.iter().map(|entry| entry.id).collect();
                for id in some.iter().filter(|id| !there.contains(id)) {
                    state.take(kind, *id);
                    index.remove(&id.oid().bytes());
                }
                entries.into_iter().for_each(|entry| state.put(kind, entry));
            });
        }
    }
    if !heard.touched.is_empty() || !marks.is_clear() {
        metrics::histogram!("catalogue_memory_refresh_seconds").record(begun.elapsed());
        memory.measure();
    }
    heard.touched.clear();
    if let Some(token) = heard.token.take() {
        *place = Some(token);
    }
    if let Some(at) = heard.at.take() {
        memory.seen.send_modify(|seen| *seen = at.max(*seen));
    }
    marks.settle(up_to);
    Ok(())
}

/// What is to be read again, each once.
#[derive(Default)]
struct Changes {
    products: HashSet<Id<Listing>>,
    events: HashSet<Id<Listing>>,
    shops: HashSet<Id<Shop>>,
    reviewers: HashSet<Id<User>>,
}

impl Changes {
    fn of(touched: impl Iterator<Item = Touched>) -> Self {
        let mut changes = Self::default();
        for what in touched {
            match what {
                Touched::Listing(Kind::Product, id) => _ = changes.products.insert(id),
                Touched::Listing(Kind::Event, id) => _ = changes.events.insert(id),
                Touched::Shop(id) => _ = changes.shops.insert(id),
                Touched::Reviewer(id) => _ = changes.reviewers.insert(id),
            }
        }
        changes
    }
}

async fn read(reader: &mut Reader, kind: Kind, ids: &[Id<Listing>]) -> mongodb::error::Result<Vec<Read>> {
    reader.these(kind, ids).await?.next(usize::MAX).await
}

/// The shops of listings that have not been looked up.
fn unknown_shops(memory: &Memory, batch: &[Read]) -> Vec<Id<Shop>> {
    let state = memory.read();
    let shops: HashSet<_> = batch.iter().map(|(listing, _)| listing.shop_id).collect();
    shops.into_iter().filter(|shop| !state.has_looked_up(*shop)).collect()
}

/// Shops as they are shown, or nothing of those that are gone.
async fn look_up(
    memory: &Memory,
    reader: &mut Reader,
    ids: &[Id<Shop>],
) -> mongodb::error::Result<Vec<(Id<Shop>, Option<ShopText>)>> {
    let found = reader.shops(ids).await?;
    let text = |shop| match ShopText::of(&memory.config, shop) {
        Ok(text) => Some(text),
        Err(error) => {
            warn!(%error, "a shop cannot be shown");
            None
        }
    };
    Ok(ids.iter().map(|id| (*id, found.get(id).and_then(text))).collect())
}

/// A shop is gone: its listings show from now on what they remember of it.
async fn forget_shop(memory: &Memory, reader: &mut Reader, shop: Id<Shop>) -> mongodb::error::Result<()> {
    let mut listings = Vec::new();
    for kind in [Kind::Product, Kind::Event] {
        let ids = memory.read().listings_of(kind, shop);
        for some in ids.chunks(BATCH) {
            let batch = read(reader, kind, some).await?;
            let index = &memory.kept(kind).index;
            listings.extend(
                written(memory, kind, batch, Shops::Gone, |filed| filed.with(index))
                    .into_iter()
                    .map(|entry| (kind, entry)),
            );
        }
    }
    memory.change(|state| {
        state.put_shop(shop, None);
        listings.into_iter().for_each(|(kind, entry)| state.put(kind, entry));
    });
    Ok(())
}

/// Puts what was gathered in the place of what the index held.
async fn load(memory: &Memory, kind: Kind, gathered: search::Builder) {
    let index = Arc::clone(&memory.kept(kind).index);
    // Seconds for a million: too long to keep other requests waiting. It cannot fail but with the runtime.
    _ = tokio::task::spawn_blocking(move || index.load(gathered)).await;
}

/// What the index is told of a listing.
enum File<'a> {
    /// It can be found.
    In(&'a search::Entry<'a>),
    /// It is not shown to everybody, and so it is not found.
    Out(&'a [u8; 12]),
}

impl File<'_> {
    fn with(self, index: &search::Index) {
        match self {
            Self::In(entry) => index.insert(entry),
            Self::Out(id) => _ = index.remove(id),
        }
    }
}

/// The shops of listings that are written out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shops {
    AsKnown,
    /// They are about to be forgotten.
    Gone,
}

/// Writes listings out as they are now, as far as there is room for them, and has them filed for searching. Whatever
/// becomes known of a listing, by whoever wrote it, passes here.
fn written(
    memory: &Memory,
    kind: Kind,
    batch: Vec<Read>,
    shops: Shops,
    mut file: impl FnMut(File<'_>),
) -> Vec<Entry> {
    let mut cost = memory.read().cost();
    let mut entries = Vec::with_capacity(batch.len());
    for (listing, filed) in batch {
        let has_room = cost < memory.config.catalogue.memory;
        let shop_is_known = shops == Shops::AsKnown && memory.read().shop_is_there(listing.shop_id);
        let name = memory.read().shop_name(listing.shop_id).filter(|_| shop_is_known);
        let shut = shop_is_known && memory.read().shop_is_shut(listing.shop_id);
        if shut || listing.hidden.is_some() {
            file(File::Out(&listing.id.oid().bytes()));
        } else {
            let name = name.as_deref().unwrap_or_else(|| index::remembered_name(&listing));
            file(File::In(&index::entry(&listing, name)));
        }
        match Entry::of(listing, kind, filed, shop_is_known, has_room, &memory.config) {
            Ok(mut entry) => {
                entry.withheld |= shut;
                cost += entry.cost();
                entries.push(entry);
            }
            Err(error) => warn!(%error, "a listing cannot be shown"),
        }
    }
    entries
}

impl Memory {
    /// Changes what is known, and tells those who look without waiting.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.write();
        change(&mut state);
        self.publish(&state);
    }

    fn say_fresh(&self) {
        self.is_fresh.store(true, Ordering::Release);
        for kind in [Kind::Product, Kind::Event] {
            // Only now: what was written here during the reading is in it, too.
            self.kept(kind).is_indexed.store(true, Ordering::Release);
        }
        self.seen.send_modify(|_| {});
        self.measure();
    }

    /// From now on nobody knows whether it is right. Those who wait for it need not any longer.
    fn forget_freshness(&self) {
        self.is_fresh.store(false, Ordering::Release);
        self.db.marks().settled().notify_waiters();
        self.measure();
    }

    fn measure(&self) {
        let count = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        let state = self.read();
        metrics::gauge!("catalogue_memory_fresh").set(f64::from(u8::from(self.is_fresh())));
        metrics::gauge!("catalogue_memory_bytes").set(count(state.cost()));
        metrics::gauge!("catalogue_memory_products").set(count(state.len(Kind::Product)));
        metrics::gauge!("catalogue_memory_events").set(count(state.len(Kind::Event)));
    }
}
