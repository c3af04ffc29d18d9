//! Measuring: calibrate, count, and merge the tallies.

mod attention;
mod bench;
mod calibrate;
mod counting;
mod embed;
mod executor;
mod feed;
mod inputs;
mod layers;
mod operands;
mod outputs;
mod pairs;
mod provenance;
mod quantize;
mod ranges;
mod record;
mod run;
mod score;
mod settings;
mod threshold;
mod whole;
mod wrapped;
mod zeroed;

pub use bench::{Bench, BenchLayer, bench, generation};
pub use calibrate::{Calibration, calibrate};
pub use counting::CountingProbe;
pub use embed::embed_partners;
pub use feed::{Fed, Feed, Monitor, Quiet, Stage};
pub use inputs::MeasuredInput;
pub use layers::{MeasuredLayer, layer_names};
pub use quantize::quantized;
pub use run::{Saving, calibrate_and_measure, measure, measure_saving, predict};
pub use score::{add as add_score, pixel_classes, restored, start as start_score, step_classes};
pub use settings::{Settings, Statistics, Until};
pub use threshold::Thresholds;
pub use wrapped::wrapped_notes;
