//! The measuring: calibrate, count, and put the tallies together.

mod bench;
mod executor;
mod feed;
mod layers;
mod operands;
mod quantize;
mod record;
mod run;
mod score;
mod settings;

pub use bench::{Bench, BenchLayer, bench};
pub use feed::{Feed, Monitor, Quiet, Stage};
pub use layers::MeasuredLayer;
pub use quantize::quantized;
pub use run::{Calibration, Measurement, calibrate, measure, predict};
pub use score::{add as add_score, restored, start as start_score};
pub use settings::{Settings, Statistics};
