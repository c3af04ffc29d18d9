//! Studies: loops over whole runs of networks whose values are changed by graph passes.

mod figure;
mod operands;
mod outcome;
mod precision;
mod search;
mod state;

pub use figure::{Figure, Judge};
pub use operands::{Numbers, Operand, operands};
pub use outcome::Outcome;
pub use precision::{Check, Hooks, Next, PrecisionSearch};
pub use search::{Found, Search};
pub use state::State;
