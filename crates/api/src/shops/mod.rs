//! Shops, which are also their sellers' accounts: details, picture, bank details, and what others
//! see of them. What they share with shoppers (signing up, logging in, passwords) is in
//! [`crate::accounts`].

mod handlers;
mod rules;
mod statement;
pub(crate) mod store;
pub(crate) mod wire;

pub(crate) use handlers::activated;

use crate::{
    limits::Limit,
    routes::{Route, delete, get, post, put},
};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        post("/create-shop", handlers::sign_up).under(Limit::SignUp),
        post("/seller/activation", handlers::activate).under(Limit::Activation),
        post("/shop-login", handlers::log_in).failures_under(Limit::LogIn),
        get("/getSeller", handlers::own),
        get("/balance", handlers::balance),
        get("/logout-seller", handlers::log_out),
        put("/logout-everywhere", handlers::log_out_everywhere),
        put("/update-seller-avatar", handlers::update_avatar).under(Limit::Upload),
        get("/get-shop-info/{id}", handlers::page),
        put("/updateSellerInfo", handlers::update),
        get("/seller-info/{id}", handlers::info),
        put("/update-payment-methods", handlers::set_withdraw_method),
        delete("/delete-withdraw-method", handlers::delete_withdraw_method),
        put("/updatePassword", handlers::change_password).under(Limit::Password),
        post("/forgot-password", handlers::forgot_password).under(Limit::Reset),
        put("/reset-password", handlers::reset_password).under(Limit::Reset),
    ]
}
