//! Streams of inputs: listed cheaply, loaded one by one from any thread, never held.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::decode::{Pixels, decode};
use super::degrade::Degradation;
use super::preprocess::Preprocess;
use super::stack::{Bytes, Stack};
use super::text::{Cut, Text};
use super::truth::{IGNORE, Truth, TruthSource};
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
    text: Option<Text>,
}

impl Dataset {
    /// Lists the inputs of `paths`: image files, directories of them (with sub-directories as classes, or a
    /// `labels.tsv` of `name<TAB>class`), and safetensors files holding `images` and perhaps `labels` or `masks`.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a path that does not exist, [`Error::Invalid`] for a directory without images,
    /// [`Error::Malformed`] for a stored stack that is none.
    pub fn open(paths: &[PathBuf], preprocess: &Preprocess) -> Result<Self> {
        let mut dataset = Self::empty(preprocess);
        for path in paths {
            let name = path.display().to_string();
            if path.is_dir() {
                dataset.add_directory(path)?;
            } else if !path.exists() {
                let hint = "give image files, directories of images, or a safetensors file with `images`";
                return Err(Error::NotFound { what: name, hint: hint.into() });
            } else if path.extension().is_some_and(|end| end == "safetensors") {
                let mut file = File::open(path).map_err(|source| Error::io(path, source))?;
                let stack = Stack::open(&name, &mut file, Bytes::File(path.clone()))?;
                dataset.add_stack(stack, &mut file)?;
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
        let stack = Stack::open("built-in", &mut cursor, Bytes::Embedded(bytes))?;
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
            text: None,
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

    /// `count` inputs of seeded random numbers below `rows`, as many as a network is listed with.
    pub fn random_numbers(rows: usize, count: usize, seed: u64, preprocess: &Preprocess) -> Self {
        let text = Text::random(rows, preprocess.size().1, count, seed);
        Self { text: Some(text), ..Self::empty(preprocess) }
    }

    /// How inputs are made, in words.
    pub fn describe(&self) -> String {
        self.text.as_ref().map_or_else(|| self.preprocess.describe(), |text| text.description.clone())
    }

    /// How many inputs of one size run together, if it matters: each stream of a text goes on from its last segment, and
    /// large images may be run in bands.
    pub fn together(&self) -> Option<usize> {
        match &self.text {
            Some(text) => text.together,
            None => self.preprocess.any_size().then_some(1),
        }
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
                    return Ok(Sample { id, digest, label: *label, values, shape, size, truth: None });
                }
                let image = decode(&id, &bytes)?;
                self.sample(id, Some(path), digest, *label, image)
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
                if let Some(mask) = stack.read_mask(*index)? {
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
            (Some(source), Some(path)) => Some(source.load(path, size, &self.preprocess)?),
            (Some(_), None) => {
                let hint = "its images have no file names; give image files";
                return Err(Error::NotFound { what: format!("the truth of {id}"), hint: hint.into() });
            }
            (None, _) => (!self.degradation.is_none()).then(|| Truth::Image(good.cropped())),
        };
        let mut input = bad.unwrap_or(good);
        self.degradation.values(&mut input.values, input.shape, self.preprocess.unit(), &digest);
        Ok(Sample { id, digest, label, values: input.values, shape: input.shape, size: input.size, truth })
    }

    fn add_stack(&mut self, mut stack: Stack, source: &mut (impl Read + Seek)) -> Result<()> {
        let count = stack.read_labels(source)?;
        self.items.extend((0..count).map(|index| Item::Stacked { stack: self.stacks.len(), index }));
        self.stacks.push(stack);
        Ok(())
    }

    fn add_directory(&mut self, path: &Path) -> Result<()> {
        let list = |path: &Path| -> Result<Vec<PathBuf>> {
            let entries = std::fs::read_dir(path).map_err(|source| Error::io(path, source))?;
            let mut paths = entries
                .map(|entry| entry.map(|entry| entry.path()).map_err(|source| Error::io(path, source)))
                .collect::<Result<Vec<_>>>()?;
            paths.sort();
            Ok(paths)
        };
        let (what, endings) = match self.preprocess.framing() {
            Some(_) => ("recording", &["wav"][..]),
            None => ("image", &IMAGES[..]),
        };
        let fits = |path: &PathBuf| {
            let end = path.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase);
            path.is_file() && end.is_some_and(|end| endings.contains(&end.as_str()))
        };
        let entries = list(path)?;
        let before = self.items.len();
        let labels = read_labels_tsv(&path.join("labels.tsv"))?;
        for file in entries.iter().filter(|path| fits(path)) {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            self.items.push(Item::File { path: file.clone(), label: labels.get(name).copied() });
        }
        // Sub-directories are classes, in sorted order.
        for (class, folder) in entries.iter().filter(|path| path.is_dir()).enumerate() {
            for file in list(folder)?.into_iter().filter(|path| fits(path)) {
                self.items.push(Item::File { path: file, label: Some(class as u32) });
            }
        }
        if self.items.len() == before {
            let detail = format!("holds no {what} (looked for {})", endings.join(", "));
            return Err(Error::malformed(path.display().to_string(), detail));
        }
        Ok(())
    }
}

fn read_labels_tsv(path: &Path) -> Result<std::collections::HashMap<String, u32>> {
    if !path.exists() {
        return Ok(Default::default());
    }
    let text = std::fs::read_to_string(path).map_err(|source| Error::io(path, source))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let fields =
                line.split_once('\t').and_then(|(name, class)| Some((name.to_owned(), class.trim().parse().ok()?)));
            fields.ok_or_else(|| {
                let detail = format!("line {}: wants a file name, a tab and a class number", number + 1);
                Error::malformed(path.display().to_string(), detail)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use safetensors::tensor::{Dtype, TensorView};

    use super::*;

    fn plain(channels: usize) -> Preprocess {
        let list = vec!["0.0"; channels].join(", ");
        let ones = vec!["1.0"; channels].join(", ");
        let text = format!("channels = {channels}\nsize = [2, 4]\nmean = [{list}]\nstd = [{ones}]");
        Preprocess::from_table("t", &text.parse().unwrap()).unwrap()
    }

    fn stack(shape: &[usize], labels: &[u8]) -> Vec<u8> {
        let data: Vec<u8> = (0..shape.iter().product::<usize>()).map(|v| v as u8).collect();
        let mut views = HashMap::new();
        views.insert("images", TensorView::new(Dtype::U8, shape.to_vec(), &data).unwrap());
        if !labels.is_empty() {
            views.insert("labels", TensorView::new(Dtype::U8, vec![labels.len()], labels).unwrap());
        }
        safetensors::serialize(views, None).unwrap()
    }

    #[test]
    fn stacks_of_either_order_give_the_same_samples() {
        let folder = tempfile::tempdir().unwrap();
        let last = folder.path().join("last.safetensors");
        std::fs::write(&last, stack(&[2, 2, 4, 3], &[4, 9])).unwrap();
        let dataset = Dataset::open(&[last], &plain(3)).unwrap();
        assert_eq!(dataset.len(), 2);
        let sample = dataset.load(1).unwrap();
        assert_eq!((sample.label, sample.values.len()), (Some(9), 24));
        // Pixel (0, 1) of channel 2 of the second image: 24 + 3 + 2.
        assert_eq!((sample.values[2 * 8 + 1] * 255.0).round(), 29.0);
        let first = folder.path().join("first.safetensors");
        std::fs::write(&first, stack(&[2, 1, 2, 4], &[])).unwrap();
        let sample = Dataset::open(&[first], &plain(1)).unwrap().load(1).unwrap();
        assert_eq!((sample.label, (sample.values[5] * 255.0).round()), (None, 13.0));
    }

    #[test]
    fn bad_stacks_and_folders_are_errors_that_name_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.safetensors");
        let open = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            Dataset::open(std::slice::from_ref(&file), &plain(3)).and_then(|data| data.load(data.len() - 1)).map(|_| ())
        };
        let good = stack(&[2, 2, 4, 3], &[4, 9]);
        open(&good).unwrap();
        for cut in 0..good.len() {
            let error = open(&good[..cut]).unwrap_err();
            assert!(error.to_string().contains("x.safetensors"), "{cut}: {error}");
        }
        let mut huge = good.clone();
        huge[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
        assert!(open(&huge).unwrap_err().to_string().contains("claims 1152921504606846976 bytes"));
        assert!(open(&stack(&[2, 2, 4, 5], &[])).unwrap_err().to_string().contains("must be [N, H, W, C]"));
        assert!(open(&stack(&[2, 2, 4, 3], &[1])).unwrap_err().to_string().contains("one a image"));
        let empty = tempfile::tempdir().unwrap();
        let error = Dataset::open(&[empty.path().to_owned()], &plain(3)).err().unwrap();
        assert!(error.to_string().contains("holds no image"), "{error}");
        let error = Dataset::open(&["/nowhere/at/all.png".into()], &plain(3)).err().unwrap();
        assert_eq!(error.exit_code(), crate::error::exit::UNAVAILABLE);
    }

    #[test]
    fn folders_are_classes() {
        let folder = tempfile::tempdir().unwrap();
        let image = image::RgbImage::from_pixel(4, 2, image::Rgb([9, 8, 7]));
        for name in ["b/1.png", "a/2.png", "a/1.png"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            image.save(path).unwrap();
        }
        let dataset = Dataset::open(&[folder.path().to_owned()], &plain(3)).unwrap();
        let labels: Vec<_> = (0..dataset.len()).map(|i| dataset.load(i).unwrap().label).collect();
        assert_eq!(labels, [Some(0), Some(0), Some(1)]);
        let picked = dataset.select(&[2, 0]);
        assert_eq!((picked.len(), picked.load(0).unwrap().label), (2, Some(1)));
    }
}
