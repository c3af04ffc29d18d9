//! One card at its own size with random weights: native against candle, plain against measured, floats and 8-bit integers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use candle_core::Device;
use deadweight::engine::{Backend, EngineOptions, Runner};
use deadweight::input::{Dataset, Sample};
use deadweight::kernels::Isa;
use deadweight::layers::Shape;
use deadweight::measure::{Calibration, Quiet, Settings, calibrate_and_measure, quantized};
use deadweight::metrics::Value;
use deadweight::model::{LoadOptions, Model};
use deadweight::models::Card;
use deadweight::probe::Probe;
use deadweight::report::{Report, Scope};

/// Largest difference between the engines' outputs, relative to their root mean square.
const ENGINES: f64 = 2e-3;
/// Largest difference between the engines' counts as shares: values near a rounding edge may fall on either side of it.
const SHARES: f64 = 5e-3;
/// Number of inputs.
const INPUTS: usize = 2;
/// MACs above which candle, up to ten times slower, runs once and counts nothing.
const LARGE: u64 = 3_000_000_000;

/// Results for one card.
pub struct Outcome {
    /// MACs of one input.
    pub macs: u64,
    /// Time of a plain run of one input by the native engine.
    pub plain: Duration,
    /// Time of a measured run.
    pub measured: Duration,
    /// Time of a plain run by candle.
    pub candle: Duration,
    /// Time of a plain run in 8-bit integers, if the network can be quantised.
    pub integers: Option<Duration>,
    /// Largest difference between the engines.
    pub difference: f64,
}

/// Runs the card's network in every way and compares.
///
/// # Errors
/// What cannot be run, or what differs.
pub fn check(card: &Card) -> Result<Outcome> {
    let model = Model::load(&card.name, &LoadOptions { random: Some(1), ..LoadOptions::default() })?;
    let data = Dataset::random(model.embedding_rows(), INPUTS, 1, &model.preprocess);
    let sample = data.load(0)?;
    let native = Backend::Native(EngineOptions::new(2));
    let candle = Backend::Candle(Device::Cpu, Arc::clone(native.pool()));
    let settings = Settings { batch: 1, ..Settings::default() };

    let (want, plain) = run(&model, &native, &sample, None)?;
    ensure!(want.iter().any(|v| v != &want[0]), "the output is {} everywhere", want[0]);
    let measured = same_when_watched(&model, &native, &data, &settings, &want).context("float")?;
    let is_large = model.macs()? > LARGE;
    let (other, on_candle) =
        if is_large { once(&model, &candle, &sample)? } else { run(&model, &candle, &sample, None)? };
    let difference = distance(&want, &other);
    ensure!(difference < ENGINES, "native and candle differ by {difference:.1e}");
    if !is_large {
        compare_counts(&model, [&native, &candle], &data, &settings)?;
    }

    let integers =
        match model.stores_integers() || model.embedding_rows().is_some() || model.preprocess.framing().is_some() {
            true => None,
            false => Some(integers(&model, &data, &settings, &want).context("int8")?),
        };
    Ok(Outcome { macs: model.macs()?, plain, measured, candle: on_candle, integers, difference })
}

/// The network in 8-bit integers: the same bits on other levels and when watched, and outputs close to those in floats.
fn integers(model: &Model, data: &Dataset, settings: &Settings, floats: &[f32]) -> Result<Duration> {
    let native = Backend::Native(EngineOptions::new(2));
    let model = quantized(model, &native, data, settings, &Quiet)?;
    let sample = data.load(0)?;
    let (want, time) = run(&model, &native, &sample, None)?;
    let settings = Settings { format: "stored".parse()?, ..settings.clone() };
    same_when_watched(&model, &native, data, &settings, &want)?;
    for isa in Isa::available().into_iter().filter(|isa| *isa != Isa::best() && isa.name() != "scalar") {
        let (got, _) = run(&model, &Backend::Native(EngineOptions { isa, ..EngineOptions::new(1) }), &sample, None)?;
        ensure!(got == want, "{} gives other codes", isa.name());
    }
    let likeness = correlation(&want, floats);
    ensure!(likeness > 0.7, "the answers' correlation with those of floats is {likeness:.3}");
    Ok(time)
}

/// The output for `sample`, and the time of this single run.
fn once(model: &Model, backend: &Backend, sample: &Sample) -> Result<(Vec<f32>, Duration)> {
    let [c, h, w] = sample.shape;
    let mut runner = Runner::new(&model.graph, Shape::new(c, h, w), backend, 1)?;
    let start = Instant::now();
    Ok((runner.run(&sample.values, None)?, start.elapsed()))
}

/// The output for `sample`, and the time of a second run.
fn run(model: &Model, backend: &Backend, sample: &Sample, probe: Option<&dyn Probe>) -> Result<(Vec<f32>, Duration)> {
    let [c, h, w] = sample.shape;
    let mut runner = Runner::new(&model.graph, Shape::new(c, h, w), backend, 1)?;
    let output = runner.run(&sample.values, probe)?;
    let start = Instant::now();
    let again = runner.run(&sample.values, probe)?;
    let time = start.elapsed();
    ensure!(output.iter().all(|v| v.is_finite()), "the output is not finite");
    ensure!(again == output, "a second run gives another output");
    Ok((output, time))
}

/// Watches every layer, and checks that the output is still `want`.
fn same_when_watched(
    model: &Model,
    backend: &Backend,
    data: &Dataset,
    settings: &Settings,
    want: &[f32],
) -> Result<Duration> {
    let sample = data.load(0)?;
    let [c, h, w] = sample.shape;
    let shape = Shape::new(c, h, w);
    let calibration = Calibration::of_images(model, backend, shape, &sample.values, settings)?;
    let probe = calibration.probe(model, backend, shape, 1)?;
    let (got, time) = run(model, backend, &sample, Some(&probe))?;
    ensure!(got == want, "a measured run gives another output");
    Ok(time)
}

/// Compares both engines' counts: the total work exactly, shares of it nearly.
fn compare_counts(model: &Model, backends: [&Backend; 2], data: &Dataset, settings: &Settings) -> Result<()> {
    // candle keeps no state between the segments of a text.
    if data.goes_on() {
        return Ok(());
    }
    let measure = |backend| calibrate_and_measure(model, backend, data, settings, &Quiet);
    let [ours, theirs] = [Report::new(&measure(backends[0])?.1), Report::new(&measure(backends[1])?.1)];
    let classes = ["padding", "zero_both", "zero_activation", "zero_weight", "effectual"];
    for (ours, theirs) in ours.layers().zip(theirs.layers()) {
        let count = |layer: &Scope, class: &str| match layer.cells.get(&format!("macs.{class}"), None) {
            Some(Value::Work([with, _])) => (with.numerator, with.denominator),
            _ => (0, 0),
        };
        let name = &ours.layer;
        let sum: u128 = classes.iter().map(|class| count(ours, class).0).sum();
        let dense = count(ours, "padding").1;
        ensure!(sum == dense && dense > 0, "{name}: its classes add up to {sum} of {dense} MACs");
        let (padding, other) = (count(ours, "padding"), count(theirs, "padding"));
        ensure!(padding == other, "{name}: padding is {padding:?} of all MACs, by candle {other:?}");
        let effectual = [ours, theirs].map(|layer| count(layer, "effectual").0 as f64 / dense as f64);
        let apart = (effectual[0] - effectual[1]).abs();
        ensure!(apart < SHARES, "{name}: {effectual:?} of the MACs are effectual");
    }
    Ok(())
}

/// Largest difference relative to the root mean square of `want`.
fn distance(got: &[f32], want: &[f32]) -> f64 {
    let square: f64 = want.iter().map(|&v| f64::from(v).powi(2)).sum();
    let rms = (square / want.len().max(1) as f64).sqrt().max(1e-12);
    got.iter().zip(want).map(|(&g, &w)| f64::from(g - w).abs() / rms).fold(0.0, f64::max)
}

/// Pearson's correlation of two outputs.
fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let mean = |v: &[f32]| v.iter().map(|&v| f64::from(v)).sum::<f64>() / v.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f(f64::from(a) - ma, f64::from(b) - mb)).sum()
    };
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}
