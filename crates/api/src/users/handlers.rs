//! One function an endpoint, in route order.

use actix_web::{HttpRequest, HttpResponse, web::Payload};
use shared::{
    auth::Kind,
    id::Id,
    model::{Address, PendingAccount, Shop, User},
};

use super::{rules, store, wire};
use crate::{
    accounts::{self, rules as account_rules, rules::Checks, wire as account_wire, with_cookies},
    error::{Error, Result},
    extract::{AnyPathId, Json, PathId},
    idempotency::Key,
    identity::{Buyer, Caller, Presented, ended_cookies},
    limits::ClientAddress,
    media::{Form, FormLimits},
    shops,
    state::{App, State},
};

/// The one picture that a form of this domain carries.
const PICTURE: &str = "file";
const FORM: FormLimits = FormLimits { file_fields: &[PICTURE], max_files: 1 };

/// `POST /api/user/create-user`: keeps the details until the mailed link is followed.
pub(super) async fn sign_up(
    key: Key,
    request: HttpRequest,
    payload: Payload,
    state: State,
) -> Result<HttpResponse> {
    let mut form = Form::read(&request, payload, FORM).await?;
    let mut checks = Checks::default();
    let details = accounts::SignUp {
        account: PendingAccount::User,
        name: checks.take("name", account_rules::name(form.text("name").as_deref())),
        email: checks.take("email", account_rules::email(form.text("email").as_deref())),
        password: checks.take("password", account_rules::new_password(form.raw_text("password"))),
        picture: form.take_image(PICTURE),
    };
    checks.finish()?;
    accounts::sign_up::<User>(&state, &key, details, wire::MAIL_SENT).await
}

/// `POST /api/user/activation`: turns a sign-up into an account and logs in. The client's page may
/// call it twice. A shop's link that ended up here opens the shop.
pub(super) async fn activate(body: Json<account_wire::Activation>, state: State) -> Result<HttpResponse> {
    let token = body.activation_token.as_deref().map(str::trim).unwrap_or_default();
    if let Some(activated) = accounts::activate::<User>(&state, token).await? {
        let session =
            activated.may_log_in.then(|| accounts::open_session(&state, &activated.account)).transpose()?;
        let (token, cookies) = session.unzip();
        let user = token.is_some().then(|| wire::UserReply::of(&state.config, &activated.account));
        let reply = wire::Session { success: true, message: wire::VERIFIED, user, token };
        return Ok(with_cookies(HttpResponse::Created(), cookies.unwrap_or_default()).json(reply));
    }
    match accounts::activate::<Shop>(&state, token).await? {
        Some(activated) => shops::activated(&state, &activated),
        None => Err(account_wire::LINK_EXPIRED.into()),
    }
}

/// `POST /api/user/login-user`
pub(super) async fn log_in(
    address: ClientAddress,
    body: Json<account_wire::LogIn>,
    state: State,
) -> Result<HttpResponse> {
    let user = accounts::log_in::<User>(&state, address, &body).await?;
    let (token, cookies) = accounts::open_session(&state, &user)?;
    Ok(with_cookies(HttpResponse::Ok(), cookies).json(wire::Session {
        success: true,
        message: wire::VERIFIED,
        user: Some(wire::UserReply::of(&state.config, &user)),
        token: Some(token),
    }))
}

/// `GET /api/user/getUser`: 201, as it always was.
pub(super) async fn own(buyer: Buyer, state: State) -> Result<HttpResponse> {
    let user = store::find(&state.db, buyer.0).await?.ok_or(Error::Unauthenticated)?;
    Ok(HttpResponse::Created().json(own_reply(&state, &user)))
}

/// `GET /api/user/logout`: succeeds whoever calls, also with a session that is none.
pub(super) async fn log_out(caller: Caller, presented: Presented, state: State) -> Result<HttpResponse> {
    caller.asks_itself()?;
    accounts::end_session::<User>(&state, &presented.0).await?;
    Ok(with_cookies(HttpResponse::Ok(), ended_cookies(&state.config, Kind::User))
        .json(account_wire::Done::saying(wire::LOGGED_OUT)))
}

/// `PUT /api/user/logout-everywhere`
pub(super) async fn log_out_everywhere(buyer: Buyer, state: State) -> Result<HttpResponse> {
    accounts::end_sessions::<User>(&state, buyer.0).await?;
    Ok(with_cookies(HttpResponse::Ok(), ended_cookies(&state.config, Kind::User))
        .json(account_wire::LOGGED_OUT_EVERYWHERE))
}

/// `PUT /api/user/updateUserInfo`: the account is the session's, never the body's e-mail address'.
pub(super) async fn update(buyer: Buyer, body: Json<wire::Update>, state: State) -> Result<HttpResponse> {
    let mut checks = Checks::default();
    let name = body.name.as_deref().map(|name| checks.take("name", account_rules::name(Some(name))));
    let phone_number = body
        .phone_number
        .as_deref()
        .map(|phone| checks.take("phoneNumber", account_rules::phone(Some(phone))));
    checks.finish()?;
    let user = store::find(&state.db, buyer.0).await?.ok_or(Error::Unauthenticated)?;
    if !accounts::is_password_of(&state, &user, body.password.as_deref()).await? {
        return Err(account_wire::WRONG_PASSWORD.into());
    }
    if body.email.as_deref().is_some_and(|email| !rules::is_same_email(&user.email, email)) {
        return Err(Error::field("email", wire::EMAIL_FIXED));
    }
    let user = store::update(&state.db, buyer.0, name.as_deref(), phone_number).await?;
    Ok(HttpResponse::Ok().json(own_reply(&state, &user.ok_or(Error::Unauthenticated)?)))
}

/// `PUT /api/user/update-user-avatar`
pub(super) async fn update_avatar(
    buyer: Buyer,
    request: HttpRequest,
    payload: Payload,
    state: State,
) -> Result<HttpResponse> {
    let mut form = Form::read(&request, payload, FORM).await?;
    let picture = form.take_image(PICTURE);
    let user = accounts::replace_avatar::<User>(&state, buyer.0, picture).await?;
    let exist_user = wire::UserReply::of(&state.config, &user);
    Ok(HttpResponse::Ok().json(wire::WithNewAvatar { success: true, exist_user }))
}

/// `PUT /api/user/userAddressUpadte`: adds an address, one of each type.
pub(super) async fn add_address(
    buyer: Buyer,
    body: Json<wire::NewAddress>,
    state: State,
) -> Result<HttpResponse> {
    let mut checks = Checks::default();
    let zip = body.zip_code.as_deref();
    let address = Address {
        id: Id::new(),
        country: checks.take("country", rules::region(body.country.as_deref())),
        city: checks.take("city", rules::region(body.city.as_deref())),
        address1: checks.take("address1", account_rules::street(body.address1.as_deref())),
        address2: checks.take("address2", account_rules::street(body.address2.as_deref())),
        zip_code: zip.map(|zip| checks.take("zipCode", account_rules::zip_code(Some(zip)))),
        kind: checks.take(
            "addressType",
            account_rules::line(body.kind.as_deref(), 50, "must have from 1 to 50 characters"),
        ),
    };
    checks.finish()?;
    if let Some(user) = store::add_address(&state.db, buyer.0, &address).await? {
        return Ok(HttpResponse::Ok().json(own_reply(&state, &user)));
    }
    let user = store::find(&state.db, buyer.0).await?.ok_or(Error::Unauthenticated)?;
    if user.addresses.iter().any(|known| known.kind == address.kind) {
        let message = format!("{} address already exist", address.kind);
        return Err(wire::ADDRESS_TYPE_TAKEN.saying(message).into());
    }
    Err(wire::TOO_MANY_ADDRESSES.into())
}

/// `DELETE /api/user/delete-address/{id}`: an id that is not there removes nothing, and succeeds.
pub(super) async fn delete_address(buyer: Buyer, id: PathId<Address>, state: State) -> Result<HttpResponse> {
    let user = store::delete_address(&state.db, buyer.0, *id).await?.ok_or(Error::Unauthenticated)?;
    Ok(HttpResponse::Ok().json(own_reply(&state, &user)))
}

/// `PUT /api/user/updatePassword`: ends every session but the one that asks.
pub(super) async fn change_password(
    buyer: Buyer,
    body: Json<account_wire::PasswordChange>,
    state: State,
) -> Result<HttpResponse> {
    let user = accounts::change_password::<User>(&state, buyer.0, &body).await?;
    let (_, cookies) = accounts::open_session(&state, &user)?;
    Ok(with_cookies(HttpResponse::Ok(), cookies).json(account_wire::PASSWORD_CHANGED))
}

/// `POST /api/user/forgot-password`: answers the same whether or not there is such an account.
pub(super) async fn forgot_password(
    body: Json<account_wire::ForgotPassword>,
    state: State,
) -> Result<HttpResponse> {
    accounts::ask_for_reset::<User>(&state, &body).await?;
    Ok(HttpResponse::Ok().json(account_wire::RESET_MAIL_SENT))
}

/// `PUT /api/user/reset-password`
pub(super) async fn reset_password(
    body: Json<account_wire::PasswordReset>,
    state: State,
) -> Result<HttpResponse> {
    accounts::reset_password::<User>(&state, &body).await?;
    Ok(HttpResponse::Ok().json(account_wire::PASSWORD_CHANGED))
}

/// `GET /api/user/user-info/{id}`: name and picture, for whoever chats with them. The client may ask
/// for `undefined`; that is nobody.
pub(super) async fn info(caller: Caller, id: AnyPathId<User>, state: State) -> Result<HttpResponse> {
    caller.act_as_anybody()?;
    let user = match id.0 {
        Some(id) => store::public(&state.db, id).await?,
        None => None,
    };
    let user = user.map(|user| wire::PublicUser::of(&state.config, &user));
    Ok(HttpResponse::Created().json(wire::Info { success: true, user }))
}

fn own_reply(app: &App, user: &User) -> wire::Own {
    wire::Own { success: true, user: wire::UserReply::of(&app.config, user) }
}
