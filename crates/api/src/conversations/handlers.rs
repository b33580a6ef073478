use actix_web::{HttpResponse, Responder};
use shared::model::{Conversation, Shop, User};

use super::{store, wire};
use crate::{
    error::{Error, Result},
    extract::{AnyPathId, Json, PathId, Query},
    idempotency::{self, Key},
    identity::{Buyer, Caller, Seller},
    paging::Page,
    state::State,
};

/// `POST /api/conversation/create-new-conversation`: opens the conversation of a user and a shop, or
/// finds it.
pub(super) async fn open(
    caller: Caller,
    key: Key,
    body: Json<wire::NewConversation>,
    state: State,
) -> Result<HttpResponse> {
    let (user, shop) = body.0.members()?;
    // Either of the two may open it; a refusal names the user's side, which the client calls from.
    let opener = match (caller.act_as_member(&user.hex()), caller.act_as_member(&shop.hex())) {
        (Ok(()), _) => user.hex(),
        (_, Ok(())) => shop.hex(),
        (Err(refusal), _) => return Err(refusal),
    };
    let now = state.clock.now();
    let memory = key.memory("create-conversation", opener, &(user, shop), now);
    if let Some(answer) = idempotency::recall(&state.db, memory.as_ref()).await? {
        return Ok(answer.into());
    }
    if !store::exists::<User>(&state.db, user.oid()).await? {
        return Err(wire::NO_SUCH_USER.into());
    }
    if !store::exists::<Shop>(&state.db, shop.oid()).await? {
        return Err(wire::NO_SUCH_SHOP.into());
    }
    Ok(store::open(&state.db, user, shop, now, memory, wire::opened).await?.into())
}

/// `GET /api/conversation/get-all-conversation-user/{id}`: a user's own conversations, the liveliest
/// first.
pub(super) async fn of_user(
    buyer: Buyer,
    id: AnyPathId<User>,
    query: Query,
    state: State,
) -> Result<impl Responder> {
    if id.0 != Some(buyer.0) {
        return Err(Error::from(wire::NOT_YOURS));
    }
    list(&state, &buyer.0.hex(), &query).await
}

/// `GET /api/conversation/get-all-conversation-seller/{id}`: a shop's own conversations, the
/// liveliest first.
pub(super) async fn of_shop(
    seller: Seller,
    id: AnyPathId<Shop>,
    query: Query,
    state: State,
) -> Result<impl Responder> {
    if id.0 != Some(seller.0) {
        return Err(Error::from(wire::NOT_YOURS));
    }
    list(&state, &seller.0.hex(), &query).await
}

async fn list(state: &State, member: &str, query: &Query) -> Result<HttpResponse> {
    let page = Page::read(query)?;
    Ok(wire::list(store::of_member(&state.db, member, page.as_ref()).await?, member))
}

/// `PUT /api/conversation/update-last-message/{id}`: what was said last, for clients that say so.
///
/// Storing a message has done it already; the client repeats it afterwards, when the other side may
/// have answered. So a message that is known and no longer the newest changes nothing.
pub(super) async fn set_last_message(
    caller: Caller,
    id: PathId<Conversation>,
    body: Json<wire::LastMessage>,
    state: State,
) -> Result<impl Responder> {
    let (text, sender) = body.0.checked()?;
    caller.act_as_member(&sender)?;
    let conversation = store::find(&state.db, *id).await?.ok_or(wire::NOT_FOUND)?;
    if !conversation.members.contains(&sender) {
        return Err(Error::from(wire::NOT_A_MEMBER));
    }
    let conversation = if store::was_said(&state.db, *id, &sender, &text).await? {
        conversation
    } else {
        store::set_last(&state.db, *id, &sender, &text, state.clock.now()).await?.ok_or(wire::NOT_FOUND)?
    };
    Ok(wire::changed(&conversation))
}
