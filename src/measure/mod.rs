//! The measuring: calibrate, count, and put the tallies together.

mod bench;
mod feed;
mod record;
mod run;

pub use bench::{Bench, BenchLayer, bench};
pub use feed::{Feed, Monitor, Quiet, Stage};
pub use run::{Calibration, MeasuredLayer, Measurement, Settings, calibrate, measure, predict};
