//! Jobs of the outbox that were given up: seen, and put back. What a job is about is not shown: mails carry links that
//! open accounts.

use actix_web::HttpResponse;
use serde::Serialize;
use shared::{
    clock::iso,
    model::{Outbox, Party},
};

use super::page::{Order, Page, Wanted};
use crate::{
    audit_log::{Action, Event},
    dead_letters::{self, Job},
    error::{Refusal, Result},
    extract::{PathId, Query},
    identity::Admin,
    routes::{Route, get, put},
    state::State,
};

pub(crate) fn routes() -> Vec<Route> {
    vec![get("/dead-letters", list), put("/dead-letters/{id}/retry", retry)]
}

/// In which orders they can be read.
pub(crate) const ORDERS: [Order; 2] = [Order::OLDEST, Order::NEWEST];

const NOT_FOUND: Refusal =
    Refusal::not_found("job_not_found", "There is no such job: it was carried out, or never asked for");

/// A job, without what it is about.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobReply {
    #[serde(rename = "_id")]
    id: String,
    kind: String,
    attempts: i64,
    created_at: String,
    due_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

impl From<Job> for JobReply {
    fn from(job: Job) -> Self {
        Self {
            id: job.id.hex(),
            kind: job.kind,
            attempts: job.attempts,
            created_at: iso(job.created_at),
            due_at: iso(job.due_at),
            last_error: job.last_error,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Jobs {
    success: bool,
    jobs: Vec<JobReply>,
    total: u64,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Retried {
    success: bool,
    message: &'static str,
    job: JobReply,
}

/// `GET /api/admin/dead-letters`: what was tried again and again, and given up.
pub(crate) async fn list(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    let wanted = Wanted::read(&query, &ORDERS, ())?;
    let found = dead_letters::page(&state.db, &wanted).await?;
    let Page { items: jobs, total, next: next_cursor } = found.map(Into::into);
    Ok(HttpResponse::Ok().json(Jobs { success: true, jobs, total, next_cursor }))
}

/// `PUT /api/admin/dead-letters/{id}/retry`: has it tried again, as if it were new.
async fn retry(admin: Admin, id: PathId<Outbox>, state: State) -> Result<HttpResponse> {
    let event = Event::done(Action::RetryDeadLetters, admin.party()).about(Party::new("job", *id));
    let entry = state.audit_log.entry(event);
    let put_back = dead_letters::put_back(&state.db, *id, &entry, state.clock.now()).await?;
    let (job, changed) = put_back.ok_or(NOT_FOUND)?;
    state.outbox.wake();
    let message = if changed { "It is tried again now" } else { "Nothing to do: it is being tried" };
    Ok(HttpResponse::Ok().json(Retried { success: true, message, job: job.into() }))
}
