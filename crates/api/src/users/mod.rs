//! Shoppers: their accounts, profiles, pictures and delivery addresses. What they share with shops
//! (signing up, logging in, passwords) is in [`crate::accounts`].

mod handlers;
mod rules;
pub(crate) mod store;
pub(crate) mod wire;

use crate::routes::{Route, delete, get, post, put};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        post("/create-user", handlers::sign_up),
        post("/activation", handlers::activate),
        post("/login-user", handlers::log_in),
        get("/getUser", handlers::own),
        get("/logout", handlers::log_out),
        put("/logout-everywhere", handlers::log_out_everywhere),
        put("/updateUserInfo", handlers::update),
        put("/update-user-avatar", handlers::update_avatar),
        put("/userAddressUpadte", handlers::add_address),
        delete("/delete-address/{id}", handlers::delete_address),
        put("/updatePassword", handlers::change_password),
        post("/forgot-password", handlers::forgot_password),
        put("/reset-password", handlers::reset_password),
        get("/user-info/{id}", handlers::info),
    ]
}
