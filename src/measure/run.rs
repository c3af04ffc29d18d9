//! The measurement: ranges first, then counts, then one document of them.

use std::sync::Arc;

use super::executor::{Executor, Outputs, check, shape_of};
use super::feed::{Feed, Monitor, Stage};
use super::layers::{MeasuredLayer, chosen_layers, extents, stored_activations, stored_weights, weights};
use super::measurement::Measurement;
use super::operands::Operands;
use super::record::{Accumulate, PerWorker, Sequences, Watchers};
use super::score;
use super::settings::{Settings, Statistics};
use crate::Result;
use crate::engine::{Backend, Runner};
use crate::format::NumberFormat;
use crate::input::{Dataset, InputDigest, Sample};
use crate::kernels::count::sequence::Sequence;
use crate::kernels::count::{Counter, Encoder, Range};
use crate::kernels::{Isa, Pool};
use crate::layers::Shape;
use crate::model::Model;
use crate::probe::Probe;
use crate::tally::{ActivationSums, LayerShape, LayerTally, RecurrentSums, WeightSums};

/// The formats that calibration settled on: what a measurement, or the parts of one, must share to merge.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// The layers in the order of the network.
    pub layers: Vec<MeasuredLayer>,
    /// Inputs the ranges were learned from.
    pub inputs: u64,
    settings: Settings,
}

impl Calibration {
    /// Learns the ranges from `images` alone, `[N, C, H, W]` flat with `[C, H, W]` as `input` says, and settles every
    /// layer's formats.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if no layer is chosen; those of [`Runner::run`].
    pub fn of_images(
        model: &Model,
        backend: &Backend,
        input: Shape,
        images: &[f32],
        settings: &Settings,
    ) -> Result<Self> {
        let mut layers = chosen_layers(model, settings)?;
        let ranges = watchers(model, backend, layers.iter().map(|layer| (layer, Range::default)));
        let inputs = images.len() / input.elements();
        Runner::new(&model.graph, input, backend, inputs)?.run(images, Some(&ranges))?;
        settle(model, backend.pool(), &mut layers, ranges, settings.format);
        Ok(Self { layers, inputs: inputs as u64, settings: settings.clone() })
    }

    /// A probe that counts all that [`measure`] counts, for runs of up to `batch` inputs of shape `input`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if a layer cannot take its input.
    pub fn probe(&self, model: &Model, backend: &Backend, input: Shape, batch: usize) -> Result<impl Probe + use<>> {
        let sequences = self.sequences(batch, false);
        Ok(self.counters(model, backend, input, &sequences)?.0)
    }

    /// The same ranges, for other statistics.
    pub fn with_statistics(&self, statistics: Statistics) -> Self {
        Self { settings: Settings { statistics, ..self.settings.clone() }, ..self.clone() }
    }

    /// Whose terms of activations are counted, if any are.
    fn counted(&self) -> Option<Encoder> {
        (self.settings.statistics == Statistics::Full).then_some(self.settings.encoder)
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The extents of the layers for inputs of `input`.
    fn shapes(&self, model: &Model, input: Shape) -> Result<Vec<LayerShape>> {
        let shapes = model.graph.shapes(input)?;
        Ok(self.layers.iter().map(|layer| extents(&model.graph, &shapes, layer)).collect())
    }

    /// The weights' side of every layer, and empty sums.
    fn tallies(&self, model: &Model, backend: &Backend) -> Result<Vec<LayerTally>> {
        let isa = isa_of(backend);
        // What is taken of the extents here does not depend on the size of the inputs.
        let shapes = self.shapes(model, model.input_shape())?;
        let tally = |i: usize| {
            let (layer, shape) = (&self.layers[i], shapes[i].clone());
            let values = weights(&model.graph, layer, self.settings.format);
            let [activations, weights] = layer.codings.map(|coding| coding.map);
            LayerTally {
                images: 0,
                lowest: [activations.lo, weights.lo],
                activations: ActivationSums::new(&shape, self.counted().map_or(0, |_| activations.codes())),
                weights: WeightSums::count(isa, &shape, &values, weights, self.settings.encoder),
                recurrent: layer
                    .recurrent
                    .then(|| RecurrentSums::count(isa, &shape, &values, weights, self.settings.encoder)),
                shape,
            }
        };
        Ok(backend.pool().map(shapes.len(), tally))
    }

    /// What counts along sequences, one a measured layer that is a product of an LSTM, for runs of `data`.
    fn sequences(&self, batch: usize, goes_on: bool) -> Vec<Option<Arc<Sequences>>> {
        let of = |layer: &MeasuredLayer| {
            let sequence = Sequence::new(layer.codings[0].map, self.settings.encoder);
            layer.recurrent.then(|| Arc::new(Sequences::new(batch, goes_on, &sequence)))
        };
        self.layers.iter().map(of).collect()
    }

    /// Watchers that count, one an operand (its first reader's), and the operands, for inputs of `input`; those of LSTMs count
    /// along `sequences` too.
    fn counters(
        &self,
        model: &Model,
        backend: &Backend,
        input: Shape,
        sequences: &[Option<Arc<Sequences>>],
    ) -> Result<(Watchers<Counter>, Operands)> {
        let operands = Operands::new(&model.graph, &self.layers, self.shapes(model, input)?);
        let counter = |first: usize| {
            let (layer, shape, classes) = (&self.layers[first], &operands.shapes[first], operands.classes(first));
            let (encoder, grouping, channels) = (self.counted(), shape.grouping(), shape.channels());
            let (map, classes) = (layer.codings[0].map, Arc::new(classes));
            (layer, move || Counter::new(map, encoder, grouping, Arc::clone(&classes), channels))
        };
        let mut counters = watchers(model, backend, operands.firsts().map(counter));
        for (layer, sequences) in self.layers.iter().zip(sequences) {
            let place = counters.place(layer.node, layer.inside);
            *place = place.take().map(|watcher| watcher.along(sequences.clone()));
        }
        Ok((counters, operands))
    }
}

/// The level at which is counted.
fn isa_of(backend: &Backend) -> Isa {
    match backend {
        Backend::Native(options) => options.isa,
        Backend::Candle(..) => Isa::best(),
    }
}

/// Watchers of layers, each with what makes one worker's accumulator of it.
fn watchers<'a, T: Accumulate>(
    model: &Model,
    backend: &Backend,
    layers: impl Iterator<Item = (&'a MeasuredLayer, impl FnMut() -> T)>,
) -> Watchers<T> {
    let isa = isa_of(backend);
    let none = || model.graph.nodes.iter().map(|_| None).collect();
    let mut watchers = Watchers { inputs: none(), insides: none() };
    for (layer, make) in layers {
        let watcher = PerWorker::new(isa, backend.pool().threads(), make);
        *watchers.place(layer.node, layer.inside) = Some(watcher);
    }
    watchers
}

/// Learns the ranges of activations from the first inputs, and settles every layer's formats.
///
/// # Errors
/// [`crate::Error::NotFinite`] naming layer and input; [`crate::Error::Invalid`] if no layer is chosen; those of reading inputs.
pub fn calibrate(
    model: &Model,
    backend: &Backend,
    data: &Dataset,
    settings: &Settings,
    monitor: &dyn Monitor,
) -> Result<Calibration> {
    let (feed, mut executor) = prepare(model, backend, data, settings);
    calibrate_on(&mut executor, feed, settings, monitor)
}

/// Calibrates, then measures with these ranges: [`calibrate`] and [`measure`] in one preparation, so that weights
/// of networks that see inputs of one size are packed once.
///
/// # Errors
/// As [`calibrate`].
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
    let measurement = measure_on(executor, feed, &calibration, monitor)?;
    Ok((calibration, measurement))
}

fn calibrate_on(
    executor: &mut Executor<'_>,
    mut feed: Feed<'_>,
    settings: &Settings,
    monitor: &dyn Monitor,
) -> Result<Calibration> {
    let (model, backend) = (executor.model, executor.backend);
    let mut layers = chosen_layers(model, settings)?;
    let probe = watchers(model, backend, layers.iter().map(|layer| (layer, Range::default)));
    feed.limit = settings.calibrate.max(1).min(feed.limit);
    let mut inputs = 0;
    let stored = |layer: &MeasuredLayer| stored_activations(&model.graph, layer).is_some();
    if settings.format == NumberFormat::Stored && layers.iter().all(stored) {
        // The network says what its codes are.
        feed.limit = 0;
    }
    feed.run(Stage::Calibrate, monitor, |samples| {
        watched(executor, samples, &probe)?;
        inputs += samples.len() as u64;
        Ok(())
    })?;
    settle(model, backend.pool(), &mut layers, probe, settings.format);
    Ok(Calibration { layers, inputs, settings: settings.clone() })
}

/// Gives `layers` the formats that follow from what `ranges` saw.
fn settle(model: &Model, pool: &Pool, layers: &mut [MeasuredLayer], mut ranges: Watchers<Range>, format: NumberFormat) {
    let stored = pool.map(layers.len(), |i| Range::of(&weights(&model.graph, &layers[i], format)));
    for (layer, weights) in layers.iter_mut().zip(stored) {
        let mut range = Range::default();
        let watcher = ranges.take(layer.node, layer.inside);
        watcher.into_parts().for_each(|part| range.merge(part));
        layer.codings = [
            format.coding(range, stored_activations(&model.graph, layer)),
            format.coding(weights, stored_weights(&model.graph, layer)),
        ];
    }
}

/// Counters for inputs of one size, and how many of them were counted.
struct Counting {
    input: Shape,
    operands: Operands,
    probe: Watchers<Counter>,
    images: u64,
}

impl Counting {
    /// Moves what was counted to the tallies, which are made when they are needed first: as a rule when the engine needs its
    /// memory no more.
    fn finish(
        self,
        calibration: &Calibration,
        model: &Model,
        backend: &Backend,
        tallies: &mut Vec<LayerTally>,
    ) -> Result<()> {
        if tallies.is_empty() {
            *tallies = calibration.tallies(model, backend)?;
        }
        let mut counters = self.probe;
        for first in self.operands.firsts() {
            let layer = &calibration.layers[first];
            let watcher = counters.take(layer.node, layer.inside);
            let sums = watcher.into_parts().map(Counter::into_sums).reduce(|mut sums, part| {
                sums.merge(&part);
                sums
            });
            let mut sums = sums.expect("there is a worker");
            for reader in self.operands.readers(first) {
                sums.classes = Arc::new(self.operands.classes_of(reader, &sums.classes));
                tallies[reader].add(&self.operands.shapes[reader], self.images, &sums);
            }
        }
        Ok(())
    }
}

/// Counts every input of `data` (up to the settings' limit) in the formats of `calibration`.
///
/// # Errors
/// As [`calibrate`].
pub fn measure(
    model: &Model,
    backend: &Backend,
    data: &Dataset,
    calibration: &Calibration,
    monitor: &dyn Monitor,
) -> Result<Measurement> {
    let (feed, executor) = prepare(model, backend, data, &calibration.settings);
    measure_on(executor, feed, calibration, monitor)
}

fn measure_on(
    mut executor: Executor<'_>,
    feed: Feed<'_>,
    calibration: &Calibration,
    monitor: &dyn Monitor,
) -> Result<Measurement> {
    let (model, backend, data) = (executor.model, executor.backend, feed.data);
    let mut result = Measurement {
        layers: Vec::new(),
        inputs: 0,
        skipped: 0,
        digest: InputDigest::default(),
        quality: score::start(model.card.task),
        preprocessing: data.describe(),
        notes: Vec::new(),
    };
    let mut counting: Option<Counting> = None;
    let sequences = calibration.sequences(batch_of(data, &calibration.settings), data.goes_on());
    let skipped = feed.run(Stage::Measure, monitor, |samples| {
        let input = shape_of(&samples[0]);
        if let Some(done) = counting.take_if(|counting| counting.input != input) {
            done.finish(calibration, model, backend, &mut result.layers)?;
        }
        let counting = match &mut counting {
            Some(counting) => counting,
            none => {
                let (probe, operands) = calibration
                    .counters(model, backend, input, &sequences)
                    .map_err(|error| error.of_input(&samples[0].id))?;
                none.insert(Counting { input, operands, probe, images: 0 })
            }
        };
        let outputs = watched(&mut executor, samples, &counting.probe)?;
        counting.images += samples.len() as u64;
        for (sample, output) in samples.iter().zip(outputs.each()) {
            result.inputs += 1;
            result.digest.add(&sample.digest);
            score::add(&mut result.quality, model, sample, output, outputs.shape);
        }
        Ok(())
    })?;
    drop(executor);
    match counting {
        Some(done) => done.finish(calibration, model, backend, &mut result.layers)?,
        None => result.layers = calibration.tallies(model, backend)?,
    }
    for (tally, sequences) in result.layers.iter_mut().zip(&sequences) {
        if let Some(sequences) = sequences {
            tally.add_sequences(&sequences.snapshot());
        }
    }
    result.skipped = skipped as u64;
    result.notes = data.notes();
    Ok(result)
}

fn prepare<'a>(
    model: &'a Model,
    backend: &'a Backend,
    data: &'a Dataset,
    settings: &Settings,
) -> (Feed<'a>, Executor<'a>) {
    let limit = settings.limit.unwrap_or(usize::MAX);
    let feed = Feed { data, pool: backend.pool(), limit, batch: settings.batch, skip_bad: settings.skip_bad };
    (feed, Executor::new(model, backend, batch_of(data, settings), data.goes_on()))
}

/// How many inputs run at a time.
fn batch_of(data: &Dataset, settings: &Settings) -> usize {
    data.together().unwrap_or_else(|| settings.batch.min(data.len()).max(1))
}

/// Runs `samples` under `probe`, and stops at the first NaN or infinity that it meets.
fn watched<T: Accumulate>(executor: &mut Executor<'_>, samples: &[Sample], probe: &Watchers<T>) -> Result<Outputs> {
    let graph = &executor.model.graph;
    let outputs = executor.run(samples, Some(probe), |samples| probe.check(graph, samples))?;
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
    feed.run(Stage::Predict, monitor, |samples| {
        let outputs = executor.run(samples, None, |_| Ok(()))?;
        check(samples, &outputs)?;
        samples.iter().zip(outputs.each()).try_for_each(|(sample, output)| each(sample, output, outputs.shape))
    })
}
