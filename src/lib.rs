//! Neural network inference that measures, exactly and while it runs, how much of the work is ineffectual.

pub mod builtin;
pub mod cli;
pub mod compare;
pub mod engine;
pub mod error;
pub mod format;
pub mod gate;
pub mod graph;
pub mod hex;
pub mod input;
#[allow(unsafe_code)]
pub mod kernels;
pub mod layers;
pub mod measure;
pub mod measurement;
pub mod metrics;
pub mod model;
#[path = "../models/mod.rs"]
pub mod models;
pub mod probe;
pub mod report;
pub mod source;
pub mod tally;
pub mod task;
pub mod timing;
pub mod weights;

pub use error::{Error, Result};
