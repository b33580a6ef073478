//! The endpoints that products and events share, each told which of them it is for.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use bson::oid::ObjectId;
use mongodb::ClientSession;
use serde::Serialize;
use shared::{
    id::Id,
    model::{Image, Kind, Listing, Picture, Shop, ShopCopy},
};
use tracing::warn;

use super::{
    answer,
    browse::Wanted,
    form,
    memory::entry::print_of,
    rules, store,
    wire::{self, Audience, ListingReply, Showing},
};
use crate::{
    accounts::wire::BLOCKED,
    error::{Error, Result},
    idempotency::{self, Answer, Given, Key},
    identity::{Caller, Seller},
    media::{self, CheckedImage, Folder},
    outbox::Outbox,
    shops,
    state::App,
};

/// Puts something on sale: the form of the client, complete or not at all.
pub(crate) async fn create<Reply: Serialize>(
    kind: Kind,
    caller: &Caller,
    key: &Key,
    request: &HttpRequest,
    payload: web::Payload,
    state: &App,
    envelope: impl FnOnce(ListingReply) -> Reply,
) -> Result<HttpResponse> {
    // Nobody uploads anything before there is somebody to hold it against.
    if caller.shop.is_none() && !caller.is_accepted_bare() {
        return Err(Error::Unauthenticated);
    }
    let mut submission = form::read(request, payload).await?;
    let shop_id = submission.shop.and_then(|id| id.parse().ok()).ok_or(wire::SHOP_INVALID)?;
    caller.act_as_shop(shop_id)?;
    let pictures = submission.form.take_images("images");
    let listing = rules::new_listing(kind, &submission.entered, pictures.len())?;
    let now = state.clock.now();
    let meaning = (&submission.entered, key.contents(&pictures).await?);
    let memory = key.memory(&format!("create-{}", kind.word()), shop_id, &meaning, now);
    if let Some(answer) = idempotency::recall(&state.db, memory.as_ref()).await? {
        return Ok(answer.into());
    }
    let shop = shops::store::find_public(&state.db, shop_id).await?.ok_or(wire::SHOP_INVALID)?;
    may_sell(&shop)?;
    let listing = Listing {
        id: Id::new(),
        images: keep(kind, pictures, state).await?,
        shop_id,
        shop: Some(ShopCopy { id: shop_id, name: shop.name.clone(), avatar: shop.avatar.clone() }),
        created_at: Some(now),
        ..listing
    };
    let reply = ListingReply::of(listing.clone(), kind, Some(&shop), &showing(state, Audience::Owner));
    let answer = Answer::created(&envelope(reply))?;
    let (id, images) = (listing.id, listing.images.clone());
    match store::insert(&state.db, kind, memory, listing, answer.clone()).await {
        Ok(Given::First(answer)) => Ok(answer.into()),
        Ok(Given::Again(first)) => {
            discard_unused(kind, id, &images, state).await;
            Ok(first.into())
        }
        Err(_) if discard_unused(kind, id, &images, state).await => Ok(answer.into()),
        Err(error) => Err(error),
    }
}

/// Whether a shop may put anything on sale.
fn may_sell(shop: &Shop) -> Result<()> {
    if shop.blocked {
        return Err(BLOCKED.into());
    }
    if shop.awaiting_approval { Err(wire::AWAITING_APPROVAL.into()) } else { Ok(()) }
}

/// Changes what a seller's own listing says, costs, shows, or how many there are.
pub(crate) async fn update(
    kind: Kind,
    seller: Seller,
    id: Id<Listing>,
    request: &HttpRequest,
    payload: web::Payload,
    state: &App,
) -> Result<ListingReply> {
    let Seller(shop_id) = seller;
    let listing = store::find(&state.db, kind, id).await?.ok_or(wire::not_found(kind))?;
    if listing.shop_id != shop_id {
        return Err(wire::NOT_YOURS.into());
    }
    let mut submission = form::read_change(request, payload).await?;
    let change = rules::change(kind, &submission.entered)?;
    let pictures = submission.form.take_images("images");
    // Said before anything is stored; the transaction finds out whether it still holds.
    let coming = vec![Image::default(); pictures.len()];
    rules::apply(&change, listing, submission.keep.as_deref(), &coming)
        .map_err(|why| wire::refuse_change(kind, why))?;
    let added = keep(kind, pictures, state).await?;
    let (keeping, arriving) = (submission.keep, added.clone());
    let outbox = state.outbox.clone();
    let db = state.db.clone();
    let low_stock = state.config.low_stock;
    let changed = state
        .db
        .transaction(|session| {
            let (db, outbox) = (db.clone(), outbox.clone());
            let (change, keeping, arriving) = (change.clone(), keeping.clone(), arriving.clone());
            Box::pin(async move {
                let before = store::find_of_shop_in(session, &db, kind, id, shop_id)
                    .await?
                    .ok_or(wire::not_found(kind))?;
                let after = rules::apply(&change, before.clone(), keeping.as_deref(), &arriving)
                    .map_err(|why| wire::refuse_change(kind, why))?;
                if !store::update_in(session, &db, kind, &before, &after, low_stock).await? {
                    return Err(wire::not_found(kind).into());
                }
                let removed = before.images.iter().filter(|image| !after.images.contains(image));
                delete_later(session, &outbox, removed).await?;
                Ok::<_, Error>(after)
            })
        })
        .await;
    match changed {
        Ok(listing) => {
            state.outbox.wake();
            let shop = shops::store::find_public(&state.db, shop_id).await?;
            Ok(ListingReply::of(listing, kind, shop.as_ref(), &showing(state, Audience::Owner)))
        }
        Err(error) => {
            discard_unused(kind, id, &added, state).await;
            Err(error)
        }
    }
}

/// Takes a listing off the market; its pictures go later, in the background.
pub(crate) async fn delete(kind: Kind, caller: &Caller, id: Id<Listing>, state: &App) -> Result<()> {
    if caller.shop.is_none() && !caller.is_accepted_bare() {
        return Err(Error::Unauthenticated);
    }
    let listing = store::find(&state.db, kind, id).await?.ok_or(wire::not_found(kind))?;
    caller.act_as_shop(listing.shop_id)?;
    let (db, outbox, shop_id) = (state.db.clone(), state.outbox.clone(), listing.shop_id);
    let deleted = state
        .db
        .transaction(|session| {
            let (db, outbox) = (db.clone(), outbox.clone());
            Box::pin(async move {
                let Some(gone) = store::delete_in(session, &db, kind, id, shop_id).await? else {
                    return Ok::<_, Error>(false);
                };
                delete_later(session, &outbox, gone.images.iter()).await?;
                Ok(true)
            })
        })
        .await?;
    if !deleted {
        let left = store::find(&state.db, kind, id).await?.ok_or(wire::not_found(kind))?;
        return Err(wire::still_reserved(kind, left.reserved).into());
    }
    state.outbox.wake();
    Ok(())
}

/// One listing, as shoppers see it.
pub(crate) async fn one<Reply: Serialize>(
    kind: Kind,
    id: Id<Listing>,
    request: &HttpRequest,
    state: &App,
    envelope: impl FnOnce(ListingReply) -> Reply,
) -> Result<HttpResponse> {
    if let Some(known) = state.catalogue.one(kind, id).await {
        let listing = known.ok_or(wire::not_found(kind))?;
        return Ok(answer::short(request.headers(), &listing));
    }
    let listing = store::find(&state.db, kind, id).await?.ok_or(wire::not_found(kind))?;
    let shop = shops::store::find_public(&state.db, listing.shop_id).await?;
    if listing.hidden.is_some() || shop.as_ref().is_some_and(Shop::is_shut) {
        return Err(wire::not_found(kind).into());
    }
    let shops = shop.map(|shop| (shop.id, shop)).into_iter().collect();
    let showing = showing(state, Audience::Shoppers);
    let print = printed(std::slice::from_ref(&listing), kind, &shops, &showing)?;
    let reply = ListingReply::of(listing, kind, shops.values().next(), &showing);
    Ok(answer::short(request.headers(), &answer::written(&envelope(reply), print)?))
}

/// Every listing of every shop, as shoppers see them.
pub(crate) async fn all<Reply: Serialize>(
    kind: Kind,
    request: &HttpRequest,
    state: &App,
    envelope: impl FnOnce(Vec<ListingReply>) -> Reply,
) -> Result<HttpResponse> {
    if let Some(wanted) = Wanted::read(request.query_string())? {
        return page(kind, wanted, request, state, Audience::Shoppers).await;
    }
    if let Some(shown) = state.catalogue.all(kind).await {
        return Ok(answer::shown(request.headers(), shown, &state.catalogue).await);
    }
    let listings = store::all(&state.db, kind).await?;
    let mut ids: Vec<Id<Shop>> = listings.iter().map(|listing| listing.shop_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let shops = shops::store::public_by_ids(&state.db, &ids).await?;
    let listings = seen_by(Audience::Shoppers, listings, &shops);
    let showing = showing(state, Audience::Shoppers);
    let print = printed(&listings, kind, &shops, &showing)?;
    let replies = ListingReply::all(listings, kind, &shops, &showing);
    Ok(answer::passing(request.headers(), answer::written(&envelope(replies), print)?).await)
}

/// The listings of one shop. Its owner, and a call without a credential where those are accepted,
/// sees what is on the shelf; everybody else what can be bought.
pub(crate) async fn of_shop<Reply: Serialize>(
    kind: Kind,
    caller: &Caller,
    shop_id: Option<Id<Shop>>,
    request: &HttpRequest,
    state: &App,
    envelope: impl FnOnce(Vec<ListingReply>) -> Reply,
) -> Result<HttpResponse> {
    let wanted = Wanted::read(request.query_string())?;
    let owner = shop_id.is_some_and(|shop| caller.shop == Some(shop)) || caller.is_accepted_bare();
    let audience = if owner { Audience::Owner } else { Audience::Shoppers };
    if let Some(wanted) = wanted {
        // No shop has this id.
        let wanted = wanted.of_shop(shop_id.unwrap_or_else(Id::nil));
        return page(kind, wanted, request, state, audience).await;
    }
    let Some(shop_id) = shop_id else {
        return Ok(answer::passing(request.headers(), answer::written(&envelope(Vec::new()), 0)?).await);
    };
    if let Some(list) = state.catalogue.of_shop(kind, shop_id, audience).await {
        return Ok(answer::list(request.headers(), &list, &state.catalogue).await);
    }
    let listings = store::of_shop(&state.db, kind, shop_id).await?;
    let shops: HashMap<_, _> = shops::store::find_public(&state.db, shop_id)
        .await?
        .map(|shop| (shop_id, shop))
        .into_iter()
        .collect();
    let listings = seen_by(audience, listings, &shops);
    let showing = showing(state, audience);
    let print = printed(&listings, kind, &shops, &showing)?;
    let replies = ListingReply::all(listings, kind, &shops, &showing);
    Ok(answer::passing(request.headers(), answer::written(&envelope(replies), print)?).await)
}

/// A page of what somebody looks for.
async fn page(
    kind: Kind,
    wanted: Wanted,
    request: &HttpRequest,
    state: &App,
    audience: Audience,
) -> Result<HttpResponse> {
    let Wanted { mut query, mut offset } = wanted;
    let limit = query.limit;
    let found = loop {
        // To a page with a number one walks in long strides.
        query.limit = if offset > 0 { offset.min(search::MAX_LIMIT) } else { limit };
        let found = state.catalogue.search(kind, &query).await.ok_or(wire::NOT_SEARCHABLE_YET)?;
        let mut found = found.map_err(wire::refuse_search)?;
        if offset == 0 {
            break found;
        }
        offset = offset.saturating_sub(query.limit);
        query.cursor = found.next.take();
        if query.cursor.is_none() {
            // There are not so many.
            found.ids.clear();
            break found;
        }
    };
    let ids: Vec<Id<Listing>> = found.ids.iter().map(|id| Id::from_oid(ObjectId::from_bytes(*id))).collect();
    let listings = match state.catalogue.texts(kind, &ids, audience) {
        Some(texts) => texts,
        None => texts_of(kind, &ids, state, audience).await?,
    };
    let body = wire::page(kind, &listings, &found).map_err(|error| Error::Unexpected(error.into()))?;
    Ok(answer::changing(request.headers(), body).await)
}

/// Listings one after another, from the database. What was deleted since it was found is left out.
async fn texts_of(kind: Kind, ids: &[Id<Listing>], state: &App, audience: Audience) -> Result<Vec<u8>> {
    let listings = store::these(&state.db, kind, ids).await?;
    let mut shops: Vec<Id<Shop>> = listings.iter().map(|listing| listing.shop_id).collect();
    shops.sort_unstable();
    shops.dedup();
    let shops = shops::store::public_by_ids(&state.db, &shops).await?;
    let listings = seen_by(audience, listings, &shops);
    let mut known: HashMap<Id<Listing>, Listing> =
        listings.into_iter().map(|listing| (listing.id, listing)).collect();
    let showing = showing(state, audience);
    let mut texts = Vec::new();
    for listing in ids.iter().filter_map(|id| known.remove(id)) {
        if !texts.is_empty() {
            texts.push(b',');
        }
        let shop = shops.get(&listing.shop_id);
        let reply = ListingReply::of(listing, kind, shop, &showing);
        serde_json::to_writer(&mut texts, &reply).map_err(|error| Error::Unexpected(error.into()))?;
    }
    Ok(texts)
}

/// Those that are shown: nothing of a shop that is shut, and what an administrator has hidden to its owner alone.
fn seen_by(audience: Audience, listings: Vec<Listing>, shops: &HashMap<Id<Shop>, Shop>) -> Vec<Listing> {
    let is_seen = |listing: &Listing| {
        let hidden = listing.hidden.is_some() && audience == Audience::Shoppers;
        !hidden && !shops.get(&listing.shop_id).is_some_and(Shop::is_shut)
    };
    listings.into_iter().filter(is_seen).collect()
}

/// What an answer from the database is known by.
fn printed(
    listings: &[Listing],
    kind: Kind,
    shops: &HashMap<Id<Shop>, Shop>,
    showing: &Showing<'_>,
) -> Result<u128> {
    print_of(listings, kind, shops, showing).map_err(|error| Error::Unexpected(error.into()))
}

fn showing(state: &App, audience: Audience) -> Showing<'_> {
    Showing { config: &state.config, now: state.clock.now(), audience }
}

/// Stores pictures, in their order: all of them, or none that stays.
async fn keep(kind: Kind, pictures: Vec<CheckedImage>, state: &App) -> Result<Vec<Image>> {
    let folder = match kind {
        Kind::Product => Folder::Products,
        Kind::Event => Folder::Events,
    };
    let kept = media::keep_all(state, folder, pictures).await?;
    Ok(kept.into_iter().map(|Picture { public_id, url }| Image { id: Id::new(), public_id, url }).collect())
}

/// After a write that failed, deletes the pictures stored for it, and tells whether the write took
/// place after all: its answer may have been lost, and then the pictures are in use.
async fn discard_unused(kind: Kind, id: Id<Listing>, added: &[Image], state: &App) -> bool {
    match store::find(&state.db, kind, id).await {
        Ok(found) => {
            let used = found.map(|listing| listing.images).unwrap_or_default();
            let unused: Vec<Picture> =
                added.iter().filter(|image| !used.contains(image)).map(picture).collect();
            media::discard(state, &unused).await;
            unused.is_empty()
        }
        Err(error) => {
            // Too many pictures are better than too few.
            warn!(%error, "cannot tell whether pictures are in use, leaving them");
            false
        }
    }
}

fn picture(image: &Image) -> Picture {
    Picture { public_id: image.public_id.clone(), url: image.url.clone() }
}

/// Has pictures deleted once the transaction holds.
async fn delete_later<'a>(
    session: &mut ClientSession,
    outbox: &Outbox,
    images: impl Iterator<Item = &'a Image> + Send,
) -> Result<()> {
    let deletable: Vec<_> = images.filter(|image| media::is_deletable(&image.public_id)).collect();
    for image in deletable {
        outbox.add_in(session, media::deletion(&picture(image))).await?;
    }
    Ok(())
}
