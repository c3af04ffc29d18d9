//! The run that counts: inputs in order, counts of their operands, one measurement of them.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use super::calibrate::{Calibration, calibrate_on};
use super::counting::Counting;
use super::executor::{Batch, Executor, Outputs, check, shape_of};
use super::feed::{Feed, Monitor, Stage};
use super::figures::{self, Figures, UntilEnough};
use super::inputs::{Context, Inputs, MeasuredInput};
use super::provenance::provenance;
use super::record::{Accumulate, Sequences, Watchers};
use super::score;
use super::settings::{Settings, Until};
use super::wrapped;
use crate::engine::Backend;
use crate::input::{Dataset, InputDigest, Sample};
use crate::layers::Shape;
use crate::measurement::{Checkpoint, LayerCounts, Measurement, Provenance};
use crate::model::Model;
use crate::tally::{LayerTally, Spread};
use crate::task::Quality;
use crate::{Error, Result};

/// Calibrates, then measures with these ranges: [`super::calibrate()`] and [`measure`] in one preparation, so that weights of
/// networks that see inputs of one size are packed once.
///
/// # Errors
/// As [`super::calibrate()`].
pub fn calibrate_and_measure(
    model: &Model,
    backend: &Backend,
    data: &Dataset,
    settings: &Settings,
    monitor: &dyn Monitor,
) -> Result<(Calibration, Measurement)> {
    let (feed, mut executor) = prepare(model, backend, data, settings);
    let calibration = calibrate_on(&mut executor, feed, settings, monitor)?;
    executor.restart()?;
    let measurement = Run::new(executor, feed, &calibration).whole(None, monitor)?;
    Ok((calibration, measurement))
}

/// Counts every input of `data` (up to the settings' limit, and in their shard) in the formats of `calibration`.
///
/// # Errors
/// As [`super::calibrate()`].
pub fn measure(
    model: &Model,
    backend: &Backend,
    data: &Dataset,
    calibration: &Calibration,
    monitor: &dyn Monitor,
) -> Result<Measurement> {
    measure_saving(model, backend, data, calibration, (None, None), monitor)
}

/// [`measure`] that goes on from a checkpoint, if there is one, and saves others on its way.
///
/// # Errors
/// As [`measure`]; [`crate::Error::Invalid`] for a checkpoint of another run; those of saving. An interrupted run saves what it
/// has before it ends with [`Error::Interrupted`].
pub fn measure_saving(
    model: &Model,
    backend: &Backend,
    data: &Dataset,
    calibration: &Calibration,
    (from, saving): (Option<Checkpoint>, Option<&Saving<'_>>),
    monitor: &dyn Monitor,
) -> Result<Measurement> {
    let (feed, executor) = prepare(model, backend, data, calibration.settings());
    let mut run = Run::new(executor, feed, calibration);
    if let Some(checkpoint) = from {
        run.restore(checkpoint)?;
    }
    run.whole(saving, monitor)
}

/// When checkpoints are saved, and how.
pub struct Saving<'a> {
    /// After so many inputs, and where the run is stopped.
    pub every: usize,
    /// Saves one.
    pub save: &'a dyn Fn(&Checkpoint) -> Result<()>,
}

/// A run in progress.
struct Run<'a> {
    executor: Executor<'a>,
    feed: Feed<'a>,
    calibration: &'a Calibration,
    /// What is counted along sequences, of layers that have such.
    sequences: Vec<Option<Arc<Sequences>>>,
    /// Of the whole listing the inputs that are this run's, and the next of them.
    inputs: Range<usize>,
    next: usize,
    tallies: Vec<LayerTally>,
    /// Each input by itself.
    single: Inputs,
    /// The stopping rule; none for a part of a run, which does not see all inputs.
    until: Option<Until>,
    measured: u64,
    skipped: u64,
    turned: u64,
    digest: InputDigest,
    keys: Vec<u64>,
    quality: Quality,
}

impl<'a> Run<'a> {
    fn new(executor: Executor<'a>, feed: Feed<'a>, calibration: &'a Calibration) -> Self {
        let settings = calibration.settings();
        let inputs = feed.shard(settings.shard, executor.backend.carries());
        Self {
            sequences: calibration.sequences(batch_of(feed.data, settings).most, feed.data.goes_on()),
            next: inputs.start,
            inputs,
            tallies: Vec::new(),
            single: Inputs::new(calibration, feed.data.streams()),
            until: settings.until.filter(|_| settings.shard.is_none()),
            measured: 0,
            skipped: 0,
            turned: 0,
            digest: InputDigest::default(),
            keys: Vec::new(),
            quality: score::start(executor.model.card.task, feed.data.known()),
            executor,
            feed,
            calibration,
        }
    }

    /// Runs to the end, saving on the way.
    fn whole(mut self, saving: Option<&Saving<'_>>, monitor: &dyn Monitor) -> Result<Measurement> {
        if self.feed.data.goes_on() && self.next == self.inputs.start && self.next > 0 {
            self = self.lead_in(monitor)?;
        }
        if monitor.takes_inputs() {
            self.single.keep_each();
        }
        let every = saving.map_or(usize::MAX, |saving| saving.every.max(1));
        // Whether enough was seen is asked where batches of the whole run end.
        let whole = if self.until.is_some() { self.feed.batch() } else { self.feed.data.together().unwrap_or(1) };
        let every = every.checked_next_multiple_of(whole).unwrap_or(usize::MAX);
        while self.next < self.inputs.end && !self.has_seen_enough() {
            let end = self.next.saturating_add(every).min(self.inputs.end);
            let stopped = self.count(self.next..end, monitor)?;
            if let Some(saving) = saving {
                (saving.save)(&self.checkpoint())?;
            }
            if stopped {
                return Err(Error::Interrupted);
            }
        }
        self.measurement()
    }

    /// The same, with the states of recurrent layers and sequences brought to where its inputs begin.
    fn lead_in(mut self, monitor: &dyn Monitor) -> Result<Self> {
        if self.count(0..self.inputs.start, monitor)? {
            return Err(Error::Interrupted);
        }
        let Self { executor, feed, calibration, sequences, .. } = self;
        Ok(Self { sequences, ..Self::new(executor, feed, calibration) })
    }

    /// Counts `inputs`, or as many of them as there are before the run is stopped, which is true then.
    fn count(&mut self, inputs: Range<usize>, monitor: &dyn Monitor) -> Result<bool> {
        let Self { executor, feed, calibration, sequences, tallies, single, until, .. } = self;
        let (model, backend, settings) = (executor.model, executor.backend, calibration.settings());
        if tallies.is_empty() {
            *tallies = calibration.tallies(model, backend)?;
        }
        let mut counting: Option<Counting> = None;
        let enough = Cell::new(false);
        let monitor = UntilEnough { monitor, enough: &enough };
        let fed = feed.run(Stage::Measure, inputs, &monitor, |samples| {
            let input = shape_of(&samples[0]);
            if let Some(done) = counting.take_if(|counting| counting.input != input) {
                done.finish(calibration, model, backend.pool(), tallies);
            }
            let counting = match &mut counting {
                Some(counting) => counting,
                none => {
                    let new = Counting::new(calibration, tallies, model, backend, input, sequences);
                    none.insert(new.map_err(|error| error.of_input(&samples[0].id))?)
                }
            };
            let context = Context { calibration, tallies, pool: backend.pool() };
            let keep = |inputs: usize| {
                let counts = counting.take_inputs(calibration, backend.pool(), inputs);
                if monitor.takes_layers() {
                    monitor.take_layers(&figures::of_layers(&counts, &model.graph, context));
                }
                single.add(counts, context);
            };
            let outputs = watched(executor, samples, &counting.probe, keep)?;
            counting.images += samples.len() as u64;
            let mut each = single.take_each().into_iter();
            for (sample, output) in samples.iter().zip(outputs.each()) {
                self.measured += 1;
                self.turned += u64::from(sample.turned);
                self.digest.add(&sample.digest);
                self.keys.push(sample.key());
                let mut quality = score::start(model.card.task, feed.data.known());
                score::add(&mut quality, model, sample, output, outputs.shape);
                self.quality.merge(&quality);
                if let Some(fractions) = each.next() {
                    let (ratios, quality) = (&single.spread.ratios[..], &quality);
                    monitor.take_input(&MeasuredInput { sample, output, quality, ratios, fractions: &fractions })?;
                }
            }
            enough.set(until.is_some_and(|until| single.is_enough(&until, settings.min_one)));
            if let Some(figures) = monitor.takes_figures().then(|| Figures::of(&single.spread)).flatten() {
                monitor.take_figures(&figures);
            }
            Ok(())
        })?;
        // Buffers and packed weights go before the counts come together, which is the most that a run holds.
        if fed.next == self.inputs.end || fed.stopped {
            executor.release();
        }
        if let Some(done) = counting {
            done.finish(calibration, model, backend.pool(), tallies);
        }
        self.take_sequences()?;
        self.next = fed.next;
        self.skipped += fed.skipped as u64;
        Ok(fed.stopped && !enough.get())
    }

    /// Whether the interval that the run is to go on to is reached.
    fn has_seen_enough(&self) -> bool {
        let min_one = self.calibration.settings().min_one;
        self.until.is_some_and(|until| self.single.is_enough(&until, min_one))
    }

    /// Moves what was counted along sequences to the tallies.
    fn take_sequences(&mut self) -> Result<()> {
        if self.tallies.is_empty() {
            self.tallies = self.calibration.tallies(self.executor.model, self.executor.backend)?;
        }
        let (model, pool) = (self.executor.model, self.executor.backend.pool());
        self.calibration.make_room(model, pool, &mut self.tallies);
        for (tally, sequences) in self.tallies.iter_mut().zip(&self.sequences) {
            if let Some(sequences) = sequences {
                tally.add_sequences(sequences.take_sums().iter().map(Vec::as_slice));
            }
        }
        Ok(())
    }

    fn measurement(mut self) -> Result<Measurement> {
        self.take_sequences()?;
        let context =
            Context { calibration: self.calibration, tallies: &self.tallies, pool: self.executor.backend.pool() };
        self.single.end(context);
        let (tallies, spread) = (std::mem::take(&mut self.tallies), std::mem::take(&mut self.single.spread));
        let mut measurement = self.counted(tallies, spread);
        if let (Some(until), true) = (self.until, self.next < self.inputs.end) {
            let (seen, listed) = (self.next - self.inputs.start, self.inputs.len());
            let (share, name) = (until.share * 100.0, until.name());
            let note = format!("the run ended after {seen} of {listed} inputs: {name} was known to {share} %");
            measurement.provenance.notes.push(note);
        }
        Ok(measurement)
    }

    /// The measurement of all inputs so far, of which the counts are `tallies` and `spread`.
    fn counted(&self, tallies: Vec<LayerTally>, spread: Spread) -> Measurement {
        let layers = self.calibration.layers.iter().zip(tallies).map(|(layer, tally)| LayerCounts {
            name: layer.name.clone(),
            kind: layer.kind.to_owned(),
            codings: layer.codings,
            output: layer.output,
            tally,
        });
        let mut keys = self.keys.clone();
        keys.sort_unstable();
        Measurement {
            provenance: self.provenance(),
            layers: layers.collect(),
            inputs: self.measured,
            skipped: self.skipped,
            turned: self.turned,
            digest: self.digest,
            keys,
            quality: self.quality.clone(),
            spread,
        }
    }

    /// The provenance of the counts.
    fn provenance(&self) -> Provenance {
        let Self { executor, feed, calibration, quality, .. } = self;
        provenance(executor.model, executor.backend, feed.data, calibration, quality)
    }

    /// The state of the run.
    fn checkpoint(&self) -> Checkpoint {
        let states = |sequences: &Option<Arc<Sequences>>| sequences.as_ref().map(|sequences| sequences.states());
        Checkpoint {
            measurement: self.counted(self.tallies.clone(), self.single.spread.clone()),
            open: self.single.open.clone(),
            next: self.next,
            inputs: self.inputs.clone(),
            states: self.executor.states().to_vec(),
            sequences: self.sequences.iter().map(states).collect(),
        }
    }

    /// Resumes from `checkpoint`.
    fn restore(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let facts = self.provenance();
        checkpoint.check(&facts, &self.inputs, &self.single.spread, &self.single.open)?;
        let Checkpoint { measurement, next, states, sequences, open, .. } = checkpoint;
        wrapped::remember(self.executor.model, &measurement.provenance.notes);
        self.single.restore(next - self.inputs.start, open, measurement.spread);
        for (own, states) in self.sequences.iter().zip(sequences) {
            if let (Some(own), Some(states)) = (own, states) {
                own.restore(states);
            }
        }
        self.executor.set_states(states, next);
        self.tallies = measurement.layers.into_iter().map(|layer| layer.tally).collect();
        (self.measured, self.skipped, self.turned) = (measurement.inputs, measurement.skipped, measurement.turned);
        self.digest = measurement.digest;
        (self.keys, self.quality, self.next) = (measurement.keys, measurement.quality, next);
        Ok(())
    }
}

pub(super) fn prepare<'a>(
    model: &'a Model,
    backend: &'a Backend,
    data: &'a Dataset,
    settings: &Settings,
) -> (Feed<'a>, Executor<'a>) {
    let limit = settings.limit.unwrap_or(usize::MAX);
    // Where batches of a text end must not depend on the threads if that decides where a run ends.
    let batch = if settings.until.is_some() && data.together().is_some() { 1 } else { settings.batch };
    let feed = Feed { data, pool: backend.pool(), limit, batch, skip_bad: settings.skip_bad };
    (feed, Executor::new(model, backend, batch_of(data, settings), data))
}

/// How many inputs run at a time.
pub(super) fn batch_of(data: &Dataset, settings: &Settings) -> Batch {
    let most = data.together().unwrap_or_else(|| settings.batch.min(data.len()).max(1));
    Batch { most, may_be_less: settings.batch_may_be_less }
}

/// Runs `samples` under `probe`, and stops at the first NaN or infinity that it meets. After each run `ran` is called with its number
/// of samples.
pub(super) fn watched<T: Accumulate>(
    executor: &mut Executor<'_>,
    samples: &[Sample],
    probe: &Watchers<T>,
    mut ran: impl FnMut(usize),
) -> Result<Outputs> {
    let graph = &executor.model.graph;
    let outputs = executor.run(samples, Some(probe), |samples| {
        probe.check(graph, samples)?;
        ran(samples.len());
        Ok(())
    })?;
    check(samples, &outputs)?;
    Ok(outputs)
}

/// Runs every input and hands its sample, its output and the output's extents to `each`. Returns how many were skipped.
///
/// # Errors
/// [`crate::Error::NotFinite`] if an output holds NaN or infinity; those of reading inputs and of `each`.
pub fn predict(
    model: &Model,
    backend: &Backend,
    data: &Dataset,
    settings: &Settings,
    monitor: &dyn Monitor,
    mut each: impl FnMut(&Sample, &[f32], Shape) -> Result<()>,
) -> Result<usize> {
    let (feed, mut executor) = prepare(model, backend, data, settings);
    feed.all(Stage::Predict, monitor, |samples| {
        let outputs = executor.run(samples, None, |_| Ok(()))?;
        check(samples, &outputs)?;
        samples.iter().zip(outputs.each()).try_for_each(|(sample, output)| each(sample, output, outputs.shape))
    })
}
