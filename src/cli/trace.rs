//! `--trace`: when each layer ran, and what of its activations was zero, as a file that Perfetto opens.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use clap::{Args, value_parser};
use serde_json::{Map, Value, json};

use super::out::Out;
use crate::engine::{Backend, Clock, EngineOptions, Ran};
use crate::graph::NodeDef;
use crate::layers::Shape;
use crate::measure::{LayerFigures, Stage};
use crate::report::trace;
use crate::{Error, Result};

/// Flags of it.
#[derive(Args, Clone, Debug, Default)]
pub struct TraceArgs {
    /// Write a trace of the first inputs, a slice a layer and counters of zeros and bits, for ui.perfetto.dev; FILE appears only when
    /// it is complete
    #[arg(long, value_name = "FILE.json")]
    pub trace: Option<PathBuf>,
    /// Inputs in the trace, of each stage (calibrate, measure, run); batches are whole
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = value_parser!(u32).range(1..))]
    pub trace_inputs: u32,
}

impl TraceArgs {
    /// Opens the file for a trace of `verb`, if one is asked for.
    ///
    /// # Errors
    /// As [`Out::whole`].
    pub(super) fn open(&self, verb: &str) -> Result<Option<Arc<Trace>>> {
        let Some(path) = &self.trace else { return Ok(None) };
        let mut out = Out::whole("--trace", Some(path))?;
        out.write(&trace::start(&format!("deadweight {verb}"), "layers, each on all threads"))?;
        let state = State { out: Some(out), ..State::default() };
        Ok(Some(Arc::new(Trace { epoch: Instant::now(), limit: self.trace_inputs as usize, state: Mutex::new(state) })))
    }
}

/// `backend`, whose layers `trace` shows, if there is one.
///
/// # Errors
/// [`Error::Invalid`] for an engine that tells of no layers.
pub(super) fn traced(backend: Backend, trace: Option<&Arc<Trace>>) -> Result<Backend> {
    match (backend, trace) {
        (backend, None) => Ok(backend),
        (Backend::Native(options), Some(trace)) => {
            Ok(Backend::Native(EngineOptions { clock: Some(Arc::clone(trace) as Arc<dyn Clock>), ..options }))
        }
        (other, Some(_)) => {
            let detail = format!("shows the layers of the native engine, and the {} engine runs this", other.name());
            Err(Error::invalid("--trace", detail))
        }
    }
}

/// A trace that is being written.
pub(super) struct Trace {
    epoch: Instant,
    /// Inputs of each stage.
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The file, until it is finished.
    out: Option<Out>,
    /// What is running; nothing is recorded before the first stage.
    stage: Option<String>,
    /// Inputs of this stage in the trace, and of all.
    seen: usize,
    taken: usize,
    left_out: usize,
    /// When the run that is recorded began, and how many inputs it has.
    run: Option<(Instant, usize)>,
    /// When each layer of the inputs that ran last began; none where they are not in the trace.
    starts: Vec<(String, f64)>,
    /// Events that are not written yet: writing waits until a run has ended.
    text: String,
    failed: Option<Error>,
}

impl Trace {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Microseconds since the trace began.
    fn at(&self, time: Instant) -> f64 {
        time.saturating_duration_since(self.epoch).as_nanos() as f64 / 1e3
    }

    /// What runs from here on; another stage counts its own inputs.
    pub(super) fn enter(&self, stage: &str) {
        let mut state = self.state();
        if state.stage.as_deref() != Some(stage) {
            (state.stage, state.seen) = (Some(stage.to_owned()), 0);
        }
    }

    /// What runs from here on is not in the trace.
    pub(super) fn leave(&self) {
        self.state().stage = None;
    }

    /// [`Trace::enter`] of a stage of a run.
    pub(super) fn enter_stage(&self, stage: Stage) {
        self.enter(match stage {
            Stage::Calibrate => "calibrate",
            Stage::Measure => "measure",
            Stage::Predict => "run",
        });
    }

    /// Whether the inputs that ran last are in the trace.
    pub(super) fn has_last(&self) -> bool {
        !self.state().starts.is_empty()
    }

    /// Counters of what the layers of the inputs that ran last read.
    pub(super) fn take_layers(&self, layers: &[LayerFigures<'_>]) {
        let mut state = self.state();
        let starts = std::mem::take(&mut state.starts);
        for LayerFigures { node, zeros, width, .. } in layers {
            let Some((_, start)) = starts.iter().find(|(name, _)| name == node) else { continue };
            if let Some(zeros) = zeros {
                state.text += &trace::counter("zero activations", "%", *start, 100.0 * zeros);
            }
            if let Some(width) = width {
                state.text += &trace::counter("activation width", "bits", *start, *width);
            }
        }
        state.write();
    }

    /// Ends the file.
    ///
    /// # Errors
    /// As [`Out::finish`]; those of writing before.
    pub(super) fn finish(&self) -> Result<()> {
        self.leave();
        let mut state = self.state();
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        let Some(mut out) = state.out.take() else { return Ok(()) };
        let (taken, left_out, limit) = (state.taken, state.left_out, self.limit);
        if left_out > 0 {
            tracing::info!("--trace: has {taken} inputs, and not the {left_out} after the first {limit} of each stage");
        }
        let about = json!({
            "tool": format!("deadweight {}", env!("CARGO_PKG_VERSION")),
            "inputs": taken, "inputs_left_out": left_out, "inputs_of_each_stage": limit,
        });
        out.write(&trace::end(&about))?;
        out.finish()
    }
}

impl Clock for Trace {
    fn begins(&self, inputs: usize, row: usize) -> bool {
        let mut state = self.state();
        if row == 0 {
            state.starts.clear();
        }
        if state.stage.is_none() {
            return false;
        }
        // A later band is in the trace if the first is.
        let is_in = if row == 0 { state.seen < self.limit } else { state.run.is_some() };
        match (is_in, row) {
            (true, 0) => (state.seen, state.taken) = (state.seen + inputs, state.taken + inputs),
            (false, 0) => state.left_out += inputs,
            _ => {}
        }
        state.run = is_in.then(|| (Instant::now(), inputs));
        is_in
    }

    fn ran(&self, ran: &Ran<'_>) {
        let (start, end) = (self.at(ran.start), self.at(ran.end));
        let mut state = self.state();
        // The counters of layers that ran as one stand side by side within their slice.
        let step = (end - start) / ran.layers.len().max(1) as f64;
        for (place, (def, _)) in ran.layers.iter().enumerate() {
            if !state.starts.iter().any(|(name, _)| *name == def.name) {
                state.starts.push((def.name.clone(), nanos(start + step * place as f64)));
            }
        }
        let names: Vec<&str> = ran.layers.iter().map(|(def, _)| def.name.as_str()).collect();
        state.text += &trace::slice(&names.join(" + "), "layer", (start, nanos(end - start)), about(ran));
    }

    fn ended(&self) {
        let mut state = self.state();
        let Some((start, inputs)) = state.run else { return };
        let (start, end) = (self.at(start), self.at(Instant::now()));
        let name = state.stage.clone().unwrap_or_default();
        let args = Map::from_iter([("inputs".to_owned(), json!(inputs))]);
        state.text += &trace::slice(&name, "run", (start, nanos(end - start)), args);
        state.write();
    }
}

/// Microseconds without what is below a nanosecond.
fn nanos(micros: f64) -> f64 {
    (micros * 1e3).round() / 1e3
}

/// What is said of layers that ran as one.
fn about(ran: &Ran<'_>) -> Map<String, Value> {
    let macs = |(def, shape): &(&NodeDef, Shape)| def.layer.macs(*shape) * ran.inputs as u64;
    let output = |shape: &Shape| format!("{}x{}x{}", shape.c, shape.h, shape.w);
    let mut about = Map::new();
    let kinds: Vec<&str> = ran.layers.iter().map(|(def, _)| def.layer.kind()).collect();
    about.insert("kind".into(), json!(kinds.join(" + ")));
    about.insert("kernel".into(), json!(ran.kernel));
    about.insert("inputs".into(), json!(ran.inputs));
    about.insert("macs".into(), json!(ran.layers.iter().map(macs).sum::<u64>()));
    if let Some((_, shape)) = ran.layers.last() {
        about.insert("output".into(), json!(output(shape)));
    }
    if let Some(rows) = &ran.rows {
        about.insert("rows".into(), json!(format!("{}..{}", rows.start, rows.end)));
    }
    if ran.layers.len() > 1 {
        let one = |layer: &(&NodeDef, Shape)| {
            let (def, shape) = layer;
            json!({ "layer": def.name, "kind": def.layer.kind(), "output": output(shape), "macs": macs(layer) })
        };
        about.insert("layers".into(), ran.layers.iter().map(one).collect());
    }
    about
}

impl State {
    /// Writes what has come together. An error is kept for the end: a run goes on without its trace.
    fn write(&mut self) {
        let text = std::mem::take(&mut self.text);
        let written = self.out.as_mut().map_or(Ok(()), |out| out.write(&text));
        if let (None, Err(error)) = (&self.failed, written) {
            self.failed = Some(error);
        }
    }
}
