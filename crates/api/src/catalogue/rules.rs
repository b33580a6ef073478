//! What may be put on sale, and how it may change. Pure.

use shared::{
    clock::Timestamp,
    lenient,
    model::{Image, Kind, Listing},
    money::Money,
};

use crate::error::{Error, FieldError};

/// The longest name of a listing.
const NAME_MAX: usize = 200;
/// The longest description.
const DESCRIPTION_MAX: usize = 10_000;
/// The longest name of a category.
const CATEGORY_MAX: usize = 100;
/// The longest text of tags.
const TAGS_MAX: usize = 500;
/// The most units that one listing may have on the shelf.
const STOCK_MAX: i64 = 1_000_000;
/// The most pictures of one listing.
pub const IMAGES_MAX: usize = 10;

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has not begun.
    Upcoming,
    /// It can be bought.
    Running,
    /// It is over.
    Ended,
}

impl Phase {
    /// The text that clients know; they colour the last two.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Upcoming => "Upcoming",
            Self::Running => "Running",
            Self::Ended => "Ended",
        }
    }
}

/// Where an event stands at that moment. One without an end, which only a damaged document lacks, is
/// over.
pub fn phase(event: &Listing, now: Timestamp) -> Phase {
    phase_between(event.starts_at, event.ends_at, now)
}

/// The same of its dates.
pub fn phase_between(starts_at: Option<Timestamp>, ends_at: Option<Timestamp>, now: Timestamp) -> Phase {
    if ends_at.is_none_or(|end| end <= now) {
        Phase::Ended
    } else if starts_at.is_some_and(|start| start > now) {
        Phase::Upcoming
    } else {
        Phase::Running
    }
}

/// When an event next comes to stand elsewhere, if ever.
pub fn next_turn(
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    match phase_between(starts_at, ends_at, now) {
        Phase::Upcoming => starts_at.min(ends_at),
        Phase::Running => ends_at,
        Phase::Ended => None,
    }
}

/// What somebody wrote into the form of a listing: text as it came, `None` where nothing did.
#[derive(Clone, Debug, Default)]
pub struct Entered {
    /// Title.
    pub name: Option<String>,
    /// Plain text.
    pub description: Option<String>,
    /// A category's title.
    pub category: Option<String>,
    /// Free text; `Some("")` takes the tags away.
    pub tags: Option<String>,
    /// The price shown struck through; `Some(None)` takes it away.
    pub original_price: Option<Option<String>>,
    /// The selling price.
    pub price: Option<String>,
    /// Units on the shelf.
    pub stock: Option<String>,
    /// First moment of an event.
    pub starts_at: Option<String>,
    /// Last moment of an event.
    pub ends_at: Option<String>,
}

/// The same, understood: what a listing becomes. Absent fields stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    name: Option<String>,
    description: Option<String>,
    category: Option<String>,
    tags: Option<String>,
    original_price: Option<Option<Money>>,
    price: Option<Money>,
    stock: Option<i64>,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
}

/// Collects what is wrong, so that people hear of it all at once.
#[derive(Default)]
struct Complaints(Vec<FieldError>);

impl Complaints {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldError { field: field.to_owned(), message: message.into() });
    }

    /// Reads one field that was entered.
    fn read<T>(
        &mut self,
        field: &str,
        entered: Option<&String>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(entered?.trim()) {
            Ok(value) => Some(value),
            Err(message) => {
                self.add(field, message);
                None
            }
        }
    }

    /// Takes a field that must not be missing. What was entered and is wrong has been said already.
    fn require<T: Default>(&mut self, field: &str, value: Option<T>) -> T {
        if value.is_none() && !self.0.iter().any(|complaint| complaint.field == field) {
            self.add(field, "is required");
        }
        value.unwrap_or_default()
    }

    fn settle<T>(self, value: T) -> Result<T, Error> {
        if self.0.is_empty() { Ok(value) } else { Err(Error::Invalid(self.0)) }
    }
}

/// Understands what was entered.
fn read(kind: Kind, entered: &Entered, complaints: &mut Complaints) -> Change {
    let mut change = Change {
        name: complaints.read("name", entered.name.as_ref(), |text| filled(text, NAME_MAX)),
        description: complaints
            .read("description", entered.description.as_ref(), |text| filled(text, DESCRIPTION_MAX)),
        category: complaints.read("category", entered.category.as_ref(), category),
        tags: complaints.read("tags", entered.tags.as_ref(), |text| at_most(text, TAGS_MAX)),
        original_price: match &entered.original_price {
            Some(Some(text)) => {
                complaints.read("originalPrice", Some(text), |text| price(text, Money::ZERO)).map(Some)
            }
            Some(None) => Some(None),
            None => None,
        },
        price: complaints
            .read("discountPrice", entered.price.as_ref(), |text| price(text, Money::from_minor(1))),
        stock: complaints.read("stock", entered.stock.as_ref(), stock),
        starts_at: None,
        ends_at: None,
    };
    if kind == Kind::Event {
        change.starts_at = complaints.read("start_date", entered.starts_at.as_ref(), date);
        change.ends_at = complaints.read("end_date", entered.ends_at.as_ref(), date);
        if let (Some(start), Some(end)) = (change.starts_at, change.ends_at)
            && end <= start
        {
            complaints.add("end_date", END_BEFORE_START);
        }
    }
    change
}

const END_BEFORE_START: &str = "must be after start_date";

/// A new listing from what was entered: without id, shop and pictures.
pub fn new_listing(kind: Kind, entered: &Entered, pictures: usize) -> Result<Listing, Error> {
    let mut complaints = Complaints::default();
    let change = read(kind, entered, &mut complaints);
    let mut listing = Listing {
        name: complaints.require("name", change.name),
        description: complaints.require("description", change.description),
        category: complaints.require("category", change.category),
        tags: change.tags.unwrap_or_default(),
        original_price: change.original_price.flatten(),
        price: complaints.require("discountPrice", change.price),
        stock: complaints.require("stock", change.stock),
        ..Listing::default()
    };
    listing.supplied = Some(listing.stock);
    if kind == Kind::Event {
        // The dates have no default of their own, hence through a list of one.
        listing.starts_at = complaints.require("start_date", change.starts_at.map(|at| vec![at])).pop();
        listing.ends_at = complaints.require("end_date", change.ends_at.map(|at| vec![at])).pop();
    }
    if pictures == 0 {
        complaints.add("images", "must hold at least one picture");
    } else if pictures > IMAGES_MAX {
        complaints.add("images", format!("must be at most {IMAGES_MAX} pictures"));
    }
    complaints.settle(listing)
}

/// A change from what was entered.
pub fn change(kind: Kind, entered: &Entered) -> Result<Change, Error> {
    let mut complaints = Complaints::default();
    let change = read(kind, entered, &mut complaints);
    complaints.settle(change)
}

/// Why a change cannot be made to a listing as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CannotChange {
    /// Open orders hold more units than would be left.
    Reserved(i64),
    /// With the date that stays, the event would end before it starts.
    EndBeforeStart,
    /// A picture that was to be kept is none of the listing's.
    UnknownImage(String),
    /// No picture would remain.
    NoImage,
    /// More than [`IMAGES_MAX`].
    TooManyImages,
}

/// The listing as it is after a change, `keep` naming the pictures that stay (absent: all) and
/// `added` the ones that come after them.
pub fn apply(
    change: &Change,
    mut listing: Listing,
    keep: Option<&[String]>,
    added: &[Image],
) -> Result<Listing, CannotChange> {
    listing.images = images_after(listing.images, keep, added)?;
    if let Some(stock) = change.stock {
        if stock < listing.reserved {
            return Err(CannotChange::Reserved(listing.reserved));
        }
        listing.stock = stock;
    }
    if change.starts_at.is_some() || change.ends_at.is_some() {
        listing.starts_at = change.starts_at.or(listing.starts_at);
        listing.ends_at = change.ends_at.or(listing.ends_at);
        if let (Some(start), Some(end)) = (listing.starts_at, listing.ends_at)
            && end <= start
        {
            return Err(CannotChange::EndBeforeStart);
        }
    }
    set(&mut listing.name, change.name.as_ref());
    set(&mut listing.description, change.description.as_ref());
    set(&mut listing.category, change.category.as_ref());
    set(&mut listing.tags, change.tags.as_ref());
    set(&mut listing.original_price, change.original_price.as_ref());
    set(&mut listing.price, change.price.as_ref());
    Ok(listing)
}

fn set<T: Clone>(field: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        field.clone_from(value);
    }
}

/// The pictures that stay, in the order in which they are named, and then the new ones.
fn images_after(
    before: Vec<Image>,
    keep: Option<&[String]>,
    added: &[Image],
) -> Result<Vec<Image>, CannotChange> {
    let touched = keep.is_some() || !added.is_empty();
    let mut images = match keep {
        None => before,
        Some(keep) => {
            let mut left = before;
            let mut kept: Vec<Image> = Vec::new();
            for name in keep {
                match left.iter().position(|image| image.public_id == *name) {
                    Some(at) => kept.push(left.remove(at)),
                    // Named twice is kept once.
                    None if kept.iter().any(|image| image.public_id == *name) => {}
                    None => return Err(CannotChange::UnknownImage(name.clone())),
                }
            }
            kept
        }
    };
    images.extend_from_slice(added);
    // An old listing without pictures may still be changed otherwise.
    if touched && images.is_empty() {
        Err(CannotChange::NoImage)
    } else if touched && images.len() > IMAGES_MAX {
        Err(CannotChange::TooManyImages)
    } else {
        Ok(images)
    }
}

fn at_most(text: &str, max: usize) -> Result<String, String> {
    if text.chars().count() > max {
        Err(format!("must be at most {max} characters long"))
    } else {
        Ok(text.to_owned())
    }
}

fn filled(text: &str, max: usize) -> Result<String, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { at_most(text, max) }
}

/// The client's drop-down sends its own heading where nothing was chosen.
fn category(text: &str) -> Result<String, String> {
    if text == "Choose a category" { Err("must be chosen".to_owned()) } else { filled(text, CATEGORY_MAX) }
}

fn price(text: &str, least: Money) -> Result<Money, String> {
    let price = Money::parse_exact(text).map_err(|why| why.to_string())?;
    if price >= least {
        Ok(price)
    } else if least == Money::ZERO {
        Err("must not be negative".to_owned())
    } else {
        Err("must be greater than 0".to_owned())
    }
}

fn stock(text: &str) -> Result<i64, String> {
    whole(text)
        .filter(|stock| (0..=STOCK_MAX).contains(stock))
        .ok_or_else(|| format!("must be a whole number from 0 to {STOCK_MAX}"))
}

/// A whole number, also where it is written `20.0`.
pub fn whole(text: &str) -> Option<i64> {
    let hundredths = Money::parse_exact(text).ok()?.minor();
    (hundredths % 100 == 0).then_some(hundredths / 100)
}

fn date(text: &str) -> Result<Timestamp, String> {
    lenient::parse_date(text).ok_or_else(|| "must be a date such as 2026-11-22T00:00:00.000Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lamp() -> Entered {
        let text = |text: &str| Some(text.to_owned());
        Entered {
            name: text("Lamp"),
            description: text("Warm light."),
            category: text("Others"),
            price: text("49.90"),
            stock: text("12"),
            ..Entered::default()
        }
    }

    fn complaints<T: std::fmt::Debug>(result: Result<T, Error>) -> Vec<String> {
        match result {
            Err(Error::Invalid(fields)) => fields.into_iter().map(|field| field.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn at(day: i64) -> Timestamp {
        Timestamp::from_millis(day * 86_400_000)
    }

    fn image(name: &str) -> Image {
        Image { public_id: name.to_owned(), ..Image::default() }
    }

    #[test]
    fn a_listing_is_read_from_text() {
        let listing = new_listing(Kind::Product, &lamp(), 1).unwrap();
        assert_eq!((listing.price, listing.stock), (Money::from_minor(4990), 12));
        assert_eq!(listing.original_price, None);
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let nothing = complaints(new_listing(Kind::Event, &Entered::default(), 0));
        assert_eq!(
            nothing,
            ["name", "description", "category", "discountPrice", "stock", "start_date", "end_date", "images"]
        );
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        type Spoil = fn(&mut Entered);
        let cases: [(&str, Spoil); 12] = [
            ("name", |e| e.name = Some(" ".into())),
            ("name", |e| e.name = Some("ä".repeat(201))),
            ("description", |e| e.description = Some("x".repeat(10_001))),
            ("category", |e| e.category = Some("Choose a category".into())),
            ("tags", |e| e.tags = Some("x".repeat(501))),
            ("discountPrice", |e| e.price = Some("0".into())),
            ("discountPrice", |e| e.price = Some("1.005".into())),
            ("discountPrice", |e| e.price = Some("cheap".into())),
            ("originalPrice", |e| e.original_price = Some(Some("-1".into()))),
            ("stock", |e| e.stock = Some("1.5".into())),
            ("stock", |e| e.stock = Some("-1".into())),
            ("stock", |e| e.stock = Some("1000001".into())),
        ];
        for (field, spoil) in cases {
            let mut entered = lamp();
            spoil(&mut entered);
            assert_eq!(complaints(new_listing(Kind::Product, &entered, 1)), [field]);
        }
    }

    #[test]
    fn an_event_ends_after_it_starts() {
        let mut entered = lamp();
        entered.starts_at = Some("2026-11-23".into());
        entered.ends_at = Some("2026-11-23T00:00:00.000Z".into());
        assert_eq!(complaints(new_listing(Kind::Event, &entered, 1)), ["end_date"]);
        entered.ends_at = Some("soon".into());
        assert_eq!(complaints(new_listing(Kind::Event, &entered, 1)), ["end_date"]);
        entered.ends_at = Some("2026-11-30".into());
        assert!(new_listing(Kind::Event, &entered, 1).is_ok());
    }

    #[test]
    fn an_event_runs_from_its_start_until_its_end() {
        let event = Listing { starts_at: Some(at(2)), ends_at: Some(at(4)), ..Listing::default() };
        for (day, expected) in
            [(1, Phase::Upcoming), (2, Phase::Running), (3, Phase::Running), (4, Phase::Ended)]
        {
            assert_eq!(phase(&event, at(day)), expected, "day {day}");
        }
        assert_eq!(phase(&Listing::default(), at(1)), Phase::Ended);
    }

    #[test]
    fn the_shelf_never_holds_less_than_open_orders_wait_for() {
        let listing = Listing { stock: 9, reserved: 3, ..Listing::default() };
        let change = |stock| Change { stock: Some(stock), ..Change::default() };
        assert_eq!(apply(&change(2), listing.clone(), None, &[]).err(), Some(CannotChange::Reserved(3)));
        assert_eq!(apply(&change(3), listing, None, &[]).unwrap().stock, 3);
    }

    #[test]
    fn one_date_is_held_against_the_other_that_stays() {
        let event = Listing { starts_at: Some(at(2)), ends_at: Some(at(4)), ..Listing::default() };
        let change = Change { starts_at: Some(at(4)), ..Change::default() };
        assert_eq!(apply(&change, event, None, &[]).err(), Some(CannotChange::EndBeforeStart));
    }

    #[test]
    fn pictures_are_kept_by_name_and_never_run_out() {
        let before = Listing { images: vec![image("a"), image("b"), image("c")], ..Listing::default() };
        let images = |keep: Option<&[&str]>, added: &[&str]| {
            let keep: Option<Vec<String>> = keep.map(|names| names.iter().map(|n| (*n).to_owned()).collect());
            let added: Vec<Image> = added.iter().map(|name| image(name)).collect();
            apply(&Change::default(), before.clone(), keep.as_deref(), &added)
                .map(|listing| listing.images.into_iter().map(|i| i.public_id).collect::<Vec<_>>())
        };
        assert_eq!(images(None, &[]).unwrap(), ["a", "b", "c"]);
        assert_eq!(images(None, &["d"]).unwrap(), ["a", "b", "c", "d"]);
        assert_eq!(images(Some(&["c", "a", "c"]), &["d"]).unwrap(), ["c", "a", "d"]);
        assert_eq!(images(Some(&[]), &["d"]).unwrap(), ["d"]);
        assert_eq!(images(Some(&[]), &[]), Err(CannotChange::NoImage));
        assert_eq!(images(Some(&["z"]), &[]), Err(CannotChange::UnknownImage("z".into())));
        assert_eq!(images(None, &["d"; 8]), Err(CannotChange::TooManyImages));
    }
}
