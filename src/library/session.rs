//! Running a model: weights packed once, inputs of any number and size.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::layer::LayerInfo;
use super::model::Model;
use super::probe::{Eyes, Operand, Probe, Tile, Wants};
use super::tensor::Tensor;
use crate::engine::{Backend, EngineOptions, Runner};
use crate::layers::Shape;
use crate::{Error, Result};

/// How a session is made: see [`Model::session`].
///
/// ```
/// use deadweight::prelude::*;
///
/// let model = Model::load("photos").open()?;
/// let input = model.inputs(Inputs::built_in())?.next().expect("it has some")?.values;
/// let [one, four] = [1, 4].map(|threads| model.session().threads(threads).build());
/// assert_eq!(one?.run(&input)?, four?.run(&input)?, "no bit depends on the threads");
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "build() makes the session"]
pub struct SessionBuilder {
    model: Model,
    threads: Option<usize>,
}

impl SessionBuilder {
    pub(super) fn new(model: Model) -> Self {
        Self { model, threads: None }
    }

    /// Threads of a run, the caller's among them; all that this process may use by default. No output bit depends on them.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads.max(1));
        self
    }

    /// Plans the run of one input of the model's own size and packs the weights.
    ///
    /// # Errors
    /// [`Error::Shape`] naming a layer that cannot take its input.
    pub fn build(self) -> Result<Session> {
        let backend = backend(&self.model, self.threads);
        let mut session = Session { model: self.model, backend, planned: None };
        if !session.model.inner.card.reads_tokens() {
            session.planned = Some(session.plan(session.model.inner.input_shape(), 1)?);
        }
        Ok(session)
    }
}

/// The engine of `model`.
pub(super) fn backend(model: &Model, threads: Option<usize>) -> Backend {
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    let options = EngineOptions::new(threads.unwrap_or_else(all));
    match &model.inner.program {
        Some(program) => Backend::Onnx(Arc::clone(program), options.pool, options.memory),
        None => Backend::Native(options),
    }
}

/// A model that is ready to run. `Send`: it may move to another thread; one run at a time. Clones have buffers of their own, so that
/// each thread can have one; give them one thread each, for the threads of a pool work on one run at a time. They share the weights
/// that are packed for the size of input that was planned last (of a model that reads tokens, at the first run), and a session shares
/// them with its next size where the layout is the same; images so large that they run in bands, and ONNX files that run as they are
/// prepare their own.
///
/// ```
/// use deadweight::prelude::*;
///
/// let model = Model::load("digits").open()?;
/// let mut session = model.session().threads(1).build()?;
/// let mut other = session.clone();
/// let x = Tensor::zeros([2, 1, 32, 32]);
/// let y = std::thread::spawn(move || other.run(&x)).join().expect("it does not panic")?;
/// assert_eq!(y.shape(), [2, 10]);
/// assert_eq!(session.run(&Tensor::zeros([1, 32, 32]))?.data(), &y.data()[..10]);
/// # Ok::<(), deadweight::Error>(())
/// ```
pub struct Session {
    model: Model,
    backend: Backend,
    planned: Option<Planned>,
}

struct Planned {
    input: Shape,
    batch: usize,
    runner: Runner,
}

/// Input and output of a layer, whole: see [`Session::capture`].
///
/// ```
/// use deadweight::prelude::*;
///
/// let mut session = Model::load("digits").open()?.session().build()?;
/// let seen = session.capture(&Tensor::zeros([1, 32, 32]), ["conv1"])?;
/// assert!(seen["conv1"].output.data().iter().all(|value| *value >= 0.0), "ReLU is fused with it");
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Captured {
    /// Its first input, `[N, C, H, W]`; of a recurrent layer, its own output of the step before.
    pub input: Tensor,
    /// Its output, `[N, C, H, W]`, after the activation that is fused with it.
    pub output: Tensor,
}

impl Session {
    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Runs `x`: `[C, H, W]`, `[N, C, H, W]`, or token numbers `[T]` or `[N, T]`. Returns `[N, C']`, or `[N, C', H', W']` where the
    /// output has pixels or steps. The first run of a new size plans for it.
    ///
    /// # Errors
    /// [`Error::Shape`] for extents that the model cannot take; [`Error::Invalid`] for numbers that are no tokens.
    pub fn run(&mut self, x: &Tensor) -> Result<Tensor> {
        let (input, count) = self.extents(x)?;
        let mut planned = self.plan(input, count)?;
        let values = planned.runner.run(x.data(), None)?;
        self.planned = Some(planned);
        self.output(input, count, values)
    }

    /// The same, shown to `probe`, which changes no bit of it.
    ///
    /// # Errors
    /// As [`Session::run`].
    ///
    /// # Panics
    /// With the message of a panic in the probe.
    pub fn run_with<P: Probe>(&mut self, x: &Tensor, probe: &mut P) -> Result<Tensor> {
        let (input, count) = self.extents(x)?;
        let workers = self.backend.pool().threads();
        let locals: Vec<Mutex<P::Local>> = (0..workers).map(|_| Mutex::default()).collect();
        let layers = self.model.layers_of(input)?;
        let mut eyes = Eyes::new(&*probe, &layers, &locals);
        let mut planned = self.plan(input, count)?;
        // Parts of large images are shown as parts of image 0.
        let each = if matches!(planned.runner, Runner::Banded(_)) { 1 } else { count.max(1) };
        let mut values = Vec::new();
        for (run, images) in x.data().chunks(each * input.elements()).enumerate() {
            eyes.begin(run * each);
            values.extend(planned.runner.run(images, Some(&eyes))?);
        }
        self.planned = Some(planned);
        for local in locals {
            probe.merge(local.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
        self.output(input, count, values)
    }

    /// First inputs and outputs of the layers called `names`, whole, in one run: for small work, as they take all their memory at once.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that no layer has; as [`Session::run`].
    ///
    /// ```
    /// use deadweight::prelude::*;
    ///
    /// let model = Model::load("digits").open()?;
    /// let seen = model.session().build()?.capture(&Tensor::zeros([1, 32, 32]), ["conv1"])?;
    /// assert_eq!(seen["conv1"].input.shape(), [1, 1, 32, 32]);
    /// assert!(model.session().build()?.capture(&Tensor::zeros([1, 32, 32]), ["conv99"]).is_err());
    /// # Ok::<(), deadweight::Error>(())
    /// ```
    pub fn capture<'n>(
        &mut self,
        x: &Tensor,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<BTreeMap<String, Captured>> {
        let (input, count) = self.extents(x)?;
        let graph = Arc::clone(&self.model.inner.graph);
        let (layers, shapes) = (self.model.layers_of(input)?, graph.shapes(input)?);
        let mut kept = Whole::default();
        for name in names {
            let Some(layer) = layers.iter().find(|layer| layer.name == name && layer.index > 0) else {
                let known: Vec<&str> = layers.iter().filter(|l| l.is_mac()).map(|l| l.name.as_str()).collect();
                let detail = format!("is no layer of {}: it has {}", self.model.name(), known.join(", "));
                return Err(Error::invalid(name, detail));
            };
            let of = |index: usize| {
                let Shape { c, h, w } = shapes[index];
                Tensor::zeros([count, c, h, w])
            };
            let def = &graph.nodes[layer.index];
            // A recurrence is shown what it reads of itself.
            let first = if def.layer.recurrence().is_some() { layer.index } else { def.inputs[0].index() };
            kept.layers.insert(layer.index, (layer.name.clone(), [of(first), of(layer.index)]));
        }
        self.run_with(x, &mut kept)?;
        let captured = |(name, [input, output]): (String, [Tensor; 2])| (name, Captured { input, output });
        Ok(kept.layers.into_values().map(captured).collect())
    }

    fn output(&self, input: Shape, count: usize, values: Vec<f32>) -> Result<Tensor> {
        let graph = &self.model.inner.graph;
        let Shape { c, h, w } = graph.shapes(input)?[graph.output().index()];
        match (h, w) {
            (1, 1) => Tensor::new([count, c], values),
            _ => Tensor::new([count, c, h, w], values),
        }
    }

    /// Extents of one input in `x`, and how many it holds.
    fn extents(&self, x: &Tensor) -> Result<(Shape, usize)> {
        let model = &self.model.inner;
        let wrong = |wants: String| Err(Error::shape("input", format!("is {:?}, {wants}", x.shape())));
        if let Some(rows) = model.embedding_rows().filter(|_| model.card.reads_tokens()) {
            let other = x.data().iter().find(|id| !(**id >= 0.0 && **id < rows as f32 && id.fract() == 0.0));
            if let Some(other) = other {
                return Err(Error::invalid("input", format!("{other} is no token: they are 0 to {}", rows - 1)));
            }
            return match *x.shape() {
                [steps] if steps > 0 => Ok((Shape::new(1, 1, steps), 1)),
                [count, steps] if steps > 0 => Ok((Shape::new(1, 1, steps), count)),
                _ => wrong(format!("{} reads token numbers [T] or [N, T]", self.model.name())),
            };
        }
        let [c, h, w] = self.model.input_shape();
        match *x.shape() {
            [a, b, d] if a == c && b * d > 0 => Ok((Shape::new(a, b, d), 1)),
            [count, a, b, d] if a == c && b * d > 0 => Ok((Shape::new(a, b, d), count)),
            _ => wrong(format!("{} reads [{c}, {h}, {w}] or several of them", self.model.name())),
        }
    }

    /// What was planned before, if it fits, and put back only after a run that ends well: one that does not may leave it without its
    /// buffers.
    fn plan(&mut self, input: Shape, count: usize) -> Result<Planned> {
        let (graph, batch) = (&self.model.inner.graph, count.max(1));
        // What was planned outlives an input that the model cannot take.
        graph.shapes(input)?;
        let runner = match self.planned.take() {
            Some(planned) if planned.input == input && planned.batch >= count => return Ok(planned),
            Some(planned) => planned.runner.resized(graph, input, &self.backend, batch)?,
            None => Runner::new(graph, input, &self.backend, batch)?,
        };
        Ok(Planned { input, batch, runner })
    }
}

impl Clone for Session {
    fn clone(&self) -> Self {
        let another = |planned: &Planned| {
            Some(Planned { input: planned.input, batch: planned.batch, runner: planned.runner.another()? })
        };
        Self {
            model: self.model.clone(),
            backend: self.backend.clone(),
            planned: self.planned.as_ref().and_then(another),
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({:?}, {} threads)", self.model, self.backend.pool().threads())
    }
}

/// A probe that keeps tensors: by a layer's index its name, its first input and its output.
#[derive(Default)]
struct Whole {
    layers: BTreeMap<usize, (String, [Tensor; 2])>,
}

/// A value by the layer's index, whether it is the output, and its place.
type Seen = Vec<(usize, bool, usize, f32)>;

impl Probe for Whole {
    type Local = Seen;

    fn wants(&self, layer: &LayerInfo) -> Wants {
        if self.layers.contains_key(&layer.index) { Wants::INPUT | Wants::OUTPUT } else { Wants::NOTHING }
    }

    fn see(&self, seen: &mut Seen, tile: Tile<'_>) {
        let (index, output) = (tile.layer().index, tile.operand() == Operand::Output);
        let [c, h, w]: [usize; 3] =
            self.layers[&index].1[usize::from(output)].shape()[1..].try_into().expect("of four");
        let image = tile.image() * c * h * w;
        seen.extend(tile.values().map(|([c, y, x], value)| (index, output, image + (c * h + y) * w + x, value)));
    }

    fn merge(&mut self, seen: Seen) {
        for (index, output, place, value) in seen {
            let (_, tensors) = self.layers.get_mut(&index).expect("what was seen was wanted");
            tensors[usize::from(output)].data_mut()[place] = value;
        }
    }
}
