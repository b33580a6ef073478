//! Shoppers: their accounts, profiles, pictures and delivery addresses. What they share with shops
//! (signing up, logging in, passwords) is in [`crate::accounts`].

mod handlers;
mod rules;
pub(crate) mod store;
pub(crate) mod wire;

use crate::{
    limits::Limit,
    routes::{Route, delete, get, post, put},
};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        post("/create-user", handlers::sign_up).under(Limit::SignUp),
        post("/activation", handlers::activate).under(Limit::Activation),
        post("/login-user", handlers::log_in).failures_under(Limit::LogIn),
        get("/getUser", handlers::own),
        get("/logout", handlers::log_out),
        put("/logout-everywhere", handlers::log_out_everywhere),
        put("/updateUserInfo", handlers::update).under(Limit::Password),
        put("/update-user-avatar", handlers::update_avatar).under(Limit::Upload),
        put("/userAddressUpadte", handlers::add_address),
        delete("/delete-address/{id}", handlers::delete_address),
        put("/updatePassword", handlers::change_password).under(Limit::Password),
        post("/forgot-password", handlers::forgot_password).under(Limit::Reset),
        put("/reset-password", handlers::reset_password).under(Limit::Reset),
        get("/user-info/{id}", handlers::info),
    ]
}
