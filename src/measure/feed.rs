//! Feeding a data set to an engine: batches in order, decoded in parallel, memory bounded by one batch.

use std::ops::Range;

use super::figures::{Figures, LayerFigures};
use super::inputs::MeasuredInput;
use crate::input::{Dataset, Sample};
use crate::kernels::Pool;
use crate::{Error, Result};

/// Progress, cancellation and per-input results of a run.
pub trait Monitor {
    /// The monitor that this one stands before, if any: what it takes is by default what that one does.
    fn behind(&self) -> Option<&dyn Monitor> {
        None
    }
    /// `done` of `total` inputs have gone through `stage`.
    fn progress(&self, stage: Stage, done: usize, total: usize) {
        self.behind().into_iter().for_each(|behind| behind.progress(stage, done, total));
    }
    /// Whether to stop at the next batch (Ctrl-C).
    fn stop(&self) -> bool {
        self.behind().is_some_and(|behind| behind.stop())
    }
    /// Whether it takes the results of each input.
    fn takes_inputs(&self) -> bool {
        self.behind().is_some_and(|behind| behind.takes_inputs())
    }
    /// Takes those of one input, in the order of the inputs.
    ///
    /// # Errors
    /// Its own, which end the run.
    fn take_input(&self, input: &MeasuredInput<'_>) -> Result<()> {
        self.behind().map_or(Ok(()), |behind| behind.take_input(input))
    }
    /// Whether it takes what the inputs so far say, now: asked after each batch that is counted.
    fn takes_figures(&self) -> bool {
        self.behind().is_some_and(|behind| behind.takes_figures())
    }
    /// Takes it.
    fn take_figures(&self, figures: &Figures) {
        self.behind().into_iter().for_each(|behind| behind.take_figures(figures));
    }
    /// Whether it takes what the inputs that ran together last say of each layer.
    fn takes_layers(&self) -> bool {
        self.behind().is_some_and(|behind| behind.takes_layers())
    }
    /// Takes it, in the order of the network.
    fn take_layers(&self, layers: &[LayerFigures<'_>]) {
        self.behind().into_iter().for_each(|behind| behind.take_layers(layers));
    }
}

/// The stage of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// To learn the ranges of activations.
    Calibrate,
    /// To count.
    Measure,
    /// For the answers.
    Predict,
}

/// A monitor that neither shows nor stops anything.
pub struct Quiet;

impl Monitor for Quiet {}

/// Pixels of inputs that are loaded and run together: more would help no kernel and cost memory.
const PIXELS: usize = 1 << 19;

/// Segments of a stream that are taken for one input where it is asked how ratios spread: neighbours are alike.
pub const BLOCK: usize = 16;

/// Which inputs are fed, and how.
#[derive(Clone, Copy)]
pub struct Feed<'a> {
    /// The inputs.
    pub data: &'a Dataset,
    /// Threads that decode.
    pub pool: &'a Pool,
    /// Only the first so many.
    pub limit: usize,
    /// Images a batch.
    pub batch: usize,
    /// Whether an input that cannot be decoded is left out (and named in the log) or ends the run.
    pub skip_bad: bool,
}

/// Result of [`Feed::run`].
#[derive(Clone, Copy, Debug)]
pub struct Fed {
    /// The first input that was not run.
    pub next: usize,
    /// Inputs that were skipped.
    pub skipped: usize,
    /// Whether the monitor stopped it.
    pub stopped: bool,
}

impl Feed<'_> {
    /// Hands every input to `each`, as [`Feed::run`] does. Returns how many were skipped.
    ///
    /// # Errors
    /// As [`Feed::run`]; [`Error::Interrupted`].
    pub fn all(&self, stage: Stage, monitor: &dyn Monitor, each: impl FnMut(&[Sample]) -> Result<()>) -> Result<usize> {
        let fed = self.run(stage, 0..self.total(), monitor, each)?;
        if fed.stopped { Err(Error::Interrupted) } else { Ok(fed.skipped) }
    }

    /// Inputs in all.
    fn total(&self) -> usize {
        self.data.len().min(self.limit)
    }

    /// The inputs of part `i` of `n` (from 1) of all, or all of them: parts follow one another, streams of a text stay side by
    /// side, and what is taken for one input (`BLOCK`) stays whole, so that parts merge to the bytes of the whole run; so do
    /// sequences whose inputs carry states.
    pub fn shard(&self, shard: Option<(usize, usize)>, carries: bool) -> Range<usize> {
        let (total, (part, parts)) = (self.total(), shard.unwrap_or((1, 1)));
        let whole = self.data.streams().map_or(1, |streams| streams * BLOCK);
        let blocks = total.div_ceil(whole);
        let edge = |part: usize| {
            let edge = (blocks * part / parts * whole).min(total);
            (edge..total).find(|&place| !carries || !self.data.follows(place)).unwrap_or(total)
        };
        edge(part - 1)..edge(part)
    }

    /// How many inputs are loaded at a time.
    pub fn batch(&self) -> usize {
        let (h, w) = self.data.preprocess().size();
        // Inputs of any size may be large: then only as many are in memory as there are threads to decode them.
        match self.data.together() {
            Some(together) => together.max(self.batch.min(self.pool.threads())).next_multiple_of(together),
            None => self.batch.min(PIXELS.div_ceil(h * w)),
        }
    }

    /// Hands `inputs` to `each`, in order, as many of one size at a time as go together, until the monitor says stop.
    ///
    /// # Errors
    /// The first input that cannot be decoded, unless such are skipped; those of `each`.
    pub fn run(
        &self,
        stage: Stage,
        inputs: Range<usize>,
        monitor: &dyn Monitor,
        mut each: impl FnMut(&[Sample]) -> Result<()>,
    ) -> Result<Fed> {
        let batch = self.batch();
        let mut skipped = 0;
        for start in inputs.clone().step_by(batch) {
            if monitor.stop() {
                return Ok(Fed { next: start, skipped, stopped: true });
            }
            monitor.progress(stage, start - inputs.start, inputs.len());
            let end = inputs.end.min(start + batch);
            let samples = self.load(stage, start..end)?;
            skipped += end - start - samples.len();
            for alike in samples.chunk_by(|a, b| a.shape == b.shape) {
                alike.chunks(self.data.together().unwrap_or(alike.len())).try_for_each(&mut each)?;
            }
        }
        monitor.progress(stage, inputs.len(), inputs.len());
        Ok(Fed { next: inputs.end, skipped, stopped: false })
    }

    fn load(&self, stage: Stage, indices: Range<usize>) -> Result<Vec<Sample>> {
        let loaded = self.pool.map(indices.len(), |task| self.data.load(indices.start + task));
        let mut samples = Vec::new();
        for sample in loaded {
            match sample {
                Ok(sample) => samples.push(sample),
                // Calibration meets the same inputs before: each is named once.
                Err(_) if self.skip_bad && stage == Stage::Calibrate => {}
                Err(error) if self.skip_bad => tracing::warn!("skipped: {error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(samples)
    }
}
