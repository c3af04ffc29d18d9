//! Calibration: the ranges of activations, and the formats that follow from them.

use std::sync::Arc;

use super::codes::codes_of_filters;
use super::counting::CountingProbe;
use super::executor::Executor;
use super::feed::{Feed, Monitor, Stage};
use super::layers::{MeasuredLayer, chosen_layers, ends_in_relu, extents, filters, stored_activations, weights};
use super::operands::Operands;
use super::outputs;
use super::profile;
use super::ranges::{isa_of, ranges, set_formats, watchers};
use super::record::{PerWorker, Sequences, Watchers};
use super::run::{prepare, watched};
use super::settings::Settings;
use super::whole::{self, WholeImages};
use super::zeroed::Zeroed;
use crate::designs::terms::Terms;
use crate::engine::{Backend, Runner};
use crate::format::{NumberFormat, WeightScale};
use crate::input::{Dataset, InputDigest};
use crate::kernels::Pool;
use crate::kernels::count::extra::floats::{add_floats, float_counts};
use crate::kernels::count::sequence::{Buckets, Sequence};
use crate::kernels::count::{Counter, Detail, Reader};
use crate::layers::Shape;
use crate::measurement::Measurement;
use crate::model::Model;
use crate::tally::{
    ActivationSums, DesignCounts, Extra, ExtraSums, LayerShape, LayerTally, OperandSpec, RecurrentSums, Statistics,
    WeightSums, code_counts,
};
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
        let ranges = ranges(model, backend, &layers, settings);
        let inputs = images.len() / input.elements();
        Runner::new(&model.graph, input, backend, inputs)?.run(images, Some(&ranges))?;
        set_formats(model, backend.pool(), &mut layers, ranges, settings);
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
            if profile::codings(layer, settings).is_some_and(|own| own != stored.codings) {
                return other(&format!("precision of {}", layer.name), "another", "that of --precision");
            }
            layer.codings = stored.codings;
            let wanted = outputs::output_node(&model.graph, layer).filter(|_| settings.counts_outputs());
            layer.output = wanted.and(stored.output);
            if wanted.is_some() && layer.output.is_none() {
                let detail = "cannot calibrate this run: it has no ranges of outputs; make it with the same --metrics";
                return Err(Error::invalid(file, detail));
            }
        }
        let digest = InputDigest::from_hex(&facts.format.calibration_sha256).unwrap_or_default();
        Ok(Self { layers, inputs: facts.format.calibration_inputs, digest, settings: settings.clone() })
    }

    /// A probe that counts all that [`super::measure`] counts, for runs of up to `batch` inputs of shape `input`.
    ///
    /// # Errors
    /// [`Error::Shape`] if a layer cannot take its input.
    pub fn probe(&self, model: &Model, backend: &Backend, input: Shape, batch: usize) -> Result<CountingProbe> {
        CountingProbe::new(self, model, backend, input, batch)
    }

    /// The same ranges, for other statistics.
    pub fn with_statistics(&self, statistics: Statistics) -> Self {
        Self { settings: Settings { statistics, ..self.settings.clone() }, ..self.clone() }
    }

    /// What is counted of the codes of activations.
    pub(super) fn detail(&self) -> Detail {
        self.settings.statistics.detail(self.settings.encoder)
    }

    /// Whether terms of activations are counted.
    pub(super) fn has_terms(&self) -> bool {
        self.detail().encoder().is_some()
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

    /// The [`LayerShape::reader`] of each layer's outputs, for inputs of `input`; none where outputs are not counted.
    fn readers_of_outputs(&self, model: &Model, input: Shape) -> Result<Vec<Option<LayerShape>>> {
        let shapes = model.graph.shapes(input)?;
        let reader = |layer: &MeasuredLayer| layer.output.and_then(|_| outputs::reader(&model.graph, &shapes, layer));
        Ok(self.layers.iter().map(reader).collect())
    }

    /// A tally for every layer: its weights are counted, its activations are not, and there is no room for counts of codes yet
    /// ([`Self::make_room`]).
    pub(super) fn tallies(&self, model: &Model, backend: &Backend) -> Result<Vec<LayerTally>> {
        let isa = isa_of(backend);
        // What is taken of the extents here does not depend on the size of the inputs.
        let shapes = self.shapes(model, model.input_shape())?;
        let readers = self.readers_of_outputs(model, model.input_shape())?;
        let extras = &self.settings.extra;
        let tally = |i: usize| {
            let (layer, shape) = (&self.layers[i], shapes[i].clone());
            if layer.is_of_activations(&model.graph) {
                return self.tally_of_pairs(layer, shape, readers[i].as_ref());
            }
            let (format, encoder) = (self.settings.format.weights, self.settings.encoder);
            let values = weights(&model.graph, layer, format);
            let maps = format.weight_maps(&layer.codings[1], &values, shape.weight[0]);
            let [extra, mut of_weights] = [0, 1].map(|operand| ExtraSums::new(extras, &shape, operand));
            let outputs = readers[i].as_ref().map(|reader| {
                let extra = ExtraSums::new(extras, reader, 2);
                ActivationSums { extra, ..ActivationSums::new(reader, 0) }
            });
            if !extras.is_empty() {
                of_weights.add_filters(&self.spec(i, 1, shape.clone()), &codes_of_filters(&values, &maps));
                if let Some(unit) = self.unit(i, 1) {
                    let mut counts = vec![0; float_counts()];
                    add_floats(values.iter().map(|x| x * unit), &mut counts);
                    of_weights.add_counts(Extra::Float, &counts);
                }
            }
            let sums = WeightSums::without_codes(isa, &shape, &values, &maps, encoder);
            LayerTally {
                images: 0,
                lowest: layer.codings.map(|coding| coding.map.lo),
                activations: ActivationSums { extra, ..ActivationSums::new(&shape, 0) },
                weights: WeightSums { extra: of_weights, ..sums },
                outputs,
                recurrent: layer.gates.map(|gates| RecurrentSums {
                    buckets: self.buckets(),
                    ..RecurrentSums::without_codes(isa, (&shape, gates), &values, &maps, encoder)
                }),
                pairs: None,
                designs: vec![DesignCounts::default(); self.settings.designs.len()],
                shape,
            }
        };
        Ok(backend.pool().map(shapes.len(), tally))
    }

    /// Counts the codes of weights, and makes room in `tallies` for the counts of activations' codes, if these are counted. It is
    /// called late, when the engine's buffers are free.
    pub(super) fn make_room(&self, model: &Model, pool: &Pool, tallies: &mut [LayerTally]) {
        let is_counted = |tally: &LayerTally| tally.pairs.is_some() || !tally.weights.values.codes.is_empty();
        let counted: Vec<bool> = tallies.iter().map(is_counted).collect();
        let coded = |i: usize| {
            let (layer, format) = (&self.layers[i], self.settings.format.weights);
            let values = weights(&model.graph, layer, format);
            let maps = format.weight_maps(&layer.codings[1], &values, filters(&model.graph, layer));
            let gates = layer.gates.map(|gates| RecurrentSums::code_counts(&values, &maps, gates));
            (code_counts(&values, &maps), gates.unwrap_or_default())
        };
        let coded = pool.map(tallies.len(), |i| (!counted[i]).then(|| coded(i)));
        for (tally, coded) in tallies.iter_mut().zip(coded) {
            if let Some((codes, of_gates)) = coded {
                tally.weights.values.codes = codes;
                let gates = tally.recurrent.iter_mut().flat_map(|recurrent| &mut recurrent.gates);
                gates.zip(of_gates).for_each(|(gate, codes)| gate.values.codes = codes);
            }
        }
        for (layer, tally) in self.layers.iter().zip(tallies) {
            tally.activations.room_for(self.detail(), layer.codings[0].map.codes());
            if let (Some(outputs), Some(coding)) = (&mut tally.outputs, layer.output) {
                outputs.room_for(self.detail(), coding.map.codes());
            }
        }
    }

    /// Which steps of sequences are counted together.
    fn buckets(&self) -> Buckets {
        self.settings.single_steps.map_or_else(Buckets::default, |single| Buckets { single })
    }

    /// Takes out of `counters` the one of the outputs of layer `i`, if they are counted.
    pub(super) fn take_outputs(
        &self,
        model: &Model,
        counters: &mut Watchers<Counter>,
        i: usize,
    ) -> Option<PerWorker<Counter>> {
        let node = outputs::output_node(&model.graph, &self.layers[i])?;
        counters.outputs[node.index()].values.take()
    }

    /// How operand `operand` of layer `i`, of extents `shape`, is counted.
    pub(super) fn spec(&self, i: usize, operand: usize, shape: LayerShape) -> OperandSpec {
        let coding = &self.layers[i].codings[operand];
        OperandSpec::new(shape, coding.map, coding.word(), self.settings.encoder)
    }

    /// The float value of 1 in what the engine holds of operand `operand` of layer `i`, if it is counted as floats; operands that
    /// the network stores as integers are not.
    pub(super) fn unit(&self, i: usize, operand: usize) -> Option<f32> {
        let coding = &self.layers[i].codings[operand];
        coding.unit.filter(|_| self.settings.extra.contains(&Extra::Float) && coding.stored.is_none())
    }

    /// What counts along sequences, one a measured layer that is a product of a recurrent layer, for runs of `data`.
    pub(super) fn sequences(&self, batch: usize, goes_on: bool) -> Vec<Option<Arc<Sequences>>> {
        let of = |layer: &MeasuredLayer| {
            let sequence = Sequence::new(layer.codings[0].map, self.settings.encoder, self.buckets());
            layer.gates.map(|_| Arc::new(Sequences::new(batch, goes_on, &sequence)))
        };
        self.layers.iter().map(of).collect()
    }

    /// Counters of the operands, for inputs of `input`, and the operands. An operand that several layers read is counted once, at
    /// the first of them. Those of recurrent layers count along `sequences` too. The counts of each input are also kept by themselves, summed
    /// over the weights in `tallies` of each layer that reads it.
    pub(super) fn counters(
        &self,
        model: &Model,
        backend: &Backend,
        input: Shape,
        sequences: &[Option<Arc<Sequences>>],
        tallies: &[LayerTally],
    ) -> Result<(Watchers<Counter>, Operands)> {
        let extents = (self.shapes(model, input)?, self.readers_of_outputs(model, input)?);
        let operands = Operands::new(&model.graph, &self.layers, extents);
        let counter = |first: usize| {
            let (layer, shape, classes) = (&self.layers[first], &operands.shapes[first], operands.classes(first));
            let (detail, grouping, channels) = (self.detail(), shape.grouping(), shape.channels());
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
                let counter = Counter::new(map, detail, grouping, Arc::clone(&classes), channels);
                counter.by_input(Arc::clone(&readers))
            };
            (layer, counter)
        };
        let mut counters = watchers(model, backend, operands.firsts().map(counter));
        let terms = (!self.settings.designs.is_empty()).then(|| Arc::new(Terms::new(self.settings.encoder)));
        for first in operands.firsts() {
            let place = counters.place(self.layers[first].node, self.layers[first].inside);
            let whole = self.whole(model, &operands, first, terms.as_ref());
            *place = place.take().map(|watcher| watcher.with_whole(whole));
        }
        self.watch_pairs(model, backend, &operands.shapes, tallies, &mut counters)?;
        if self.settings.extra.contains(&Extra::Output) {
            for (layer, shape) in self.layers.iter().zip(&operands.shapes) {
                if !layer.inside && ends_in_relu(&model.graph, layer.node) {
                    counters.outputs[layer.node.index()].zeroed = Some(Zeroed::new(shape));
                }
            }
        }
        for (layer, reader) in self.layers.iter().zip(&operands.readers_of_outputs) {
            let (Some(reader), Some(coding)) = (reader, layer.output) else { continue };
            let Some(node) = outputs::output_node(&model.graph, layer) else { continue };
            let classes = Arc::new(reader.classes());
            let (detail, grouping, channels) = (self.detail(), reader.grouping(), reader.channels());
            let counter = || Counter::new(coding.map, detail, grouping, Arc::clone(&classes), channels);
            let spec = OperandSpec::new(reader.clone(), coding.map, coding.word(), self.settings.encoder);
            let sums = ExtraSums::new(&self.settings.extra, reader, 2);
            let whole = WholeImages::new(vec![whole::Reader { spec, sums, designs: None }], None);
            let watcher = PerWorker::new(isa_of(backend), backend.watchers(), counter).with_whole(whole);
            counters.outputs[node.index()].values = Some(watcher);
        }
        for (layer, sequences) in self.layers.iter().zip(sequences) {
            let place = counters.place(layer.node, layer.inside);
            *place = place.take().map(|watcher| watcher.along(sequences.clone()));
        }
        Ok((counters, operands))
    }
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
    let probe = ranges(model, backend, &layers, settings);
    feed.limit = settings.calibrate.max(1).min(feed.limit);
    let (mut inputs, mut digest) = (0, InputDigest::default());
    let stored = |layer: &MeasuredLayer| {
        let output = outputs::output_node(&model.graph, layer).filter(|_| settings.counts_outputs());
        stored_activations(&model.graph, layer).is_some()
            && output.is_none_or(|node| outputs::stored_output(&model.graph, node).is_some())
    };
    let format = settings.format.activations;
    let outputs_alone = format == NumberFormat::Profile && settings.counts_outputs();
    if !format.is_calibrated() && !outputs_alone || format == NumberFormat::Stored && layers.iter().all(stored) {
        // The format does not depend on ranges: the type or the network defines the codes.
        feed.limit = 0;
    }
    feed.all(Stage::Calibrate, monitor, |samples| {
        watched(executor, samples, &probe, |_| {})?;
        inputs += samples.len() as u64;
        samples.iter().for_each(|sample| digest.add(&sample.digest));
        Ok(())
    })?;
    set_formats(model, backend.pool(), &mut layers, probe, settings);
    Ok(Calibration { layers, inputs, digest, settings: settings.clone() })
}
