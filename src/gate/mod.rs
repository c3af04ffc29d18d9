//! Gates: demands on figures, and figures that may not differ from those of an earlier run. What fails is said figure by figure.

mod answers;
mod assertion;
mod baseline;
mod scope;

pub use assertion::{Assertion, Known, Operator};
pub use baseline::{Tolerance, deviations};
