//! Feeding a data set to an engine: batches in order, decoded in parallel, memory bounded by one batch.

use crate::input::{Dataset, Sample};
use crate::kernels::Pool;
use crate::{Error, Result};

/// What a caller learns and decides while inputs go by.
pub trait Monitor {
    /// `done` of `total` inputs have gone through `stage`.
    fn progress(&self, stage: Stage, done: usize, total: usize);
    /// Whether to stop at the next batch (Ctrl-C).
    fn stop(&self) -> bool;
}

/// What the inputs are run for.
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

impl Monitor for Quiet {
    fn progress(&self, _: Stage, _: usize, _: usize) {}
    fn stop(&self) -> bool {
        false
    }
}

/// Pixels of inputs that are loaded and run together: more would help no kernel and cost memory.
const PIXELS: usize = 1 << 19;

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

impl Feed<'_> {
    /// Hands every input to `each`, in order, as many of one size at a time as go together. Returns how many were
    /// skipped.
    ///
    /// # Errors
    /// The first input that cannot be decoded, unless such are skipped; [`Error::Interrupted`]; those of `each`.
    pub fn run(
        &self,
        stage: Stage,
        monitor: &dyn Monitor,
        mut each: impl FnMut(&[Sample]) -> Result<()>,
    ) -> Result<usize> {
        let total = self.data.len().min(self.limit);
        let (h, w) = self.data.preprocess().size();
        // Inputs of any size may be large: then only as many are in memory as there are threads to decode them.
        let batch = match self.data.together() {
            Some(together) => together.max(self.batch.min(self.pool.threads())).next_multiple_of(together),
            None => self.batch.min(PIXELS.div_ceil(h * w)),
        };
        let mut skipped = 0;
        for start in (0..total).step_by(batch) {
            if monitor.stop() {
                return Err(Error::Interrupted);
            }
            monitor.progress(stage, start, total);
            let samples = self.load(stage, start..total.min(start + batch))?;
            skipped += total.min(start + batch) - start - samples.len();
            for alike in samples.chunk_by(|a, b| a.shape == b.shape) {
                alike.chunks(self.data.together().unwrap_or(alike.len())).try_for_each(&mut each)?;
            }
        }
        monitor.progress(stage, total, total);
        Ok(skipped)
    }

    fn load(&self, stage: Stage, indices: std::ops::Range<usize>) -> Result<Vec<Sample>> {
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
