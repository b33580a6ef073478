//! To be filled.

use crate::routes::Route;

pub(crate) fn routes() -> Vec<Route> {
    vec![]
}
