//! `deadweight threshold`: zeros that small activations set to zero would make, and what they cost.

use clap::Args;
use serde::Serialize;

use super::args::{BackendArgs, Common, InputArgs, ModelArgs, NumberArgs, OutArgs, Plain};
use super::levels::Levels;
use super::out::Out;
use super::parsers::levels;
use super::progress::Progress;
use super::setup;
use crate::Result;
use crate::measure::{Settings, Thresholds};
use crate::measurement::Measurement;
use crate::metrics::Which;
use crate::model::Model;
use crate::report::quality::{Quality, quality_text};
use crate::report::{Grid, Report, to_json, units};
use crate::tally::Statistics;

/// Arguments of `threshold`.
#[derive(Args, Debug)]
pub struct ThresholdArgs {
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Which inputs.
    #[command(flatten)]
    pub inputs: InputArgs,
    /// Levels: shares of each layer's inputs that are set to zero where it is learned; 10%..90% is each ten from 10 to 90
    #[arg(long, value_name = "LEVELS", value_delimiter = ',', default_value = "10%..90%", value_parser = levels)]
    pub threshold: Vec<Vec<u32>>,
    /// Only layers whose name matches
    #[arg(long, value_name = "REGEX")]
    pub layers: Option<regex::Regex>,
    /// In which numbers.
    #[command(flatten)]
    pub numbers: NumberArgs,
    /// table or json
    #[arg(long, value_enum, default_value_t)]
    pub format: Plain,
    /// Where to.
    #[command(flatten)]
    pub out: OutArgs,
    /// By which engine.
    #[command(flatten)]
    pub backend: BackendArgs,
}

/// The study.
#[derive(Serialize)]
struct Study {
    schema: &'static str,
    model: String,
    inputs: u64,
    /// Inputs that the thresholds were learned from.
    calibration_inputs: u64,
    notes: Vec<String>,
    levels: Vec<Level>,
}

/// What is measured at one level; at level 0 of the network as it is.
#[derive(Serialize)]
struct Level {
    percent: u32,
    /// Share of activations that are zero in the layers that were measured.
    zeros: Option<f64>,
    /// Potential of skipping zero activations, and of skipping zeros of both operands.
    #[serde(rename = "A")]
    a: Option<f64>,
    #[serde(rename = "W+A")]
    wa: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<Quality>,
}

impl Level {
    fn new(percent: u32, measurement: &Measurement) -> Self {
        let report = Report::new(measurement);
        let cells = &report.network().cells;
        let of = |name: &str, operand| cells.get(name, operand).and_then(|value| value.number());
        Self {
            percent,
            zeros: of("zeros", Some(Which::Activations)),
            a: of("potential.A", None),
            wa: of("potential.W+A", None),
            quality: report.quality,
        }
    }
}

/// Measures the model once for each level.
pub(super) fn run(args: &ThresholdArgs, common: Common) -> Result<()> {
    let mut out = Out::open(args.out.output.as_deref())?;
    let mut levels = args.threshold.concat();
    levels.sort_unstable();
    levels.dedup();
    let (model, backend, data) = setup::job(&args.model, &args.inputs, &args.backend, common)?;
    let progress = Progress::new(common);
    let feeding = setup::feeding(&args.inputs, &args.backend.engine);
    let model = setup::in_integers(model, &args.model, &backend, &data, &feeding, &progress)?;
    let calibrate = args.numbers.calibrate as usize;
    let feeding = Settings { layers: args.layers.clone(), calibrate, statistics: Statistics::Values, ..feeding };
    let settings = setup::in_numbers(&args.numbers, &model, feeding)?;
    let thresholds = Thresholds::learn(&model, &backend, &data, &settings, &levels, &progress)?;
    let mut study = Study {
        schema: "deadweight/threshold/1",
        model: model.card.name.clone(),
        inputs: 0,
        calibration_inputs: 0,
        notes: Vec::new(),
        levels: Vec::new(),
    };
    let all = Levels { backend: &backend, inputs: &args.inputs, common, progress: &progress, count: levels.len() + 1 };
    let mut add = |percent: u32, model: &Model| -> Result<()> {
        let measurement = all.measure(model, &settings, study.levels.len(), &format!("{percent} %"))?;
        if percent == 0 {
            study.inputs = measurement.inputs;
            study.calibration_inputs = measurement.provenance.format.calibration_inputs;
            study.notes.clone_from(&measurement.provenance.notes);
        }
        study.levels.push(Level::new(percent, &measurement));
        Ok(())
    };
    add(0, &model)?;
    for (which, &level) in levels.iter().enumerate() {
        add(level, &thresholds.apply(&model, which))?;
    }
    study.notes.extend(levels.first().map(|level| thresholds.note(*level)));
    out.write(&match args.format {
        Plain::Json => to_json(&study),
        Plain::Table => table(&study, out.width()),
    })?;
    out.finish()
}

fn table(study: &Study, width: Option<u16>) -> String {
    let learned = format!("learned from {} inputs", study.calibration_inputs);
    let mut text = format!("{:<11} {}\n{:<11} {}; {learned}\n", "model", study.model, "inputs", study.inputs);
    for note in &study.notes {
        text += &format!("{:<11} {note}\n", "note");
    }
    let mut grid = Grid::new(["level", "zeros", "A", "W+A", "answers"], &[4]);
    for level in &study.levels {
        let share = |share: Option<f64>| share.map_or_else(String::new, |share| units::share(Some(share)));
        let times = |times: Option<f64>| times.map_or_else(String::new, |times| units::significant(times, 3));
        let quality = level.quality.as_ref().map(quality_text).unwrap_or_default();
        let Level { percent, zeros, a, wa, .. } = *level;
        grid.row([format!("{percent} %"), share(zeros), times(a), times(wa), quality]);
    }
    format!("{text}\n{}", grid.render(width))
}
