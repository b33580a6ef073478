use actix_web::HttpResponse;
use serde::Serialize;
use shared::model::Status;

use super::store::{self, ORDERS, OrderFilter, PaymentState};
use crate::{
    admin::page::{self, Page, Wanted},
    error::Result,
    extract::Query,
    identity::Admin,
    orders::wire::OrderReply,
    state::State,
};

/// `GET /api/admin/orders`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Orders {
    success: bool,
    orders: Vec<OrderReply>,
    total: u64,
    next_cursor: Option<String>,
}

/// `GET /api/admin/orders`: every order, as its buyer sees it.
pub(crate) async fn list(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    let filter = OrderFilter {
        q: page::search(&query)?,
        status: page::choice(&query, "status", &Status::ALL.map(|status| (status.text(), status)))?,
        shop: page::id(&query, "shop")?,
        buyer: page::id(&query, "buyer")?,
        payment: page::choice(&query, "payment", &PaymentState::ALL)?,
        from: page::moment(&query, "from")?,
        to: page::moment(&query, "to")?,
    };
    let wanted = Wanted::read(&query, &ORDERS, filter)?;
    let found = store::orders(&state.db, &wanted).await?;
    let Page { items: orders, total, next: next_cursor } =
        found.map(|order| OrderReply::of(&state.config, order));
    Ok(HttpResponse::Ok().json(Orders { success: true, orders, total, next_cursor }))
}
