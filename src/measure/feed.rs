//! Feeding a data set to an engine: batches in order, decoded in parallel, memory bounded by one batch.

use std::sync::Mutex;

use crate::engine::Runner;
use crate::input::{Dataset, Sample};
use crate::kernels::Pool;
use crate::probe::Probe;
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
    /// Runs every input through `runner`; `each(samples, outputs)` gets each batch. Returns how many were skipped.
    ///
    /// # Errors
    /// The first input that cannot be decoded, unless such are skipped; [`Error::Interrupted`]; those of `each`.
    pub fn run(
        &self,
        runner: &mut Runner,
        probe: Option<&dyn Probe>,
        stage: Stage,
        monitor: &dyn Monitor,
        mut each: impl FnMut(&[Sample], &[f32]) -> Result<()>,
    ) -> Result<usize> {
        let total = self.data.len().min(self.limit);
        let mut skipped = 0;
        let mut images = Vec::new();
        for start in (0..total).step_by(self.batch) {
            if monitor.stop() {
                return Err(Error::Interrupted);
            }
            monitor.progress(stage, start, total);
            let samples = self.load(stage, start..total.min(start + self.batch))?;
            skipped += total.min(start + self.batch) - start - samples.len();
            if samples.is_empty() {
                continue;
            }
            images.clear();
            samples.iter().for_each(|sample| images.extend_from_slice(&sample.values));
            let outputs = runner.run(&images, probe)?;
            each(&samples, &outputs)?;
        }
        monitor.progress(stage, total, total);
        Ok(skipped)
    }

    fn load(&self, stage: Stage, indices: std::ops::Range<usize>) -> Result<Vec<Sample>> {
        let slots: Vec<Mutex<Option<Result<Sample>>>> = indices.clone().map(|_| Mutex::new(None)).collect();
        self.pool.for_each_task(slots.len(), |_, task| {
            let sample = self.data.load(indices.start + task);
            *slots[task].lock().expect("no task panics while it holds its slot") = Some(sample);
        });
        let loaded = slots.into_iter().map(|slot| {
            slot.into_inner().expect("no task panics while it holds its slot").expect("every task fills its slot")
        });
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
