//! Streams of inputs: listed cheaply, loaded one by one from any thread, never held.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::decode::{Pixels, decode_upright};
use super::degrade::Degradation;
use super::folders::{self, Classes};
use super::preprocess::Preprocess;
use super::stack::{Bytes, Stack};
use super::text::{Cut, Text};
use super::truth::{IGNORE, Truth, TruthSource, object_value, of_object};
use super::vocabulary::Vocabulary;
use crate::{Error, Result};

/// Extensions that make a file of a directory an image.
const IMAGES: [&str; 6] = ["jpg", "jpeg", "png", "webp", "bmp", "jpe"];

/// One input.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What messages and tables call it: a path, or a file and an index.
    pub id: String,
    /// SHA-256 of the encoded file, or of the extents and raw pixels of a stored image.
    pub digest: [u8; 32],
    /// Its class, where known.
    pub label: Option<u32>,
    /// `[C, H, W]`, preprocessed.
    pub values: Vec<f32>,
    /// Extents of the values.
    pub shape: [usize; 3],
    /// Rows and columns of the image; what is beyond them is frame.
    pub size: [usize; 2],
    /// What the answer should be, where it is an image and known.
    pub truth: Option<Truth>,
    /// Whether it was turned upright as its orientation tag says.
    pub turned: bool,
}

/// How many images an orientation tag turned, in words; nothing for none.
pub fn turned_note(turned: u64) -> Option<String> {
    match turned {
        0 => None,
        1 => Some("1 image was turned upright as its orientation tag says".into()),
        turned => Some(format!("{turned} images were turned upright as their orientation tags say")),
    }
}

impl Sample {
    /// A number made of its content and of the last two parts of its name: the same wherever a folder is mounted.
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
    /// The value of the object in masks, where the network tells only that.
    object: Option<u8>,
    text: Option<Text>,
    notes: Vec<String>,
}

impl Dataset {
    /// Lists the inputs of `paths`: image files, directories of them (with sub-directories as classes, or a
    /// `labels.tsv` of `name<TAB>class`), and safetensors files holding `images` and perhaps `labels` or `masks`.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a path that does not exist, [`Error::Malformed`] for a directory without images and for
    /// a stored stack that is none.
    pub fn open(paths: &[PathBuf], preprocess: &Preprocess) -> Result<Self> {
        Self::labelled(paths, preprocess, None)
    }

    /// The same, with labels read as numbers or names of `classes`; how is said in the log and kept in
    /// [`Dataset::notes`].
    ///
    /// # Errors
    /// As [`Dataset::open`]; [`Error::Malformed`] naming the folder or line whose class there is not.
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
            text: None,
            notes: Vec::new(),
        }
    }

    /// The texts of `paths`, cut as `cut` says.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a path that does not exist, [`Error::Malformed`] for what is no text, is in no vocabulary,
    /// or is too short.
    pub fn text(paths: &[PathBuf], vocabulary: &Vocabulary, cut: &Cut, preprocess: &Preprocess) -> Result<Self> {
        Ok(Self { text: Some(Text::open(paths, vocabulary, cut)?), ..Self::empty(preprocess) })
    }

    /// The text `text`, cut as `cut` says.
    ///
    /// # Errors
    /// As [`Dataset::text`].
    pub fn embedded_text(text: &str, vocabulary: &Vocabulary, cut: &Cut, preprocess: &Preprocess) -> Result<Self> {
        let texts = [("built-in".to_owned(), text.to_owned())];
        Ok(Self { text: Some(Text::new(&texts, vocabulary, cut)?), ..Self::empty(preprocess) })
    }

    /// `count` seeded random inputs of the size that a network is listed with: numbers below `rows` for one that looks them
    /// up in so many, else images.
    pub fn random(rows: Option<usize>, count: usize, seed: u64, preprocess: &Preprocess) -> Self {
        let (h, w) = preprocess.size();
        let mut dataset = Self::empty(preprocess);
        match rows {
            Some(rows) => dataset.text = Some(Text::random(rows, w, count, seed)),
            None => dataset.add_images(Stack::random(count, [h, w, preprocess.channels()], seed), count),
        }
        dataset
    }

    /// How inputs are made, in words.
    pub fn describe(&self) -> String {
        self.text.as_ref().map_or_else(|| self.preprocess.describe(), |text| text.description.clone())
    }

    /// What was chosen where inputs left a choice, in words.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The files that it reads as images.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.items.iter().filter_map(|item| match item {
            Item::File { path, .. } => Some(path.as_path()),
            Item::Stacked { .. } => None,
        })
    }

    /// Options of the inputs that can change a number, by name.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        let degraded = match self.degradation {
            Degradation::Noise { sigma, seed } => vec![("sigma", sigma.to_string()), ("seed", seed.to_string())],
            Degradation::Bicubic(factor) => vec![("scale", factor.to_string())],
            Degradation::None | Degradation::Bayer => Vec::new(),
        };
        self.text.iter().flat_map(|text| text.options.clone()).chain(degraded).collect()
    }

    /// How many inputs of one size run together, if it matters: each stream of a text goes on from its last segment, and
    /// large images may be run in bands.
    pub fn together(&self) -> Option<usize> {
        match &self.text {
            Some(text) => text.together,
            None => self.preprocess.any_size().then_some(1),
        }
    }

    /// How many streams of segments stand side by side, if the inputs are segments of running texts: neighbours are alike.
    pub fn streams(&self) -> Option<usize> {
        self.text.as_ref().and_then(|text| text.streams)
    }

    /// Whether each input goes on with the state in which the one before left the network.
    pub fn goes_on(&self) -> bool {
        self.text.as_ref().is_some_and(|text| text.together.is_some())
    }

    /// The inputs degraded; each image is then the truth of its input.
    pub fn degraded(self, degradation: Degradation) -> Self {
        Self { degradation, ..self }
    }

    /// The inputs with their truths from `source`.
    pub fn with_truths(self, source: TruthSource) -> Self {
        Self { truths: Some(source), ..self }
    }

    /// The inputs for a network that tells one object from what is none. What the object's value is in their masks is
    /// found by all of them.
    pub fn of_objects(mut self) -> Self {
        let mask = |item: &Item| match (item, &self.truths) {
            (Item::File { path, .. }, Some(source)) => source.mask(path).ok(),
            (Item::File { .. }, None) => None,
            (Item::Stacked { stack, index }, _) => self.stacks[*stack].read_mask(*index).ok().flatten(),
        };
        // Masks that cannot be read are told of when their input is loaded.
        let value = object_value(self.items.iter().filter_map(mask));
        if value == IGNORE {
            self.note("the masks hold 0 and 255 and no 1: 255 is the object".into());
        }
        Self { object: Some(value), ..self }
    }

    /// How many inputs there are.
    pub fn len(&self) -> usize {
        self.text.as_ref().map_or(self.items.len(), Text::len)
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

    /// Reads, decodes and preprocesses one input.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Malformed`] or [`Error::Shape`] naming the input.
    ///
    /// # Panics
    /// If `index` is not below [`Dataset::len`].
    pub fn load(&self, index: usize) -> Result<Sample> {
        if let Some(text) = &self.text {
            return Ok(text.sample(index));
        }
        match &self.items[index] {
            Item::File { path, label } => {
                let id = path.display().to_string();
                let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
                let digest = Sha256::digest(&bytes).into();
                if let Some(framing) = self.preprocess.framing() {
                    let (values, chunks) = framing.frames(&framing.decode(&id, &bytes)?);
                    let (shape, size) = ([1, framing.rows(), chunks], [framing.rows(), chunks]);
                    return Ok(Sample { id, digest, label: *label, values, shape, size, truth: None, turned: false });
                }
                let (image, turned) = decode_upright(&id, &bytes)?;
                Ok(Sample { turned, ..self.sample(id, Some(path), digest, *label, image)? })
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
                Ok(sample)
            }
        }
    }

    /// The sample made of `image`, read from `path`.
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

    /// Says what was chosen, and keeps it for reports.
    fn note(&mut self, note: String) {
        tracing::warn!("{note}");
        self.notes.push(note);
    }
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;
