//! The probes of a measurement: one learns ranges, one counts; each has an accumulator for every thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::outputs::OutputWatcher;
use super::pairs::{OPERANDS, PairOperand, Pairs};
use super::whole::WholeImages;
use crate::graph::{Graph, Node};
use crate::input::Sample;
use crate::kernels::count::sequence::{Sequence, StepSums};
use crate::kernels::count::{Counter, OneInput, Range};
use crate::kernels::{Geometry, Isa, PackedCodes, Region};
use crate::probe::{Origin, Probe, Watch, WatchRows};
use crate::{Error, Result};

/// Watches an operand with one accumulator a worker thread, so that no two threads share one.
pub(super) struct PerWorker<T> {
    isa: Isa,
    workers: Vec<Mutex<T>>,
    sequences: Option<Arc<Sequences>>,
    whole: Option<WholeImages>,
    /// Lowest image of the batch that held NaN or infinity; `usize::MAX` where none did.
    bad_image: AtomicUsize,
}

/// An accumulator over the rows of an operand.
pub(super) trait Accumulate: Send {
    /// Notes that `input` of the run is added from here on.
    fn begin_input(&mut self, _isa: Isa, _input: usize) {}

    /// Adds `region` of `image`; false if it holds NaN or infinity.
    fn add(&mut self, isa: Isa, x: &[f32], geometry: &Geometry, image: usize, region: Region, first: usize) -> bool;

    /// Whether codes in bytes can be added.
    fn takes_bytes(&self) -> bool {
        false
    }

    /// Adds codes, if it takes them, of which row 0 is row `first` of whole images.
    fn add_bytes(&mut self, _isa: Isa, _x: PackedCodes<'_>, _first: usize) {
        unreachable!("packed codes go only to counters that take them")
    }
}

impl Accumulate for Range {
    fn add(&mut self, isa: Isa, x: &[f32], geometry: &Geometry, image: usize, region: Region, _: usize) -> bool {
        self.watch(isa, x, geometry, image, region)
    }
}

impl Accumulate for Counter {
    fn begin_input(&mut self, isa: Isa, input: usize) {
        Counter::begin_input(self, isa, input);
    }

    fn add(&mut self, isa: Isa, x: &[f32], geometry: &Geometry, image: usize, region: Region, first: usize) -> bool {
        self.count(isa, x, geometry, image, region, first)
    }

    fn takes_bytes(&self) -> bool {
        Counter::takes_bytes(self)
    }

    fn add_bytes(&mut self, isa: Isa, x: PackedCodes<'_>, first: usize) {
        self.count_packed(isa, x, first);
    }
}

impl<T: Accumulate> PerWorker<T> {
    pub(super) fn new(isa: Isa, workers: usize, mut make: impl FnMut() -> T) -> Self {
        let workers = (0..workers).map(|_| Mutex::new(make())).collect();
        Self { isa, workers, sequences: None, whole: None, bad_image: AtomicUsize::new(usize::MAX) }
    }

    /// The same, counting along `sequences` too.
    pub(super) fn along(self, sequences: Option<Arc<Sequences>>) -> Self {
        Self { sequences, ..self }
    }

    /// The same, assembling whole images for on-demand counts.
    pub(super) fn with_whole(self, whole: Option<WholeImages>) -> Self {
        Self { whole, ..self }
    }

    /// Takes the whole images and their counts, if there are any.
    pub(super) fn take_whole(&mut self) -> Option<WholeImages> {
        self.whole.take()
    }

    /// The accumulators.
    pub(super) fn into_parts(self) -> impl Iterator<Item = T> {
        self.workers.into_iter().map(|part| part.into_inner().expect("no task panics while it counts"))
    }
}

impl PerWorker<Counter> {
    /// Takes the counts of each of `inputs` inputs that ran together, one for each of `readers` layers that read the operand.
    pub(super) fn take_inputs(&self, readers: usize, inputs: usize) -> Vec<OneInput> {
        let mut all = vec![OneInput::none(readers); inputs];
        for worker in &self.workers {
            worker.lock().expect("no task panics while it counts").take_inputs(self.isa, &mut all);
        }
        all
    }
}

impl<T: Accumulate> Watch for PerWorker<T> {
    fn look(&self, worker: usize, x: &[f32], geometry: &Geometry, image: usize, region: Region, origin: Origin) {
        let first = region.blocks.start == 0;
        if let Some(whole) = &self.whole {
            whole.add(x, geometry, image, &region, origin);
        }
        let mut part = self.workers[worker].lock().expect("no task panics while it counts");
        part.begin_input(self.isa, origin.image + image);
        if !part.add(self.isa, x, geometry, image, region, origin.row) {
            self.bad_image.fetch_min(origin.image + image, Ordering::Relaxed);
        }
        // A sequence's steps are taken whole.
        if let Some(sequences) = self.sequences.as_ref().filter(|_| first) {
            sequences.add(self.isa, x, geometry, image, origin);
        }
    }

    fn takes_bytes(&self) -> bool {
        self.sequences.is_none()
            && self.whole.is_none()
            && self.workers[0].lock().expect("no task panics while it counts").takes_bytes()
    }

    fn look_at_bytes(&self, worker: usize, x: PackedCodes<'_>, origin: Origin) {
        let mut part = self.workers[worker].lock().expect("no task panics while it counts");
        part.begin_input(self.isa, origin.image);
        part.add_bytes(self.isa, x, origin.row);
    }
}

/// Counts along the sequences of a batch: each image is a sequence, or the next part of one.
pub(super) struct Sequences {
    /// Whether each run goes on where the last one ended.
    goes_on: bool,
    images: Vec<Mutex<Sequence>>,
}

impl Sequences {
    /// For up to `images` images at a time.
    pub(super) fn new(images: usize, goes_on: bool, sequence: &Sequence) -> Self {
        Self { goes_on, images: (0..images).map(|_| Mutex::new(sequence.clone())).collect() }
    }

    fn add(&self, isa: Isa, x: &[f32], geometry: &Geometry, image: usize, origin: Origin) {
        let mut sequence = self.images[origin.image + image].lock().expect("no task panics while it counts");
        if !self.goes_on {
            sequence.begin();
        }
        sequence.add(isa, x, geometry, image);
    }

    /// Takes out what was counted so far; the sequences go on.
    pub(super) fn take_sums(&self) -> Vec<Vec<StepSums>> {
        self.images.iter().map(|image| locked(image).take_sums()).collect()
    }

    /// Codes of the last step, and how many steps there were, of each.
    pub(super) fn states(&self) -> Vec<(Vec<i32>, u64)> {
        self.images.iter().map(|image| locked(image).state()).collect()
    }

    /// Lets each go on from a state.
    pub(super) fn restore(&self, states: Vec<(Vec<i32>, u64)>) {
        for (image, (last, steps)) in self.images.iter().zip(states) {
            locked(image).restore(last, steps);
        }
    }
}

fn locked(image: &Mutex<Sequence>) -> MutexGuard<'_, Sequence> {
    image.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watchers by node: of the inputs of layers, of the inputs of projections inside LSTMs, and of the outputs of layers; of products of
/// activations, of the second and third operand, or of all together.
pub(super) struct Watchers<T> {
    pub(super) inputs: Vec<Option<PerWorker<T>>>,
    pub(super) insides: Vec<Option<PerWorker<T>>>,
    pub(super) outputs: Vec<OutputWatcher<T>>,
    pub(super) seconds: Vec<Option<PerWorker<T>>>,
    pub(super) thirds: Vec<Option<PerWorker<T>>>,
    pub(super) pairs: Vec<Option<[PairOperand; OPERANDS]>>,
}

impl<T> Watchers<T> {
    /// None yet, of a graph of so many nodes.
    pub(super) fn none(nodes: usize) -> Self {
        let [inputs, insides, seconds, thirds] = [(); 4].map(|()| (0..nodes).map(|_| None).collect());
        let outputs = (0..nodes).map(|_| OutputWatcher::none()).collect();
        Self { inputs, insides, outputs, seconds, thirds, pairs: (0..nodes).map(|_| None).collect() }
    }

    /// What counts the product of two activations of `node`.
    pub(super) fn pairs(&self, node: Node) -> Option<&Arc<Pairs>> {
        self.pairs[node.index()].as_ref().map(|[first, _]| &first.pairs)
    }

    /// The watcher of operand `which` of a product of two activations, where that is shown before or while the layer runs.
    fn operand(&self, node: Node, which: usize) -> Option<&dyn Watch> {
        let operands = self.pairs[node.index()].as_ref().filter(|[first, _]| first.pairs.is_shown_operands())?;
        Some(&operands[which])
    }

    /// Where the watcher of `node`, or `inside` it, belongs.
    pub(super) fn place(&mut self, node: Node, inside: bool) -> &mut Option<PerWorker<T>> {
        let watchers = if inside { &mut self.insides } else { &mut self.inputs };
        &mut watchers[node.index()]
    }

    /// The watcher of `node`, or `inside` it, which must be there: that of the first reader of an operand.
    pub(super) fn take(&mut self, node: Node, inside: bool) -> PerWorker<T> {
        self.place(node, inside).take().expect("the first reader is watched")
    }

    /// The watcher of `node`, or `inside` it.
    pub(super) fn get(&self, node: Node, inside: bool) -> Option<&PerWorker<T>> {
        let watchers = if inside { &self.insides } else { &self.inputs };
        watchers[node.index()].as_ref()
    }

    /// Whether no layer of `graph` met NaN or infinity in `samples`, which ran together last.
    ///
    /// # Errors
    /// [`Error::NotFinite`] naming the first layer, in the order of the network, and the sample.
    pub(super) fn check(&self, graph: &Graph, samples: &[Sample]) -> Result<()> {
        for (i, def) in graph.nodes.iter().enumerate() {
            let alone = [&self.inputs[i], &self.insides[i], &self.seconds[i], &self.thirds[i]];
            let watchers = [&self.outputs[i].values].into_iter().chain(alone);
            let images = watchers.flatten().map(|watcher| watcher.bad_image.load(Ordering::Relaxed));
            let images = images.chain(self.pairs[i].iter().map(|[first, _]| first.pairs.bad_image()));
            if let Some(image) = images.min().filter(|image| *image != usize::MAX) {
                let detail = format!(", for input {}", samples[image].id);
                return Err(Error::NotFinite { place: def.name.clone(), detail });
            }
        }
        Ok(())
    }
}

impl<T: Accumulate> Probe for Watchers<T> {
    fn watch(&self, node: Node) -> Option<&dyn Watch> {
        let alone = self.inputs[node.index()].as_ref().map(|watcher| watcher as &dyn Watch);
        alone.or(self.operand(node, 0))
    }

    fn watch_second(&self, node: Node) -> Option<&dyn Watch> {
        let alone = self.seconds[node.index()].as_ref().map(|watcher| watcher as &dyn Watch);
        alone.or(self.operand(node, 1))
    }

    fn watch_third(&self, node: Node) -> Option<&dyn Watch> {
        self.thirds[node.index()].as_ref().map(|watcher| watcher as &dyn Watch)
    }

    fn watch_output(&self, node: Node) -> Option<&dyn Watch> {
        Some(&self.outputs[node.index()]).filter(|output| output.is_watched()).map(|output| output as &dyn Watch)
    }

    fn watch_rows(&self, node: Node) -> Option<&dyn WatchRows> {
        self.pairs(node).map(|pairs| &**pairs as &dyn WatchRows)
    }

    fn watch_inside(&self, node: Node) -> Option<&dyn Watch> {
        self.insides[node.index()].as_ref().map(|watcher| watcher as &dyn Watch)
    }
}
