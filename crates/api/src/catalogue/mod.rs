//! What products and events have in common.
