//! Printing and saving restored images.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Answers, object};
use crate::cli::out::printable;
use crate::cli::pictures::Picture;
use crate::input::Sample;
use crate::layers::Shape;
use crate::measure::{add_score, restored, start_score};
use crate::model::Model;
use crate::report::quality::Quality;
use crate::report::{quality, quality_text};

pub(super) struct Restore<'a> {
    pub(super) model: &'a Model,
}

impl Restore<'_> {
    /// Quality of this one answer, if the truth is known.
    fn quality(&self, sample: &Sample, output: &[f32], shape: Shape) -> Option<Quality> {
        let mut one = start_score(self.model.card.task, None);
        add_score(&mut one, self.model, sample, output, shape);
        quality(&one, &|class| self.model.class_name(class))
    }
}

impl Answers for Restore<'_> {
    fn text(&self, sample: &Sample, output: &[f32], shape: Shape, saved: Option<&Path>) -> String {
        let [h, w] = sample.size;
        let text = self.quality(sample, output, shape).map(|one| quality_text(&one).replace(" of 1 with a truth", ""));
        let text = text.map(|text| format!("  {text}")).unwrap_or_default();
        let saved = saved.map(|path| format!("  -> {}", path.display())).unwrap_or_default();
        format!("{}  {h}x{w}{text}{}\n", printable(&sample.id), printable(&saved))
    }

    fn json(&self, sample: &Sample, output: &[f32], shape: Shape) -> Map<String, Value> {
        let quality = self.quality(sample, output, shape);
        object(json!({ "size": sample.size, "quality": quality }))
    }

    fn pictures(&self) -> bool {
        true
    }

    fn picture(&self, sample: &Sample, output: &[f32], shape: Shape) -> Option<Picture> {
        let (image, size) = restored(sample, output, shape);
        Some(Picture::Image(self.model.preprocess.pixels(&image, size)))
    }
}
