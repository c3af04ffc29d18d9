//! `deadweight bench`: the overhead of measuring.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, value_parser};
use serde::Serialize;

use super::args::{BackendName, Common, EngineArgs, ModelArgs, NumberArgs, OutArgs, Plain};
use super::out::{Out, distinct};
use super::progress::Progress;
use super::text_args::within_positions;
use super::trace::{Trace, TraceArgs};
use super::{hub_inputs, progress, setup};
use crate::engine::{Backend, Clock, EngineOptions, Session};
use crate::input::{Dataset, Preprocess};
use crate::measure::{Bench, Calibration, Settings, bench, calibrate, generation};
use crate::model::{LoadOptions, Model};
use crate::models::Task;
use crate::report::{Grid, to_json, units};
use crate::{Error, Result};

/// Arguments of `bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Images to run on; none: the built-in ones, or random ones
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,
    /// Pairs of runs
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = value_parser!(u32).range(1..=100_000))]
    pub rounds: u32,
    /// Seeded random weights in place of a checkpoint
    #[arg(long)]
    pub random_weights: bool,
    /// Of a network that reads texts: N tokens an input [default: 64, or the network's positions if these are fewer]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub context: Option<u32>,
    /// Of a network that predicts the next token: time N tokens after the context too, read one by one with what was kept of those
    /// before
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub generate: Option<u32>,
    /// Number format.
    #[command(flatten)]
    pub numbers: NumberArgs,
    /// A trace of one plain and one measured run, after those that are timed.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// table or json
    #[arg(long, value_enum, default_value_t)]
    pub format: Plain,
    /// Output.
    #[command(flatten)]
    pub out: OutArgs,
    /// The native engine's options.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Seed of random weights and inputs.
const SEED: u64 = 1;

/// Times the model.
pub(super) fn run(args: &BenchArgs, common: Common) -> Result<()> {
    let output = args.out.output.as_deref();
    distinct(&[("-o", Some(output.unwrap_or(Path::new("-")))), ("--trace", args.trace.trace.as_deref())])?;
    let mut out = Out::open(output)?;
    let trace = args.trace.open("bench")?;
    let options = setup::engine(&args.engine)?;
    let (arch, random) = (args.model.arch.clone(), args.random_weights.then_some(SEED));
    let downloads = progress::downloads(common).monitor;
    let of_model = LoadOptions { arch, offline: common.offline, random, downloads, ..LoadOptions::default() };
    let model = setup::load(&args.model, args.model.onnx.options(BackendName::Native, of_model)?)?;
    let model = with_context(model, args.context)?;
    let generate = args.generate.map(|count| generated(&model, count)).transpose()?;
    let batch = args.engine.batch_size.map_or(Settings::default().batch, usize::from);
    let random = args.inputs.is_empty() && model.builtin_data().is_none();
    let rows = model.embedding_rows();
    if rows.is_some() && !args.inputs.is_empty() {
        return Err(Error::invalid(
            "INPUT",
            "is for networks that read images; language models are timed on random tokens",
        ));
    }
    let data = match rows.is_some() || random {
        true => within_positions(Dataset::random(rows, batch, SEED, &model.preprocess), &model)?,
        false => setup::listed(&model, &hub_inputs::local(&args.inputs, common)?.paths)?,
    };
    let mut images = Vec::new();
    for i in 0..batch {
        images.extend(data.load(i % data.len())?.values);
    }
    let settings = Settings { batch, limit: Some(batch), ..Settings::default() };
    let (progress, backend) = (Progress::new(common), Backend::Native(options.clone()));
    let model = setup::in_integers(model, &args.model, &backend, &data, &settings, &progress)?;
    let settings = setup::in_numbers(&args.numbers, &model, settings)?;
    let calibration = calibrate(&model, &backend, &data, &settings, &progress)?;
    let rounds = args.rounds as usize;
    let result = bench(&model, &options, &images, rounds, &calibration, &progress)?;
    if let Some(trace) = &trace {
        traced_runs(&model, &options, &images, &calibration, trace)?;
    }
    let step_s = |count: usize| generation(&model, &options, &images, (count, rounds), &progress);
    let generated = match generate {
        Some(count) => Some(Generated { context: model.input_shape().w, tokens: count, step_s: step_s(count)? }),
        None => None,
    };
    let timing = Timing {
        schema: "deadweight/bench/2",
        random_inputs: random,
        random_weights: args.random_weights,
        generated,
        bench: &result,
    };
    out.write(&match args.format {
        Plain::Json => to_json(&timing),
        Plain::Table => timing.table(out.width()),
    })?;
    trace.map_or(Ok(()), |trace| trace.finish())?;
    out.finish()
}

/// One plain and one measured run of `images` in `trace`, each after one that is not.
fn traced_runs(
    model: &Model,
    options: &EngineOptions,
    images: &[f32],
    calibration: &Calibration,
    trace: &Arc<Trace>,
) -> Result<()> {
    let (input, batch) = (model.input_shape(), images.len() / model.input_shape().elements());
    let probe = calibration.probe(model, &Backend::Native(options.clone()), input, batch)?;
    let options = EngineOptions { clock: Some(Arc::clone(trace) as Arc<dyn Clock>), ..options.clone() };
    let mut session = Session::new(model.graph.clone(), input, batch, options)?;
    session.run(images, None)?;
    trace.enter("plain");
    session.run(images, None)?;
    trace.enter("measured");
    session.run(images, Some(&probe))?;
    trace.leave();
    Ok(())
}

/// `model` for inputs of so many tokens, if a number is given.
fn with_context(model: Model, context: Option<u32>) -> Result<Model> {
    let Some(context) = context else { return Ok(model) };
    let name = &model.card.name;
    if !model.card.reads_tokens() {
        return Err(Error::invalid("--context", format!("is of networks that read texts, and {name} reads images")));
    }
    if let Some(window) = model.window() {
        return Err(Error::invalid(
            "--context",
            format!("is of other networks: {name} reads windows of {window} tokens"),
        ));
    }
    Ok(Model { preprocess: Preprocess::numbers(context as usize), ..model })
}

/// How many tokens `model` reads one by one, if it can read `count` of them after its input.
fn generated(model: &Model, count: u32) -> Result<usize> {
    let (name, context) = (&model.card.name, model.input_shape().w);
    if model.card.task != Task::Language || model.window().is_some() {
        let detail = format!("is of networks that predict the next token from what they keep, and {name} does not");
        return Err(Error::invalid("--generate", detail));
    }
    match model.positions() {
        Some(limit) if context + count as usize > limit => {
            let detail = format!(
                "after {context} tokens exceeds the {limit} positions of {name}; give less, or less of --context"
            );
            Err(Error::invalid(format!("--generate {count}"), detail))
        }
        _ => Ok(count as usize),
    }
}

/// What a token more takes.
#[derive(Serialize)]
struct Generated {
    /// Tokens before it.
    context: usize,
    /// Tokens timed, one after the other.
    tokens: usize,
    /// Seconds of one of them, for all sequences: quartiles.
    step_s: [f64; 3],
}

/// The timing, and of what.
#[derive(Serialize)]
struct Timing<'a> {
    schema: &'static str,
    random_inputs: bool,
    random_weights: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    generated: Option<Generated>,
    #[serde(flatten)]
    bench: &'a Bench,
}

impl Timing<'_> {
    fn table(&self, width: Option<u16>) -> String {
        let bench = self.bench;
        let random = match (self.random_weights, self.random_inputs) {
            (true, true) => ", random weights and inputs",
            (true, false) => ", random weights",
            (false, true) => ", random inputs",
            (false, false) => "",
        };
        let times = |[lower, median, upper]: [f64; 3]| {
            let rate = units::rate(bench.macs as f64 / median);
            let [lower, median, upper] = [lower, median, upper].map(units::seconds);
            format!("{median} ({lower} to {upper}), {rate} MAC/s")
        };
        let ratio = |[lower, median, upper]: [f64; 3]| format!("{median:.3} ({lower:.3} to {upper:.3})");
        let mut text = String::new();
        for (key, fact) in [
            ("model", format!("{}{random}", bench.model)),
            ("run", format!("inputs: {}, threads: {}, {}", bench.batch, bench.threads, bench.isa)),
            ("plain", times(bench.plain_s)),
            ("terms", times(bench.terms_s)),
            ("full", times(bench.watched_s)),
            (
                "ratios",
                format!(
                    "terms {}, full {}; {} pairs of runs",
                    ratio(bench.terms_ratio),
                    ratio(bench.ratio),
                    bench.rounds
                ),
            ),
            (
                "peak",
                format!(
                    "{} MAC/s on registers alone (Winograd needs fewer than it is charged)",
                    units::rate(bench.peak_macs_per_s)
                ),
            ),
        ] {
            text += &format!("{key:<9} {fact}\n");
        }
        if let Some(Generated { context, tokens, step_s }) = &self.generated {
            let rate = bench.batch as f64 / step_s[1];
            let [lower, median, upper] = step_s.map(units::seconds);
            let fact = format!(
                "{median} ({lower} to {upper}) a step, {rate:.1} tokens/s: {tokens} steps after {context} tokens, plain"
            );
            text += &format!("{:<9} {fact}\n", "generate");
        }
        text += "          medians (lower to upper quartile); the ratio is taken pair by pair\n";
        let mut grid =
            Grid::new(["layer", "kind", "kernel", "MACs", "plain", "full", "ratio", "MAC/s", "of peak"], &[0, 1, 2]);
        for layer in &bench.layers {
            let macs = if layer.macs == 0 { String::new() } else { units::count(layer.macs) };
            let rate = if layer.macs == 0 { String::new() } else { units::rate(layer.macs as f64 / layer.plain_s) };
            let share = match layer.macs {
                0 => String::new(),
                macs => units::share(Some(macs as f64 / layer.plain_s / bench.peak_macs_per_s)),
            };
            let (plain, watched) = (units::seconds(layer.plain_s), units::seconds(layer.watched_s));
            let ratio = format!("{:.2}", layer.watched_s / layer.plain_s);
            grid.row([
                layer.name.clone(),
                layer.kind.into(),
                layer.kernel.into(),
                macs,
                plain,
                watched,
                ratio,
                rate,
                share,
            ]);
        }
        format!("{text}\n{}", grid.render(width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::BenchLayer;

    #[test]
    fn times_are_printed_with_ratio_and_rate() {
        let layer = |name: &str, macs, plain_s| BenchLayer {
            name: name.into(),
            kind: "conv",
            kernel: "direct",
            macs,
            plain_s,
            watched_s: plain_s * 1.25,
        };
        let bench = Bench {
            model: "tiny".into(),
            batch: 8,
            threads: 2,
            isa: "avx2",
            rounds: 15,
            macs: 2_000_000,
            peak_macs_per_s: 4e9,
            plain_s: [0.0009, 0.001, 0.0012],
            terms_s: [0.0009, 0.00105, 0.0012],
            terms_ratio: [1.0, 1.05, 1.1],
            watched_s: [0.001, 0.0011, 0.0015],
            ratio: [1.05, 1.1, 1.2],
            layers: vec![layer("conv1", 2_000_000, 0.0009), layer("pool", 0, 0.00001)],
        };
        let timing = Timing {
            schema: "deadweight/bench/2",
            random_inputs: true,
            random_weights: false,
            generated: None,
            bench: &bench,
        };
        insta::assert_snapshot!(timing.table(None), @r"
        model     tiny, random inputs
        run       inputs: 8, threads: 2, avx2
        plain     1.000 ms (900.0 us to 1.200 ms), 2.000 G MAC/s
        terms     1.050 ms (900.0 us to 1.200 ms), 1.905 G MAC/s
        full      1.100 ms (1.000 ms to 1.500 ms), 1.818 G MAC/s
        ratios    terms 1.050 (1.000 to 1.100), full 1.100 (1.050 to 1.200); 15 pairs of runs
        peak      4.000 G MAC/s on registers alone (Winograd needs fewer than it is charged)
                  medians (lower to upper quartile); the ratio is taken pair by pair

        layer  kind  kernel     MACs     plain      full  ratio    MAC/s  of peak
        --------------------------------------------------------------------------
        conv1  conv  direct  2.000 M  900.0 us  1.125 ms   1.25  2.222 G    55.6%
        pool   conv  direct           10.00 us  12.50 us   1.25
        ");
        let json: serde_json::Value = serde_json::from_str(&to_json(&timing)).unwrap();
        assert_eq!((json["ratio"][1].as_f64(), json["layers"][0]["macs"].as_u64()), (Some(1.1), Some(2_000_000)));
        assert!(json.get("generated").is_none());
        let generated = Some(Generated { context: 128, tokens: 16, step_s: [0.015, 0.016, 0.02] });
        let table = Timing { generated, ..timing }.table(None);
        let line =
            "generate  16.00 ms (15.00 ms to 20.00 ms) a step, 500.0 tokens/s: 16 steps after 128 tokens, plain\n";
        assert!(table.contains(line), "{table}");
    }
}
