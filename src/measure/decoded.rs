//! Inputs that one network after the other answers: decoded once, where they fit in memory.

use std::cell::OnceCell;

use super::executor::{Executor, check};
use super::feed::{Monitor, Stage};
use super::run::{batch_of, prepare};
use super::settings::Settings;
use crate::engine::Backend;
use crate::input::{Dataset, Sample, Truth};
use crate::layers::Shape;
use crate::model::Model;
use crate::{Error, Result};

/// Bytes of values and truths that are kept from one network to the next.
const KEPT: usize = 1 << 30;

/// The inputs.
pub struct Decoded<'a> {
    data: &'a Dataset,
    backend: &'a Backend,
    settings: Settings,
    /// What runs together, once all were decoded; none where they are too large.
    kept: OnceCell<Option<Vec<Vec<Sample>>>>,
}

impl<'a> Decoded<'a> {
    /// Those of `data` that `settings` chooses, to be run by `backend`.
    pub fn new(data: &'a Dataset, backend: &'a Backend, settings: &Settings) -> Self {
        Self { data, backend, settings: settings.clone(), kept: OnceCell::new() }
    }

    /// The inputs as they are listed.
    pub fn data(&self) -> &Dataset {
        self.data
    }

    /// Runs every input by `model` and hands its sample, its output and the output's extents to `each`, in order.
    ///
    /// # Errors
    /// As [`super::predict()`].
    pub fn answer(
        &self,
        model: &Model,
        monitor: &dyn Monitor,
        mut each: impl FnMut(&Sample, &[f32], Shape) -> Result<()>,
    ) -> Result<()> {
        let settings = &self.settings;
        let mut run = |executor: &mut Executor<'_>, samples: &[Sample]| {
            let outputs = executor.run(samples, None, |_| Ok(()))?;
            check(samples, &outputs)?;
            samples.iter().zip(outputs.each()).try_for_each(|(sample, output)| each(sample, output, outputs.shape))
        };
        if let Some(Some(kept)) = self.kept.get() {
            let mut executor = Executor::new(model, self.backend, batch_of(self.data, settings), self.data);
            let total = kept.iter().map(Vec::len).sum();
            let mut done = 0;
            for samples in kept {
                if monitor.stop() {
                    return Err(Error::Interrupted);
                }
                monitor.progress(Stage::Predict, done, total);
                run(&mut executor, samples)?;
                done += samples.len();
            }
            monitor.progress(Stage::Predict, total, total);
            return Ok(());
        }
        let (feed, mut executor) = prepare(model, self.backend, self.data, settings);
        let (mut kept, mut bytes) = (Some(Vec::new()), 0);
        feed.all(Stage::Predict, monitor, |samples| {
            bytes += samples.iter().map(bytes_of).sum::<usize>();
            kept = kept.take().filter(|_| bytes <= KEPT && self.kept.get().is_none());
            kept.iter_mut().for_each(|kept| kept.push(samples.to_vec()));
            run(&mut executor, samples)
        })?;
        // The first complete run decides.
        let _ = self.kept.set(kept);
        Ok(())
    }
}

/// Bytes of the values and the truth of `sample`, but for what inputs share.
fn bytes_of(sample: &Sample) -> usize {
    let truth = match &sample.truth {
        Some(Truth::Image(values)) => size_of_val(&values[..]),
        Some(Truth::Classes(classes)) => size_of_val(&classes[..]),
        Some(Truth::Tokens(tokens)) => size_of_val(&tokens[..]),
        Some(Truth::Steps(steps)) => size_of_val(&steps[..]),
        Some(Truth::Vectors(_)) | None => 0,
    };
    size_of_val(&sample.values[..]) + truth
}
