//! Counters for inputs of one size: sums over the inputs are added to the tallies, counts of each input become per-input metrics.

use std::sync::{Arc, Mutex};

use super::calibrate::Calibration;
use super::inputs::{Context, Inputs};
use super::operands::Operands;
use super::record::{PerWorker, Sequences, Watchers};
use super::whole::{Counted, WholeImages};
use crate::Result;
use crate::engine::Backend;
use crate::graph::Node;
use crate::kernels::Pool;
use crate::kernels::count::{Counter, Sums};
use crate::layers::Shape;
use crate::model::Model;
use crate::probe::{Probe, Watch, WatchRows};
use crate::tally::{Extra, InputCounts, LayerTally, Products};

/// Counters for inputs of one size, and how many of them were counted.
pub(super) struct Counting {
    pub input: Shape,
    pub probe: Watchers<Counter>,
    pub images: u64,
    operands: Operands,
    /// The sums of one input in each layer that do not depend on its values.
    fixed: Vec<Products>,
}

impl Counting {
    /// Counters for inputs of `input`, along `sequences` where layers have such.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if a layer cannot take its input.
    pub fn new(
        calibration: &Calibration,
        tallies: &[LayerTally],
        model: &Model,
        backend: &Backend,
        input: Shape,
        sequences: &[Option<Arc<Sequences>>],
    ) -> Result<Self> {
        let (probe, operands) = calibration.counters(model, backend, input, sequences, tallies)?;
        let layers = operands.shapes.iter().zip(tallies);
        let fixed = layers.map(|(shape, tally)| Products::of_weights(shape, &tally.weights)).collect();
        Ok(Self { input, operands, probe, images: 0, fixed })
    }

    /// Takes the counts of each of the `inputs` inputs that ran together last: `[input][layer]`.
    pub fn take_inputs(&self, calibration: &Calibration, pool: &Pool, inputs: usize) -> Vec<Vec<InputCounts>> {
        let firsts: Vec<usize> = self.operands.firsts().collect();
        let operands = pool.map(firsts.len(), |operand| {
            let layer = &calibration.layers[firsts[operand]];
            let watcher = self.probe.get(layer.node, layer.inside).expect("the first reader is watched");
            let readers: Vec<usize> = self.operands.readers(firsts[operand]).collect();
            let kept = watcher.take_inputs(readers.len(), inputs);
            let of = |(place, reader): (usize, usize)| {
                let filters = self.operands.shapes[reader].filters() as u64;
                let counts = kept.iter().map(|kept| InputCounts {
                    products: self.fixed[reader].with_values(filters, &kept.reads(place)),
                    values: kept.values(),
                });
                (reader, counts.collect::<Vec<_>>())
            };
            readers.into_iter().enumerate().map(of).collect::<Vec<_>>()
        });
        let mut all = vec![vec![InputCounts::default(); self.fixed.len()]; inputs];
        for (layer, counts) in operands.into_iter().flatten() {
            all.iter_mut().zip(counts).for_each(|(all, counts)| all[layer] = counts);
        }
        for (i, layer) in calibration.layers.iter().enumerate() {
            let Some(pairs) = self.probe.pairs(layer.node) else { continue };
            all.iter_mut().zip(pairs.take_inputs(layer, inputs)).for_each(|(all, counts)| all[i] = counts);
        }
        all
    }

    /// Adds the counts to the tallies.
    pub fn finish(self, calibration: &Calibration, model: &Model, pool: &Pool, tallies: &mut [LayerTally]) {
        calibration.make_room(model, pool, tallies);
        let mut counters = self.probe;
        for (i, tally) in tallies.iter_mut().enumerate() {
            let layer = &calibration.layers[i];
            if let Some(zeroed) = counters.outputs[layer.node.index()].zeroed.as_ref().filter(|_| !layer.inside) {
                tally.activations.extra.add_counts(Extra::Output, &zeroed.macs());
            }
            if let (Some(reader), Some(watcher)) =
                (&self.operands.readers_of_outputs[i], calibration.take_outputs(model, &mut counters, i))
            {
                let (sums, counted) = summed(watcher);
                tally.add_outputs(reader, self.images, &sums, &counted[0].extra);
            }
        }
        for ((layer, tally), shape) in calibration.layers.iter().zip(&mut *tallies).zip(&self.operands.shapes) {
            let Some(pairs) = counters.pairs(layer.node) else { continue };
            if let Some(sums) = pairs.take_sums(layer) {
                tally.add_pairs(shape, self.images, &sums);
            }
        }
        for first in self.operands.firsts() {
            let layer = &calibration.layers[first];
            let (mut sums, counted) = summed(counters.take(layer.node, layer.inside));
            for reader in self.operands.readers(first) {
                sums.classes = Arc::new(self.operands.classes_of(reader, &sums.classes));
                tallies[reader].add(&self.operands.shapes[reader], self.images, &sums);
            }
            for (reader, Counted { extra, designs }) in self.operands.readers(first).zip(&counted) {
                tallies[reader].activations.extra.merge(extra);
                tallies[reader].add_designs(designs);
            }
        }
    }
}

/// The sums of all workers of `watcher`, and what whole images were counted for, one for each layer that reads the operand.
fn summed(mut watcher: PerWorker<Counter>) -> (Sums, Vec<Counted>) {
    let counted = watcher.take_whole().map(WholeImages::into_counts).unwrap_or_default();
    let sums = watcher.into_parts().map(Counter::into_sums).reduce(|mut sums, part| {
        sums.merge(&part);
        sums
    });
    (sums.expect("there is a worker"), counted)
}

/// A probe that counts all that a measurement counts; [`CountingProbe::end_run`] must follow each run.
pub struct CountingProbe {
    calibration: Calibration,
    tallies: Vec<LayerTally>,
    counting: Counting,
    inputs: Mutex<Inputs>,
}

impl CountingProbe {
    pub(super) fn new(
        calibration: &Calibration,
        model: &Model,
        backend: &Backend,
        input: Shape,
        batch: usize,
    ) -> Result<Self> {
        let tallies = calibration.tallies(model, backend)?;
        let sequences = calibration.sequences(batch, false);
        let counting = Counting::new(calibration, &tallies, model, backend, input, &sequences)?;
        let inputs = Mutex::new(Inputs::new(calibration, None));
        Ok(Self { calibration: calibration.clone(), tallies, counting, inputs })
    }

    /// What was counted in runs of `inputs` inputs in all, one a measured layer.
    pub fn into_tallies(mut self, model: &Model, pool: &Pool, inputs: u64) -> Vec<LayerTally> {
        self.counting.images = inputs;
        self.counting.finish(&self.calibration, model, pool, &mut self.tallies);
        self.tallies
    }

    /// Turns the counts of each of the `inputs` inputs of the last run into per-input metrics.
    pub fn end_run(&self, pool: &Pool, inputs: usize) {
        let kept = self.counting.take_inputs(&self.calibration, pool, inputs);
        let context = Context { calibration: &self.calibration, tallies: &self.tallies, pool };
        self.inputs.lock().expect("no run panics while it counts").add(kept, context);
    }
}

impl Probe for CountingProbe {
    fn watch(&self, node: Node) -> Option<&dyn Watch> {
        self.counting.probe.watch(node)
    }

    fn watch_output(&self, node: Node) -> Option<&dyn Watch> {
        self.counting.probe.watch_output(node)
    }

    fn watch_second(&self, node: Node) -> Option<&dyn Watch> {
        self.counting.probe.watch_second(node)
    }

    fn watch_third(&self, node: Node) -> Option<&dyn Watch> {
        self.counting.probe.watch_third(node)
    }

    fn watch_rows(&self, node: Node) -> Option<&dyn WatchRows> {
        self.counting.probe.watch_rows(node)
    }

    fn watch_inside(&self, node: Node) -> Option<&dyn Watch> {
        self.counting.probe.watch_inside(node)
    }
}
