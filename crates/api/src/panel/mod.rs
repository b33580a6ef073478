//! The administrators' pages at `/admin`: what the admin API answers, made for people.
//!
//! The pages are a client of the API that lives in the same process. They read by calling its handlers
//! ([`source`]) and show the JSON that comes back, so that nobody sees or may do here what the API would refuse
//! them; whatever changes something, the browser sends to the API itself. Pages come whole from the server; a script
//! draws the charts and asks before it acts. Nothing is loaded from elsewhere.

mod assets;
mod chart;
mod frame;
mod handlers;
mod home;
mod letters;
mod lists;
mod source;
mod table;
mod values;

use actix_web::{middleware::from_fn, web};

use crate::identity::contain;

/// Mounts the pages. They stand in no table of routes, since `openapi.yaml` is about the API.
pub(crate) fn mount(app: &mut web::ServiceConfig) {
    let page = |path: &str| web::resource(path.to_owned()).wrap(from_fn(contain));
    app.service(page("/admin").route(web::get().to(handlers::home)))
        .service(page("/admin/").route(web::get().to(handlers::to_home)))
        .service(page("/admin/sign-in").route(web::get().to(handlers::sign_in)))
        .service(page("/admin/assets/{file}").route(web::get().to(assets::serve)))
        .service(page("/admin/letters").route(web::get().to(handlers::letters)))
        .service(page("/admin/letters/{name}").route(web::get().to(handlers::letter)))
        .service(page("/admin/letters/{name}/shown").route(web::get().to(handlers::letter_shown)))
        .service(page("/admin/disputes/{id}").route(web::get().to(handlers::dispute)))
        .service(page("/admin/{list}").route(web::get().to(handlers::list)));
}
