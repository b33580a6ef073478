use std::sync::Arc;

use actix_web::{FromRequest as _, HttpRequest, HttpResponse, web};
use shared::{
    auth::Kind,
    id::Id,
    model::{Case, Order, Party, Picture},
    money::Money,
};

use super::{
    rules::End,
    store::{self, Ending, Member, New, Wanted},
    wire,
};
use crate::{
    accounts::rules as account_rules,
    audit_log::{self, Action, Event},
    error::{Error, FieldError, Result},
    extract::{Json, PathId, Query},
    idempotency::{self, Answer, Given, Key},
    identity::{Admin, Buyer, Caller, NOT_YOURS, Seller},
    media::{self, CheckedImage, Folder, Form, FormLimits},
    orders::{self, earnings::Rates},
    paging::{Listed, Page},
    state::State,
};

const PICTURES: FormLimits = FormLimits { file_fields: &["images"], max_files: 5 };
const LONGEST_MESSAGE: usize = 2_000;
const LONGEST_NOTE: usize = 500;

/// As whom somebody may be part of a dispute: as buyer, as shop, or both.
fn members(caller: &Caller) -> Result<Vec<Member>> {
    let buyer = caller.user.map(Member::Buyer).into_iter();
    let members: Vec<Member> = buyer.chain(caller.shop.map(Member::Seller)).collect();
    if members.is_empty() { Err(Error::Unauthenticated) } else { Ok(members) }
}

fn party(member: Member) -> Party {
    match member {
        Member::Buyer(user) => audit_log::account(Kind::User, user),
        Member::Seller(shop) => audit_log::account(Kind::Seller, shop),
    }
}

/// Words, checked for form. Only with a picture there may be none.
fn words(text: Option<&str>, has_picture: bool) -> Result<String, String> {
    let text = text.map(str::trim).unwrap_or_default();
    if text.is_empty() && !has_picture {
        return Err("must not be empty unless there is a picture".to_owned());
    }
    if text.chars().count() > LONGEST_MESSAGE {
        return Err(format!("must have at most {LONGEST_MESSAGE} characters"));
    }
    Ok(text.to_owned())
}

/// `POST /api/dispute`: a buyer or a shop opens a dispute about an order, as JSON, or as a form with pictures.
pub(super) async fn open(
    caller: Caller,
    key: Key,
    request: HttpRequest,
    payload: web::Payload,
    state: State,
) -> Result<HttpResponse> {
    let members = members(&caller)?;
    let (body, images) = if media::is_form(&request) {
        let mut form = Form::read(&request, payload, PICTURES).await?;
        let body = wire::NewCase {
            order_id: form.text("orderId"),
            reason: form.text("reason"),
            message: form.verbatim("message").map(str::to_owned),
            amount: form.raw_text("amount").map(str::to_owned),
        };
        (body, form.take_images("images"))
    } else {
        (Json::from_request(&request, &mut payload.into_inner()).await?.0, Vec::new())
    };
    let mut errors = Vec::new();
    let mut refused = |field: &str, message: String| {
        errors.push(FieldError { field: field.to_owned(), message });
    };
    let order = body.order_id.as_deref().and_then(|id| id.parse::<Id<Order>>().ok());
    if order.is_none() {
        refused("orderId", "must be an order's id".to_owned());
    }
    let reason = wire::reason(body.reason.as_deref()).map_err(|why| refused("reason", why)).ok();
    let text = words(body.message.as_deref(), !images.is_empty()).map_err(|why| refused("message", why)).ok();
    let wanted = body.amount.as_deref().map(Money::parse_exact).transpose();
    let wanted = wanted.map_err(|why| refused("amount", why.to_string())).ok();
    if wanted.flatten().is_some_and(Money::is_negative) {
        refused("amount", "must not be below 0".to_owned());
    }
    let (Some(order), Some(reason), Some(text), Some(wanted), true) =
        (order, reason, text, wanted, errors.is_empty())
    else {
        return Err(Error::Invalid(errors));
    };
    let member = owner(&state, &members, order).await?;
    match (member, wanted) {
        (Member::Buyer(_), Some(Money::ZERO)) => return Err(Error::field("amount", "must be more than 0")),
        (Member::Seller(_), None) => {
            return Err(Error::field("amount", "is required: what you would give back, which may be 0"));
        }
        _ => {}
    }
    let meaning = (order, reason, &text, wanted, key.contents(&images).await?);
    let memory =
        key.memory("open-dispute", party(member).id.unwrap_or_default(), &meaning, state.clock.now());
    if let Some(answer) = idempotency::recall(&state.db, memory.as_ref()).await? {
        return Ok(answer.into());
    }
    let images = media::keep_all(&state, Folder::Messages, images).await?;
    let opened = Event::done(Action::OpenDispute, party(member)).about(Party::new("order", order));
    let new = Arc::new(New {
        member,
        order,
        reason,
        wanted,
        text,
        images: images.clone(),
        entry: state.audit_log.entry(opened.note(reason.word())),
        now: state.clock.now(),
        rates: Rates::of(&state.config),
    });
    let (db, outbox, config) = (state.db.clone(), state.outbox.clone(), Arc::clone(&state.config));
    let given = idempotency::once(&state.db, memory, move |session| {
        let (db, outbox, config, new) = (db.clone(), outbox.clone(), Arc::clone(&config), Arc::clone(&new));
        Box::pin(async move {
            let case = store::open_in(&db, &outbox, session, &new).await?.ok_or(wire::ORDER_NOT_FOUND)?;
            let dispute = wire::CaseReply::of(&config, case, false);
            Answer::created(&wire::CaseOne { success: true, message: wire::OPENED, dispute })
        })
    })
    .await;
    finish(&state, given, &images).await
}

/// Which of its members an order belongs to.
async fn owner(state: &State, members: &[Member], order: Id<Order>) -> Result<Member> {
    for member in members {
        if orders::store::one_of(&state.db, member.owner(), order).await?.is_some() {
            return Ok(*member);
        }
    }
    let is_there = orders::store::exists(&state.db, order).await?;
    Err(if is_there { NOT_YOURS.into() } else { wire::ORDER_NOT_FOUND.into() })
}

/// Pictures that nobody needs are deleted. After any other failure they may be stored all the same.
async fn finish(state: &State, given: Result<Given>, images: &[Picture]) -> Result<HttpResponse> {
    if matches!(given, Ok(Given::Again(_)) | Err(Error::Refused(_) | Error::Invalid(_))) {
        media::discard(state, images).await;
    }
    state.outbox.wake();
    Ok(given?.into())
}

/// Whose a dispute is, of those whom a caller may act as.
async fn own(state: &State, members: &[Member], id: Id<Case>) -> Result<(Member, Case)> {
    for member in members {
        if let Some(case) = store::find(&state.db, id, Some(*member)).await? {
            return Ok((*member, case));
        }
    }
    let is_there = store::exists(&state.db, id).await?;
    Err(if is_there { NOT_YOURS.into() } else { wire::NOT_FOUND.into() })
}

/// `POST /api/dispute/{id}/message`: one of the two says something, as JSON, or as a form with pictures.
pub(super) async fn say(
    caller: Caller,
    id: PathId<Case>,
    key: Key,
    request: HttpRequest,
    payload: web::Payload,
    state: State,
) -> Result<HttpResponse> {
    let members = members(&caller)?;
    let (body, images): (wire::NewMessage, Vec<CheckedImage>) = if media::is_form(&request) {
        let mut form = Form::read(&request, payload, PICTURES).await?;
        let message = form.verbatim("message").map(str::to_owned);
        (wire::NewMessage { message }, form.take_images("images"))
    } else {
        (Json::from_request(&request, &mut payload.into_inner()).await?.0, Vec::new())
    };
    let text =
        words(body.message.as_deref(), !images.is_empty()).map_err(|why| Error::field("message", why))?;
    let (member, _) = own(&state, &members, *id).await?;
    let now = state.clock.now();
    let meaning = (*id, &text, key.contents(&images).await?);
    let memory = key.memory("dispute-message", party(member).id.unwrap_or_default(), &meaning, now);
    if let Some(answer) = idempotency::recall(&state.db, memory.as_ref()).await? {
        return Ok(answer.into());
    }
    let images = media::keep_all(&state, Folder::Messages, images).await?;
    let said = Arc::new((text, images.clone()));
    let (db, outbox, config, id) = (state.db.clone(), state.outbox.clone(), Arc::clone(&state.config), *id);
    let given = idempotency::once(&state.db, memory, move |session| {
        let (db, outbox, config, said) = (db.clone(), outbox.clone(), Arc::clone(&config), Arc::clone(&said));
        Box::pin(async move {
            let (text, images) = &*said;
            let case = store::say_in(&db, &outbox, session, id, member, (text, images), now).await?;
            let dispute = wire::CaseReply::of(&config, case.ok_or(wire::NOT_FOUND)?, false);
            Answer::created(&wire::CaseOne { success: true, message: wire::SAID, dispute })
        })
    })
    .await;
    finish(&state, given, &images).await
}

/// `GET /api/dispute/user-disputes`: a buyer's disputes, the latest first.
pub(super) async fn of_buyer(Buyer(user): Buyer, query: Query, state: State) -> Result<HttpResponse> {
    list(&state, Wanted { member: Some(Member::Buyer(user)), ..Wanted::default() }, &query).await
}

/// `GET /api/dispute/shop-disputes`: a shop's disputes, the latest first.
pub(super) async fn of_shop(Seller(shop): Seller, query: Query, state: State) -> Result<HttpResponse> {
    list(&state, Wanted { member: Some(Member::Seller(shop)), ..Wanted::default() }, &query).await
}

/// `GET /api/admin/disputes`: everybody's disputes, the latest first.
pub(crate) async fn all(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    let wanted = Wanted { buyer: id_in(&query, "buyer")?, shop: id_in(&query, "shop")?, ..Wanted::default() };
    list(&state, wanted, &query).await
}

fn id_in<T>(query: &Query, name: &str) -> Result<Option<Id<T>>> {
    let id = query.text(name).map(str::parse).transpose();
    id.or(Err(Error::field(name, "must be an id of 24 hexadecimal digits")))
}

async fn list(state: &State, wanted: Wanted, query: &Query) -> Result<HttpResponse> {
    let wanted = Wanted {
        state: query.text("state").map(wire::state).transpose()?,
        order: id_in(query, "order")?,
        ..wanted
    };
    let Listed { items, place } = store::list(&state.db, wanted, &Page::always(query)?).await?;
    let for_admin = wanted.member.is_none();
    let disputes =
        items.into_iter().map(|case| wire::CaseReply::of(&state.config, case, for_admin)).collect();
    Ok(HttpResponse::Ok().json(wire::CaseList { success: true, disputes, place }))
}

/// `GET /api/dispute/{id}`: one dispute with its order, for its two sides.
pub(super) async fn one(caller: Caller, id: PathId<Case>, state: State) -> Result<HttpResponse> {
    let (_, case) = own(&state, &members(&caller)?, *id).await?;
    let order = store::order(&state.db, case.order).await?;
    let order = order.map(|order| wire::OrderFacts::of(order, Rates::of(&state.config)));
    let dispute = wire::CaseReply::of(&state.config, case, false);
    Ok(HttpResponse::Ok().json(wire::CaseShown { success: true, dispute, order }))
}

/// `GET /api/admin/dispute/{id}`: one dispute with everything to decide it by.
pub(crate) async fn evidence(_: Admin, id: PathId<Case>, state: State) -> Result<HttpResponse> {
    let case = store::find(&state.db, *id, None).await?.ok_or(wire::NOT_FOUND)?;
    let order = store::order(&state.db, case.order).await?;
    let since = order.as_ref().and_then(|order| order.created_at);
    let (chat, more_chat) = store::chat(&state.db, &case, since).await?;
    let chat = chat.into_iter().map(|message| wire::ChatReply::of(&state.config, &case, message)).collect();
    let order = order.map(|order| wire::OrderFacts::of(order, Rates::of(&state.config)));
    let dispute = wire::CaseReply::of(&state.config, case, true);
    let shown = wire::CaseShown { success: true, dispute, order };
    Ok(HttpResponse::Ok().json(wire::Evidence { shown, chat, more_chat }))
}

/// `PUT /api/dispute/{id}/accept`: the other side agrees to what whoever opened it wants.
pub(super) async fn accept(caller: Caller, id: PathId<Case>, state: State) -> Result<HttpResponse> {
    let (member, case) = own(&state, &members(&caller)?, *id).await?;
    settle(&state, member, &case, End::Accept(member.side())).await
}

/// `PUT /api/dispute/{id}/withdraw`: whoever opened it takes it back.
pub(super) async fn withdraw(caller: Caller, id: PathId<Case>, state: State) -> Result<HttpResponse> {
    let (member, case) = own(&state, &members(&caller)?, *id).await?;
    settle(&state, member, &case, End::Withdraw(member.side())).await
}

async fn settle(state: &State, member: Member, case: &Case, end: End) -> Result<HttpResponse> {
    let word = if matches!(end, End::Accept(_)) { "accepted" } else { "withdrawn" };
    let event = Event::done(Action::SettleDispute, party(member)).about(Party::new("dispute", case.id));
    let ending = Ending {
        id: case.id,
        end,
        member: Some(member),
        admin: None,
        note: None,
        entry: state.audit_log.entry(event.note(word)),
        now: state.clock.now(),
        rates: Rates::of(&state.config),
    };
    finish_end(state, case, ending).await
}

/// `PUT /api/dispute/{id}/decide`: an administrator gives money back, or leaves it with the shop.
pub(super) async fn decide(
    admin: Admin,
    id: PathId<Case>,
    body: Json<wire::Decision>,
    state: State,
) -> Result<HttpResponse> {
    let amount = body.amount.as_deref().map(Money::parse_exact).transpose();
    let amount = amount.map_err(|why| Error::field("amount", why.to_string()))?;
    let end = match body.decision.as_deref() {
        Some("refund") if amount.is_some_and(|amount| amount <= Money::ZERO) => {
            return Err(Error::field("amount", "must be more than 0"));
        }
        Some("refund") => End::Refund(amount),
        Some("release") if amount.is_none() => End::Release,
        Some("release") => return Err(Error::field("amount", "must be left out: nothing goes back")),
        _ => return Err(Error::field("decision", "must be refund or release")),
    };
    let note = match body.note.as_deref().map(str::trim).filter(|note| !note.is_empty()) {
        Some(note) => Some(
            account_rules::line(Some(note), LONGEST_NOTE, "must be one line of at most 500 characters")
                .map_err(|why| Error::field("note", why))?,
        ),
        None => None,
    };
    let case = store::find(&state.db, *id, None).await?.ok_or(wire::NOT_FOUND)?;
    if end == End::Refund(None) && case.wanted <= 0 {
        return Err(Error::field("amount", "is required: nothing was asked for"));
    }
    let word = if end == End::Release { "release" } else { "refund" };
    let event = Event::done(Action::DecideDispute, admin.party()).about(Party::new("dispute", *id));
    let ending = Ending {
        id: *id,
        end,
        member: None,
        admin: Some(admin),
        note,
        entry: state.audit_log.entry(event.note(word)),
        now: state.clock.now(),
        rates: Rates::of(&state.config),
    };
    finish_end(&state, &case, ending).await
}

async fn finish_end(state: &State, case: &Case, ending: Ending) -> Result<HttpResponse> {
    // What is on hold moves the shop's one balance.
    let _turn = state.db.turn(case.shop).await;
    let for_admin = ending.admin.is_some();
    let ending = Arc::new(ending);
    let ended = state
        .db
        .transaction(|session| {
            let (db, outbox, ending) = (state.db.clone(), state.outbox.clone(), Arc::clone(&ending));
            Box::pin(async move { store::end_in(&db, &outbox, session, &ending).await })
        })
        .await?
        .ok_or(wire::NOT_FOUND)?;
    state.outbox.wake();
    let message = wire::ended_as(ended.state);
    let dispute = wire::CaseReply::of(&state.config, ended, for_admin);
    Ok(HttpResponse::Ok().json(wire::CaseOne { success: true, message, dispute }))
}
