use actix_web::{FromRequest as _, HttpRequest, Responder, web};
use shared::{
    chat::{self, Saying, Via},
    id::Id,
    model::Conversation,
};

use super::{store, wire};
use crate::{
    conversations,
    error::{Error, Result},
    extract::{AnyPathId, Json},
    identity::Caller,
    media::{self, CheckedImage, Folder, Form, FormLimits},
    state::State,
};

/// A message shows one picture.
const PICTURE: FormLimits = FormLimits { file_fields: &["images"], max_files: 1 };

/// `POST /api/messages/create-new-message`: one of the two members says something, as JSON, or as a
/// form with a picture.
pub(super) async fn send(
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
    state: State,
) -> Result<impl Responder> {
    caller.act_as_anybody()?;
    let (words, picture) = read(&request, payload).await?;
    let sender = words.sender()?;
    caller.act_as_member(&sender)?;
    let conversation = words.conversation()?;
    let text = words.text(picture.is_some())?;
    let members =
        conversations::store::find(&state.db, conversation).await?.ok_or(wire::NO_CONVERSATION)?.members;
    if !members.contains(&sender) {
        return Err(Error::from(wire::NOT_A_MEMBER));
    }

    let picture = match picture {
        Some(image) => Some(media::keep(&state, Folder::Messages, image).await?),
        None => None,
    };
    let saying = Saying { conversation, sender, text, picture };
    // After a failure it may be stored all the same, so the picture stays.
    let recorded = chat::record(&state.db, Via::Rest, &saying, state.clock.now()).await?;
    let Some(recorded) = recorded else {
        media::discard(&state, saying.picture.as_slice()).await;
        return Err(Error::from(wire::NO_CONVERSATION));
    };
    Ok(wire::sent(&state.config, &recorded.message))
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

/// `GET /api/messages/get-all-messages/{id}`: everything said in a conversation, oldest first. An
/// unknown conversation has no messages.
pub(super) async fn list(
    caller: Caller,
    id: AnyPathId<Conversation>,
    state: State,
) -> Result<impl Responder> {
    caller.act_as_anybody()?;
    let Some(id) = id.0 else { return Ok(wire::list(&state.config, &[])) };
    let Some(conversation) = conversations::store::find(&state.db, id).await? else {
        return Ok(wire::list(&state.config, &[]));
    };
    let own = [caller.user.map(Id::hex), caller.shop.map(Id::hex)];
    if !caller.is_accepted_bare() && !own.iter().flatten().any(|id| conversation.members.contains(id)) {
        return Err(Error::from(wire::NOT_A_MEMBER));
    }
    Ok(wire::list(&state.config, &store::of_conversation(&state.db, id).await?))
}
