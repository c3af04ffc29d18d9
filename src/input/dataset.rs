//! Data sets: inputs are listed cheaply, loaded one by one from any thread, and never kept.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::decode::{Pixels, decode_upright};
use super::degrade::Degradation;
use super::folders::{self, Classes};
use super::preprocess::Preprocess;
use super::stack::{Bytes, Stack};
use super::tokens::{Cut, TokenInputs};
use super::truth::{IGNORE, Truth, TruthSource, object_value, of_object};
use super::vocabulary::Vocabulary;
use crate::{Error, Result};

/// Extensions of image files in a directory.
const IMAGES: [&str; 6] = ["jpg", "jpeg", "png", "webp", "bmp", "jpe"];

/// One input.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its position among the inputs, from 0.
    pub place: usize,
    /// Its name in messages and tables: a path, or a file and an index.
    pub id: String,
    /// SHA-256 of the encoded file, or of the extents and raw pixels of a stored image.
    pub digest: [u8; 32],
    /// Its class, if known.
    pub label: Option<u32>,
    /// `[C, H, W]`, preprocessed.
    pub values: Vec<f32>,
    /// Extents of the values.
    pub shape: [usize; 3],
    /// Rows and columns of the image; the rest is padding.
    pub size: [usize; 2],
    /// The expected output, if known.
    pub truth: Option<Truth>,
    /// Whether it was rotated upright by its orientation tag.
    pub turned: bool,
}

/// A note on the number of images rotated by an orientation tag; `None` for zero.
pub fn turned_note(turned: u64) -> Option<String> {
    match turned {
        0 => None,
        1 => Some("1 image was turned upright as its orientation tag says".into()),
        turned => Some(format!("{turned} images were turned upright as their orientation tags say")),
    }
}

impl Sample {
    /// A number from its content and the last two components of its name: the same wherever a folder is mounted.
    pub fn key(&self) -> u64 {
        let mut parts = self.id.rsplit(['/', '\\']);
        let (name, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let digest = Sha256::new().chain_update(self.digest).chain_update(folder).chain_update("/").chain_update(name);
        let bytes: [u8; 32] = digest.finalize().into();
        u64::from_le_bytes(*bytes.first_chunk().expect("a digest has 32 bytes"))
    }
}

enum Item {
    File { path: PathBuf, label: Option<u32> },
    Stacked { stack: usize, index: usize },
}

/// Inputs in order.
pub struct Dataset {
    items: Vec<Item>,
    stacks: Vec<Stack>,
    preprocess: Preprocess,
    degradation: Degradation,
    truths: Option<TruthSource>,
    /// The value of the object in masks, for networks that distinguish one object from background.
    object: Option<u8>,
    tokens: Option<TokenInputs>,
    notes: Vec<String>,
}

impl Dataset {
    /// Lists the inputs of `paths`: image files, directories of them (with sub-directories as classes, or a `labels.tsv` of
    /// `name<TAB>class`), and safetensors files with `images` and optionally `labels` or `masks`.
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
                let hint = "give image files, directories of images, or a safetensors file with `images`";
                return Err(Error::NotFound { what: name, hint: hint.into() });
            } else if path.extension().is_some_and(|end| end == "safetensors") {
                let mut file = File::open(path).map_err(|source| Error::io(path, source))?;
                let stack = Stack::open(&name, &mut file, Bytes::File(path.clone()))?;
                dataset.add_stack(stack, &mut file)?;
                let beyond = |label: &&u32| classes.is_some_and(|classes| **label as usize >= classes.count);
                let labels = dataset.stacks.last().map_or(&[][..], |stack| &stack.labels);
                if let (Some(label), Some(classes)) = (labels.iter().find(beyond), classes) {
                    return Err(folders::no_class(*label, classes, &format!("{name}: labels")));
                }
            } else {
                dataset.items.push(Item::File { path: path.clone(), label: None });
            }
        }
        Ok(dataset)
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
        let degradation = if preprocess.bayer() { Degradation::Bayer } else { Degradation::None };
        Self {
            items: Vec::new(),
            stacks: Vec::new(),
            preprocess: preprocess.clone(),
            degradation,
            truths: None,
            object: None,
            tokens: None,
            notes: Vec::new(),
        }
    }

    /// The text files `paths`, split into inputs as `cut` says.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a path that does not exist, [`Error::Malformed`] for a file that is no text, has a token
    /// outside the vocabulary, or is too short.
    pub fn text(paths: &[PathBuf], vocabulary: &Vocabulary, cut: &Cut, preprocess: &Preprocess) -> Result<Self> {
        Ok(Self { tokens: Some(TokenInputs::open(paths, vocabulary, cut)?), ..Self::empty(preprocess) })
    }

    /// The text `text`, split into inputs as `cut` says.
    ///
    /// # Errors
    /// As [`Dataset::text`].
    pub fn embedded_text(text: &str, vocabulary: &Vocabulary, cut: &Cut, preprocess: &Preprocess) -> Result<Self> {
        let texts = [("built-in".to_owned(), text.to_owned())];
        Ok(Self { tokens: Some(TokenInputs::new(&texts, vocabulary, cut)?), ..Self::empty(preprocess) })
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
        self.tokens.as_ref().map_or_else(|| self.preprocess.describe(), |tokens| tokens.description.clone())
    }

    /// Choices made where the inputs left one, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The image files it reads.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.items.iter().filter_map(|item| match item {
            Item::File { path, .. } => Some(path.as_path()),
            Item::Stacked { .. } => None,
        })
    }

    /// Options of the inputs that can change a result, by name.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        let degraded = match self.degradation {
            Degradation::Noise { sigma, seed } => vec![("sigma", sigma.to_string()), ("seed", seed.to_string())],
            Degradation::Bicubic(factor) => vec![("scale", factor.to_string())],
            Degradation::None | Degradation::Bayer => Vec::new(),
        };
        let truth = self.truths.as_ref().map(|source| ("truth", source.name().to_owned()));
        self.tokens.iter().flat_map(|tokens| tokens.options.clone()).chain(degraded).chain(truth).collect()
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

    /// Whether each input continues from the network's state after the one before.
    pub fn goes_on(&self) -> bool {
        self.tokens.as_ref().is_some_and(|tokens| tokens.together.is_some())
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

    /// Loads, decodes and preprocesses one input.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Malformed`] or [`Error::Shape`] naming the input.
    ///
    /// # Panics
    /// If `place` is not below [`Dataset::len`].
    pub fn load(&self, place: usize) -> Result<Sample> {
        if let Some(tokens) = &self.tokens {
            return Ok(tokens.sample(place));
        }
        match &self.items[place] {
            Item::File { path, label } => {
                let id = path.display().to_string();
                let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
                let digest = Sha256::digest(&bytes).into();
                if let Some(framing) = self.preprocess.framing() {
                    let (values, chunks) = framing.frames(&framing.decode(&id, &bytes)?);
                    let (shape, size) = ([1, framing.rows(), chunks], [framing.rows(), chunks]);
                    let label = *label;
                    return Ok(Sample { place, id, digest, label, values, shape, size, truth: None, turned: false });
                }
                let (image, turned) = decode_upright(&id, &bytes)?;
                Ok(Sample { place, turned, ..self.sample(id, Some(path), digest, *label, image)? })
            }
            Item::Stacked { stack, index } => {
                let stack = &self.stacks[*stack];
                let id = format!("{}[{index}]", stack.name);
                let raw = stack.read(*index)?;
                let mut hasher = Sha256::new();
                for extent in [stack.h, stack.w, stack.c] {
                    hasher.update((extent as u64).to_le_bytes());
                }
                hasher.update(&raw);
                let label = stack.labels.get(*index).copied();
                let mut sample = self.sample(id, None, hasher.finalize().into(), label, stack.pixels(raw))?;
                if let Some(mut mask) = stack.read_mask(*index)? {
                    self.object.map_or(Ok(()), |object| of_object(&sample.id, &mut mask, object))?;
                    let classes = self.preprocess.apply_to_classes(mask, [stack.h, stack.w], IGNORE);
                    sample.truth = Some(Truth::Classes(classes));
                }
                Ok(Sample { place, ..sample })
            }
        }
    }

    /// The sample made from `image`, read from `path`; its place is set by the caller.
    fn sample(
        &self,
        id: String,
        path: Option<&Path>,
        digest: [u8; 32],
        label: Option<u32>,
        image: Pixels,
    ) -> Result<Sample> {
        let size = [image.h, image.w];
        let (image, bad) = self.degradation.pixels(image);
        let bad = bad.map(|bad| self.preprocess.apply(&id, bad)).transpose()?;
        let good = self.preprocess.apply(&id, image)?;
        let truth = match (&self.truths, path) {
            (Some(source), Some(path)) => Some(source.load(path, size, &self.preprocess, self.object)?),
            (Some(_), None) => {
                let hint = "its images have no file names; give image files";
                return Err(Error::NotFound { what: format!("the truth of {id}"), hint: hint.into() });
            }
            (None, _) => (!self.degradation.is_none()).then(|| Truth::Image(good.cropped())),
        };
        let mut input = bad.unwrap_or(good);
        self.degradation.values(&mut input.values, input.shape, self.preprocess.unit(), &digest);
        Ok(Sample {
            place: 0,
            id,
            digest,
            label,
            values: input.values,
            shape: input.shape,
            size: input.size,
            truth,
            turned: false,
        })
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
