//! The catalogue in memory: every product and event written out once as the client knows it, and the lists of them
//! ready to be sent. For showing only; whoever decides about anything reads the database.
//!
//! One task keeps it ([`keep`]): it fills it, follows the database's changes, whoever makes them, and
//! reads again what this process has written itself ([`shared::touched`]). Whoever asks waits for what was
//! written here before, and for nothing else. While it is not known whether the memory is right (it is being
//! filled, or the changes cannot be followed), every answer is [`None`] and the caller reads the database.

mod deflate;
pub(super) mod encoding;
pub(super) mod entry;
mod index;
pub(crate) mod keep;
mod load;
pub(super) mod ready;
mod segments;
mod state;
pub(super) mod stream;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use shared::{
    clock::{Clock, Timestamp},
    config::Config,
    db::Db,
    id::Id,
    model::{Kind, Listing, Shop},
    touched::Touched,
};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, watch};

use self::{
    ready::Ready,
    state::{Found, State, enclosed, envelope, envelope_of_one},
    stream::Streamed,
};
use super::wire::Audience;

/// A list that has not changed for so long, and for as long again for each megabyte, is worth compressing well.
const SETTLED: Duration = Duration::from_secs(1);

/// So long a search waits for the first reading of everything.
const FIRST_READING: Duration = Duration::from_secs(2);

/// No turn is near.
const NEVER: i64 = i64::MAX;

/// The memory.
pub struct Memory {
    db: Db,
    config: Arc<Config>,
    clock: Clock,
    state: RwLock<State>,
    /// It is filled, and the changes are followed.
    is_fresh: AtomicBool,
    products: Kept,
    events: Kept,
    of_shops: Mutex<ShopLists>,
    /// When events next come to stand elsewhere.
    next_turn: AtomicI64,
    /// Up to which moment of the database's own order everything is in it.
    seen: watch::Sender<bson::Timestamp>,
    compressing: Arc<Semaphore>,
}

/// The list of all of a kind.
#[derive(Default)]
struct Kept {
    list: RwLock<Option<Arc<Ready>>>,
    /// [`State::version`], to be compared without waiting for anybody.
    version: AtomicU64,
    /// Whoever makes a new one.
    making: AsyncMutex<()>,
    /// Where they are looked for.
    index: Arc<search::Index>,
    /// It has been filled, and is followed as far as the database can be.
    is_indexed: AtomicBool,
}

/// Lists of shops that were asked for.
#[derive(Default)]
struct ShopLists {
    lists: HashMap<(Kind, Id<Shop>, Audience), Arc<Ready>>,
    cost: usize,
}

/// An answer's content.
pub(super) enum Shown {
    /// Ready.
    Ready(Arc<Ready>),
    /// Too long for that.
    Streamed(Streamed),
}

impl Memory {
    /// An empty one, which knows that it is.
    pub(crate) fn new(db: Db, config: Arc<Config>, clock: Clock) -> Self {
        db.marks().follow();
        Self {
            state: RwLock::new(State::empty(clock.now())),
            is_fresh: AtomicBool::new(false),
            products: Kept::default(),
            events: Kept::default(),
            of_shops: Mutex::default(),
            next_turn: AtomicI64::new(NEVER),
            seen: watch::Sender::new(bson::Timestamp { time: 0, increment: 0 }),
            compressing: Arc::new(Semaphore::new(1)),
            db,
            config,
            clock,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shop_lists(&self) -> MutexGuard<'_, ShopLists> {
        self.of_shops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    const fn kept(&self, kind: Kind) -> &Kept {
        match kind {
            Kind::Product => &self.products,
            Kind::Event => &self.events,
        }
    }

    /// Whether answers are taken from it: it is filled, and what changes is followed.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh.load(Ordering::Acquire)
    }

    /// Waits until the memory has seen all that happened in the database up to a moment of its own order.
    pub async fn follows(&self, moment: bson::Timestamp) {
        // The sender lives as long as this.
        _ = self.seen.subscribe().wait_for(|seen| *seen >= moment).await;
    }

    /// Whether this may be shown at once: it is known to be right, and nothing of what this process has written
    /// has still to be read.
    fn is_current(&self, concerns: impl Fn(&Touched) -> bool) -> bool {
        if !self.is_fresh() {
            return false;
        }
        let marks = self.db.marks();
        marks.is_clear() || !marks.is_open(marks.latest(), concerns)
    }

    /// Waits until all that this process has written before is in it; false if that cannot be known.
    async fn catch_up(&self, concerns: impl Fn(&Touched) -> bool) -> bool {
        let marks = self.db.marks();
        let asked = marks.latest();
        loop {
            let settled = marks.settled().notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if !self.is_fresh() {
                return false;
            }
            if !marks.is_open(asked, &concerns) {
                return true;
            }
            marks.wanted().notify_one();
            settled.await;
        }
    }

    /// Lets events come to stand where they stand by now.
    fn turn(&self, kind: Kind) {
        if kind == Kind::Product || self.next_turn.load(Ordering::Acquire) == NEVER {
            return;
        }
        let now = self.clock.now();
        if self.next_turn.load(Ordering::Acquire) <= now.timestamp_millis() {
            let mut state = self.write();
            state.advance(now);
            self.publish(&state);
        }
    }

    /// Tells those who look without waiting what has changed.
    fn publish(&self, state: &State) {
        for kind in [Kind::Product, Kind::Event] {
            self.kept(kind).version.store(state.version(kind), Ordering::Release);
        }
        let next = state.next_turn().map_or(NEVER, Timestamp::timestamp_millis);
        self.next_turn.store(next, Ordering::Release);
    }

    /// The list of all of a kind, if it is ready this very moment.
    pub(super) fn all_now(&self, kind: Kind) -> Option<Arc<Ready>> {
        if !self.is_current(|touched| touches(kind, touched)) {
            return None;
        }
        self.turn(kind);
        self.kept_list(kind)
    }

    fn kept_list(&self, kind: Kind) -> Option<Arc<Ready>> {
        let kept = self.kept(kind);
        let list = kept.list.read().unwrap_or_else(PoisonError::into_inner);
        let version = kept.version.load(Ordering::Acquire);
        list.as_ref().filter(|list| list.version == version).cloned()
    }

    /// The list of all of a kind.
    pub(super) async fn all(&self, kind: Kind) -> Option<Shown> {
        if !self.catch_up(|touched| touches(kind, touched)).await {
            return None;
        }
        self.turn(kind);
        if let Some(list) = self.kept_list(kind) {
            return Some(Shown::Ready(list));
        }
        let kept = self.kept(kind);
        // A quarter for each kind, and compressed it takes as much again.
        let longest = self.config.catalogue.lists / 4;
        if self.read().length(kind)? > longest {
            *kept.list.write().unwrap_or_else(PoisonError::into_inner) = None;
            return Some(Shown::Streamed(Streamed::of(kind, self.read().snapshot(kind))));
        }
        let _making = kept.making.lock().await;
        if let Some(list) = self.kept_list(kind) {
            return Some(Shown::Ready(list));
        }
        let snapshot = self.read().snapshot(kind);
        // Up to some tens of megabytes: too long to keep other requests waiting.
        let made = tokio::task::spawn_blocking(move || Ready::all(kind, &snapshot)).await.ok()?;
        let list = Arc::new(made);
        *kept.list.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&list));
        Some(Shown::Ready(list))
    }

    /// A shop's list, if all that concerns it has been read.
    pub(super) fn of_shop_now(&self, kind: Kind, shop: Id<Shop>, audience: Audience) -> Option<Arc<Ready>> {
        if !self.is_current(|touched| self.touches_shop(kind, shop, touched)) {
            return None;
        }
        self.turn(kind);
        let key = (kind, shop, audience);
        let state = self.read();
        let version = state.version_of_shop(kind, shop);
        if let Some(list) = self.shop_lists().lists.get(&key).filter(|list| list.version == version) {
            return Some(Arc::clone(list));
        }
        let (single, is_kept) = match state.of_shop(kind, shop, audience) {
            Found::Here(list) => (list, true),
            // Anybody can ask for shops that do not exist.
            Found::Nowhere => (state::Single::default(), false),
            Found::Elsewhere => return None,
        };
        drop(state);
        let text = enclosed(envelope(kind), &single.json);
        let list = Arc::new(Ready::whole(version, single.print, text));
        if is_kept {
            self.keep_shop_list(key, &list);
        }
        Some(list)
    }

    fn keep_shop_list(&self, key: (Kind, Id<Shop>, Audience), list: &Arc<Ready>) {
        let mut lists = self.shop_lists();
        let room = self.config.catalogue.lists / 4;
        if lists.cost.saturating_add(list.cost()) > room {
            // Rarely, and it only costs writing them out again.
            *lists = ShopLists::default();
        }
        if list.cost() <= room {
            lists.cost = lists.cost.saturating_add(list.cost());
            if let Some(before) = lists.lists.insert(key, Arc::clone(list)) {
                lists.cost = lists.cost.saturating_sub(before.cost());
            }
        }
    }

    /// The list of a shop.
    pub(super) async fn of_shop(&self, kind: Kind, shop: Id<Shop>, audience: Audience) -> Option<Arc<Ready>> {
        if !self.catch_up(|touched| self.touches_shop(kind, shop, touched)).await {
            return None;
        }
        self.of_shop_now(kind, shop, audience)
    }

    /// One listing, if all that concerns it has been read; nothing in it if there is no such listing.
    pub(super) fn one_now(&self, kind: Kind, id: Id<Listing>) -> Option<Option<Ready>> {
        if !self.is_current(|touched| self.touches_one(kind, id, touched)) {
            return None;
        }
        self.turn(kind);
        match self.read().single(kind, id) {
            Found::Here(single) => {
                let text = enclosed(envelope_of_one(kind), &single.json);
                Some(Some(Ready::whole(0, single.print, text)))
            }
            Found::Nowhere => Some(None),
            Found::Elsewhere => None,
        }
    }

    /// One listing.
    pub(super) async fn one(&self, kind: Kind, id: Id<Listing>) -> Option<Option<Ready>> {
        if !self.catch_up(|touched| self.touches_one(kind, id, touched)).await {
            return None;
        }
        self.one_now(kind, id)
    }

    /// A page of what is looked for, and everything of this process' own writes considered. Nothing while it has never
    /// been filled. While changes cannot be followed, it is found where it was before.
    pub(super) async fn search(
        &self,
        kind: Kind,
        query: &search::Query,
    ) -> Option<Result<search::Page, search::Error>> {
        let kept = self.kept(kind);
        if !kept.is_indexed.load(Ordering::Acquire) {
            // At the start all is read in a moment, unless there is very much of it.
            let mut seen = self.seen.subscribe();
            _ = tokio::time::timeout(FIRST_READING, seen.wait_for(|_| self.is_fresh())).await;
        }
        self.catch_up(|touched| touches(kind, touched)).await;
        kept.is_indexed.load(Ordering::Acquire).then(|| kept.index.search(query))
    }

    /// Listings one after another, separated by commas; nothing if one of them is not here.
    pub(super) fn texts(&self, kind: Kind, ids: &[Id<Listing>], audience: Audience) -> Option<Vec<u8>> {
        if !self.is_fresh() {
            return None;
        }
        self.turn(kind);
        self.read().texts(kind, ids, audience)
    }

    fn touches_one(&self, kind: Kind, id: Id<Listing>, touched: &Touched) -> bool {
        match *touched {
            Touched::Listing(of, listing) => of == kind && listing == id,
            Touched::Shop(shop) => self.read().shop_of(kind, id).is_none_or(|of| of == shop),
            Touched::Reviewer(_) => kind == Kind::Product,
        }
    }

    fn touches_shop(&self, kind: Kind, shop: Id<Shop>, touched: &Touched) -> bool {
        match *touched {
            // One that is not known yet may be of any shop.
            Touched::Listing(of, id) => {
                of == kind && self.read().shop_of(kind, id).is_none_or(|of| of == shop)
            }
            Touched::Shop(of) => of == shop,
            Touched::Reviewer(_) => kind == Kind::Product,
        }
    }

    /// Has a list compressed well, once it has been the same for a moment, one list at a time.
    pub(super) fn compress_later(self: &Arc<Self>, list: &Arc<Ready>) {
        if !list.claim_brotli() {
            return;
        }
        // Whoever replaces it lets go of it.
        let megabytes = u32::try_from(list.plain.len() >> 20).unwrap_or(u32::MAX);
        let settled = SETTLED.saturating_mul(megabytes.saturating_add(1));
        let (list, compressing) = (Arc::downgrade(list), Arc::clone(&self.compressing));
        tokio::spawn(async move {
            tokio::time::sleep(settled).await;
            let Ok(_turn) = compressing.acquire_owned().await else { return };
            let Some(list) = list.upgrade() else { return };
            let kept = Arc::clone(&list);
            if tokio::task::spawn_blocking(move || kept.compress_well()).await.is_err() {
                list.leave_brotli();
            }
        });
    }
}

/// Whether a list of all of a kind may show something else by that.
const fn touches(kind: Kind, touched: &Touched) -> bool {
    match touched {
        Touched::Listing(Kind::Product, _) | Touched::Reviewer(_) => matches!(kind, Kind::Product),
        Touched::Listing(Kind::Event, _) => matches!(kind, Kind::Event),
        Touched::Shop(_) => true,
    }
}
