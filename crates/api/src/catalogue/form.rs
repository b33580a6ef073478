//! Reading what a seller sends: a form with pictures, or JSON for a change without any.

use actix_web::{FromRequest as _, HttpRequest, web};

use super::{
    rules::{Entered, IMAGES_MAX},
    wire,
};
use crate::{
    error::{Error, Result},
    extract::{Json, is_json, parse_json},
    media::{Form, FormLimits},
};

const LIMITS: FormLimits = FormLimits { file_fields: &["images"], max_files: IMAGES_MAX };

/// A form as it came in. The pictures stay in it until they are taken: it accounts for their memory.
pub(super) struct Submission {
    /// The shop that it is meant for.
    pub(super) shop: Option<String>,
    /// The text fields.
    pub(super) entered: Entered,
    /// Names of the pictures to keep, in a change.
    pub(super) keep: Option<Vec<String>>,
    /// New pictures.
    pub(super) form: Form,
}

/// Reads a multipart form completely.
pub(super) async fn read(request: &HttpRequest, payload: web::Payload) -> Result<Submission> {
    let form = Form::read(request, payload, LIMITS).await?;
    let keep = match form.text("keepImages") {
        Some(text) => Some(
            parse_json(text.as_bytes())
                .or(Err(Error::field("keepImages", "must be a JSON array of picture names (public_id)")))?,
        ),
        None => None,
    };
    let price = |name| form.text(name).filter(|text| text != "Choose");
    let entered = Entered {
        name: form.text("name"),
        description: form.text("description"),
        category: form.text("category"),
        tags: form.text("tags"),
        original_price: price("originalPrice").map(Some),
        price: price("discountPrice"),
        stock: form.text("stock"),
        starts_at: form.text("start_date"),
        ends_at: form.text("end_date"),
    };
    Ok(Submission { shop: form.text("shopeId"), entered, keep, form })
}

/// Reads a change, which needs no form if it brings no pictures.
pub(super) async fn read_change(request: &HttpRequest, payload: web::Payload) -> Result<Submission> {
    if !is_json(request) {
        return read(request, payload).await;
    }
    let mut change = Json::<wire::Change>::from_request(request, &mut payload.into_inner()).await?.0;
    let keep = change.keep.take();
    Ok(Submission { shop: None, entered: change.into(), keep, form: Form::default() })
}
