//! Learning the ranges of operands, and setting the formats that follow from them.

use super::layers::{MeasuredLayer, filters, stored_activations, stored_second, stored_weights, weights};
use super::outputs;
use super::profile;
use super::record::{Accumulate, PerWorker, Watchers};
use super::settings::Settings;
use crate::engine::Backend;
use crate::format::{NumberFormat, WeightScale};
use crate::kernels::count::Range;
use crate::kernels::{Isa, Pool};
use crate::model::Model;

/// The instruction-set level of the counting kernels.
pub(super) fn isa_of(backend: &Backend) -> Isa {
    match backend {
        Backend::Native(options) => options.isa,
        Backend::Candle(..) | Backend::Onnx(..) => Isa::best(),
    }
}

/// Watchers of layers; the function of each makes the accumulator of one worker.
pub(super) fn watchers<'a, T: Accumulate>(
    model: &Model,
    backend: &Backend,
    layers: impl Iterator<Item = (&'a MeasuredLayer, impl FnMut() -> T)>,
) -> Watchers<T> {
    let isa = isa_of(backend);
    let mut watchers = Watchers::none(model.graph.nodes.len());
    for (layer, make) in layers {
        let watcher = PerWorker::new(isa, backend.watchers(), make);
        *watchers.place(layer.node, layer.inside) = Some(watcher);
    }
    watchers
}

/// Watchers that learn ranges, of the inputs of `layers` and of their outputs where these are counted.
pub(super) fn ranges(
    model: &Model,
    backend: &Backend,
    layers: &[MeasuredLayer],
    settings: &Settings,
) -> Watchers<Range> {
    let graph = &model.graph;
    // The range of probabilities is known.
    let watched = layers.iter().filter(|layer| !layer.is_of_probabilities(graph));
    let mut ranges = watchers(model, backend, watched.map(|layer| (layer, Range::default)));
    for layer in layers.iter().filter(|layer| layer.is_of_activations(graph)) {
        let watcher = PerWorker::new(isa_of(backend), backend.watchers(), Range::default);
        let others = if layer.is_of_probabilities(graph) { &mut ranges.thirds } else { &mut ranges.seconds };
        others[layer.node.index()] = Some(watcher);
    }
    let counted = layers.iter().filter(|_| settings.counts_outputs());
    for node in counted.filter_map(|layer| outputs::output_node(&model.graph, layer)) {
        let watcher = PerWorker::new(isa_of(backend), backend.watchers(), Range::default);
        ranges.outputs[node.index()].values = Some(watcher);
    }
    ranges
}

/// Sets the formats of `layers` from the learned `ranges`.
pub(super) fn set_formats(
    model: &Model,
    pool: &Pool,
    layers: &mut [MeasuredLayer],
    mut ranges: Watchers<Range>,
    settings: &Settings,
) {
    let (graph, formats) = (&model.graph, settings.format);
    let held = pool.map(layers.len(), |i| match layers[i].is_of_activations(graph) {
        false => Range::of(&weights(graph, &layers[i], formats.weights)),
        true => Range::default(),
    });
    let own_scales = formats.weight_scale() == Some(WeightScale::Filter);
    for (i, weights) in held.into_iter().enumerate() {
        let (before, layers) = layers.split_at_mut(i);
        let layer = &mut layers[0];
        // Queries of all phases are in the same numbers.
        let same = before.last().filter(|before| (before.node, before.inside) == (layer.node, layer.inside));
        if let Some(same) = same {
            (layer.codings, layer.output) = (same.codings, same.output);
            continue;
        }
        let (range, second) = match layer.is_of_probabilities(graph) {
            true => (of_probabilities(formats.activations), ranges.thirds[layer.node.index()].take()),
            false => (merged(ranges.take(layer.node, layer.inside)), ranges.seconds[layer.node.index()].take()),
        };
        layer.codings = profile::codings(layer, settings).unwrap_or_else(|| {
            [
                formats.activations.coding(range, stored_activations(graph, layer)),
                match second {
                    // An activation, too.
                    Some(second) => formats.activations.coding(merged(second), stored_second(graph, layer)),
                    None => formats.weights.weight_coding(weights, stored_weights(graph, layer)),
                },
            ]
        });
        layer.codings[1].per_filter = own_scales && filters(graph, layer) > 1;
        layer.output = outputs::output_node(graph, layer).and_then(|node| {
            let watcher = ranges.outputs[node.index()].values.take()?;
            Some(formats.activations.coding(merged(watcher), outputs::stored_output(graph, node)))
        });
    }
}

/// The range of probabilities: 0 to 1, of which the end saturates where codes are fixed-point fractions.
fn of_probabilities(format: NumberFormat) -> Range {
    match format {
        NumberFormat::Fixed(bits) => Range::of(&[0.0, 1.0 - 0.5f32.powi(bits as i32 - 1)]),
        _ => Range::of(&[0.0, 1.0]),
    }
}

/// The range over all workers of `watcher`.
fn merged(watcher: PerWorker<Range>) -> Range {
    let mut range = Range::default();
    watcher.into_parts().for_each(|part| range.merge(part));
    range
}
