//! The measurement: ranges first, then counts, then one document of them.

use std::borrow::Cow;
use std::sync::Arc;

use super::feed::{Feed, Monitor, Stage};
use super::record::{Accumulate, PerWorker, Watchers};
use crate::engine::{Backend, Runner};
use crate::format::NumberFormat;
use crate::graph::Node;
use crate::input::{Dataset, InputDigest, Sample};
use crate::kernels::count::{CodeMap, Counter, Encoder, Range};
use crate::kernels::{Halo, Isa};
use crate::layers::Layer;
use crate::model::Model;
use crate::tally::{LayerShape, LayerTally, WeightSums};
use crate::task::classify::Accuracy;
use crate::{Error, Result};

/// What is measured, and in which numbers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The number format of both operands.
    pub format: NumberFormat,
    /// Whose terms the potentials count.
    pub encoder: Encoder,
    /// Whether a MAC that is not skipped costs at least 1.
    pub min_one: bool,
    /// Inputs that the ranges of activations are learned from.
    pub calibrate: usize,
    /// Images at a time; no count depends on it.
    pub batch: usize,
    /// Only the first so many inputs.
    pub limit: Option<usize>,
    /// Only layers whose name it matches.
    pub layers: Option<regex::Regex>,
    /// Whether inputs that cannot be decoded are left out or end the run.
    pub skip_bad: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: NumberFormat::default(),
            encoder: Encoder::default(),
            min_one: false,
            calibrate: 32,
            batch: 8,
            limit: None,
            layers: None,
            skip_bad: false,
        }
    }
}

/// One layer that is measured.
#[derive(Clone, Debug)]
pub struct MeasuredLayer {
    /// Its node.
    pub node: Node,
    /// Its name in the checkpoint.
    pub name: String,
    /// `conv`, `depthwise`, `conv_transpose`, `linear`.
    pub kind: &'static str,
    /// Its extents.
    pub shape: LayerShape,
    /// Codes of activations and of weights.
    pub maps: [CodeMap; 2],
}

/// The formats that calibration settled on: what a measurement, or the parts of one, must share to merge.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// The layers in the order of the network.
    pub layers: Vec<MeasuredLayer>,
    /// Inputs the ranges were learned from.
    pub inputs: u64,
    settings: Settings,
}

/// Counts of all layers over some inputs. Measurements of one calibration merge in any order and split.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// One tally a layer of the calibration.
    pub layers: Vec<LayerTally>,
    /// Inputs counted.
    pub inputs: u64,
    /// Inputs left out because they could not be decoded.
    pub skipped: u64,
    /// Digest of the inputs.
    pub digest: InputDigest,
    /// How good the answers were.
    pub accuracy: Accuracy,
}

impl Measurement {
    /// Adds what was counted over other inputs.
    ///
    /// # Panics
    /// If the two are not of one calibration.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.layers.len(), other.layers.len(), "measurements of one calibration");
        self.layers.iter_mut().zip(&other.layers).for_each(|(tally, other)| tally.merge(other));
        self.inputs += other.inputs;
        self.skipped += other.skipped;
        self.digest.merge(&other.digest);
        self.accuracy.merge(&other.accuracy);
    }
}

impl Calibration {
    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Nothing counted yet: the weights' side of every layer, and empty sums.
    fn start(&self, model: &Model) -> Measurement {
        let tally = |layer: &MeasuredLayer| {
            let [activations, weights] = layer.maps;
            let values = weights_of(&model.graph.def(layer.node).layer).expect("measured layers have weights");
            LayerTally {
                shape: layer.shape.clone(),
                images: 0,
                lowest: [activations.lo, weights.lo],
                activations: self.counter(layer).into_sums(),
                weights: WeightSums::count(&layer.shape, &values, weights, self.settings.encoder),
            }
        };
        Measurement {
            layers: self.layers.iter().map(tally).collect(),
            inputs: 0,
            skipped: 0,
            digest: InputDigest::default(),
            accuracy: Accuracy::default(),
        }
    }

    fn counter(&self, layer: &MeasuredLayer) -> Counter {
        let classes = Arc::new(layer.shape.classes());
        let grouping = layer.shape.grouping();
        Counter::new(layer.maps[0], self.settings.encoder, grouping, classes, layer.shape.channels())
    }

    /// Watchers that count, one a measured layer.
    pub(super) fn counters(&self, model: &Model, backend: &Backend) -> Watchers<Counter> {
        watchers(model, backend, &self.layers, |layer| self.counter(layer))
    }
}

fn watchers<T: Accumulate>(
    model: &Model,
    backend: &Backend,
    layers: &[MeasuredLayer],
    mut make: impl FnMut(&MeasuredLayer) -> T,
) -> Watchers<T> {
    let isa = match backend {
        Backend::Native(options) => options.isa,
        Backend::Candle(..) => Isa::best(),
    };
    let mut watchers: Vec<_> = model.graph.nodes.iter().map(|_| None).collect();
    for layer in layers {
        let watcher = PerWorker::new(isa, backend.pool().threads(), || make(layer));
        watchers[layer.node.index()] = Some(watcher);
    }
    Watchers(watchers)
}

/// The weights of a MAC layer, filters outermost.
fn weights_of(layer: &Layer) -> Option<Cow<'_, [f32]>> {
    match layer {
        Layer::Conv(conv) => Some(Cow::Borrowed(&conv.weight.data)),
        Layer::Linear(linear) => Some(Cow::Borrowed(&linear.weight.data)),
        Layer::ConvTranspose(conv) => Some(Cow::Owned(conv.filters_first())),
        _ => None,
    }
}

/// The MAC layers of `model` that `settings` chooses, in the order of the network.
fn chosen_layers(model: &Model, settings: &Settings) -> Result<Vec<MeasuredLayer>> {
    let shapes = model.graph.shapes(model.input_shape())?;
    let extents = |node: Node| {
        let shape = shapes[node.index()];
        [shape.c, shape.h, shape.w]
    };
    let nothing = CodeMap { scale: 1.0, lo: 0, hi: 0 };
    let mut layers = Vec::new();
    for node in model.graph.handles() {
        let def = model.graph.def(node);
        if settings.layers.as_ref().is_some_and(|pattern| !pattern.is_match(&def.name)) {
            continue;
        }
        let Some(&input) = def.inputs.first() else { continue };
        let (kind, shape) = match &def.layer {
            Layer::Conv(conv) => {
                let [c, h, w] = extents(input);
                let halo = conv.halo(h, w);
                let shape = LayerShape {
                    input: [c, h, w],
                    output: extents(node),
                    weight: [conv.out_channels, conv.in_channels / conv.groups, conv.kernel.0, conv.kernel.1],
                    stride: [conv.stride.0, conv.stride.1],
                    padding: [halo.top, halo.bottom, halo.left, halo.right],
                    dilation: [conv.dilation.0, conv.dilation.1],
                    groups: conv.groups,
                    features: false,
                    transposed: false,
                };
                (if conv.is_depthwise() { "depthwise" } else { "conv" }, shape)
            }
            Layer::Linear(linear) => ("linear", LayerShape::linear(extents(input), linear.out_features)),
            Layer::ConvTranspose(conv) => {
                let Halo { top, bottom, left, right } = conv.padding;
                let shape = LayerShape {
                    input: extents(input),
                    output: extents(node),
                    weight: [conv.out_channels, conv.in_channels / conv.groups, conv.kernel.0, conv.kernel.1],
                    stride: [conv.stride.0, conv.stride.1],
                    padding: [top, bottom, left, right],
                    dilation: [conv.dilation.0, conv.dilation.1],
                    groups: conv.groups,
                    features: false,
                    transposed: true,
                };
                ("conv_transpose", shape)
            }
            _ => continue,
        };
        layers.push(MeasuredLayer { node, name: def.name.clone(), kind, shape, maps: [nothing; 2] });
    }
    if let (Some(pattern), true) = (&settings.layers, layers.is_empty()) {
        let known: Vec<&str> = model
            .graph
            .nodes
            .iter()
            .filter(|def| weights_of(&def.layer).is_some())
            .map(|def| def.name.as_str())
            .collect();
        let detail = format!("matches no layer that multiplies; they are {}", known.join(", "));
        return Err(Error::invalid(format!("--layers {pattern}"), detail));
    }
    Ok(layers)
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
    let mut layers = chosen_layers(model, settings)?;
    let probe = watchers(model, backend, &layers, |_| Range::default());
    let limit = settings.calibrate.max(1).min(settings.limit.unwrap_or(usize::MAX));
    let mut inputs = 0;
    run(model, backend, data, settings, limit, &probe, Stage::Calibrate, monitor, |samples, _| {
        inputs += samples.len() as u64;
        Ok(())
    })?;
    let mut ranges = probe.0;
    for layer in &mut layers {
        let mut range = Range::default();
        let watcher = ranges[layer.node.index()].take().expect("every chosen layer is watched");
        watcher.into_parts().for_each(|part| range.merge(part));
        let weights = weights_of(&model.graph.def(layer.node).layer).expect("chosen layers have weights");
        layer.maps = [settings.format.code_map(range), settings.format.code_map(Range::of(&weights))];
    }
    Ok(Calibration { layers, inputs, settings: settings.clone() })
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
    let settings = &calibration.settings;
    let mut result = calibration.start(model);
    let probe = calibration.counters(model, backend);
    let limit = settings.limit.unwrap_or(usize::MAX);
    let skipped = run(model, backend, data, settings, limit, &probe, Stage::Measure, monitor, |samples, outputs| {
        for (sample, logits) in samples.iter().zip(outputs.chunks(outputs.len() / samples.len())) {
            result.inputs += 1;
            result.digest.add(&sample.digest);
            if let Some(label) = sample.label {
                result.accuracy.add(logits, label, model.label_offset(logits.len()));
            }
        }
        Ok(())
    })?;
    result.skipped = skipped as u64;
    let mut counters = probe.0;
    for (layer, tally) in calibration.layers.iter().zip(&mut result.layers) {
        tally.images = result.inputs;
        let watcher = counters[layer.node.index()].take().expect("every chosen layer is watched");
        watcher.into_parts().for_each(|part| tally.activations.merge(&part.into_sums()));
    }
    Ok(result)
}

/// Feeds `data` through the model under `probe`, and stops at the first NaN or infinity it meets.
#[expect(clippy::too_many_arguments, reason = "what is run, on what, how far, and who watches")]
fn run<T: Accumulate>(
    model: &Model,
    backend: &Backend,
    data: &Dataset,
    settings: &Settings,
    limit: usize,
    probe: &Watchers<T>,
    stage: Stage,
    monitor: &dyn Monitor,
    mut each: impl FnMut(&[Sample], &[f32]) -> Result<()>,
) -> Result<usize> {
    let feed = Feed { data, pool: backend.pool(), limit, batch: settings.batch, skip_bad: settings.skip_bad };
    let batch = settings.batch.min(data.len()).max(1);
    let mut runner = Runner::new(&model.graph, model.input_shape(), backend, batch)?;
    feed.run(&mut runner, Some(probe), stage, monitor, |samples, outputs| {
        if let Some((node, image)) = probe.not_finite() {
            let place = model.graph.nodes[node].name.clone();
            return Err(Error::NotFinite { place, detail: format!(", for input {}", samples[image].id) });
        }
        check_outputs(samples, outputs)?;
        each(samples, outputs)
    })
}

fn check_outputs(samples: &[Sample], outputs: &[f32]) -> Result<()> {
    let Some(bad) = outputs.iter().position(|v| !v.is_finite()) else { return Ok(()) };
    let sample = &samples[bad / (outputs.len() / samples.len())];
    Err(Error::NotFinite { place: "output".into(), detail: format!(", for input {}", sample.id) })
}

/// Runs every input and hands its sample and output to `each`. Returns how many were skipped.
///
/// # Errors
/// [`Error::NotFinite`] if an output holds NaN or infinity; those of reading inputs and of `each`.
pub fn predict(
    model: &Model,
    backend: &Backend,
    data: &Dataset,
    settings: &Settings,
    monitor: &dyn Monitor,
    mut each: impl FnMut(&Sample, &[f32]) -> Result<()>,
) -> Result<usize> {
    let limit = settings.limit.unwrap_or(usize::MAX);
    let feed = Feed { data, pool: backend.pool(), limit, batch: settings.batch, skip_bad: settings.skip_bad };
    let batch = settings.batch.min(data.len()).max(1);
    let mut runner = Runner::new(&model.graph, model.input_shape(), backend, batch)?;
    feed.run(&mut runner, None, Stage::Predict, monitor, |samples, outputs| {
        check_outputs(samples, outputs)?;
        let mut outputs = outputs.chunks(outputs.len() / samples.len());
        samples.iter().try_for_each(|sample| each(sample, outputs.next().expect("an output a sample")))
    })
}
