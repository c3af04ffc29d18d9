//! One network, loaded once and timed on request: the deadweight side of `benches/peers`.
//!
//! `peer_worker NETWORK@BATCH THREADS DIR [off|values|terms|full|candle]` loads the output of `benches/peers/export.py`, runs it
//! once and prints `{"version", "mean_abs", "n"}`. Then it answers each count on stdin with the times of that many runs in
//! milliseconds, as a JSON list. `values`, `terms` and `full` are levels of statistics; `candle` runs the same graph with
//! candle's operations. Facts that say `steps` are of a network that reads so many tokens one by one, each from the caches after
//! those before it: times are of one of them.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use deadweight::engine::{Backend, EngineOptions, Runner};
use deadweight::format::NumberFormat;
use deadweight::layers::Shape;
use deadweight::measure::{Calibration, CountingProbe, Settings};
use deadweight::model::{LoadOptions, Model};
use deadweight::probe::Probe;
use deadweight::tally::Statistics;
use serde_json::{Value, json};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (job, threads, folder, level) = match &arguments[..] {
        [job, threads, folder] => (job, threads, folder, "off"),
        [job, threads, folder, level] => (job, threads, folder, level.as_str()),
        _ => bail!("usage: peer_worker NETWORK@BATCH THREADS DIR [off|values|terms|full|candle]"),
    };
    let folder = Path::new(folder);
    let path = folder.join(format!("{job}.json"));
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let facts: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let extents = facts["shape"].as_array().context("shape: missing")?;
    let extents: Vec<usize> = extents.iter().filter_map(|extent| Some(extent.as_u64()? as usize)).collect();
    let (batch, shape) = match extents[..] {
        [batch, steps] => (batch, Shape::new(1, 1, steps)),
        [batch, c, h, w] => (batch, Shape::new(c, h, w)),
        _ => bail!("{}: a shape of {} extents", path.display(), extents.len()),
    };
    let model = load(folder, job, &facts)?;
    let options = EngineOptions::new(threads.parse()?);
    let backend = match level {
        "candle" => Backend::Candle(Device::Cpu, options.pool),
        _ => Backend::Native(options),
    };
    let steps = facts["steps"].as_u64().map_or(0, |steps| steps as usize);
    let mut x = inputs(batch * shape.elements() + steps, extents.len() == 2);
    let next = x.split_off(batch * shape.elements());
    let calibrated: Option<CountingProbe> = match level {
        "values" | "terms" | "full" => {
            let statistics = Statistics::from_name(level).context("a level")?;
            let format = if model.stores_integers() { NumberFormat::Stored } else { NumberFormat::default() };
            let settings = Settings { format: format.into(), statistics, ..Settings::default() };
            let calibration = Calibration::of_images(&model, &backend, shape, &x, &settings)?;
            Some(calibration.probe(&model, &backend, shape, batch)?)
        }
        "off" | "candle" => None,
        _ => bail!("{level}: off, values, terms, full or candle"),
    };
    let probe = calibrated.as_ref().map(|counted| counted as &dyn Probe);
    let mut runner = Runner::new(&model.graph, shape, &backend, batch)?;
    let mut y = Vec::new();
    if steps > 0 {
        ensure!(batch == 1 && probe.is_none(), "{job}: tokens are read one by one in one sequence, plain");
        return generate(&mut runner, &model, &backend, (&x, &next), (folder, job, level));
    }
    let mut run = |y: &mut Vec<f32>| -> Result<f64> {
        let start = Instant::now();
        runner.run_into(&x, probe, y)?;
        if let Some(counted) = &calibrated {
            counted.end_run(backend.pool(), batch);
        }
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    run(&mut y)?;
    ensure!(y.iter().all(|v| v.is_finite()), "{job}: outputs that are not finite");
    let output: Vec<f32> = match extents[..] {
        // The other engines' outputs have the token dimension first, ours the steps.
        [batch, steps] => {
            let tokens = y.len() / batch / steps;
            let at = |i: usize| (i / tokens / steps * tokens + i % tokens) * steps + i / tokens % steps;
            (0..y.len()).map(|i| y[at(i)]).collect()
        }
        _ => y.clone(),
    };
    serve((folder, job, level), &output, || run(&mut y))
}

/// Serves runs of the tokens `next`, one by one, after those of `x`.
fn generate(
    whole: &mut Runner,
    model: &Model,
    backend: &Backend,
    (x, next): (&[f32], &[f32]),
    place: (&Path, &str, &str),
) -> Result<()> {
    whole.carry_states(&[])?;
    whole.run(x, None)?;
    let states = whole.states()?;
    let mut runner = Runner::new(&model.graph, Shape::new(1, 1, 1), backend, 1)?;
    let (mut y, mut each) = (Vec::new(), Vec::new());
    let mut run = |y: &mut Vec<f32>| -> Result<f64> {
        runner.carry_states(&states)?;
        y.clear();
        let start = Instant::now();
        for token in next.chunks(1) {
            runner.run_into(token, None, &mut each)?;
            y.extend_from_slice(&each);
        }
        Ok(start.elapsed().as_secs_f64() * 1e3 / next.len() as f64)
    };
    run(&mut y)?;
    let output = y.clone();
    serve(place, &output, || run(&mut y))
}

/// Leaves the output `y`, tells of it, and answers counts with the milliseconds of so many runs.
fn serve((folder, job, level): (&Path, &str, &str), y: &[f32], mut run: impl FnMut() -> Result<f64>) -> Result<()> {
    let engine = if level == "candle" { level.to_owned() } else { format!("deadweight-{level}") };
    let bytes: Vec<u8> = y.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(folder.join(format!("{job}.{engine}.f32")), bytes)?;
    let mean = y.iter().map(|v| f64::from(v.abs())).sum::<f64>() / y.len() as f64;
    let mut out = std::io::stdout().lock();
    let version = concat!("deadweight ", env!("CARGO_PKG_VERSION"));
    writeln!(out, "{}", json!({ "version": version, "mean_abs": mean, "n": y.len() }))?;
    for line in std::io::stdin().lock().lines() {
        let count: usize = line?.trim().parse()?;
        writeln!(out, "{}", json!((0..count).map(|_| run()).collect::<Result<Vec<f64>>>()?))?;
        out.flush()?;
    }
    Ok(())
}

/// The network of `job`: from the file or folder that its facts name, from a card, or without one from an ONNX file.
fn load(folder: &Path, job: &str, facts: &Value) -> Result<Model> {
    if let Some(model) = facts["model"].as_str() {
        return Ok(Model::load(&folder.join(model).display().to_string(), &LoadOptions::default())?);
    }
    let Some(card) = facts["card"].as_str() else {
        let file = folder.join(format!("{job}.onnx"));
        return Ok(Model::load(&file.display().to_string(), &LoadOptions::default())?);
    };
    let card = match card.ends_with(".toml") {
        true => Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(card).display().to_string(),
        false => card.to_owned(),
    };
    let file = folder.join(format!("{job}.safetensors")).display().to_string();
    Ok(Model::load(&file, &LoadOptions { arch: Some(card), ..LoadOptions::default() })?)
}

/// The inputs of `inputs.py`: a hash of each index, as floats in [-1, 1) or as token ids.
fn inputs(count: usize, tokens: bool) -> Vec<f32> {
    let hash = |index: u64| index.wrapping_mul(2_654_435_761) % (1 << 32);
    let float = |index: u64| (hash(index) as f64 / f64::from(1u32 << 31) - 1.0) as f32;
    let token_id = |index: u64| (hash(index) % 10_000) as f32;
    (0..count as u64).map(|index| if tokens { token_id(index) } else { float(index) }).collect()
}
