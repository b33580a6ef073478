//! What the black-box tests have in common: a running application, the people who use it, their mail.
//!
//! ```text
//! let app = TestApp::start().await;
//! let ann = app.buyer("ann").await;
//! let answer = ann.get("/api/user/getUser").await;
//! assert_eq!(answer.expect(201)["user"]["name"], "ann");
//! ```

pub mod app;
pub mod books;
pub mod browser;
pub mod contract;
pub mod legacy;
pub mod log;
pub mod mail;
pub mod market;
pub mod mongo;
pub mod paypal;
pub mod people;
pub mod picture;
pub mod privacy;
pub mod redis;
pub mod sockets;
pub mod stand_in;
pub mod stripe;

pub use app::{CLIENT, TestApp};
pub use browser::{Answer, Browser, Call, Form};
pub use market::Market;
pub use people::{Buyer, Seller};
pub use sockets::{Chat, Socket};
pub use stand_in::StandIn;
