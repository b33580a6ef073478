//! A request that creates something may be repeated under its `Idempotency-Key`: it then has no
//! further effect and gets the first answer again, byte for byte.
//!
//! The answer is stored in the transaction that creates what it tells of, so that a crash leaves both
//! or neither, and of several requests at once, on any nodes, one is first. Only successes are
//! remembered: what was refused may be tried again under the same key. Without the header nothing is
//! stored and nothing costs more than it would.

use std::{
    fmt::{Debug, Display},
    io,
    sync::Arc,
    time::Duration,
};

use actix_web::{FromRequest, HttpRequest, HttpResponse, dev::Payload, http::StatusCode};
use bson::doc;
use mongodb::{ClientSession, Collection};
use serde::Serialize;
use shared::{
    auth::{Hasher, digest, one_time_token, read_digest},
    clock::{Timestamp, plus},
    db::{Db, TxFuture},
    model::RememberedAnswer,
};

use crate::{
    error::{Error, Refusal, Result},
    identity::request_id,
    media::CheckedImage,
};

/// How long an answer is kept for a caller's own key.
const KEY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

const KEY_REUSED: Refusal = Refusal::new(
    StatusCode::UNPROCESSABLE_ENTITY,
    "idempotency_key_reused",
    "This Idempotency-Key was used for another request; please use a new key",
);

/// The caller's `Idempotency-Key`, if there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Key(Option<String>);

impl FromRequest for Key {
    type Error = Error;
    type Future = std::future::Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut values = request.headers().get_all("idempotency-key");
        let key = match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => match value.to_str().map(str::trim) {
                Ok(key) if (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) => {
                    Ok(Some(key.to_owned()))
                }
                _ => Err("must have 1 to 255 visible ASCII characters"),
            },
            (Some(_), Some(_)) => Err("must be given once"),
        };
        std::future::ready(key.map(Self).map_err(|why| Error::field("Idempotency-Key", why)))
    }
}

impl Key {
    const fn is_given(&self) -> bool {
        self.0.is_some()
    }

    /// Under which name the answer to a request is remembered: keys are each caller's own, on each
    /// route. `meaning` is all that makes one request another, as far as it was understood: the bytes
    /// of a form differ from one try to the next. Nothing without a key.
    pub(crate) fn memory(
        &self,
        route: &str,
        caller: impl Display,
        meaning: &impl Debug,
        now: Timestamp,
    ) -> Option<Memory> {
        let key = self.0.as_deref()?;
        let id = format!("{route}:{caller}:key:{}", digest(key));
        Some(Memory::new(id, fingerprint(meaning), KEY_LIFE, now))
    }

    /// What pictures mean: digests of their content. Nothing without a key, when nobody asks.
    pub(crate) async fn contents(&self, pictures: &[CheckedImage]) -> Result<Vec<String>> {
        if pictures.is_empty() || !self.is_given() {
            return Ok(Vec::new());
        }
        let pictures: Vec<_> = pictures.iter().map(|picture| picture.content.reader()).collect();
        // Up to 30 MB: too long to keep other requests waiting.
        let digests = tokio::task::spawn_blocking(move || {
            pictures.into_iter().map(read_digest).collect::<io::Result<_>>()
        });
        let digests = digests.await.map_err(|lost| Error::Unexpected(lost.into()))?;
        digests
            .map_err(|cause| Error::Unexpected(anyhow::Error::new(cause).context("reading back a picture")))
    }

    /// What a password means. It is hashed as slowly as for keeping it: somebody who reads the
    /// database must not find a faster way to guess it. Nothing without a key.
    pub(crate) async fn password(&self, hasher: &Hasher, password: &str) -> Result<String> {
        match &self.0 {
            Some(key) => Ok(hasher.fingerprint(password.to_owned(), key).await?),
            None => Ok(String::new()),
        }
    }
}

/// A digest of what a request means.
pub(crate) fn fingerprint(meaning: &impl Debug) -> String {
    digest(&format!("{meaning:?}"))
}

/// Under which name an answer is remembered, for which request, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) id: String,
    fingerprint: String,
    now: Timestamp,
    expires_at: Timestamp,
    /// This very request among its repetitions.
    request: String,
}

impl Memory {
    pub(crate) fn new(id: String, fingerprint: String, life: Duration, now: Timestamp) -> Self {
        let millis = i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
        Self { id, fingerprint, now, expires_at: plus(now, millis), request: request_id() }
    }

    /// The answer to be given again, if it still counts; the same key for another request is a mistake.
    pub(crate) fn recall(&self, remembered: &RememberedAnswer) -> Result<Option<Answer>> {
        if remembered.expires_at <= self.now {
            Ok(None)
        } else if remembered.fingerprint == self.fingerprint {
            Ok(Some(Answer { status: remembered.status, body: remembered.answer.clone() }))
        } else {
            Err(KEY_REUSED.into())
        }
    }

    /// What is to be stored so that this answer is given again.
    pub(crate) fn remembered(&self, answer: Answer) -> RememberedAnswer {
        RememberedAnswer {
            id: self.id.clone(),
            fingerprint: self.fingerprint.clone(),
            status: answer.status,
            answer: answer.body,
            request: self.request.clone(),
            expires_at: self.expires_at,
        }
    }
}

/// An answer as it is sent: status and JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    /// 200.
    pub(crate) fn ok(body: &impl Serialize) -> Result<Self> {
        Self::json(StatusCode::OK, body)
    }

    /// 201.
    pub(crate) fn created(body: &impl Serialize) -> Result<Self> {
        Self::json(StatusCode::CREATED, body)
    }

    fn json(status: StatusCode, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_string(body).map_err(anyhow::Error::from)?;
        Ok(Self { status: status.as_u16(), body })
    }
}

impl From<Answer> for HttpResponse {
    fn from(answer: Answer) -> Self {
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
        Self::build(status).content_type("application/json").body(answer.body)
    }
}

/// What a request that may be a repetition comes to.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    /// It has done what it asked for.
    First(Answer),
    /// It was done before, by another request; this one has changed nothing.
    Again(Answer),
}

impl From<Given> for HttpResponse {
    fn from(given: Given) -> Self {
        let (Given::First(answer) | Given::Again(answer)) = given;
        answer.into()
    }
}

/// The answer that was given before, if the request is a repetition. To be asked before anything is
/// looked up that may have changed since.
pub(crate) async fn recall(db: &Db, memory: Option<&Memory>) -> Result<Option<Answer>> {
    let Some(memory) = memory else { return Ok(None) };
    match db.of::<RememberedAnswer>().find_one(doc! { "_id": &memory.id }).await? {
        Some(remembered) => memory.recall(&remembered),
        None => Ok(None),
    }
}

/// Runs `work` in a transaction that also remembers its answer; or finds that a request like this one
/// has done so, even while this one was trying. Without a memory it is a plain transaction.
pub(crate) async fn once<F>(db: &Db, memory: Option<Memory>, work: F) -> Result<Given>
where
    F: for<'s> Fn(&'s mut ClientSession) -> TxFuture<'s, Answer, Error> + Send + Sync + 'static,
{
    let (work, memory) = (Arc::new(work), Arc::new(memory));
    let done = db
        .transaction(|session| {
            let (db, work, memory) = (db.clone(), Arc::clone(&work), Arc::clone(&memory));
            Box::pin(async move {
                let Some(memory) = &*memory else { return work(session).await.map(Given::First) };
                let answers = db.of::<RememberedAnswer>();
                let key = doc! { "_id": &memory.id };
                let remembered = answers.find_one(key.clone()).session(&mut *session).await?;
                if let Some(remembered) = &remembered
                    && let Some(answer) = memory.recall(remembered)?
                {
                    return Ok(Given::Again(answer));
                }
                let answer = work(&mut *session).await?;
                // In place of one that counts no more.
                let whole = memory.remembered(answer.clone());
                answers.replace_one(key, whole).upsert(true).session(session).await?;
                Ok(Given::First(answer))
            })
        })
        .await;
    match (done, &*memory) {
        (Err(failure), Some(memory)) => settle(db, memory, failure).await,
        (done, _) => done,
    }
}

/// A request that failed may have lost to its own repetition, on a unique index say; or it may have
/// been carried out, and the database's answer was lost. What is remembered tells.
async fn settle(db: &Db, memory: &Memory, failure: Error) -> Result<Given> {
    let Ok(Some(remembered)) = db.of::<RememberedAnswer>().find_one(doc! { "_id": &memory.id }).await else {
        return Err(failure);
    };
    match memory.recall(&remembered)? {
        Some(answer) if remembered.request == memory.request => Ok(Given::First(answer)),
        Some(answer) => Ok(Given::Again(answer)),
        None => Err(failure),
    }
}

/// Inserts one document, once. Without a memory it is a plain insert.
pub(crate) async fn insert<T>(
    db: &Db,
    collection: Collection<T>,
    memory: Option<Memory>,
    document: T,
    answer: Answer,
) -> Result<Given>
where
    T: Serialize + Send + Sync + 'static,
{
    if memory.is_none() {
        collection.insert_one(document).await?;
        return Ok(Given::First(answer));
    }
    let document = Arc::new(document);
    once(db, memory, move |session| {
        let (collection, document, answer) = (collection.clone(), Arc::clone(&document), answer.clone());
        Box::pin(async move {
            collection.insert_one(&*document).session(session).await?;
            Ok(answer)
        })
    })
    .await
}

/// Remembers an answer for which nothing had to be created.
pub(crate) async fn remember(db: &Db, memory: Option<Memory>, answer: Answer) -> Result<Given> {
    if memory.is_none() {
        return Ok(Given::First(answer));
    }
    once(db, memory, move |_| Box::pin(std::future::ready(Ok(answer.clone())))).await
}

/// The name under which another service is asked to do something once: the same for each repetition
/// of a request, and for no other. That service then remembers for us. Nothing without a key.
pub(crate) async fn name_elsewhere(db: &Db, memory: Option<Memory>) -> Result<Option<String>> {
    if memory.is_none() {
        return Ok(None);
    }
    // No answer that anybody gets, hence no status.
    let name = Answer { status: 0, body: one_time_token()? };
    let (Given::First(name) | Given::Again(name)) = remember(db, memory, name).await?;
    Ok(Some(name.body))
}

/// Has a name of [`name_elsewhere`] forgotten: what comes next is no repetition.
pub(crate) async fn forget_name(
    db: &Db,
    memory: &Memory,
    name: Option<String>,
) -> mongodb::error::Result<()> {
    // Not one that another request has been given since.
    let this = doc! { "_id": &memory.id, "answer": name };
    db.of::<RememberedAnswer>().delete_one(this).await.map(drop)
}
