use actix_web::HttpResponse;
use shared::nodes;

use super::wire;
use crate::{error::Result, identity::Admin, state::State};

/// `GET /api/admin/nodes`: those that have said something within the last hour.
pub(crate) async fn list(_: Admin, state: State) -> Result<HttpResponse> {
    let nodes = nodes::recent(&state.db, state.clock.now()).await?;
    let nodes = nodes.into_iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(wire::Nodes { success: true, nodes }))
}
