//! What is known of the catalogue at a moment: products, events, and their shops. Knows no database and no clock.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use shared::{
    clock::Timestamp,
    id::Id,
    model::{Kind, Listing, Shop},
};

use super::{
    super::wire::Audience,
    entry::{Entry, ShopText, Text},
    segments::{Segment, Segments},
};

/// About how long a shop's text is.
const SHOP_SIZE: usize = 512;

/// Everything.
#[derive(Debug)]
pub(super) struct State {
    products: Shelf,
    events: Shelf,
    /// Those that have listings.
    shops: HashMap<Id<Shop>, ShopRecord>,
    /// When events come to stand elsewhere.
    turns: BTreeSet<(Timestamp, Id<Listing>)>,
    /// Events stand where they stood at this moment.
    now: Timestamp,
    /// What all of it takes of the memory, roughly.
    cost: usize,
}

/// All listings of a kind.
#[derive(Debug, Default)]
struct Shelf {
    /// Those that everybody sees. What follows counts these alone, but for the version.
    segments: Segments,
    /// Those that an administrator has hidden, or whose shop is shut.
    withheld: HashMap<Id<Listing>, Arc<Entry>>,
    /// The sum of what its listings are known by.
    print: u128,
    /// How many have no text, for want of room.
    bare: usize,
    /// About how long the list is.
    length: usize,
    /// Grows with whatever changes in the list.
    version: u64,
}

#[derive(Debug, Default)]
struct ShopRecord {
    /// None if it is gone.
    text: Option<ShopText>,
    products: Filed,
    events: Filed,
}

/// A shop's listings of a kind.
#[derive(Debug, Default)]
struct Filed {
    /// In order.
    ids: Vec<Id<Listing>>,
    /// See [`Shelf::version`]: of the shelf, when something of this last changed.
    version: u64,
}

impl Shelf {
    /// One, whoever may see it.
    fn any(&self, id: Id<Listing>) -> Option<&Arc<Entry>> {
        self.segments.get(id).or_else(|| self.withheld.get(&id))
    }

    /// One that this audience may see.
    fn seen_by(&self, audience: Audience, id: Id<Listing>) -> Option<&Arc<Entry>> {
        match audience {
            Audience::Shoppers => self.segments.get(id),
            Audience::Owner => self.any(id),
        }
    }
}

impl ShopRecord {
    fn is_shut(&self) -> bool {
        self.text.as_ref().is_some_and(|text| text.shut)
    }

    const fn filed(&self, kind: Kind) -> &Filed {
        match kind {
            Kind::Product => &self.products,
            Kind::Event => &self.events,
        }
    }

    const fn filed_mut(&mut self, kind: Kind) -> &mut Filed {
        match kind {
            Kind::Product => &mut self.products,
            Kind::Event => &mut self.events,
        }
    }
}

/// A list as it is at a moment, to be written out at leisure.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) shops: HashMap<Id<Shop>, ShopText>,
    pub(super) print: u128,
    pub(super) length: usize,
    pub(super) version: u64,
    pub(super) now: Timestamp,
}

/// What is asked for is there, is known not to be there, or only the database knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<T> {
    Here(T),
    Nowhere,
    Elsewhere,
}

/// A listing that is shown alone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Single {
    pub(super) json: Vec<u8>,
    pub(super) print: u128,
}

impl State {
    /// Nothing, at that moment.
    pub(super) fn empty(now: Timestamp) -> Self {
        Self {
            products: Shelf::default(),
            events: Shelf::default(),
            shops: HashMap::new(),
            turns: BTreeSet::new(),
            now,
            cost: 0,
        }
    }

    const fn shelf(&self, kind: Kind) -> &Shelf {
        match kind {
            Kind::Product => &self.products,
            Kind::Event => &self.events,
        }
    }

    const fn shelf_mut(&mut self, kind: Kind) -> &mut Shelf {
        match kind {
            Kind::Product => &mut self.products,
            Kind::Event => &mut self.events,
        }
    }

    /// Forgets everything. What is remembered of it elsewhere by its version is old from now on.
    pub(super) fn clear(&mut self, now: Timestamp) {
        let versions = [self.products.version, self.events.version];
        *self = Self::empty(now);
        [self.products.version, self.events.version] = versions.map(|version| version + 1);
    }

    pub(super) const fn cost(&self) -> usize {
        self.cost
    }

    pub(super) const fn len(&self, kind: Kind) -> usize {
        self.shelf(kind).segments.len()
    }

    pub(super) const fn version(&self, kind: Kind) -> u64 {
        self.shelf(kind).version
    }

    /// The shop of a listing that is known.
    pub(super) fn shop_of(&self, kind: Kind, id: Id<Listing>) -> Option<Id<Shop>> {
        self.shelf(kind).any(id).map(|entry| entry.shop)
    }

    /// Whether a shop has been looked up: what is known of it then is followed.
    pub(super) fn has_looked_up(&self, shop: Id<Shop>) -> bool {
        self.shops.contains_key(&shop)
    }

    /// Whether a shop is there.
    pub(super) fn shop_is_there(&self, shop: Id<Shop>) -> bool {
        self.shops.get(&shop).is_some_and(|record| record.text.is_some())
    }

    /// Whether nothing of a shop is shown.
    pub(super) fn shop_is_shut(&self, shop: Id<Shop>) -> bool {
        self.shops.get(&shop).is_some_and(ShopRecord::is_shut)
    }

    /// What a shop is from now on. Listings of one that is gone show what they remember of it, which is not kept
    /// while it is there: they have to be put again as well.
    pub(super) fn put_shop(&mut self, shop: Id<Shop>, text: Option<ShopText>) {
        let record = self.shops.entry(shop).or_default();
        if record.text == text {
            return;
        }
        let before = std::mem::replace(&mut record.text, text.clone());
        let length = |text: Option<&ShopText>| text.map_or(0, |text| text.json.len());
        for kind in [Kind::Product, Kind::Event] {
            let ids = self.listings_of(kind, shop);
            let now = self.now;
            let shelf = self.shelf_mut(kind);
            for id in ids {
                let Some(entry) = shelf.segments.get(id) else { continue };
                shelf.length += length(text.as_ref());
                shelf.length = shelf.length.saturating_sub(length(before.as_ref()));
                if let Some(of) = &entry.text {
                    let old = of.print(before.as_ref(), Audience::Shoppers, now);
                    let new = of.print(text.as_ref(), Audience::Shoppers, now);
                    shelf.print = shelf.print.wrapping_sub(old).wrapping_add(new);
                }
                shelf.segments.renew(id);
            }
            self.changed(kind, shop);
        }
    }

    /// A shop's listings.
    pub(super) fn listings_of(&self, kind: Kind, shop: Id<Shop>) -> Vec<Id<Listing>> {
        self.shops.get(&shop).map(|record| record.filed(kind).ids.clone()).unwrap_or_default()
    }

    /// Forgets shops that have no listings any more.
    fn forget_shop_without_listings(&mut self, shop: Id<Shop>) {
        let has_none = |record: &ShopRecord| record.products.ids.is_empty() && record.events.ids.is_empty();
        if self.shops.get(&shop).is_some_and(has_none) {
            self.shops.remove(&shop);
        }
    }

    /// Something is another from now on in the lists of a kind, and of a shop.
    fn changed(&mut self, kind: Kind, shop: Id<Shop>) {
        let shelf = self.shelf_mut(kind);
        shelf.version += 1;
        let version = shelf.version;
        if let Some(record) = self.shops.get_mut(&shop) {
            record.filed_mut(kind).version = version;
        }
    }

    /// A listing is this from now on.
    pub(super) fn put(&mut self, kind: Kind, entry: Entry) {
        let (id, shop) = (entry.id, entry.shop);
        let before = self.remove(kind, id);
        let now = self.now;
        self.cost += entry.cost();
        if let Some(turn) = entry.text.as_ref().and_then(|text| text.next_turn(now)) {
            self.turns.insert((turn, id));
        }
        let record = self.shops.entry(shop).or_default();
        let print = entry.text.as_ref().map(|of| of.print(record.text.as_ref(), Audience::Shoppers, now));
        if let Err(at) = record.filed(kind).ids.binary_search(&id) {
            record.filed_mut(kind).ids.insert(at, id);
        }
        let length = entry.cost() + record.text.as_ref().map_or(0, |shop| shop.json.len());
        let shelf = self.shelf_mut(kind);
        if entry.withheld {
            shelf.withheld.insert(id, Arc::new(entry));
        } else {
            shelf.length += length;
            match print {
                Some(print) => shelf.print = shelf.print.wrapping_add(print),
                None => shelf.bare += 1,
            }
            shelf.segments.put(Arc::new(entry));
        }
        self.changed(kind, shop);
        if let Some(before) = before.filter(|before| before.shop != shop) {
            self.forget_shop_without_listings(before.shop);
        }
    }

    /// A listing is gone. Its shop stays known for the moment: it may be put again at once.
    fn remove(&mut self, kind: Kind, id: Id<Listing>) -> Option<Arc<Entry>> {
        let now = self.now;
        let shelf = self.shelf_mut(kind);
        let gone = shelf.segments.remove(id).or_else(|| shelf.withheld.remove(&id))?;
        self.cost = self.cost.saturating_sub(gone.cost());
        if let Some(turn) = gone.text.as_ref().and_then(|text| text.next_turn(now)) {
            self.turns.remove(&(turn, id));
        }
        let mut length = gone.cost();
        let mut print = None;
        if let Some(record) = self.shops.get_mut(&gone.shop) {
            if let Ok(at) = record.filed(kind).ids.binary_search(&id) {
                record.filed_mut(kind).ids.remove(at);
            }
            length += record.text.as_ref().map_or(0, |shop| shop.json.len());
            let shop = record.text.as_ref();
            print = gone.text.as_ref().map(|of| of.print(shop, Audience::Shoppers, now));
        }
        if !gone.withheld {
            let shelf = self.shelf_mut(kind);
            shelf.length = shelf.length.saturating_sub(length);
            match print {
                Some(print) => shelf.print = shelf.print.wrapping_sub(print),
                None => shelf.bare = shelf.bare.saturating_sub(1),
            }
        }
        self.changed(kind, gone.shop);
        Some(gone)
    }

    /// A listing is gone from now on.
    pub(super) fn take(&mut self, kind: Kind, id: Id<Listing>) {
        if let Some(gone) = self.remove(kind, id) {
            self.forget_shop_without_listings(gone.shop);
        }
    }

    /// When an event next comes to stand elsewhere.
    pub(super) fn next_turn(&self) -> Option<Timestamp> {
        self.turns.first().map(|(turn, _)| *turn)
    }

    /// Lets the time go on.
    pub(super) fn advance(&mut self, now: Timestamp) {
        let before = self.now;
        let now = now.max(before);
        self.now = now;
        while let Some((turn, id)) = self.turns.first().copied().filter(|(turn, _)| *turn <= now) {
            self.turns.remove(&(turn, id));
            let Some(entry) = self.events.any(id).cloned() else { continue };
            let Some(text) = &entry.text else { continue };
            let shop = self.shops.get(&entry.shop).and_then(|record| record.text.as_ref());
            let print = |at| text.print(shop, Audience::Shoppers, at);
            if !entry.withheld {
                self.events.print = self.events.print.wrapping_sub(print(before)).wrapping_add(print(now));
                self.events.segments.renew(id);
            }
            self.turns.extend(text.next_turn(now).map(|turn| (turn, id)));
            self.changed(Kind::Event, entry.shop);
        }
    }

    /// One listing, as shoppers see it.
    pub(super) fn single(&self, kind: Kind, id: Id<Listing>) -> Found<Single> {
        let Some(entry) = self.shelf(kind).segments.get(id) else { return Found::Nowhere };
        let Some(text) = &entry.text else { return Found::Elsewhere };
        let shop = self.shops.get(&entry.shop).and_then(|record| record.text.as_ref());
        let mut json = Vec::with_capacity(entry.cost() + shop.map_or(0, |shop| shop.json.len()));
        text.write(&mut json, shop, Audience::Shoppers, self.now);
        Found::Here(Single { json, print: text.print(shop, Audience::Shoppers, self.now) })
    }

    /// Several listings, separated by commas; nothing if one of them is not here.
    pub(super) fn texts(&self, kind: Kind, ids: &[Id<Listing>], audience: Audience) -> Option<Vec<u8>> {
        let entries: Option<Vec<&Arc<Entry>>> =
            ids.iter().map(|id| self.shelf(kind).seen_by(audience, *id)).collect();
        let entries = entries?;
        let mut json = Vec::with_capacity(entries.iter().map(|entry| entry.cost() + SHOP_SIZE).sum());
        for entry in entries {
            let text = entry.text.as_ref()?;
            if !json.is_empty() {
                json.push(b',');
            }
            let shop = self.shops.get(&entry.shop).and_then(|record| record.text.as_ref());
            text.write(&mut json, shop, audience, self.now);
        }
        Some(json)
    }

    /// What a shop is called today.
    pub(super) fn shop_name(&self, shop: Id<Shop>) -> Option<Arc<str>> {
        self.shops.get(&shop)?.text.as_ref().map(|text| Arc::clone(&text.name))
    }

    /// What changes with the list of a shop.
    pub(super) fn version_of_shop(&self, kind: Kind, shop: Id<Shop>) -> u64 {
        self.shops.get(&shop).map_or(0, |record| record.filed(kind).version)
    }

    /// The listings of a shop, separated by commas, and what the list is known by. Elsewhere if one of them has
    /// no text.
    pub(super) fn of_shop(&self, kind: Kind, shop: Id<Shop>, audience: Audience) -> Found<Single> {
        let Some(record) = self.shops.get(&shop) else { return Found::Nowhere };
        let (mut json, mut print) = (Vec::new(), 0_u128);
        if record.is_shut() {
            return Found::Here(Single { json, print });
        }
        for id in &record.filed(kind).ids {
            let Some(entry) = self.shelf(kind).seen_by(audience, *id) else { continue };
            if !entry.filed {
                continue;
            }
            let Some(text) = &entry.text else { return Found::Elsewhere };
            if !json.is_empty() {
                json.push(b',');
            }
            text.write(&mut json, record.text.as_ref(), audience, self.now);
            print = print.wrapping_add(text.print(record.text.as_ref(), audience, self.now));
        }
        Found::Here(Single { json, print })
    }

    /// About how long the list of all is; nothing where not all of it is here.
    pub(super) fn length(&self, kind: Kind) -> Option<usize> {
        let shelf = self.shelf(kind);
        (shelf.bare == 0).then_some(shelf.length)
    }

    /// All of a kind, as it is now.
    pub(super) fn snapshot(&self, kind: Kind) -> Snapshot {
        let shelf = self.shelf(kind);
        let shops = self.shops.iter().filter(|(_, record)| !record.filed(kind).ids.is_empty());
        Snapshot {
            segments: shelf.segments.all().to_vec(),
            shops: shops.filter_map(|(id, record)| Some((*id, record.text.clone()?))).collect(),
            print: shelf.print,
            length: shelf.length,
            version: shelf.version,
            now: self.now,
        }
    }
}

impl Snapshot {
    /// Writes a segment's listings out, separated by commas, behind whatever is there.
    pub(super) fn write(&self, segment: &Segment, out: &mut Vec<u8>) {
        let mut is_first = true;
        for entry in &segment.entries {
            let Some(text) = &entry.text else { continue };
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            Text::write(text, out, self.shops.get(&entry.shop), Audience::Shoppers, self.now);
        }
    }
}

/// Names of bytes that stand around a list.
pub(super) const fn envelope(kind: Kind) -> (&'static [u8], &'static [u8]) {
    match kind {
        Kind::Product => (b"{\"success\":true,\"products\":[", b"]}"),
        Kind::Event => (b"{\"success\":true,\"events\":[", b"]}"),
    }
}

/// The same around one listing.
pub(super) const fn envelope_of_one(kind: Kind) -> (&'static [u8], &'static [u8]) {
    match kind {
        Kind::Product => (b"{\"success\":true,\"product\":", b"}"),
        Kind::Event => (b"{\"success\":true,\"event\":", b"}"),
    }
}

/// Puts an envelope around.
pub(super) fn enclosed((begin, end): (&[u8], &[u8]), content: &[u8]) -> Vec<u8> {
    [begin, content, end].concat()
}
