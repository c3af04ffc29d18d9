//! Loading one input of a data set.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Dataset, Item};
use crate::input::decode::{Pixels, decode_upright};
use crate::input::degrade::Degradation;
use crate::input::preprocess::laid_out;
use crate::input::sample::Sample;
use crate::input::truth::{IGNORE, Truth, of_object};
use crate::input::values::Values;
use crate::{Error, Result};

impl Dataset {
    /// Loads, decodes and preprocesses one input.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Malformed`] or [`Error::Shape`] naming the input.
    ///
    /// # Panics
    /// If `place` is not below [`Dataset::len`].
    pub fn load(&self, place: usize) -> Result<Sample> {
        let sample = self.read(place)?;
        let vectors = self.vectors().map(|vectors| Truth::Vectors(Arc::clone(vectors)));
        Ok(Sample { truth: vectors.or(sample.truth), ..sample })
    }

    /// The same, without the vectors that all have.
    fn read(&self, place: usize) -> Result<Sample> {
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
            Item::Row { table, index } => {
                let table = &self.tables[*table];
                let id = format!("{}[{index}]", table.name());
                let bytes = table.read(*index)?;
                let (image, turned) = decode_upright(&id, &bytes)?;
                let (digest, label) = (Sha256::digest(&bytes).into(), table.label(*index));
                Ok(Sample { place, turned, ..self.sample(id, None, digest, label, image)? })
            }
            Item::Stored { values, index } => self.stored(place, &self.values[*values], *index),
            Item::Random(index) => Ok(self.random_sample(place, *index)),
            Item::Given(index) => Ok(self.given_sample(place, *index)),
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

    /// Input `index` of stored arrays.
    fn stored(&self, place: usize, values: &Values, index: usize) -> Result<Sample> {
        let id = format!("{}[{index}]", values.name);
        if let Degradation::Bicubic(_) = self.degradation {
            return Err(Error::invalid(
                "--scale",
                format!("is of images of 8 bits, and {} holds an array", values.name),
            ));
        }
        self.check_no_truths(&id)?;
        let (mut input, digest) = values.input(&id, index, &self.preprocess)?;
        // What is already prepared has passed the colour filter of a camera.
        let prepared = self.degradation == Degradation::Bayer && self.preprocess.overrides().range.is_none();
        let mut truth = None;
        if !self.degradation.is_none() && !prepared {
            truth = Some(Truth::Image(input.cropped()));
            self.degradation.values(&mut input.values, input.shape, self.preprocess.unit(), &digest);
        }
        if let Some(mut mask) = values.mask(index)? {
            self.object.map_or(Ok(()), |object| of_object(&id, &mut mask, object))?;
            truth = Some(Truth::Classes(mask));
        }
        let (size, label) = (input.size, values.labels.get(index).copied());
        let (values, shape) = laid_out(input.values, input.shape, self.preprocess.layout());
        Ok(Sample { place, id, digest, label, values, shape, size, truth, turned: false })
    }

    /// Random input `index`.
    fn random_sample(&self, place: usize, index: usize) -> Sample {
        let (values, shape) = self.random.as_ref().map_or_else(Default::default, |random| random.input(index));
        let mut hasher = Sha256::new();
        values.iter().for_each(|value| hasher.update(value.to_le_bytes()));
        let ([_, h, w], digest) = (shape, hasher.finalize().into());
        let (id, size) = (format!("random[{index}]"), [h, w]);
        let (values, shape) = laid_out(values, shape, self.preprocess.layout());
        Sample { place, id, digest, label: None, values, shape, size, truth: None, turned: false }
    }

    /// An error if truths are asked for, which are found by the names of image files.
    fn check_no_truths(&self, id: &str) -> Result<()> {
        if self.truths.is_none() {
            return Ok(());
        }
        let hint = "its images have no file names; give image files";
        Err(Error::NotFound { what: format!("the truth of {id}"), hint: hint.into() })
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
        if path.is_none() {
            self.check_no_truths(&id)?;
        }
        let truth = match (&self.truths, path) {
            (Some(source), Some(path)) => Some(source.load(path, size, &self.preprocess, self.object)?),
            _ => (!self.degradation.is_none()).then(|| Truth::Image(good.cropped())),
        };
        let mut input = bad.unwrap_or(good);
        self.degradation.values(&mut input.values, input.shape, self.preprocess.unit(), &digest);
        let size = input.size;
        let (values, shape) = laid_out(input.values, input.shape, self.preprocess.layout());
        Ok(Sample { place: 0, id, digest, label, values, shape, size, truth, turned: false })
    }
}
