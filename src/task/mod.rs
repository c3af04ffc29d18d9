//! What an output means, and how good it is.

pub mod classify;
