use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{ClientSession, options::ReturnDocument};
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    model::{
        AuditEntry, Case, CaseMessage, CaseReason, CaseSide, CaseState, Conversation, Message, News, Order,
        Picture, Shop, User,
    },
    money::Money,
};

use super::{
    hold,
    rules::{self, End, NotOpenable, Stands},
    wire,
};
use crate::{
    audit_log,
    error::{Error, Result},
    identity::Admin,
    news,
    orders::{
        earnings::{self, Rates, shop_of},
        settled,
        store::Owner,
    },
    outbox::Outbox,
    paging::{self, Listed, Page},
    withdrawals::store::is_own,
};

/// So much can be said in one dispute.
const MOST_MESSAGES: usize = 200;
/// So much of the chat is shown as evidence.
const MOST_CHAT: i64 = 500;

/// One of the two, as whom somebody acts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Member {
    Buyer(Id<User>),
    Seller(Id<Shop>),
}

impl Member {
    pub(super) const fn side(self) -> CaseSide {
        match self {
            Self::Buyer(_) => CaseSide::Buyer,
            Self::Seller(_) => CaseSide::Seller,
        }
    }

    pub(super) const fn owner(self) -> Owner {
        match self {
            Self::Buyer(user) => Owner::Buyer(user),
            Self::Seller(shop) => Owner::Shop(shop),
        }
    }

    fn filter(self) -> Document {
        match self {
            Self::Buyer(user) => doc! { "buyer": user },
            Self::Seller(shop) => doc! { "shop": shop },
        }
    }
}

/// A dispute of a member's, or anybody's.
pub(super) async fn find(
    db: &Db,
    id: Id<Case>,
    member: Option<Member>,
) -> mongodb::error::Result<Option<Case>> {
    let mut filter = member.map(Member::filter).unwrap_or_default();
    filter.insert("_id", id);
    db.of::<Case>().find_one(filter).await
}

/// Whether there is such a dispute at all.
pub(super) async fn exists(db: &Db, id: Id<Case>) -> mongodb::error::Result<bool> {
    Ok(find(db, id, None).await?.is_some())
}

/// Which disputes are listed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub member: Option<Member>,
    pub buyer: Option<Id<User>>,
    pub shop: Option<Id<Shop>>,
    pub state: Option<CaseState>,
    pub order: Option<Id<Order>>,
}

/// A page of disputes, the latest first.
pub(super) async fn list(db: &Db, wanted: Wanted, page: &Page) -> mongodb::error::Result<Listed<Case>> {
    let mut filter = doc! {};
    if let Some(buyer) = wanted.buyer {
        filter.insert("buyer", buyer);
    }
    if let Some(shop) = wanted.shop {
        filter.insert("shop", shop);
    }
    if let Some(state) = wanted.state {
        filter.insert("state", state.word());
    }
    if let Some(order) = wanted.order {
        filter.insert("order", order);
    }
    // Last, so that nothing takes its place.
    filter.extend(wanted.member.map(Member::filter).unwrap_or_default());
    paging::latest_first(db, filter, "createdAt", Some(page)).await
}

/// An order, whoever it belongs to.
pub(super) async fn order(db: &Db, id: Id<Order>) -> mongodb::error::Result<Option<Order>> {
    db.of::<Order>().find_one(doc! { "_id": id }).await
}

/// What the two have said in the chat since the order was placed, oldest first, and whether that is not all.
pub(super) async fn chat(
    db: &Db,
    case: &Case,
    since: Option<Timestamp>,
) -> mongodb::error::Result<(Vec<Message>, bool)> {
    let members = [case.buyer.hex(), case.shop.hex()];
    let between = doc! { "members": { "$all": members.to_vec() } };
    let mut found = db.of::<Conversation>().find(between).await?;
    let mut conversations = Vec::new();
    while let Some(conversation) = found.try_next().await? {
        conversations.push(conversation.id.hex());
    }
    let mut filter = doc! { "conversationId": { "$in": conversations } };
    if let Some(since) = since {
        filter.insert("createdAt", doc! { "$gte": since });
    }
    let messages = db.of::<Message>();
    let messages = messages.find(filter).sort(doc! { "createdAt": 1, "_id": 1 }).limit(MOST_CHAT + 1);
    let mut messages: Vec<Message> = messages.await?.try_collect().await?;
    let most = usize::try_from(MOST_CHAT).unwrap_or(usize::MAX);
    let more = messages.len() > most;
    messages.truncate(most);
    Ok((messages, more))
}

/// What somebody opens a dispute with.
#[derive(Clone, Debug)]
pub(super) struct New {
    pub member: Member,
    pub order: Id<Order>,
    pub reason: CaseReason,
    /// All that is left, if nothing is said.
    pub wanted: Option<Money>,
    pub text: String,
    pub images: Vec<Picture>,
    pub entry: AuditEntry,
    pub now: Timestamp,
    pub rates: Rates,
}

/// Opens a dispute, and puts on hold what the shop has earned; nothing if the order is not the member's.
pub(super) async fn open_in(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    new: &New,
) -> Result<Option<Case>> {
    let New { member, now, rates, .. } = *new;
    let filter = member.owner().of_order(new.order);
    let Some(order) = db.of::<Order>().find_one(filter).session(&mut *session).await? else {
        return Ok(None);
    };
    let mut earlier = Vec::new();
    let mut found = db.of::<Case>().find(doc! { "order": order.id }).session(&mut *session).await?;
    while let Some(case) = found.next(&mut *session).await.transpose()? {
        earlier.push(case.state);
    }
    let left = settled::left(&order, rates);
    rules::may_open(&order, &earlier, left).map_err(wire::not_openable)?;
    let buyer = order.user.as_ref().map(|user| user.id).filter(|id| *id != Id::nil());
    let (Some(buyer), shop) = (buyer, shop_of(&order)) else {
        return Err(wire::not_openable(NotOpenable::NobodyKnown).into());
    };
    let wanted = new.wanted.unwrap_or(left);
    if wanted > left {
        return Err(Error::field(
            "amount",
            format!("must be at most {left}: that is what is left of the order"),
        ));
    }
    let id = Id::new();
    let held = if earnings::is_credited(db, session, &order).await? {
        Some(hold::take(db, session, &order, id, rates, now).await?.minor())
    } else {
        None
    };
    let said = CaseMessage {
        id: Id::new(),
        from: member.side(),
        text: new.text.clone(),
        images: new.images.clone(),
        at: now,
    };
    let case = Case {
        id,
        order: order.id,
        buyer,
        shop,
        opened_by: member.side(),
        reason: new.reason,
        wanted: wanted.minor(),
        state: CaseState::Open,
        held,
        returned: 0,
        messages: vec![said],
        created_at: now,
        updated_at: now,
        closed_at: None,
        decided_by: None,
        note: None,
    };
    db.of::<Case>().insert_one(&case).session(&mut *session).await?;
    // The transaction's snapshot makes this conditional on the order as it was read.
    let mark = doc! { "$set": { "openCase": id.hex() }, "$inc": { "__v": 1 } };
    db.of::<Order>().update_one(doc! { "_id": order.id }, mark).session(&mut *session).await?;
    audit_log::add_in(db, session, &new.entry).await?;
    news::tell_in(outbox, session, News::CaseOpened { case: id }).await?;
    Ok(Some(case))
}

/// Adds what a member says; nothing if the dispute is not theirs.
pub(super) async fn say_in(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    id: Id<Case>,
    member: Member,
    (text, images): (&str, &[Picture]),
    now: Timestamp,
) -> Result<Option<Case>> {
    let mut filter = member.filter();
    filter.insert("_id", id);
    let cases = db.of::<Case>();
    let Some(case) = cases.find_one(filter.clone()).session(&mut *session).await? else { return Ok(None) };
    if case.state != CaseState::Open {
        return Err(wire::ended(case.state).into());
    }
    if case.messages.len() >= MOST_MESSAGES {
        return Err(wire::FULL.into());
    }
    let said = CaseMessage {
        id: Id::new(),
        from: member.side(),
        text: text.to_owned(),
        images: images.to_vec(),
        at: now,
    };
    let update = doc! {
        "$push": { "messages": bson::serialize_to_bson(&said).map_err(anyhow::Error::from)? },
        "$set": { "updatedAt": now },
    };
    let case = cases
        .find_one_and_update(filter, update)
        .return_document(ReturnDocument::After)
        .session(&mut *session)
        .await?;
    news::tell_in(outbox, session, News::CaseMessage { case: id, message: said.id }).await?;
    Ok(case)
}

/// Who ends a dispute, and how.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub id: Id<Case>,
    pub end: End,
    /// One of the two; an administrator otherwise.
    pub member: Option<Member>,
    pub admin: Option<Admin>,
    pub note: Option<String>,
    pub entry: AuditEntry,
    pub now: Timestamp,
    pub rates: Rates,
}

/// Ends a dispute: what is on hold is released, what goes back to the buyer is booked like any refund, and the order
/// goes on. Ended just so before, nothing changes. Nothing if it is not the member's.
pub(super) async fn end_in(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    ending: &Ending,
) -> Result<Option<Case>> {
    let Ending { id, end, now, rates, .. } = *ending;
    let mut filter = ending.member.map(Member::filter).unwrap_or_default();
    filter.insert("_id", id);
    let cases = db.of::<Case>();
    let Some(case) = cases.find_one(filter).session(&mut *session).await? else { return Ok(None) };
    if let Some(admin) = ending.admin
        && (admin.user == case.buyer || is_own(db, session, case.shop, admin).await?)
    {
        return Err(wire::FOUR_EYES.into());
    }
    let order = db.of::<Order>().find_one(doc! { "_id": case.order }).session(&mut *session).await?;
    let order = order.ok_or(wire::ORDER_GONE)?;
    let stands = Stands {
        state: case.state,
        opened_by: case.opened_by,
        wanted: case.wanted(),
        returned: Money::from_minor(case.returned),
        left: settled::left(&order, rates),
    };
    let Some(outcome) = rules::ends(stands, end).map_err(wire::not_ending)? else { return Ok(Some(case)) };
    hold::release(db, session, &case, now).await?;
    if outcome.back > Money::ZERO {
        settled::give_back(db, outbox, session, &order, outcome.back, rates, now).await?;
    } else {
        // Whoever takes a dispute back may still wait for what the shop says to a refund.
        let for_good = !matches!(end, End::Withdraw(_));
        settled::leave(db, session, &order, for_good, now).await?;
    }
    let mut set = doc! {
        "state": outcome.state.word(), "returned": outcome.back.minor(), "closedAt": now, "updatedAt": now,
    };
    if let Some(admin) = ending.admin {
        set.insert("decidedBy", admin.user);
    }
    if let Some(note) = &ending.note {
        set.insert("note", note);
    }
    let open = doc! { "_id": id, "state": CaseState::Open.word() };
    let ended = cases
        .find_one_and_update(open, doc! { "$set": set })
        .return_document(ReturnDocument::After)
        .session(&mut *session)
        .await?;
    audit_log::add_in(db, session, &ending.entry).await?;
    news::tell_in(outbox, session, News::CaseClosed { case: id }).await?;
    Ok(ended)
}
