//! One function an endpoint, in route order.

use actix_web::{HttpRequest, HttpResponse, web::Payload};
use shared::{
    auth::Kind,
    model::{PendingAccount, Shop, WithdrawMethod},
};

use super::{rules, statement::Cursor, store, wire};
use crate::{
    accounts::{self, rules as account_rules, rules::Checks, wire as account_wire, with_cookies},
    error::{Error, Result},
    extract::{AnyPathId, Json, PathId, Query},
    idempotency::Key,
    identity::{Caller, Presented, Seller, ended_cookies},
    limits::ClientAddress,
    media::{Form, FormLimits},
    state::{App, State},
};

/// The sign-up form's picture.
const SIGN_UP_FORM: FormLimits = FormLimits { file_fields: &["file"], max_files: 1 };
/// Here the client calls it differently.
const AVATAR_FORM: FormLimits = FormLimits { file_fields: &["image"], max_files: 1 };

/// `POST /api/shop/create-shop`: keeps the details until the mailed link is followed.
pub(super) async fn sign_up(
    key: Key,
    request: HttpRequest,
    payload: Payload,
    state: State,
) -> Result<HttpResponse> {
    let mut form = Form::read(&request, payload, SIGN_UP_FORM).await?;
    let mut checks = Checks::default();
    let account = PendingAccount::Shop {
        address: checks.take("address", account_rules::street(form.text("address").as_deref())),
        zip_code: checks.take("zipCode", account_rules::zip_code(form.text("zipCode").as_deref())),
        phone_number: checks.take("phoneNumber", account_rules::phone(form.text("phoneNumber").as_deref())),
    };
    let details = accounts::SignUp {
        account,
        name: checks.take("name", account_rules::name(form.text("name").as_deref())),
        email: checks.take("email", account_rules::email(form.text("email").as_deref())),
        password: checks.take("password", account_rules::new_password(form.raw_text("password"))),
        picture: form.take_image("file"),
    };
    checks.finish()?;
    accounts::sign_up::<Shop>(&state, &key, details, wire::MAIL_SENT).await
}

/// `POST /api/shop/seller/activation`: opens the shop and logs its seller in. The client's page may
/// call it twice.
pub(super) async fn activate(body: Json<account_wire::Activation>, state: State) -> Result<HttpResponse> {
    let token = body.activation_token.as_deref().map(str::trim).unwrap_or_default();
    let opened = accounts::activate::<Shop>(&state, token).await?.ok_or(account_wire::LINK_EXPIRED)?;
    activated(&state, &opened)
}

/// The answer to an activation that opened a shop, whichever page it came from.
pub(crate) fn activated(app: &App, opened: &accounts::Activated<Shop>) -> Result<HttpResponse> {
    let session = opened.may_log_in.then(|| accounts::open_session(app, &opened.account)).transpose()?;
    let (token, cookies) = session.unzip();
    let seller = token.is_some().then(|| wire::SellerReply::of(&app.config, &opened.account));
    let reply = wire::Session { success: true, message: wire::VERIFIED, seller, token };
    Ok(with_cookies(HttpResponse::Created(), cookies.unwrap_or_default()).json(reply))
}

/// `POST /api/shop/shop-login`
pub(super) async fn log_in(
    address: ClientAddress,
    body: Json<account_wire::LogIn>,
    state: State,
) -> Result<HttpResponse> {
    let shop = accounts::log_in::<Shop>(&state, address, &body).await?;
    let (token, cookies) = accounts::open_session(&state, &shop)?;
    Ok(with_cookies(HttpResponse::Ok(), cookies).json(wire::Session {
        success: true,
        message: wire::VERIFIED,
        seller: Some(wire::SellerReply::of(&state.config, &shop)),
        token: Some(token),
    }))
}

/// `GET /api/shop/getSeller`: 201, as it always was.
pub(super) async fn own(seller: Seller, state: State) -> Result<HttpResponse> {
    let shop = store::find(&state.db, seller.0).await?;
    Ok(HttpResponse::Created().json(own_reply(&state, shop)?))
}

/// `GET /api/shop/balance`: every cent of it, from the ledger.
pub(super) async fn balance(Seller(shop): Seller, query: Query, state: State) -> Result<HttpResponse> {
    let before = query.cursor(Cursor::parse)?;
    let statement = store::statement(&state.db, shop, before.as_ref(), query.limit()?).await?;
    Ok(HttpResponse::Ok().json(wire::Balance::of(&state.config, statement)))
}

/// `GET /api/shop/logout-seller`: succeeds whoever calls, also with a session that is none.
pub(super) async fn log_out(caller: Caller, presented: Presented, state: State) -> Result<HttpResponse> {
    caller.asks_itself()?;
    accounts::end_session::<Shop>(&state, &presented.0).await?;
    Ok(with_cookies(HttpResponse::Ok(), ended_cookies(&state.config, Kind::Seller))
        .json(wire::LoggedOut { message: wire::LOGGED_OUT }))
}

/// `PUT /api/shop/logout-everywhere`
pub(super) async fn log_out_everywhere(seller: Seller, state: State) -> Result<HttpResponse> {
    accounts::end_sessions::<Shop>(&state, seller.0).await?;
    Ok(with_cookies(HttpResponse::Ok(), ended_cookies(&state.config, Kind::Seller))
        .json(account_wire::LOGGED_OUT_EVERYWHERE))
}

/// `PUT /api/shop/update-seller-avatar`
pub(super) async fn update_avatar(
    seller: Seller,
    request: HttpRequest,
    payload: Payload,
    state: State,
) -> Result<HttpResponse> {
    let mut form = Form::read(&request, payload, AVATAR_FORM).await?;
    let shop = accounts::replace_avatar::<Shop>(&state, seller.0, form.take_image("image")).await?;
    Ok(HttpResponse::Ok().json(own_reply(&state, Some(shop))?))
}

/// `GET /api/shop/get-shop-info/{id}`: a shop's public page. Its owner finds the balance on it; the
/// client asks for that without a cookie, so a bare call is told where the mode accepts one.
pub(super) async fn page(caller: Caller, id: PathId<Shop>, state: State) -> Result<HttpResponse> {
    let shop = store::find(&state.db, *id).await?.ok_or(wire::SHOP_NOT_FOUND)?;
    let may_see_balance = caller.shop == Some(shop.id) || caller.is_accepted_bare();
    let seller_info = wire::PageShop {
        shop: wire::ShopReply::of(&state.config, &shop),
        available_balance: may_see_balance.then(|| wire::balance(&shop)),
    };
    Ok(HttpResponse::Ok().json(wire::Page { success: true, seller_info }))
}

/// `PUT /api/shop/updateSellerInfo`
pub(super) async fn update(seller: Seller, body: Json<wire::Update>, state: State) -> Result<HttpResponse> {
    let mut checks = Checks::default();
    let changes = store::Changes {
        name: body.name.as_deref().map(|name| checks.take("name", account_rules::name(Some(name)))),
        description: body
            .description
            .as_deref()
            .map(|description| checks.take("description", rules::description(description))),
        address: body
            .address
            .as_deref()
            .map(|address| checks.take("address", account_rules::street(Some(address)))),
        zip_code: body
            .zip_code
            .as_deref()
            .map(|zip| checks.take("zipCode", account_rules::zip_code(Some(zip)))),
        phone_number: body
            .phone_number
            .as_deref()
            .map(|phone| checks.take("phoneNumber", account_rules::phone(Some(phone)))),
    };
    checks.finish()?;
    let shop = store::update(&state.db, seller.0, &changes).await?;
    Ok(HttpResponse::Ok().json(own_reply(&state, shop)?))
}

/// `GET /api/shop/seller-info/{id}`: a shop as its customers see it. The client may ask for
/// `undefined`; that is none.
pub(super) async fn info(id: AnyPathId<Shop>, state: State) -> Result<HttpResponse> {
    let shop = match id.0 {
        Some(id) => store::find_public(&state.db, id).await?,
        None => None,
    };
    let seller = shop.map(|shop| wire::ShopReply::of(&state.config, &shop));
    Ok(HttpResponse::Created().json(wire::Info { success: true, seller }))
}

/// `PUT /api/shop/update-payment-methods`: where withdrawals go.
pub(super) async fn set_withdraw_method(
    seller: Seller,
    body: Json<wire::NewWithdrawMethod>,
    state: State,
) -> Result<HttpResponse> {
    let Some(given) = &body.withdraw_method else {
        return Err(Error::field("withdrawMethod", "must hold the bank details"));
    };
    let mut checks = Checks::default();
    let mut text = |field: &str, value: &Option<String>| {
        checks.take(&format!("withdrawMethod.{field}"), rules::bank_text(value.as_deref()))
    };
    let mut method = WithdrawMethod {
        bank_name: text("bankName", &given.bank_name),
        bank_country: text("bankCountry", &given.bank_country),
        bank_swift_code: text("bankSwiftCode", &given.bank_swift_code),
        bank_holder_name: text("bankHolderName", &given.bank_holder_name),
        bank_address: text("bankAddress", &given.bank_address),
        ..WithdrawMethod::default()
    };
    method.bank_account_number = checks.take(
        "withdrawMethod.bankAccountNumber",
        rules::account_number(given.bank_account_number.as_deref()),
    );
    checks.finish()?;
    let shop = store::set_withdraw_method(&state.db, seller.0, Some(&method)).await?;
    Ok(HttpResponse::Created().json(own_reply(&state, shop)?))
}

/// `DELETE /api/shop/delete-withdraw-method`
pub(super) async fn delete_withdraw_method(seller: Seller, state: State) -> Result<HttpResponse> {
    let shop = store::set_withdraw_method(&state.db, seller.0, None).await?;
    Ok(HttpResponse::Created().json(own_reply(&state, shop)?))
}

/// `PUT /api/shop/updatePassword`: ends every session but the one that asks.
pub(super) async fn change_password(
    seller: Seller,
    body: Json<account_wire::PasswordChange>,
    state: State,
) -> Result<HttpResponse> {
    let shop = accounts::change_password::<Shop>(&state, seller.0, &body).await?;
    let (_, cookies) = accounts::open_session(&state, &shop)?;
    Ok(with_cookies(HttpResponse::Ok(), cookies).json(account_wire::PASSWORD_CHANGED))
}

/// `POST /api/shop/forgot-password`: answers the same whether or not there is such a shop.
pub(super) async fn forgot_password(
    body: Json<account_wire::ForgotPassword>,
    state: State,
) -> Result<HttpResponse> {
    accounts::ask_for_reset::<Shop>(&state, &body).await?;
    Ok(HttpResponse::Ok().json(account_wire::RESET_MAIL_SENT))
}

/// `PUT /api/shop/reset-password`
pub(super) async fn reset_password(
    body: Json<account_wire::PasswordReset>,
    state: State,
) -> Result<HttpResponse> {
    accounts::reset_password::<Shop>(&state, &body).await?;
    Ok(HttpResponse::Ok().json(account_wire::PASSWORD_CHANGED))
}

/// One's own shop; 401 if it is gone since the session was checked.
fn own_reply(app: &App, shop: Option<Shop>) -> Result<wire::Own> {
    let shop = shop.ok_or(Error::Unauthenticated)?;
    Ok(wire::Own { success: true, seller: wire::SellerReply::of(&app.config, &shop) })
}
