//! What must hold for whatever bytes a request brings, for `fuzz/` and for a short run with every test. Each function
//! panics where it does not.

use std::cell::LazyCell;

use actix_web::{
    FromRequest as _,
    dev::Payload,
    http::header::{CONTENT_TYPE, COOKIE, HeaderValue},
    test::TestRequest,
    web::{self, Bytes},
};
use futures_util::stream;
use shared::{
    id::Id,
    model::{Coupon, Listing, Shop},
    money::{Money, Percent},
};
use tokio::runtime::{Builder, Runtime};

use crate::{
    extract::parse_json,
    identity,
    media::{Form, FormLimits},
    orders,
};

/// Takes numbers from the bytes, zeros when there are no more.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.byte().checked_rem(bound).unwrap_or_default()
    }

    /// Small ones as likely as large ones.
    fn number(&mut self) -> i64 {
        let length = self.below(6);
        (0..length).fold(0, |number, _| number * 256 + i64::from(self.byte()))
    }
}

/// The price of a cart: the shares add up to what the buyer pays, each line's part to its share, nothing is below zero,
/// and nobody pays more than was asked.
pub fn cart(data: &[u8]) {
    let mut source = Source(data);
    let shops: [Id<Shop>; 3] = [Id::nil(), Id::new(), Id::new()];
    let shop = |source: &mut Source<'_>| shops.get(usize::from(source.below(3))).copied().unwrap_or_default();
    let shipping = Percent::whole(i64::from(source.below(101)));
    let coupons: Vec<Coupon> = (0..source.below(3))
        .map(|_| {
            let mut coupon =
                Coupon { value: Percent::whole(i64::from(source.below(110))), ..Coupon::default() };
            coupon.seller.id = shop(&mut source);
            coupon.min_amount = (source.below(2) == 0).then(|| Money::from_minor(source.number()));
            coupon.max_amount = (source.below(2) == 0).then(|| Money::from_minor(source.number()));
            if source.below(3) == 0 {
                coupon.product_name = "lamp".to_owned();
            }
            coupon
        })
        .collect();
    let claim = orders::pricing::Claim {
        total: (source.below(4) > 0).then(|| Money::from_minor(source.number())),
        coupon_named: source.below(2) == 0,
        total_may_be_missing: source.below(4) > 0,
    };
    let lines: Vec<orders::pricing::Line> = (0..source.below(8).saturating_add(1))
        .map(|_| orders::pricing::Line {
            listing: Listing {
                shop_id: shop(&mut source),
                price: Money::from_minor(source.number()),
                name: if source.below(2) == 0 { "lamp".to_owned() } else { "cup".to_owned() },
                ..Listing::default()
            },
            count: source.number() % 10_000 + 1,
        })
        .collect();
    let Ok(quote) = orders::pricing::quote(&lines, shipping, &coupons, claim) else { return };
    let sum = |amounts: &mut dyn Iterator<Item = Money>| amounts.sum::<Money>();
    assert_eq!(sum(&mut quote.shares.iter().map(|share| share.total)), quote.total);
    assert!(quote.total <= Money::MAX + Money::from_minor(1), "{}", quote.total);
    if let Some(claimed) = claim.total {
        assert!(quote.total <= claimed, "{} of {claimed}", quote.total);
    }
    for share in &quote.shares {
        assert_eq!(share.subtotal + share.shipping - share.discount, share.total, "{share:?}");
        assert_eq!(sum(&mut share.paid.iter().copied()), share.total, "{share:?}");
        assert_eq!(share.paid.len(), share.lines.len());
        assert!(!share.total.is_negative() && !share.discount.is_negative(), "{share:?}");
        assert!(share.discount <= share.subtotal, "{share:?}");
        assert!(share.paid.iter().all(|paid| !paid.is_negative()), "{share:?}");
    }
    let mut places: Vec<usize> = quote.shares.iter().flat_map(|share| share.lines.clone()).collect();
    places.sort_unstable();
    assert_eq!(places, (0..lines.len()).collect::<Vec<_>>(), "every line is in one order");
}

/// JSON bodies with loosely typed numbers, as a cart is one; and cookies.
pub fn body(data: &[u8]) {
    if let Ok(items) = parse_json::<Vec<orders::cart::CartItem>>(data) {
        let mut errors = Vec::new();
        let lines = orders::cart::lines(Some(items), &mut errors);
        assert!(lines.len() <= 200 && (!lines.is_empty() || !errors.is_empty()));
    }
    let text = String::from_utf8_lossy(data);
    let mut errors = Vec::new();
    if let Some(total) = orders::cart::total(Some(&text), &mut errors) {
        assert!(!total.is_negative() && errors.is_empty());
    }
    if let Ok(value) = HeaderValue::from_bytes(data) {
        let request = TestRequest::default().insert_header((COOKIE, value)).to_srv_request();
        let found = identity::credentials(&request);
        assert!(
            [&found.user, &found.seller, &found.marker].into_iter().flatten().all(|token| !token.is_empty())
        );
    }
}

thread_local! {
    #[expect(clippy::unwrap_used, reason = "without a runtime there is nothing to try")]
    static RUNTIME: LazyCell<Runtime> =
        LazyCell::new(|| Builder::new_current_thread().enable_time().build().unwrap());
}

/// Multipart forms, in pieces as a connection may bring them: one that is read has ended as forms do, and its pictures
/// are pictures.
pub fn form(data: &[u8]) {
    let Some((piece, body)) = data.split_first() else { return };
    let pieces = body.chunks(usize::from(*piece).max(1)).map(|piece| Ok(Bytes::copy_from_slice(piece)));
    let stream = stream::iter(pieces.collect::<Vec<_>>());
    let request = TestRequest::default()
        .insert_header((CONTENT_TYPE, "multipart/form-data; boundary=B"))
        .to_http_request();
    let mut payload: Payload = Payload::Stream { payload: Box::pin(stream) };
    let limits = FormLimits { file_fields: &["file", "images"], max_files: 3 };
    let read = RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let payload = web::Payload::from_request(&request, &mut payload).await.ok()?;
            Form::read(&request, payload, limits).await.ok()
        })
    });
    let Some(mut read) = read else { return };
    assert!(body.windows(5).any(|end| end == b"--B--"), "a form that never ended was read");
    for field in limits.file_fields {
        for picture in read.take_images(field) {
            assert!(picture.mime.starts_with("image/") && picture.content.len() > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn bytes(longest: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..longest)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

        #[test]
        fn a_cart_costs_what_its_orders_cost(bytes in bytes(200)) {
            super::cart(&bytes);
        }

        #[test]
        fn no_body_breaks_a_promise(bytes in bytes(80)) {
            super::body(&bytes);
        }

        #[test]
        fn a_form_that_is_read_has_ended(
            piece in any::<u8>(),
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "--B", "--B--", "\r\n", "\r\n\r\n", "--", "B", "Content-Disposition: form-data; name=\"file\"",
                    "; filename=\"a.png\"", "Content-Disposition: form-data", "; name=\"name\"", "Content-Type: text/plain",
                    "Content-Length: 3", "a", "\u{0}", "GIF89a", ": ",
                ]),
                0..40,
            ),
        ) {
            let mut data = vec![piece];
            data.extend(parts.concat().into_bytes());
            super::form(&data);
        }
    }
}
