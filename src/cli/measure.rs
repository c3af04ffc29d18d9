//! `deadweight measure`: the main job.

use clap::Args;
use regex::Regex;

use super::args::{BackendArgs, Common, InputArgs, ModelArgs, NumberArgs, OutArgs};
use super::out::Out;
use super::parsers::{column, statistics};
use super::parts::PartArgs;
use super::progress::Progress;
use super::until::UntilArgs;
use super::{report, setup};
use crate::input::turned_note;
use crate::measure::{Settings, Statistics};
use crate::report::Format;
use crate::report::columns::Column;
use crate::{Error, Result};

/// Arguments of `measure`.
#[derive(Args, Debug)]
pub struct MeasureArgs {
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Which inputs.
    #[command(flatten)]
    pub inputs: InputArgs,
    /// In which numbers.
    #[command(flatten)]
    pub numbers: NumberArgs,
    /// How much is counted of activations: values (zeros, widths of groups), or full (terms and codes as well)
    #[arg(long, value_name = "LEVEL", default_value = "full", value_parser = statistics())]
    pub statistics: Statistics,
    /// Only layers whose name matches
    #[arg(long, value_name = "REGEX")]
    pub layers: Option<Regex>,
    /// Measure the weights as stored, batch norm not folded into them
    #[arg(long)]
    pub no_fold: bool,
    /// table, json, csv or md [default: table; counts for `-o FILE.dwm`]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Columns of table and md, e.g. kind,a.zeros,W+Ae: metrics that `deadweight explain` lists, a. of activations, w. of weights
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = column)]
    pub columns: Vec<Column>,
    /// Parts and checkpoints.
    #[command(flatten)]
    pub parts: PartArgs,
    /// When it is enough.
    #[command(flatten)]
    pub until: UntilArgs,
    /// Where to: a name that ends in .dwm gets the exact counts, of which `deadweight report` makes every format.
    #[command(flatten)]
    pub out: OutArgs,
    /// By which engine.
    #[command(flatten)]
    pub backend: BackendArgs,
}

/// Measures the model on the inputs, and prints or keeps the counts.
pub(super) fn run(args: &MeasureArgs, common: Common) -> Result<()> {
    let to_counts = args.out.output.as_ref().is_some_and(|path| path.extension().is_some_and(|end| end == "dwm"));
    if to_counts && (args.format.is_some() || !args.columns.is_empty()) {
        let detail = "holds counts, which have neither format nor columns; `deadweight report` prints them";
        return Err(Error::invalid("-o FILE.dwm", detail));
    }
    let format = args.format.unwrap_or_default();
    report::check_columns(format, &args.columns)?;
    let mut out = Out::open(args.out.output.as_deref())?;
    let backend = setup::backend(&args.backend)?;
    let model = setup::model(&args.model, common, args.no_fold, None, args.inputs.sigma)?;
    let data = setup::inputs(&model, &args.inputs)?;
    let progress = Progress::new(common);
    let feeding = Settings { layers: args.layers.clone(), ..setup::feeding(&args.inputs, &args.backend.engine) };
    let feeding = Settings { calibrate: args.numbers.calibrate as usize, shard: args.parts.shard, ..feeding };
    let model = setup::in_integers(model, &args.model, &backend, &data, &feeding, &progress)?;
    let feeding = Settings { statistics: args.statistics, ..feeding };
    let until = args.until.until(args.numbers.encoder, args.statistics == Statistics::Full)?;
    let settings = setup::in_numbers(&args.numbers, &model, Settings { until, ..feeding })?;
    let measurement = args.parts.measure(&model, &backend, &data, &settings, &progress)?;
    turned_note(measurement.turned).iter().for_each(|note| tracing::warn!("{note}"));
    // A part of few inputs may have none.
    if measurement.inputs == 0 && args.parts.shard.is_none() {
        return Err(setup::none_decoded(&args.inputs.inputs));
    }
    if to_counts {
        out.write_bytes(&measurement.to_bytes())?;
    } else {
        out.write(&report::text(&measurement, format, &args.columns, out.width())?)?;
    }
    out.finish()?;
    args.parts.end()
}
