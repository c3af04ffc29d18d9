//! Calibration: the ranges of activations, and the formats that follow from them.

use std::sync::Arc;

use super::counting::Counted;
use super::executor::Executor;
use super::feed::{Feed, Monitor, Stage};
use super::layers::{MeasuredLayer, chosen_layers, extents, filters, stored_activations, stored_weights, weights};
use super::operands::Operands;
use super::record::{Accumulate, PerWorker, Sequences, Watchers};
use super::run::{prepare, watched};
use super::settings::{Settings, Statistics};
use crate::engine::{Backend, Runner};
use crate::format::{Formats, NumberFormat, WeightScale};
use crate::input::{Dataset, InputDigest};
use crate::kernels::count::sequence::{Buckets, Sequence};
use crate::kernels::count::{Counter, Encoder, Range, Reader};
use crate::kernels::{Isa, Pool};
use crate::layers::Shape;
use crate::measurement::Measurement;
use crate::model::Model;
use crate::tally::{ActivationSums, LayerShape, LayerTally, RecurrentSums, WeightSums};
use crate::{Error, Result};

/// The formats that calibration settled on: what a measurement, or the parts of one, must share to merge.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// The layers in the order of the network.
    pub layers: Vec<MeasuredLayer>,
    /// Inputs the ranges were learned from.
    pub inputs: u64,
    /// Digest of these inputs.
    pub digest: InputDigest,
    settings: Settings,
}

impl Calibration {
    /// Learns the ranges from `images` alone, `[N, C, H, W]` flat with `[C, H, W]` as `input` says, and settles every
    /// layer's formats.
    ///
    /// # Errors
    /// [`Error::Invalid`] if no layer is chosen; those of [`Runner::run`].
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
        Ok(Self { layers, inputs: inputs as u64, digest: InputDigest::default(), settings: settings.clone() })
    }

    /// The formats of `measurement`, whose ranges are those of the same model and settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `file` and the difference, if they are not.
    pub fn of_measurement(model: &Model, settings: &Settings, measurement: &Measurement, file: &str) -> Result<Self> {
        let mut layers = chosen_layers(model, settings)?;
        let other = |what: &str, has: &str, wants: &str| {
            Err(Error::invalid(file, format!("cannot calibrate this run: its {what} is {has}, not {wants}")))
        };
        let facts = &measurement.provenance;
        let format = settings.format.to_string();
        if facts.format.name != format {
            return other("format", &facts.format.name, &format);
        }
        let own = settings.format.weight_scale().map_or("none", WeightScale::name);
        let theirs = facts.format.weight_scale.as_deref().unwrap_or("none");
        if own != theirs {
            return other("weight scale", theirs, own);
        }
        let weights = |files: &[String]| files.join(" ");
        let own: Vec<String> = model.files.iter().map(|file| file.sha256.clone()).collect();
        let theirs: Vec<String> = facts.model.files.iter().map(|file| file.sha256.clone()).collect();
        if own != theirs {
            return other("weights' SHA-256", &weights(&theirs), &weights(&own));
        }
        let (own, theirs) = (format!("{:?}", model.quantized), format!("{:?}", facts.model.quantized));
        if own != theirs {
            return other("quantisation", &theirs, &own);
        }
        for layer in &mut layers {
            let Some(stored) = measurement.layers.iter().find(|stored| stored.name == layer.name) else {
                return Err(Error::invalid(file, format!("cannot calibrate this run: it has no layer {}", layer.name)));
            };
            layer.codings = stored.codings;
        }
        let digest = InputDigest::from_hex(&facts.format.calibration_sha256).unwrap_or_default();
        Ok(Self { layers, inputs: facts.format.calibration_inputs, digest, settings: settings.clone() })
    }

    /// A probe that counts all that [`super::measure`] counts, for runs of up to `batch` inputs of shape `input`.
    ///
    /// # Errors
    /// [`Error::Shape`] if a layer cannot take its input.
    pub fn probe(&self, model: &Model, backend: &Backend, input: Shape, batch: usize) -> Result<Counted> {
        Counted::new(self, model, backend, input, batch)
    }

    /// The same ranges, for other statistics.
    pub fn with_statistics(&self, statistics: Statistics) -> Self {
        Self { settings: Settings { statistics, ..self.settings.clone() }, ..self.clone() }
    }

    /// Whose terms of activations are counted, if any are.
    fn counted(&self) -> Option<Encoder> {
        (self.settings.statistics == Statistics::Full).then_some(self.settings.encoder)
    }

    /// Whether terms and codes of activations are counted.
    pub(super) fn has_terms(&self) -> bool {
        self.counted().is_some()
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The extents of the layers for inputs of `input`.
    pub(super) fn shapes(&self, model: &Model, input: Shape) -> Result<Vec<LayerShape>> {
        let shapes = model.graph.shapes(input)?;
        Ok(self.layers.iter().map(|layer| extents(&model.graph, &shapes, layer)).collect())
    }

    /// The weights' side of every layer, and empty sums, without room for counts of codes: [`Self::make_room`].
    pub(super) fn tallies(&self, model: &Model, backend: &Backend) -> Result<Vec<LayerTally>> {
        let isa = isa_of(backend);
        // What is taken of the extents here does not depend on the size of the inputs.
        let shapes = self.shapes(model, model.input_shape())?;
        let tally = |i: usize| {
            let (layer, shape) = (&self.layers[i], shapes[i].clone());
            let (format, encoder) = (self.settings.format.weights, self.settings.encoder);
            let values = weights(&model.graph, layer, format);
            let maps = format.weight_maps(&layer.codings[1], &values, shape.weight[0]);
            LayerTally {
                images: 0,
                lowest: layer.codings.map(|coding| coding.map.lo),
                activations: ActivationSums::new(&shape, 0),
                weights: WeightSums::count(isa, &shape, &values, &maps, encoder),
                recurrent: layer.recurrent.then(|| RecurrentSums {
                    buckets: self.buckets(),
                    ..RecurrentSums::count(isa, &shape, &values, &maps, encoder)
                }),
                shape,
            }
        };
        Ok(backend.pool().map(shapes.len(), tally))
    }

    /// Makes room in `tallies` for counts of codes, where they are counted: as a rule when the engine needs its memory no more.
    pub(super) fn make_room(&self, tallies: &mut [LayerTally]) {
        for (layer, tally) in self.layers.iter().zip(tallies).filter(|_| self.has_terms()) {
            tally.activations.room_for(layer.codings[0].map.codes());
        }
    }

    /// Which steps of sequences are counted together.
    fn buckets(&self) -> Buckets {
        self.settings.single_steps.map_or_else(Buckets::default, |single| Buckets { single })
    }

    /// What counts along sequences, one a measured layer that is a product of an LSTM, for runs of `data`.
    pub(super) fn sequences(&self, batch: usize, goes_on: bool) -> Vec<Option<Arc<Sequences>>> {
        let of = |layer: &MeasuredLayer| {
            let sequence = Sequence::new(layer.codings[0].map, self.settings.encoder, self.buckets());
            layer.recurrent.then(|| Arc::new(Sequences::new(batch, goes_on, &sequence)))
        };
        self.layers.iter().map(of).collect()
    }

    /// Watchers that count, one an operand (its first reader's), and the operands, for inputs of `input`; those of LSTMs count
    /// along `sequences` too. Each input is kept apart, as layers of the weights in `tallies` read it.
    pub(super) fn counters(
        &self,
        model: &Model,
        backend: &Backend,
        input: Shape,
        sequences: &[Option<Arc<Sequences>>],
        tallies: &[LayerTally],
    ) -> Result<(Watchers<Counter>, Operands)> {
        let operands = Operands::new(&model.graph, &self.layers, self.shapes(model, input)?);
        let counter = |first: usize| {
            let (layer, shape, classes) = (&self.layers[first], &operands.shapes[first], operands.classes(first));
            let (encoder, grouping, channels) = (self.counted(), shape.grouping(), shape.channels());
            let readers = operands.readers(first).map(|reader| {
                let (taps, weights) = (operands.shapes[reader].taps(), &tallies[reader].weights.taps);
                let weight = |channel: usize, tap: usize| {
                    let of = &weights[channel * taps + tap];
                    [of.nonzero, of.terms]
                };
                Reader::new(&operands.classes_of(reader, &classes), channels, weight)
            });
            let readers: Arc<[Reader]> = readers.collect();
            let (map, classes) = (layer.codings[0].map, Arc::new(classes));
            let counter = move || {
                let counter = Counter::new(map, encoder, grouping, Arc::clone(&classes), channels);
                counter.by_input(Arc::clone(&readers))
            };
            (layer, counter)
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
/// [`Error::NotFinite`] naming layer and input; [`Error::Invalid`] if no layer is chosen; those of reading inputs.
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

pub(super) fn calibrate_on(
    executor: &mut Executor<'_>,
    mut feed: Feed<'_>,
    settings: &Settings,
    monitor: &dyn Monitor,
) -> Result<Calibration> {
    let (model, backend) = (executor.model, executor.backend);
    let mut layers = chosen_layers(model, settings)?;
    let probe = watchers(model, backend, layers.iter().map(|layer| (layer, Range::default)));
    feed.limit = settings.calibrate.max(1).min(feed.limit);
    let (mut inputs, mut digest) = (0, InputDigest::default());
    let stored = |layer: &MeasuredLayer| stored_activations(&model.graph, layer).is_some();
    let format = settings.format.activations;
    if !format.is_calibrated() || format == NumberFormat::Stored && layers.iter().all(stored) {
        // The type, or the network, says what codes are.
        feed.limit = 0;
    }
    feed.all(Stage::Calibrate, monitor, |samples| {
        watched(executor, samples, &probe, |_| {})?;
        inputs += samples.len() as u64;
        samples.iter().for_each(|sample| digest.add(&sample.digest));
        Ok(())
    })?;
    settle(model, backend.pool(), &mut layers, probe, settings.format);
    Ok(Calibration { layers, inputs, digest, settings: settings.clone() })
}

/// Gives `layers` the formats that follow from what `ranges` saw.
fn settle(model: &Model, pool: &Pool, layers: &mut [MeasuredLayer], mut ranges: Watchers<Range>, formats: Formats) {
    let held = pool.map(layers.len(), |i| Range::of(&weights(&model.graph, &layers[i], formats.weights)));
    for (layer, weights) in layers.iter_mut().zip(held) {
        let mut range = Range::default();
        let watcher = ranges.take(layer.node, layer.inside);
        watcher.into_parts().for_each(|part| range.merge(part));
        layer.codings = [
            formats.activations.coding(range, stored_activations(&model.graph, layer)),
            formats.weights.coding(weights, stored_weights(&model.graph, layer)),
        ];
        let own_scales = formats.weight_scale() == Some(WeightScale::Filter);
        layer.codings[1].per_filter = own_scales && filters(&model.graph, layer) > 1;
    }
}
