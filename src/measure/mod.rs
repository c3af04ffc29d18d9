//! The measuring: calibrate, count, and put the tallies together.

mod bench;
mod executor;
mod feed;
mod layers;
mod measurement;
mod operands;
mod quantize;
mod record;
mod run;
mod score;
mod settings;

pub use bench::{Bench, BenchLayer, bench};
pub use feed::{Feed, Monitor, Quiet, Stage};
pub use layers::MeasuredLayer;
pub use measurement::Measurement;
pub use quantize::quantized;
pub use run::{Calibration, calibrate, calibrate_and_measure, measure, predict};
pub use score::{add as add_score, pixel_classes, restored, start as start_score};
pub use settings::{Settings, Statistics};
