//! `run --examples`: the first inputs with the answers to them, a list beside their pictures.

use std::path::{Path, PathBuf};

use super::LIST;
use crate::cli::answers::Answers;
use crate::cli::args::InputArgs;
use crate::cli::pictures::Picture;
use crate::cli::{out, setup};
use crate::input::{IGNORE, Interpolation, Pixels, Sample, Token, Truth, Vocabulary, resize};
use crate::layers::Shape;
use crate::measure::pixel_classes;
use crate::model::Model;
use crate::models::Task;
use crate::report::html::{Example, ExamplePicture};
use crate::report::to_json;
use crate::task::answer::crop;
use crate::task::language::surprise;
use crate::{Error, Result};

/// Examples that are kept: a page is to be looked at.
const KEPT: usize = 12;
/// Longest side of a picture, in pixels.
const LONGEST: usize = 360;

/// Examples on their way to a folder.
pub(in crate::cli) struct SavedExamples<'a> {
    folder: PathBuf,
    model: &'a Model,
    /// Of networks that read texts.
    vocabulary: Option<Vocabulary>,
    list: Vec<Example>,
}

impl<'a> SavedExamples<'a> {
    /// Examples of `model` in `folder`, which is made if it is not there. Called before any work, so that a bad path fails at once.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is a file of that name; [`Error::Io`] if it cannot be made; those of [`setup::vocabulary`].
    pub(in crate::cli) fn open(folder: &Path, model: &'a Model, inputs: &InputArgs) -> Result<Self> {
        out::directory("--examples", folder)?;
        let vocabulary = model.card.reads_tokens().then(|| setup::vocabulary(model, inputs)).transpose()?;
        Ok(Self { folder: folder.into(), model, vocabulary, list: Vec::new() })
    }

    /// Adds `sample` and the answer to it, if there are not enough yet.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(in crate::cli) fn add(
        &mut self,
        answers: &dyn Answers,
        sample: &Sample,
        output: &[f32],
        shape: Shape,
    ) -> Result<()> {
        if self.list.len() == KEPT {
            return Ok(());
        }
        let mut pictures = Vec::new();
        if self.model.preprocess.reads_images() {
            pictures.push(("input", self.image(sample, &sample.values)));
            pictures.extend(self.answer(answers, sample, output, shape).map(|answer| ("answer", answer)));
            pictures.extend(self.truth(sample).map(|truth| ("truth", truth)));
        }
        let number = self.list.len() + 1;
        let save = |(is, picture): (&str, Pixels)| {
            let name = format!("{number}-{is}.png");
            self.save(&name, picture).map(|()| ExamplePicture { is: is.into(), picture: name })
        };
        let pictures = pictures.into_iter().map(save).collect::<Result<_>>()?;
        let text = answers.text(sample, output, shape, None);
        // The first words are the input's name.
        let lines = text.lines().map(|line| line.strip_prefix(sample.id.as_str()).unwrap_or(line).trim().to_owned());
        self.list.push(Example {
            network: self.model.card.name.clone(),
            id: sample.id.clone(),
            pictures,
            lines: lines.filter(|line| !line.is_empty()).collect(),
            tokens: self.tokens(sample, output, shape),
        });
        Ok(())
    }

    /// Writes the list.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(in crate::cli) fn finish(self) -> Result<()> {
        out::write_into(&self.folder, LIST, to_json(&self.list).as_bytes())
    }

    /// `values`, preprocessed as the input of `sample`, as an image.
    fn image(&self, sample: &Sample, values: &[f32]) -> Pixels {
        let [c, ..] = sample.shape;
        let values = if values.len() == c * sample.size[0] * sample.size[1] {
            values.to_vec()
        } else {
            crop(values, sample.shape, sample.size)
        };
        self.model.preprocess.pixels(&values, sample.size)
    }

    /// The answer as an image: of class maps, drawn over the input.
    fn answer(&self, answers: &dyn Answers, sample: &Sample, output: &[f32], shape: Shape) -> Option<Pixels> {
        if self.model.card.task == Task::Segment {
            return self.overlay(sample, &pixel_classes(self.model, sample, output, shape));
        }
        match answers.picture(sample, output, shape)? {
            Picture::Image(image) => Some(image),
            Picture::Classes { .. } => None,
        }
    }

    fn truth(&self, sample: &Sample) -> Option<Pixels> {
        match sample.truth.as_ref()? {
            Truth::Image(values) if values.len() == sample.values.len() => Some(self.image(sample, values)),
            Truth::Classes(classes) => {
                // Pixels without a class stay as they are.
                let classes: Vec<u8> = classes.iter().map(|&class| if class == IGNORE { 0 } else { class }).collect();
                self.overlay(sample, &classes)
            }
            _ => None,
        }
    }

    fn overlay(&self, sample: &Sample, classes: &[u8]) -> Option<Pixels> {
        let image = self.image(sample, &sample.values).with_channels(3);
        match Picture::overlay(image, classes) {
            Picture::Image(image) => Some(image),
            Picture::Classes { .. } => None,
        }
    }

    /// The tokens of a text, each with the bits by which it surprised the network that predicts it.
    fn tokens(&self, sample: &Sample, output: &[f32], shape: Shape) -> Vec<(String, Option<f32>)> {
        let Some(vocabulary) = &self.vocabulary else { return Vec::new() };
        let read: Vec<u32> = sample.values.iter().map(|&id| id as u32).collect();
        let next: &[Token] = match &sample.truth {
            Some(Truth::Tokens(next)) if self.model.card.task == Task::Language => next,
            _ => &[],
        };
        let mut decoder = vocabulary.decoder();
        let mut tokens: Vec<(String, Option<f32>)> = read
            .iter()
            .take(if next.is_empty() { read.len() } else { 1 })
            .map(|&id| (decoder.push(id), None))
            .collect();
        for (step, token) in next.iter().enumerate() {
            let is_scored = token.id != Token::UNSCORED;
            let bits = is_scored.then(|| {
                let logits: Vec<f32> = (0..shape.c).map(|class| output[class * shape.w + step]).collect();
                let bits = surprise(&logits, token.id as usize) / std::f64::consts::LN_2;
                (bits * 100.0).round() as f32 / 100.0
            });
            let id = if is_scored { Some(token.id) } else { read.get(step + 1).copied() };
            tokens.extend(id.map(|id| (decoder.push(id), bits)));
        }
        tokens
    }

    fn save(&self, name: &str, picture: Pixels) -> Result<()> {
        let path = self.folder.join(name);
        let longest = picture.h.max(picture.w);
        let picture = match longest > LONGEST {
            true => {
                let [h, w] = [picture.h, picture.w].map(|side| (side * LONGEST / longest).max(1));
                resize(&picture, h, w, Interpolation::Bilinear)
            }
            false => picture,
        };
        let bytes = Picture::Image(picture).png().map_err(|error| Error::io(&path, std::io::Error::other(error)))?;
        out::write_into(&self.folder, name, &bytes)
    }
}
