//! Data sets: inputs are listed cheaply, loaded one by one from any thread, and never kept.

mod compared;
mod given;
mod load;
mod sequences;
mod texts;

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use self::compared::Compared;
pub use self::given::Given;
use super::arrays::{self, holds_arrays};
use super::degrade::Degradation;
use super::folders::{self, Classes};
use super::npy::Element;
use super::preprocess::Preprocess;
use super::random::Random;
use super::spec::InputSpec;
use super::stack::{Bytes, Stack};
use super::table::Table;
use super::tokens::TokenInputs;
use super::truth::{IGNORE, TruthSource, object_value};
use super::values::{Images, Values};
use crate::error::near_files;
use crate::{Error, Result};

/// Extensions of image files in a directory.
const IMAGES: [&str; 6] = ["jpg", "jpeg", "png", "webp", "bmp", "jpe"];

enum Item {
    File { path: PathBuf, label: Option<u32> },
    Stacked { stack: usize, index: usize },
    Stored { values: usize, index: usize },
    Row { table: usize, index: usize },
    Random(usize),
    Given(usize),
}

/// Inputs in order.
pub struct Dataset {
    items: Vec<Item>,
    stacks: Vec<Stack>,
    values: Vec<Values>,
    tables: Vec<Table>,
    random: Option<Random>,
    given: Vec<Given>,
    preprocess: Preprocess,
    degradation: Degradation,
    truths: Option<TruthSource>,
    /// The value of the object in masks, for networks that distinguish one object from background.
    object: Option<u8>,
    tokens: Option<TokenInputs>,
    /// What embeddings are compared with.
    compared: Option<Compared>,
    /// How random inputs were made.
    random_options: Vec<(&'static str, String)>,
    /// The data sets of the hub that they are of, each with its commit.
    from_hub: Vec<String>,
    notes: Vec<String>,
}

impl Dataset {
    /// Lists the inputs of `paths`: image files, directories of them (with sub-directories as classes, or a `labels.tsv` of
    /// `name<TAB>class`), files of arrays (safetensors, `.npz`, `.npy`) with `images` and optionally `labels` or `masks`, and Parquet
    /// files with a column of images.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a path that does not exist, [`Error::Malformed`] for a directory without images and for an
    /// invalid safetensors file.
    pub fn open(paths: &[PathBuf], preprocess: &Preprocess) -> Result<Self> {
        Self::labelled(paths, preprocess, None)
    }

    /// The same, with labels read as numbers or names of `classes`; how they were read is logged and kept in
    /// [`Dataset::notes`].
    ///
    /// # Errors
    /// As [`Dataset::open`]; [`Error::Malformed`] naming the folder or line whose class does not exist.
    pub fn labelled(paths: &[PathBuf], preprocess: &Preprocess, classes: Option<&Classes>) -> Result<Self> {
        let mut dataset = Self::empty(preprocess);
        for path in paths {
            let name = path.display().to_string();
            if path.is_dir() {
                dataset.add_directory(path, classes)?;
            } else if !path.exists() {
                let hint = "give image files, directories of images, a file of arrays (.safetensors, .npy, .npz) or of \
                            images (.parquet)";
                return Err(Error::NotFound { what: name, hint: near_files(path, hint) });
            } else if holds_arrays(path) {
                let labels = dataset.add_arrays(path, &name)?;
                let beyond = |label: &&u32| classes.is_some_and(|classes| **label as usize >= classes.count);
                if let (Some(label), Some(classes)) = (labels.iter().find(beyond), classes) {
                    return Err(folders::no_class(*label, classes, &format!("{name}: labels")));
                }
            } else if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("parquet")) {
                dataset.add_table(path, classes)?;
            } else {
                dataset.items.push(Item::File { path: path.clone(), label: None });
            }
        }
        Ok(dataset)
    }

    /// Inputs of a network that reads `specs`, from `arrays`: a file of arrays of their names (`None`), or of the one array of
    /// that name.
    ///
    /// # Errors
    /// [`Error::Malformed`] for an array that is missing, of other extents, or no input; those of reading.
    pub fn named(arrays: &[(Option<String>, PathBuf)], specs: &[InputSpec], preprocess: &Preprocess) -> Result<Self> {
        let mut dataset = Self::empty(preprocess);
        let (single, files): (Vec<_>, Vec<_>) = arrays.iter().partition(|(name, _)| name.is_some());
        for (_, path) in files {
            let name = path.display().to_string();
            dataset.add_values(Values::named(&name, arrays::open(path)?, specs)?);
        }
        if single.is_empty() {
            return Ok(dataset);
        }
        let mut all = Vec::new();
        for (name, path) in single {
            let mut arrays = arrays::open(path)?;
            let (Some(mut array), true) = (arrays.pop(), arrays.is_empty()) else {
                return Err(Error::malformed(
                    path.display().to_string(),
                    "holds no array, or several: give the file alone",
                ));
            };
            array.name = name.clone().unwrap_or_default();
            all.push(array);
        }
        dataset.add_values(Values::named("inputs", all, specs)?);
        Ok(dataset)
    }

    /// `count` inputs of random numbers, made from `seed`: of a network that reads `specs`, if there are any, else images of
    /// random pixels. A note says that they are random.
    pub fn random_numbers(specs: &[InputSpec], count: usize, seed: u64, preprocess: &Preprocess) -> Self {
        let mut dataset = Self::empty(preprocess);
        dataset.random = Some(Random::new(specs, preprocess, seed));
        dataset.items = (0..count).map(Item::Random).collect();
        dataset.made_at_random(count, seed)
    }

    /// `count` inputs of `preprocess`'s number of random tokens below `rows`, made from `seed`. A note says that they are random.
    pub fn random_tokens(rows: usize, count: usize, seed: u64, preprocess: &Preprocess) -> Self {
        Self::random(Some(rows), count, seed, preprocess).made_at_random(count, seed)
    }

    fn made_at_random(mut self, count: usize, seed: u64) -> Self {
        self.random_options = vec![("random_inputs", count.to_string()), ("seed", seed.to_string())];
        self.note(
            "the inputs are random numbers: shapes, weights and what follows of them mean something, the rest does not"
                .into(),
        );
        self
    }

    /// The images stored in `bytes`, a safetensors file.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn embedded(bytes: &'static [u8], preprocess: &Preprocess) -> Result<Self> {
        let mut dataset = Self::empty(preprocess);
        let mut cursor = std::io::Cursor::new(bytes);
        let stack = Stack::open("built-in", &mut cursor, Bytes::Memory(bytes.into()))?;
        dataset.add_stack(stack, &mut cursor)?;
        Ok(dataset)
    }

    fn empty(preprocess: &Preprocess) -> Self {
        let degradation = preprocess.filter();
        Self {
            items: Vec::new(),
            stacks: Vec::new(),
            values: Vec::new(),
            tables: Vec::new(),
            random: None,
            given: Vec::new(),
            preprocess: preprocess.clone(),
            degradation,
            truths: None,
            object: None,
            tokens: None,
            compared: None,
            random_options: Vec::new(),
            from_hub: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether `path` is a file of arrays, by its name: `.npy`, `.npz` or safetensors.
    pub fn holds_arrays(path: &Path) -> bool {
        holds_arrays(path)
    }

    /// `count` seeded random inputs of the size that a network is listed with: token ids below `rows` for a network with an
    /// embedding of that many rows, else images.
    pub fn random(rows: Option<usize>, count: usize, seed: u64, preprocess: &Preprocess) -> Self {
        let (h, w) = preprocess.size();
        let mut dataset = Self::empty(preprocess);
        match rows {
            Some(rows) => dataset.tokens = Some(TokenInputs::random(rows, w, count, seed)),
            None => dataset.add_images(Stack::random(count, [h, w, preprocess.channels()], seed), count),
        }
        dataset
    }

    /// Description of the preprocessing.
    pub fn describe(&self) -> String {
        if let Some(tokens) = &self.tokens {
            return tokens.description.clone();
        }
        let of_images =
            self.items.iter().any(|item| matches!(item, Item::File { .. } | Item::Stacked { .. } | Item::Row { .. }));
        let images = (of_images || self.items.is_empty()).then(|| self.preprocess.describe());
        let arrays = (!self.values.is_empty()).then(|| self.preprocess.describe_arrays());
        let random = self.random.is_some().then(|| "random numbers".to_owned());
        let given = (!self.given.is_empty()).then(|| "as given".to_owned());
        [images, arrays, random, given].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// Choices made where the inputs left one, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The image files it reads.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.items.iter().filter_map(|item| match item {
            Item::File { path, .. } => Some(path.as_path()),
            Item::Stacked { .. } | Item::Stored { .. } | Item::Row { .. } | Item::Random(_) | Item::Given(_) => None,
        })
    }

    /// Options of the inputs that can change a result, by name.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        let degraded = match self.degradation {
            Degradation::Noise { sigma, seed } => vec![("sigma", sigma.to_string()), ("seed", seed.to_string())],
            Degradation::Bicubic(factor) => vec![("scale", factor.to_string())],
            Degradation::None | Degradation::Bayer | Degradation::Xtrans => Vec::new(),
        };
        let truth = self.truths.as_ref().map(|source| ("truth", source.name().to_owned()));
        let tokens = self.tokens.iter().flat_map(|tokens| tokens.options.clone());
        let (stated, random) = (self.preprocess.overrides().options(), self.random_options.clone());
        let from = (!self.from_hub.is_empty()).then(|| ("inputs", self.from_hub.join(", ")));
        let random = random.into_iter().chain(from);
        tokens.chain(degraded).chain(truth).chain(self.compared_options()).chain(stated).chain(random).collect()
    }

    /// The inputs, which are of the data sets `from` of the hub, each with its commit.
    pub fn from_hub(self, from: Vec<String>) -> Self {
        Self { from_hub: from, ..self }
    }

    /// Number of inputs of one size that run together, if it matters: the streams of a text run side by side, each with its
    /// own state, and large images may be run in bands.
    pub fn together(&self) -> Option<usize> {
        match &self.tokens {
            Some(tokens) => tokens.together,
            None => self.preprocess.any_size().then_some(1),
        }
    }

    /// Number of streams, if the inputs are segments of continuous text: neighbouring inputs are then correlated.
    pub fn streams(&self) -> Option<usize> {
        self.tokens.as_ref().and_then(|tokens| tokens.streams)
    }

    /// The inputs degraded; each original image becomes the truth of its input.
    pub fn degraded(self, degradation: Degradation) -> Self {
        Self { degradation, ..self }
    }

    /// The inputs with the truths of `source`.
    pub fn with_truths(self, source: TruthSource) -> Self {
        Self { truths: Some(source), ..self }
    }

    /// The inputs for a network that distinguishes one object from background. The object's value in the masks is found from
    /// all of them.
    pub fn of_objects(mut self) -> Self {
        let mask = |item: &Item| match (item, &self.truths) {
            (Item::File { path, .. }, Some(source)) => source.mask(path).ok(),
            (Item::File { .. }, None) => None,
            (Item::Stacked { stack, index }, _) => self.stacks[*stack].read_mask(*index).ok().flatten(),
            (Item::Stored { values, index }, _) => self.values[*values].mask(*index).ok().flatten(),
            (Item::Row { .. } | Item::Random(_) | Item::Given(_), _) => None,
        };
        // Masks that cannot be read are reported when their input is loaded.
        let value = object_value(self.items.iter().filter_map(mask));
        if value == IGNORE {
            self.note("the masks hold 0 and 255 and no 1: 255 is the object".into());
        }
        Self { object: Some(value), ..self }
    }

    /// Number of inputs.
    pub fn len(&self) -> usize {
        self.tokens.as_ref().map_or(self.items.len(), TokenInputs::len)
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The preprocessing.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// The inputs at `indices`, in that order.
    pub fn select(mut self, indices: &[usize]) -> Self {
        let mut items: Vec<Option<Item>> = self.items.into_iter().map(Some).collect();
        self.items = indices.iter().filter_map(|&index| items.get_mut(index)?.take()).collect();
        self
    }

    fn add_stack(&mut self, mut stack: Stack, source: &mut (impl Read + Seek)) -> Result<()> {
        let count = stack.read_labels(source)?;
        self.add_images(stack, count);
        Ok(())
    }

    fn add_images(&mut self, stack: Stack, count: usize) {
        self.items.extend((0..count).map(|index| Item::Stacked { stack: self.stacks.len(), index }));
        self.stacks.push(stack);
    }

    /// Lists the images of a file of arrays; returns their labels.
    fn add_arrays(&mut self, path: &Path, name: &str) -> Result<&[u32]> {
        let images = Images::among(name, arrays::open(path)?)?;
        let pixels = images.images.element == Element::U8;
        if pixels && path.extension().is_some_and(|end| end == "safetensors") && images.images.name == "images" {
            let mut file = File::open(path).map_err(|source| Error::io(path, source))?;
            let stack = Stack::open(name, &mut file, Bytes::File(path.into()))?;
            self.add_stack(stack, &mut file)?;
        } else if pixels {
            let (stack, count) = Stack::of_arrays(name, images.images, images.beside)?;
            self.add_images(stack, count);
        } else {
            let overrides = self.preprocess.overrides();
            let stated = [("--mean", overrides.mean.is_some()), ("--std", overrides.std.is_some())];
            if let (Some((flag, _)), None) = (stated.iter().find(|(_, stated)| *stated), overrides.range) {
                let detail = format!(
                    "is of pixels, and {name} holds an array, which goes in as it is: name the --range of its pixels"
                );
                return Err(Error::invalid(*flag, detail));
            }
            self.add_values(Values::images(name, images, &self.preprocess)?);
            return Ok(self.values.last().map_or(&[], |values| &values.labels));
        }
        Ok(self.stacks.last().map_or(&[], |stack| &stack.labels))
    }

    fn add_values(&mut self, values: Values) {
        self.items.extend((0..values.count).map(|index| Item::Stored { values: self.values.len(), index }));
        self.values.push(values);
    }

    fn add_table(&mut self, path: &Path, classes: Option<&Classes>) -> Result<()> {
        let (table, note) = Table::open(path, classes)?;
        self.items.extend((0..table.len()).map(|index| Item::Row { table: self.tables.len(), index }));
        self.tables.push(table);
        note.into_iter().for_each(|note| self.note(note));
        Ok(())
    }

    fn add_directory(&mut self, path: &Path, classes: Option<&Classes>) -> Result<()> {
        let (what, endings) = match self.preprocess.framing() {
            Some(_) => ("recording", &["wav"][..]),
            None => ("image", &IMAGES[..]),
        };
        let listing = folders::list(path, endings, classes)?;
        if listing.files.is_empty() {
            let detail = format!("holds no {what} (looked for {})", endings.join(", "));
            return Err(Error::malformed(path.display().to_string(), detail));
        }
        self.items.extend(listing.files.into_iter().map(|(path, label)| Item::File { path, label }));
        listing.notes.into_iter().for_each(|note| self.note(note));
        Ok(())
    }

    /// Logs a choice, and keeps it for reports.
    fn note(&mut self, note: String) {
        tracing::warn!("{note}");
        self.notes.push(note);
    }
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;
