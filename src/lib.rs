//! Neural network inference that measures, exactly and while it runs, how much of the work is ineffectual: which
//! multiply-accumulates have a zero operand, how many bits values need, and what hardware that exploits this could gain at most.
//!
//! ```
//! use deadweight::prelude::*;
//!
//! let model = Model::load("digits").open()?; // a card, a directory, a file, a hub id
//! let run = model.measure(Inputs::built_in()).limit(8).run()?;
//! println!("{:.1} % of the MACs are ineffectual", 100.0 * run.network().macs()?.ineffectual_share());
//! println!("skipping zeros gains at most {:.2} times", run.network().potential("W+A")?.ratio());
//! # Ok::<(), deadweight::Error>(())
//! ```
//!
//! | to | see |
//! |---|---|
//! | run a network | [`Model::load`], [`Session::run`], [`Model::top_k`] |
//! | measure one | [`Model::measure`], [`Measuring`], [`Run`], [`Figures`] |
//! | count a layer of another framework | [`count()`] |
//! | watch values while it runs | [`Probe`], [`Session::run_with`], [`Session::capture`] |
//! | define a network | [`Net::build`], [`Model::from_net`] |
//! | add a metric | [`metrics`], [`Run::with_metrics`] |
//!
//! What is public here follows semantic versioning; what is hidden from this page does not.

#[doc(hidden)]
pub mod builtin;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod compare;
#[doc(hidden)]
pub mod designs;
#[doc(hidden)]
pub mod engine;
pub mod error;
#[doc(hidden)]
pub mod export;
#[doc(hidden)]
pub mod format;
#[doc(hidden)]
pub mod gate;
#[doc(hidden)]
pub mod graph;
#[doc(hidden)]
pub mod hex;
#[doc(hidden)]
pub mod input;
#[allow(unsafe_code)]
#[doc(hidden)]
pub mod kernels;
#[doc(hidden)]
pub mod layers;
mod library;
#[doc(hidden)]
pub mod measure;
#[doc(hidden)]
pub mod measurement;
pub mod metrics;
#[doc(hidden)]
pub mod model;
#[path = "../models/mod.rs"]
#[doc(hidden)]
pub mod models;
#[doc(hidden)]
pub mod probe;
#[doc(hidden)]
pub mod report;
#[doc(hidden)]
pub mod source;
#[doc(hidden)]
pub mod study;
#[doc(hidden)]
pub mod tally;
#[doc(hidden)]
pub mod task;
#[doc(hidden)]
pub mod timing;
#[doc(hidden)]
pub mod weights;

pub use error::{Error, Result};
pub use library::*;
#[doc(inline)]
pub use report::{Format, Row};

/// What most programs need: `use deadweight::prelude::*`.
pub mod prelude {
    pub use crate::library::*;
    pub use crate::metrics::{Compute, Fraction, Kind, Metric, Subject, Value, Which};
    pub use crate::report::{Format, Row};
    pub use crate::{Error, Result};
}
