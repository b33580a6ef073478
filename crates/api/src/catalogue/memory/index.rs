//! What the index for searching is told of a listing. Pure.

use shared::{model::Listing, money::Money};

/// Sold by a shop of this name.
pub(super) fn entry<'a>(listing: &'a Listing, shop_name: &'a str) -> search::Entry<'a> {
    let Listing { id, name, tags, description, category, shop_id, price, sold_out, .. } = listing;
    search::Entry {
        id: id.oid().bytes(),
        name,
        tags,
        description,
        category,
        shop: shop_id.oid().bytes(),
        shop_name,
        price: price.minor(),
        rating: listing.rating.and_then(hundredths),
        available: listing.available(),
        sold: *sold_out,
        newest: listing.created_at.unwrap_or_else(|| listing.id.made_at()).timestamp_millis(),
    }
}

/// Of a star, as the answer shows them; rounded as hundredths of a currency are.
fn hundredths(stars: f64) -> Option<u16> {
    let stars = Money::parse(&stars.clamp(0.0, 5.0).to_string()).ok()?;
    u16::try_from(stars.minor()).ok()
}

/// What it remembers of its shop's name, where that is gone.
pub(super) fn remembered_name(listing: &Listing) -> &str {
    listing.shop.as_ref().map_or("", |shop| shop.name.as_str())
}

#[cfg(test)]
mod tests {
    use shared::{clock::Timestamp, id::Id, model::Shop};

    use super::*;

    #[test]
    fn stars_are_counted_in_hundredths_whatever_a_document_holds() {
        let read = [4.5, 4.666, 0.0, -3.0, 17.0, f64::INFINITY, f64::NAN].map(hundredths);
        assert_eq!(read, [Some(450), Some(467), Some(0), Some(0), Some(500), Some(500), None]);
    }

    #[test]
    fn what_has_no_date_is_as_old_as_its_id() {
        let id: Id<Listing> = "6744a0b1c2d3e4f5a6b7c803".parse().unwrap();
        let shop_id: Id<Shop> = Id::new();
        let listing = Listing { id, shop_id, created_at: None, ..Listing::default() };
        assert_eq!(entry(&listing, "").newest, id.made_at().timestamp_millis());
        let at = Timestamp::from_millis(5);
        assert_eq!(entry(&Listing { created_at: Some(at), ..listing }, "").newest, 5);
    }
}
