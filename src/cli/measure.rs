//! `deadweight measure`: the main job.

use std::collections::BTreeSet;
use std::path::Path;

use clap::{Args, value_parser};
use regex::Regex;

use super::args::{BackendArgs, Common, InputArgs, ModelArgs, NumberArgs, OutArgs};
use super::gates::{GateArgs, Gates};
use super::out::{Out, distinct};
use super::page::{self, OpenArgs};
use super::parsers::{column, level, selection, statistics};
use super::parts::PartArgs;
use super::per_input::{Lines, PerInputArgs};
use super::progress::Progress;
use super::trace::{TraceArgs, traced};
use super::until::UntilArgs;
use super::{report, setup};
use crate::input::turned_note;
use crate::kernels::count::sequence::Buckets;
use crate::measure::{Monitor, Settings, embed_partners, layer_names, wrapped_notes};
use crate::metrics::{Needs, Selection};
use crate::report::columns::Column;
use crate::report::{Format, Report};
use crate::tally::{Extra, Statistics};
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
    /// How much is counted of activations: values (zeros, widths of groups), terms (all potentials, bits, mean and deviation as well),
    /// or full (how often each code is seen as well: entropy, terms by every encoder)
    #[arg(long, value_name = "LEVEL", default_value = "terms", value_parser = statistics())]
    pub statistics: Statistics,
    /// Count what these metrics need as well, e.g. delta,planes,o.traffic: names of metrics, first words of several, or all; a., w.
    /// or o. before it for one operand. It costs time: whole inputs are looked at again, value by value
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = selection)]
    pub metrics: Vec<Selection>,
    /// Only layers whose name matches
    #[arg(long, value_name = "REGEX")]
    pub layers: Option<Regex>,
    /// Count the first N steps of each sequence of a recurrent layer one by one; those behind them up to the next powers of two [default: 2]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(2..=65536))]
    pub single_steps: Option<u32>,
    /// Take the last N tokens of each text as generated one at a time, on a cache of keys and values: attention gets rows of its own
    /// for them, and what a token costs is told of both phases
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub decode: Option<u32>,
    /// Let layers of weights (of those that --layers chooses, but for the last) read 0 for inputs whose magnitude is not above its
    /// P % quantile over the inputs of --calibrate: another network with other answers, as the report says
    #[arg(long, value_name = "P%", value_parser = level)]
    pub threshold: Option<u32>,
    /// Measure the weights as stored, batch norm not folded into them
    #[arg(long)]
    pub no_fold: bool,
    /// How it is printed [default: table; counts for `-o FILE.dwm`, html for `-o FILE.html`]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Columns of table and md, e.g. kind,a.zeros,W+Ae: metrics that `deadweight explain` lists, a. of activations, w. of weights, o. of outputs
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = column)]
    pub columns: Vec<Column>,
    /// Parts and checkpoints.
    #[command(flatten)]
    pub parts: PartArgs,
    /// A line an input.
    #[command(flatten)]
    pub per_input: PerInputArgs,
    /// When it is enough.
    #[command(flatten)]
    pub until: UntilArgs,
    /// What figures must be.
    #[command(flatten)]
    pub gates: GateArgs,
    /// A trace of the first inputs.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// Where to: a name that ends in .dwm gets the exact counts, of which `deadweight report` makes every format.
    #[command(flatten)]
    pub out: OutArgs,
    /// The browser.
    #[command(flatten)]
    pub browser: OpenArgs,
    /// By which engine.
    #[command(flatten)]
    pub backend: BackendArgs,
}

impl MeasureArgs {
    /// `settings` with the level of statistics, raised to what the metrics and columns that are asked for need.
    fn counting(&self, settings: Settings) -> Settings {
        let columns = self.columns.iter().chain(self.gates.assertions.columns()).flat_map(Column::needs);
        let metrics = self.metrics.iter().flat_map(|selection| selection.metrics.iter().map(|metric| metric.needs));
        let needs: Vec<Needs> = columns.chain(metrics).collect();
        let asked = needs.iter().map(|needs| needs.level()).max();
        let of_columns = needs.into_iter().filter_map(Needs::extra);
        let extra: BTreeSet<Extra> = of_columns.chain(self.metrics.iter().flat_map(Selection::extras)).collect();
        let statistics = self.statistics.max(asked.unwrap_or(self.statistics));
        Settings { statistics, extra: extra.into_iter().collect(), ..settings }
    }
}

/// Measures the model on the inputs, and prints or keeps the counts; `given` is what the line gives.
pub(super) fn run(args: &MeasureArgs, common: Common, given: &[String]) -> Result<()> {
    let to_counts = args.out.output.as_ref().is_some_and(|path| path.extension().is_some_and(|end| end == "dwm"));
    let has_lines = args.per_input.per_input.is_some();
    let has_other_columns = has_lines || args.gates.baseline.is_some();
    if to_counts && (args.format.is_some() || !(args.columns.is_empty() || has_other_columns)) {
        let detail = "holds counts, which have neither format nor columns; `deadweight report` prints them";
        return Err(Error::invalid("-o FILE.dwm", detail));
    }
    let (output, parts) = (args.out.output.as_deref(), &args.parts);
    let format = page::format(args.format, output);
    distinct(&[
        ("-o", Some(output.unwrap_or(Path::new("-")))),
        ("--per-input", args.per_input.per_input.as_deref()),
        ("--trace", args.trace.trace.as_deref()),
        ("--checkpoint", parts.checkpoint.as_deref()),
        ("--calibration", parts.calibration.as_deref()),
    ])?;
    let mut out = Out::open(args.out.output.as_deref())?;
    report::check_format(format, if has_other_columns { &[] } else { &args.columns }, &out)?;
    if args.parts.shard.is_some() {
        args.gates.refuse_parts()?;
    }
    let gates = Gates::open(&args.gates, &args.columns)?;
    let lines = args.per_input.open(&args.parts)?;
    let trace = args.trace.open("measure")?;
    let backend = setup::backend(&args.backend)?;
    let model = setup::model(&args.model, common, args.no_fold, &args.inputs, args.backend.backend)?;
    let backend = traced(setup::backend_of(&model, &args.backend, backend)?, trace.as_ref())?;
    let data = setup::inputs(&model, &args.inputs, common)?;
    let progress = Progress::new(common).with_trace(trace.clone());
    let feeding = Settings { layers: args.layers.clone(), ..setup::feeding(&args.inputs, &args.backend.engine) };
    let feeding = Settings { calibrate: args.numbers.calibrate as usize, shard: args.parts.shard, ..feeding };
    let model = setup::in_integers(model, &args.model, &backend, &data, &feeding, &progress)?;
    let model = setup::thresholded(model, args.threshold, &backend, &data, &feeding, &progress)?;
    let feeding = Settings { threshold: args.threshold, ..feeding };
    let data = embed_partners(&model, &backend, data, &feeding, &progress)?;
    if args.single_steps.is_some() && !model.has_sequences() {
        let detail = format!("is of networks with recurrent layers, and {} has none", model.card.name);
        return Err(Error::invalid("--single-steps", detail));
    }
    let single_steps = args.single_steps.map(u64::from).filter(|single| *single != Buckets::default().single);
    let feeding = args.counting(Settings { single_steps, decode: args.decode.unwrap_or_default() as usize, ..feeding });
    let until = args.until.until(args.numbers.encoder, feeding.statistics >= Statistics::Terms)?;
    let settings = setup::in_numbers(&args.numbers, &model, Settings { until, ..feeding })?;
    setup::learns(&settings, given)?;
    gates.check(&layer_names(&model, &settings)?, model.card.task.name())?;
    let lines = lines.map(|out| Lines::new(out, &model, &settings, &args.columns, &progress)).transpose()?;
    let monitor: &dyn Monitor = lines.as_ref().map_or(&progress, |lines| lines);
    let measurement = args.parts.measure(&model, &backend, &data, &settings, monitor)?;
    turned_note(measurement.turned).into_iter().chain(wrapped_notes(&model)).for_each(|note| tracing::warn!("{note}"));
    // A part of few inputs may have none.
    if measurement.inputs == 0 && args.parts.shard.is_none() {
        return Err(setup::none_decoded(&args.inputs.inputs));
    }
    if to_counts {
        out.write_bytes(&measurement.to_bytes())?;
    } else {
        report::write(&measurement, format, &args.columns, &mut out)?;
    }
    lines.map_or(Ok(()), Lines::finish)?;
    trace.map_or(Ok(()), |trace| trace.finish())?;
    out.finish()?;
    args.parts.end()?;
    let judged = gates.judge(&measurement, "the run");
    if args.browser.open {
        let written = args.out.output.as_deref().filter(|_| format == Format::Html && !to_counts);
        let shown = page::show(written, || Format::Html.render(&Report::new(&measurement), &[], None));
        // A figure that is not as it should be is worse news than no browser.
        return judged.and(shown);
    }
    judged
}
