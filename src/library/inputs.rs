//! What a model is run on and measured with.

use std::path::{Path, PathBuf};

use super::tensor::Tensor;
use crate::input::{Dataset, Given};
use crate::model::Model;
use crate::models::Task;
use crate::{Error, Result};

/// Inputs, before the model is known that reads them.
///
/// ```
/// use deadweight::prelude::*;
///
/// let model = Model::load("digits").open()?;
/// let mine = Inputs::labelled([(Tensor::zeros([1, 32, 32]), 3), (Tensor::zeros([1, 32, 32]), 8)]);
/// assert_eq!(model.measure(mine).run()?.inputs(), 2);
/// // What is not for the model is an error that says what is.
/// assert!(model.measure(Inputs::texts(["digits reads images"])).run().is_err());
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Inputs(Kind);

#[derive(Clone, Debug)]
enum Kind {
    BuiltIn,
    Files(Vec<PathBuf>),
    Tensors(Vec<(Tensor, Option<u32>)>),
    Tokens(Vec<Vec<u32>>),
    Texts(Vec<String>),
    Random { count: usize, seed: u64 },
}

impl Inputs {
    /// Those of a built-in model.
    pub fn built_in() -> Self {
        Self(Kind::BuiltIn)
    }

    /// Images, folders of images, files of arrays (`.npy`, `.npz`, safetensors), or texts.
    pub fn files<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self(Kind::Files(paths.into_iter().map(|path| path.as_ref().to_owned()).collect()))
    }

    /// Inputs `[C, H, W]` as the network reads them, already normalised.
    pub fn tensors(tensors: impl IntoIterator<Item = Tensor>) -> Self {
        Self(Kind::Tensors(tensors.into_iter().map(|tensor| (tensor, None)).collect()))
    }

    /// The same with the class of each, from which accuracy follows.
    pub fn labelled(tensors: impl IntoIterator<Item = (Tensor, u32)>) -> Self {
        Self(Kind::Tensors(tensors.into_iter().map(|(tensor, label)| (tensor, Some(label))).collect()))
    }

    /// Sequences of token numbers, each read by itself.
    pub fn tokens(sequences: impl IntoIterator<Item = Vec<u32>>) -> Self {
        Self(Kind::Tokens(sequences.into_iter().collect()))
    }

    /// Texts, which the model's own tokenizer splits, each read by itself.
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self(Kind::Texts(texts.into_iter().map(Into::into).collect()))
    }

    /// `count` seeded inputs of random numbers: their shapes mean something, figures of zeros and bits do not.
    pub fn random(count: usize, seed: u64) -> Self {
        Self(Kind::Random { count, seed })
    }

    /// Lists them for `model`.
    pub(super) fn dataset(self, model: &Model) -> Result<Dataset> {
        let reads_tokens = model.card.reads_tokens();
        let wrong = |what: &str, reads: &str| {
            Err(Error::invalid("inputs", format!("are {what}, and {} reads {reads}", model.card.name)))
        };
        let data = match self.0 {
            Kind::BuiltIn => model.builtin_data().unwrap_or_else(|| {
                Err(Error::invalid("inputs", format!("{} has none built in: give some", model.card.name)))
            })?,
            Kind::Files(paths) if reads_tokens => model.texts(&paths)?,
            Kind::Files(paths) => Dataset::labelled(&paths, &model.preprocess, model.labels().as_ref())?,
            Kind::Tensors(_) if reads_tokens => return wrong("tensors", "tokens or texts"),
            Kind::Tensors(tensors) => {
                let one = |(index, (tensor, label)): (usize, (Tensor, Option<u32>))| {
                    let shape = <[usize; 3]>::try_from(tensor.shape()).map_err(|_| {
                        let detail = format!("is {:?}, an input is [C, H, W]", tensor.shape());
                        Error::shape(format!("inputs[{index}]"), detail)
                    })?;
                    let classes = model.labels().map_or(u32::MAX, |classes| classes.count as u32);
                    if let Some(label) = label.filter(|label| *label >= classes) {
                        let detail = format!("is of class {label}, {} has {classes}", model.card.name);
                        return Err(Error::invalid(format!("inputs[{index}]"), detail));
                    }
                    Ok(Given { shape, values: tensor.into_data(), label })
                };
                let given = tensors.into_iter().enumerate().map(one).collect::<Result<_>>()?;
                Dataset::given(given, &model.preprocess)
            }
            Kind::Tokens(_) | Kind::Texts(_) if !reads_tokens => return wrong("tokens or texts", "tensors or images"),
            Kind::Tokens(sequences) => {
                let rows = model.embedding_rows().unwrap_or(0);
                Dataset::sequences(&sequences, rows, model.card.task == Task::Language, &model.preprocess)?
            }
            Kind::Texts(texts) => model.of_texts(texts)?,
            Kind::Random { count, seed } if reads_tokens => {
                Dataset::random_tokens(model.embedding_rows().unwrap_or(1), count, seed, &model.preprocess)
            }
            Kind::Random { count, seed } => {
                let arrays = !model.preprocess.reads_images() && !model.inputs.is_empty();
                let specs = if arrays { &model.inputs[..] } else { &[] };
                Dataset::random_numbers(specs, count, seed, &model.preprocess)
            }
        };
        if data.is_empty() {
            return Err(Error::invalid("inputs", "there are none"));
        }
        Ok(if model.card.task == Task::Segment && model.is_binary() { data.of_objects() } else { data })
    }
}

/// One input, decoded and preprocessed: see [`Loaded`].
///
/// ```
/// use deadweight::prelude::*;
///
/// let model = Model::load("verses").open()?;
/// let input = model.inputs(Inputs::tokens([vec![1, 2, 3]]))?.next().expect("one was given")?;
/// assert_eq!((input.label, input.values), (None, Tensor::tokens(&[1, 2, 3])));
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Input {
    /// Its name: a path, or a file and an index.
    pub name: String,
    /// Its class, where it is known.
    pub label: Option<u32>,
    /// `[C, H, W]` as the network reads it; of texts token numbers `[T]`.
    pub values: Tensor,
}

/// Inputs of a model, decoded one by one as they are asked for.
///
/// ```
/// use deadweight::prelude::*;
///
/// let model = Model::load("digits").open()?;
/// let inputs = model.inputs(Inputs::built_in())?;
/// assert_eq!(inputs.count_all(), 32);
/// for input in inputs {
///     assert_eq!(input?.values.shape(), model.input_shape());
/// }
/// # Ok::<(), deadweight::Error>(())
/// ```
pub struct Loaded {
    data: Dataset,
    next: usize,
}

impl Loaded {
    pub(super) fn new(data: Dataset) -> Result<Self> {
        Ok(Self { data, next: 0 })
    }

    /// How many there are in all.
    pub fn count_all(&self) -> usize {
        self.data.len()
    }
}

impl Iterator for Loaded {
    type Item = Result<Input>;

    fn next(&mut self) -> Option<Self::Item> {
        let place = self.next;
        self.next += 1;
        (place < self.data.len()).then(|| {
            let sample = self.data.load(place)?;
            let [c, h, w] = sample.shape;
            let shape = if self.data.is_of_tokens() { vec![w] } else { vec![c, h, w] };
            Ok(Input { name: sample.id, label: sample.label, values: Tensor::new(shape, sample.values)? })
        })
    }
}
