use std::sync::Arc;

use actix_web::{FromRequest as _, HttpRequest, HttpResponse, Responder, web};
use shared::{
    chat::{self, Saying, Via},
    id::Id,
    model::Conversation,
};

use super::{store, wire};
use crate::{
    conversations,
    error::{Error, Result},
    extract::{AnyPathId, Json, PathId, Query},
    idempotency::{self, Given, Key},
    identity::Caller,
    media::{self, CheckedImage, Folder, Form, FormLimits},
    paging::{Listed, Page},
    state::State,
};

/// A message shows one picture.
const PICTURE: FormLimits = FormLimits { file_fields: &["images"], max_files: 1 };

/// `POST /api/messages/create-new-message`: one of the two members says something, as JSON, or as a
/// form with a picture.
pub(super) async fn send(
    caller: Caller,
    key: Key,
    request: HttpRequest,
    payload: web::Payload,
    state: State,
) -> Result<HttpResponse> {
    caller.act_as_anybody()?;
    let (words, picture) = read(&request, payload).await?;
    let sender = words.sender()?;
    caller.act_as_member(&sender)?;
    let conversation = words.conversation()?;
    let text = words.text(picture.is_some())?;
    let now = state.clock.now();
    let meaning = (conversation, &text, key.contents(picture.as_slice()).await?);
    let memory = key.memory("create-message", &sender, &meaning, now);
    if let Some(answer) = idempotency::recall(&state.db, memory.as_ref()).await? {
        return Ok(answer.into());
    }
    let members =
        conversations::store::find(&state.db, conversation).await?.ok_or(wire::NO_CONVERSATION)?.members;
    if !members.contains(&sender) {
        return Err(Error::from(wire::NOT_A_MEMBER));
    }

    let picture = match picture {
        Some(image) => Some(media::keep(&state, Folder::Messages, image).await?),
        None => None,
    };
    let unused = picture.clone();
    let saying: Arc<[Saying]> = Arc::new([Saying { conversation, sender, text, picture, at: now }]);
    let (db, config) = (state.db.clone(), Arc::clone(&state.config));
    let turn = state.db.turn(conversation).await;
    let given = idempotency::once(&state.db, memory, move |session| {
        let (db, config, saying) = (db.clone(), Arc::clone(&config), Arc::clone(&saying));
        Box::pin(async move {
            let recorded = chat::record_in(&db, session, Via::Rest, &saying).await?;
            let recorded = recorded.into_iter().flatten().next().ok_or(wire::NO_CONVERSATION)?;
            wire::sent(&config, &recorded.message)
        })
    })
    .await;
    drop(turn);
    // After any other failure it may be stored all the same, so the picture stays.
    if matches!(given, Ok(Given::Again(_)) | Err(Error::Refused(_))) {
        media::discard(&state, unused.as_slice()).await;
    }
    Ok(given?.into())
}

async fn read(
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<(wire::NewMessage, Option<CheckedImage>)> {
    if !media::is_form(request) {
        let words = Json::<wire::NewMessage>::from_request(request, &mut payload.into_inner()).await?;
        return Ok((words.0, None));
    }
    let mut form = Form::read(request, payload, PICTURE).await?;
    let words = wire::NewMessage {
        conversation_id: form.text("conversationId"),
        sender: form.text("sender"),
        text: form.verbatim("text").map(str::to_owned),
    };
    Ok((words, form.take_image("images")))
}

/// `GET /api/messages/get-all-messages/{id}`: everything said in a conversation, oldest first. The first page
/// of it is what was said last. An unknown conversation has no messages.
pub(super) async fn list(
    caller: Caller,
    id: AnyPathId<Conversation>,
    query: Query,
    state: State,
) -> Result<impl Responder> {
    caller.act_as_anybody()?;
    let nothing = || {
        let nothing = Listed::nothing(Page::read(&query)?.as_ref());
        Ok(wire::list(&state.config, &Conversation::default(), nothing))
    };
    let Some(id) = id.0 else { return nothing() };
    let Some(conversation) = conversations::store::find(&state.db, id).await? else {
        return nothing();
    };
    let own = [caller.user.map(Id::hex), caller.shop.map(Id::hex)];
    if !caller.is_accepted_bare() && !own.iter().flatten().any(|id| conversation.members.contains(id)) {
        return Err(Error::from(wire::NOT_A_MEMBER));
    }
    let page = Page::read(&query)?;
    let messages = store::of_conversation(&state.db, id, page.as_ref()).await?;
    Ok(wire::list(&state.config, &conversation, messages))
}

/// `PUT /api/messages/mark-as-seen/{id}`: a member has seen what the other has said in a conversation, up
/// to a message or all of it.
pub(super) async fn mark_as_seen(
    caller: Caller,
    id: PathId<Conversation>,
    body: Json<wire::Seen>,
    state: State,
) -> Result<impl Responder> {
    let (reader, message) = body.0.checked()?;
    caller.act_as_member(&reader)?;
    let conversation = conversations::store::find(&state.db, *id).await?.ok_or(wire::NO_CONVERSATION)?;
    if !conversation.members.contains(&reader) {
        return Err(Error::from(wire::NOT_A_MEMBER));
    }
    let seen = chat::mark_seen(&state.db, *id, &reader, message, state.clock.now()).await?;
    Ok(wire::seen(&seen.ok_or(wire::NO_MESSAGE)?, &reader))
}
