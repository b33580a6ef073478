//! Looking for something: which page of what an address asks for. Pure.

use actix_web::web;
use shared::{id::Id, model::Shop, money::Money};

use crate::{
    error::{Error, Result},
    extract::BAD_QUERY,
};

/// How far numbered pages reach, in listings. Whoever reads further follows the cursor, which costs the same
/// wherever it is.
const MAX_OFFSET: usize = 10_000;

const SORTS: [(&str, search::Sort); 7] = [
    ("relevance", search::Sort::Relevance),
    ("newest", search::Sort::Newest),
    ("oldest", search::Sort::Oldest),
    ("price_asc", search::Sort::PriceAscending),
    ("price_desc", search::Sort::PriceDescending),
    ("rating", search::Sort::Rating),
    ("best_selling", search::Sort::BestSelling),
];

/// A page of the listings that somebody looks for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) query: search::Query,
    /// How many come before it, where the page is named by its number.
    pub(super) offset: usize,
}

impl Wanted {
    /// What follows the question mark. Nothing if it names none of the conditions, whatever else it holds: then
    /// all is wanted. One that is empty is as good as absent.
    pub(super) fn read(text: &str) -> Result<Option<Self>> {
        let given = web::Query::<Vec<(String, String)>>::from_query(text).or(Err(BAD_QUERY))?;
        let mut wanted = Self { query: search::Query::default(), offset: 0 };
        let (mut is_asked, mut page) = (false, None);
        let query = &mut wanted.query;
        for (name, value) in given.into_inner() {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            match name.as_str() {
                "q" => query.q = value.to_owned(),
                "category" => query.categories.push(value.to_owned()),
                "shop" => query.shops.push(shop(value)?),
                "minPrice" => query.min_price = Some(price("minPrice", value)?),
                "maxPrice" => query.max_price = Some(price("maxPrice", value)?),
                "minRating" => query.min_rating = Some(rating(value)?),
                "inStock" => query.in_stock = flag(value)?,
                "sort" => query.sort = Some(sort(value)?),
                "limit" => query.limit = number("limit", value, search::MAX_LIMIT)?,
                "cursor" => query.cursor = Some(value.to_owned()),
                "page" => page = Some(number("page", value, MAX_OFFSET)?),
                _ => continue,
            }
            is_asked = true;
        }
        if let Some(page) = page {
            if query.cursor.is_some() {
                return Err(Error::field("page", "cannot be given beside cursor"));
            }
            wanted.offset = (page - 1).saturating_mul(query.limit);
            if wanted.offset.saturating_add(query.limit) > MAX_OFFSET {
                let why = format!("reaches beyond the first {MAX_OFFSET}: follow nextCursor instead");
                return Err(Error::field("page", why));
            }
        }
        Ok(is_asked.then_some(wanted))
    }

    /// The same among the listings of one shop.
    pub(super) fn of_shop(mut self, shop: Id<Shop>) -> Self {
        self.query.shops = vec![shop.oid().bytes()];
        self
    }
}

fn shop(text: &str) -> Result<search::Id> {
    let id: Option<Id<Shop>> = text.parse().ok();
    id.map(|id| id.oid().bytes())
        .ok_or_else(|| Error::field("shop", "must be an id of 24 hexadecimal digits"))
}

fn price(name: &str, text: &str) -> Result<i64> {
    let price = Money::parse_exact(text).ok().map(Money::minor).filter(|price| *price >= 0);
    price.ok_or_else(|| Error::field(name, "must be an amount from 0 with at most two decimals"))
}

/// Hundredths of a star, which are read as those of a currency.
fn rating(text: &str) -> Result<u16> {
    let stars = Money::parse_exact(text).ok().map(Money::minor).filter(|stars| (0..=500).contains(stars));
    let stars = stars.and_then(|stars| u16::try_from(stars).ok());
    stars.ok_or_else(|| Error::field("minRating", "must be a number from 0 to 5 with at most two decimals"))
}

fn flag(text: &str) -> Result<bool> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Error::field("inStock", "must be true or false")),
    }
}

fn sort(text: &str) -> Result<search::Sort> {
    let known = SORTS.iter().find(|(name, _)| *name == text).map(|(_, sort)| *sort);
    known.ok_or_else(|| {
        let names: Vec<_> = SORTS.iter().map(|(name, _)| *name).collect();
        Error::field("sort", format!("must be one of {}", names.join(", ")))
    })
}

fn number(name: &str, text: &str, most: usize) -> Result<usize> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| Error::field(name, format!("must be a whole number from 1 to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> search::Query {
        Wanted::read(text).unwrap().unwrap().query
    }

    #[test]
    fn conditions_are_read_from_the_address() {
        let shop = "6744a0b1c2d3e4f5a6b7c802";
        let query = read(&format!(
            "q=%20red+lamp&category=Shoes&category=Pet%20Care&shop={shop}&minPrice=1.5&maxPrice=20&minRating=3.5\
             &inStock=true&sort=price_desc&limit=20&cursor=abc"
        ));
        assert_eq!((query.q.as_str(), query.limit, query.cursor.as_deref()), ("red lamp", 20, Some("abc")));
        assert_eq!(query.categories, ["Shoes", "Pet Care"]);
        assert_eq!(query.shops, [shop.parse::<Id<Shop>>().unwrap().oid().bytes()]);
        assert_eq!((query.min_price, query.max_price, query.min_rating), (Some(150), Some(2000), Some(350)));
        assert!(query.in_stock && query.sort == Some(search::Sort::PriceDescending));
        assert_eq!(Wanted::read("page=3&limit=10").unwrap().unwrap().offset, 20);
    }

    #[test]
    fn an_address_without_conditions_asks_for_everything() {
        for text in ["", "_=1732300000000", "q=&category=&limit=", "token=x&foo[]=1"] {
            assert!(Wanted::read(text).unwrap().is_none(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (text, field) in [
            ("shop=x", "shop"),
            ("minPrice=-1", "minPrice"),
            ("maxPrice=1.005", "maxPrice"),
            ("maxPrice=NaN", "maxPrice"),
            ("minRating=6", "minRating"),
            ("inStock=maybe", "inStock"),
            ("sort=price", "sort"),
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("page=0", "page"),
            ("page=201", "page"),
            ("page=1&cursor=x", "page"),
        ] {
            match Wanted::read(text) {
                Err(Error::Invalid(fields)) => assert!(format!("{fields:?}").contains(field), "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
