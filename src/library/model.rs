//! A network with its weights, from wherever it is.

use std::sync::Arc;

use super::inputs::{Inputs, Loaded};
use super::layer::LayerInfo;
use super::measuring::Measuring;
use super::net::Net;
use super::session::SessionBuilder;
use super::tensor::Tensor;
use crate::layers::Shape;
use crate::model::{self, LoadOptions};
use crate::models::Task;
use crate::task::classify::top_k;
use crate::{Error, Result};

/// A network with its weights. Clones are cheap: they share them. `Send` and `Sync`.
///
/// ```
/// use deadweight::prelude::*;
///
/// let model = Model::load("digits").open()?;
/// assert_eq!((model.name(), model.task(), model.input_shape()), ("digits", "classify", [1, 32, 32]));
/// let mut session = model.session().threads(1).build()?;
/// let image = model.inputs(Inputs::built_in())?.next().expect("it has some")?;
/// let best = &model.top_k(&session.run(&image.values)?, 1)?[0];
/// assert_eq!(Some(best.index as u32), image.label);
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone)]
pub struct Model {
    pub(super) inner: Arc<model::Model>,
    layers: Arc<[LayerInfo]>,
}

/// How a model is loaded: see [`Model::load`].
///
/// ```
/// use deadweight::prelude::*;
///
/// // A structure without a checkpoint: MACs and shapes are right, figures of zeros and bits are of random numbers.
/// let model = Model::load("resnet20-cifar").random_weights(7).open()?;
/// assert_eq!(model.input_shape(), [3, 32, 32]);
/// // A file of weights needs the card that describes it.
/// let missing = Model::load("weights.safetensors").card("resnet20-cifar").offline(true).open();
/// assert!(missing.is_err_and(|error| error.exit_code() == 3));
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "open() loads the model"]
pub struct ModelLoader {
    spec: String,
    options: LoadOptions,
}

impl ModelLoader {
    /// The card that describes a file of weights, or the family of its network.
    pub fn card(mut self, name: impl Into<String>) -> Self {
        self.options.arch = Some(name.into());
        self
    }

    /// Reads only what is on this machine.
    pub fn offline(mut self, offline: bool) -> Self {
        self.options.offline = offline;
        self
    }

    /// Seeded random weights in place of a checkpoint.
    pub fn random_weights(mut self, seed: u64) -> Self {
        self.options.random = Some(seed);
        self
    }

    /// Whether batch norm is folded into the weights before it, as it is by default.
    pub fn fold(mut self, fold: bool) -> Self {
        self.options.no_fold = !fold;
        self
    }

    /// Loads it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nothing has that name; [`Error::Unavailable`] if the hub does not give it; [`Error::Malformed`] and
    /// [`Error::Mismatch`] for files that are broken or fit no network.
    pub fn open(self) -> Result<Model> {
        Model::of(model::Model::load(&self.spec, &self.options)?)
    }
}

/// A class with its probability.
///
/// ```
/// use deadweight::prelude::*;
///
/// let model = Model::load("digits").open()?;
/// let output = model.session().build()?.run(&Tensor::zeros([1, 32, 32]))?;
/// let all: f64 = model.top_k(&output, 10)?.iter().map(|class| class.probability).sum();
/// assert!((all - 1.0).abs() < 1e-9);
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Class {
    /// Its place among the outputs.
    pub index: usize,
    /// Its name, or `class N`.
    pub name: String,
    /// Its probability, 0 to 1.
    pub probability: f64,
}

impl Model {
    /// The model that `spec` names: a card, a directory with `config.json`, a file of weights (with [`ModelLoader::card`]), a card
    /// file, a `.gguf`, `.tflite` or `.onnx` file, or a hub id `org/name[@revision]`. Nothing is read before [`ModelLoader::open`].
    pub fn load(spec: impl Into<String>) -> ModelLoader {
        ModelLoader { spec: spec.into(), options: LoadOptions::default() }
    }

    /// A network of one's own, which reads inputs of extents `[C, H, W]`.
    ///
    /// # Errors
    /// [`Error::Shape`] naming a layer that cannot take its input.
    pub fn from_net(name: &str, net: Net, [c, h, w]: [usize; 3]) -> Result<Self> {
        Self::of(model::Model::of_graph(name, net.graph, Shape::new(c, h, w))?)
    }

    fn of(inner: model::Model) -> Result<Self> {
        let layers = LayerInfo::all(&inner.graph, inner.input_shape())?.into();
        Ok(Self { inner: Arc::new(inner), layers })
    }

    /// Its layers for inputs of extents `input`.
    pub(super) fn layers_of(&self, input: Shape) -> Result<Arc<[LayerInfo]>> {
        match input == self.inner.input_shape() {
            true => Ok(Arc::clone(&self.layers)),
            false => Ok(LayerInfo::all(&self.inner.graph, input)?.into()),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.card.name
    }

    /// What it does: `classify`, `segment`, `restore`, `language`, …
    pub fn task(&self) -> &'static str {
        self.inner.card.task.name()
    }

    /// `[C, H, W]` of an input; of a network that reads tokens `[1, 1, T]`, with any T.
    pub fn input_shape(&self) -> [usize; 3] {
        let Shape { c, h, w } = self.inner.input_shape();
        [c, h, w]
    }

    /// Learned values.
    pub fn parameters(&self) -> usize {
        self.inner.parameters
    }

    /// Its layers in the order of execution, batch norm folded and activations fused as they are run.
    pub fn layers(&self) -> &[LayerInfo] {
        &self.layers
    }

    /// What was chosen where its files left a choice, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.inner.notes
    }

    /// Prepares it to be run.
    pub fn session(&self) -> SessionBuilder {
        SessionBuilder::new(self.clone())
    }

    /// The inputs one by one, decoded and preprocessed.
    ///
    /// # Errors
    /// [`Error::NotFound`] for files that do not exist; [`Error::Invalid`] for inputs that are not for this model.
    pub fn inputs(&self, inputs: Inputs) -> Result<Loaded> {
        Loaded::new(inputs.dataset(&self.inner)?)
    }

    /// A measurement over `inputs`: see [`Measuring`].
    pub fn measure(&self, inputs: Inputs) -> Measuring {
        Measuring::new(self.clone(), inputs)
    }

    /// The `k` most likely classes of the first input of `output`, likeliest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the model does not classify.
    pub fn top_k(&self, output: &Tensor, k: usize) -> Result<Vec<Class>> {
        if self.inner.card.task != Task::Classify {
            let detail = format!("its task is {}, which has no classes an input", self.task());
            return Err(Error::invalid(format!("top_k of {}", self.name()), detail));
        }
        let each = self.inner.graph.def(self.inner.graph.output()).channels;
        let Some(first) = output.data().get(..each) else {
            let detail = format!("{:?} is no output of {}, which gives {each} values", output.shape(), self.name());
            return Err(Error::shape("top_k", detail));
        };
        let values = self.inner.class_values(first);
        let probabilities = self.inner.gives_probabilities();
        let class = |(index, value, probability): (usize, f32, f64)| Class {
            index,
            name: self.inner.class_name(index),
            probability: if probabilities { f64::from(value) } else { probability },
        };
        Ok(top_k(&values, k).into_iter().map(class).collect())
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model({}, {} parameters)", self.name(), self.parameters())
    }
}
