//! One listing as it is shown, written out once. What changes without it being written stays open: the stock,
//! which its owner is shown another number for; its shop, which all its listings share; and where an event stands,
//! which depends on the time. Pure.

use sha2::{Digest as _, Sha256};
use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    sync::Arc,
};

use shared::{
    clock::Timestamp,
    config::Config,
    id::Id,
    model::{Kind, Listing, Shop},
};

use super::super::{
    rules::{self, Phase},
    wire::{Audience, ListingReply, Showing},
};
use crate::shops::wire::ShopReply;

/// What an entry costs besides its text, roughly: itself, its place in the lists and the allocator's share.
pub(super) const OVERHEAD: usize = 240;

/// A listing in memory.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: Id<Listing>,
    pub(super) shop: Id<Shop>,
    /// It is found by its shop. Old documents may hold the reference in another form, and are not.
    pub(super) filed: bool,
    /// Shown to its owner alone.
    pub(super) withheld: bool,
    /// None where there was no room for it.
    pub(super) text: Option<Text>,
}

/// What is shown of it.
#[derive(Debug)]
pub(super) struct Text {
    /// Its JSON without what stays open.
    json: Box<[u8]>,
    stock_at: usize,
    shop_at: usize,
    /// Events only.
    status_at: Option<usize>,
    available: i64,
    shelf: i64,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    /// What it remembers of its shop, where that is gone.
    remembered: Option<ShopText>,
    digest: [u8; 16],
}

/// A shop as all its listings show it.
#[derive(Clone, Debug)]
pub(super) struct ShopText {
    pub(super) json: bytes::Bytes,
    pub(super) name: Arc<str>,
    /// Nothing of it is shown.
    pub(super) shut: bool,
    digest: [u8; 16],
}

impl ShopText {
    /// Writes a shop out.
    pub(super) fn of(config: &Config, shop: &Shop) -> serde_json::Result<Self> {
        Ok(Self { shut: shop.is_shut(), ..Self::written(&ShopReply::of(config, shop), &shop.name)? })
    }

    fn written(reply: &ShopReply, name: &str) -> serde_json::Result<Self> {
        let json = serde_json::to_vec(reply)?;
        let digest = digest([json.as_slice()]);
        Ok(Self { json: json.into(), name: name.into(), shut: false, digest })
    }
}

impl PartialEq for ShopText {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json && self.shut == other.shut
    }
}

fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let [first @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _]: [u8; 32] = hash.finalize().into();
    first
}

impl Entry {
    /// Writes a listing out; without its text where there is no room.
    pub(super) fn of(
        listing: Listing,
        kind: Kind,
        filed: bool,
        shop_is_known: bool,
        room: bool,
        config: &Config,
    ) -> serde_json::Result<Self> {
        let (id, shop, withheld) = (listing.id, listing.shop_id, listing.hidden.is_some());
        let text = if room { Some(Text::of(listing, kind, shop_is_known, config)?) } else { None };
        Ok(Self { id, shop, filed, withheld, text })
    }

    /// What it takes of the memory.
    pub(super) fn cost(&self) -> usize {
        let text = self
            .text
            .as_ref()
            .map_or(0, |text| text.json.len() + text.remembered.as_ref().map_or(0, |shop| shop.json.len()));
        OVERHEAD + text
    }
}

/// What listings are known by that are shown together, and do not come from memory: the same as if they did.
pub(in crate::catalogue) fn print_of(
    listings: &[Listing],
    kind: Kind,
    shops: &HashMap<Id<Shop>, Shop>,
    showing: &Showing<'_>,
) -> serde_json::Result<u128> {
    let mut texts = HashMap::new();
    let mut print = 0_u128;
    for listing in listings {
        let shop = shops.get(&listing.shop_id);
        if let (Some(shop), Slot::Vacant(vacant)) = (shop, texts.entry(listing.shop_id)) {
            vacant.insert(ShopText::of(showing.config, shop)?);
        }
        let text = Text::of(listing.clone(), kind, shop.is_some(), showing.config)?;
        print = print.wrapping_add(text.print(texts.get(&listing.shop_id), showing.audience, showing.now));
    }
    Ok(print)
}

impl Text {
    fn of(listing: Listing, kind: Kind, shop_is_known: bool, config: &Config) -> serde_json::Result<Self> {
        let (available, shelf) = (listing.available(), listing.stock);
        let (starts_at, ends_at) = (listing.starts_at, listing.ends_at);
        // Which moment it is does not matter: where the event stands is cut out again.
        let showing = Showing { config, now: Timestamp::from_millis(0), audience: Audience::Shoppers };
        let reply = ListingReply::of(listing, kind, None, &showing);
        let remembered = ShopText::written(reply.shop(), "")?;
        let mut json = serde_json::to_vec(&reply)?;
        let stock_at = cut(&mut json, b",\"stock\":", |rest| rest.iter().position(|byte| *byte == b','))?;
        let shop_at = cut(&mut json, b",\"shop\":", |_| Some(remembered.json.len()))?;
        let status_at = match kind {
            Kind::Product => None,
            Kind::Event => {
                let end = |rest: &[u8]| rest.iter().position(|byte| *byte == b'"');
                Some(cut(&mut json, b",\"status\":\"", end)?)
            }
        };
        let digest = digest([json.as_slice()]);
        Ok(Self {
            json: json.into(),
            stock_at,
            shop_at,
            status_at,
            available,
            shelf,
            starts_at,
            ends_at,
            remembered: (!shop_is_known).then_some(remembered),
            digest,
        })
    }

    fn stock(&self, audience: Audience) -> i64 {
        match audience {
            Audience::Shoppers => self.available,
            Audience::Owner => self.shelf,
        }
    }

    /// Where the event stands; nothing for a product.
    fn phase(&self, now: Timestamp) -> Option<Phase> {
        self.status_at.map(|_| rules::phase_between(self.starts_at, self.ends_at, now))
    }

    /// When it next comes to stand elsewhere.
    pub(super) fn next_turn(&self, now: Timestamp) -> Option<Timestamp> {
        self.status_at.and_then(|_| rules::next_turn(self.starts_at, self.ends_at, now))
    }

    /// The shop that it is shown with: as it is today, or as this remembers it.
    fn shop<'a>(&'a self, today: Option<&'a ShopText>) -> Option<&'a ShopText> {
        today.or(self.remembered.as_ref())
    }

    /// A digest of all that is shown of it. A list's is the sum of those of its listings, which their ids put
    /// into one order.
    pub(super) fn print(&self, shop: Option<&ShopText>, audience: Audience, now: Timestamp) -> u128 {
        let stock = self.stock(audience).to_le_bytes();
        let phase = self.phase(now).map(Phase::text).unwrap_or_default();
        let shop = self.shop(shop).map(|shop| shop.digest).unwrap_or_default();
        u128::from_le_bytes(digest([self.digest.as_slice(), &shop, &stock, phase.as_bytes()]))
    }

    /// Writes it out whole.
    pub(super) fn write(
        &self,
        out: &mut Vec<u8>,
        shop: Option<&ShopText>,
        audience: Audience,
        now: Timestamp,
    ) {
        let (begin, rest) = self.json.split_at(self.stock_at);
        let (middle, rest) = rest.split_at(self.shop_at.saturating_sub(self.stock_at));
        out.extend_from_slice(begin);
        out.extend_from_slice(self.stock(audience).to_string().as_bytes());
        out.extend_from_slice(middle);
        match self.shop(shop) {
            Some(shop) => out.extend_from_slice(&shop.json),
            None => out.extend_from_slice(b"null"),
        }
        if let (Some(status_at), Some(phase)) = (self.status_at, self.phase(now)) {
            let (until_status, rest) = rest.split_at(status_at.saturating_sub(self.shop_at));
            out.extend_from_slice(until_status);
            out.extend_from_slice(phase.text().as_bytes());
            out.extend_from_slice(rest);
        } else {
            out.extend_from_slice(rest);
        }
    }
}

/// Cuts out the value behind a name, and says where it was. The name is found by its quotes, which stand in no
/// text unescaped.
fn cut(
    json: &mut Vec<u8>,
    name: &[u8],
    length: impl FnOnce(&[u8]) -> Option<usize>,
) -> serde_json::Result<usize> {
    let missing = || <serde_json::Error as serde::ser::Error>::custom("a listing lacks what is shown of it");
    let at = json.windows(name.len()).position(|part| part == name).ok_or_else(missing)? + name.len();
    let length = json.get(at..).and_then(length).ok_or_else(missing)?;
    json.drain(at..at + length);
    Ok(at)
}

#[cfg(test)]
mod tests {
    use shared::model::{Review, Reviewer, ShopCopy};

    use super::*;

    fn config() -> Config {
        Config::read(|_| None).unwrap()
    }

    fn nasty(kind: Kind) -> Listing {
        let text = "\",\"stock\":1,\"shop\":{\"a\":2},\"status\":\"Ended\"\\\u{1}é🦀".to_owned();
        Listing {
            id: Id::new(),
            name: text.clone(),
            description: text.clone(),
            category: text.clone(),
            tags: text.clone(),
            stock: 7,
            reserved: 3,
            shop: Some(ShopCopy { name: text.clone(), ..ShopCopy::default() }),
            shop_id: Id::new(),
            reviews: vec![Review {
                user: Some(Reviewer { name: text.clone(), ..Reviewer::default() }),
                comment: text,
                ..Review::default()
            }],
            starts_at: (kind == Kind::Event).then_some(Timestamp::from_millis(1000)),
            ends_at: (kind == Kind::Event).then_some(Timestamp::from_millis(2000)),
            ..Listing::default()
        }
    }

    #[test]
    fn what_is_put_together_is_what_would_be_written_at_once() {
        let config = config();
        for kind in [Kind::Product, Kind::Event] {
            let listing = nasty(kind);
            let shop = Shop { id: listing.shop_id, name: listing.name.clone(), ..Shop::default() };
            for today in [Some(&shop), None] {
                let entry = Entry::of(listing.clone(), kind, true, today.is_some(), true, &config).unwrap();
                let text = entry.text.as_ref().unwrap();
                let shop_text = today.map(|shop| ShopText::of(&config, shop).unwrap());
                for audience in [Audience::Shoppers, Audience::Owner] {
                    for now in [0, 1000, 1999, 2000].map(Timestamp::from_millis) {
                        let showing = Showing { config: &config, now, audience };
                        let reply = ListingReply::of(listing.clone(), kind, today, &showing);
                        let mut written = Vec::new();
                        text.write(&mut written, shop_text.as_ref(), audience, now);
                        let wanted = serde_json::to_string(&reply).unwrap();
                        assert_eq!(String::from_utf8(written).unwrap(), wanted);
                    }
                }
            }
        }
    }

    #[test]
    fn whatever_is_shown_makes_another_print() {
        let config = config();
        let (listing, now) = (nasty(Kind::Event), Timestamp::from_millis(0));
        let shop = |name: &str| ShopText::of(&config, &Shop { name: name.to_owned(), ..Shop::default() });
        let (old, new) = (shop("old").unwrap(), shop("new").unwrap());
        let entry = |listing| Entry::of(listing, Kind::Event, true, true, true, &config).unwrap();
        let more = entry(Listing { stock: 8, ..listing.clone() });
        let renamed = entry(Listing { name: "Vase".to_owned(), ..listing.clone() });
        let entry = entry(listing);
        let print = |entry: &Entry, shop, audience, now| {
            entry.text.as_ref().unwrap().print(Some(shop), audience, Timestamp::from_millis(now))
        };
        let first = print(&entry, &old, Audience::Shoppers, 0);
        assert_eq!(first, print(&entry, &old, Audience::Shoppers, 500));
        for other in [
            print(&entry, &new, Audience::Shoppers, 0),
            print(&entry, &old, Audience::Owner, 0),
            print(&entry, &old, Audience::Shoppers, 1000),
            print(&more, &old, Audience::Shoppers, 0),
            print(&renamed, &old, Audience::Shoppers, 0),
        ] {
            assert_ne!(first, other);
        }
        assert_eq!(entry.text.as_ref().unwrap().next_turn(now), Some(Timestamp::from_millis(1000)));
    }
}
