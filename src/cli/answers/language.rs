//! Printing the likelihood of a text, and classes of its tokens.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Answers, object};
use crate::input::Sample;
use crate::layers::Shape;
use crate::measure::{add_score, start_score};
use crate::model::Model;
use crate::report::quality;

/// Only the whole text is scored; single segments are printed in JSON alone.
pub(super) struct Language<'a> {
    pub(super) model: &'a Model,
}

impl Answers for Language<'_> {
    fn text(&self, _: &Sample, _: &[f32], _: Shape, _: Option<&Path>) -> String {
        String::new()
    }

    fn json(&self, sample: &Sample, output: &[f32], shape: Shape) -> Map<String, Value> {
        let mut one = start_score(self.model.card.task);
        add_score(&mut one, self.model, sample, output, shape);
        object(json!({ "quality": quality(&one, &|class| self.model.class_name(class)) }))
    }
}

/// The most likely class of each token.
pub(super) struct Tag<'a> {
    pub(super) model: &'a Model,
}

impl Tag<'_> {
    fn classes(output: &[f32], shape: Shape) -> Vec<usize> {
        // More classes than a byte holds: argmax at each step.
        let best = |step: usize| {
            let logit = |class: usize| output[class * shape.w + step];
            (1..shape.c).fold(0, |best, class| if logit(class) > logit(best) { class } else { best })
        };
        (0..shape.w).map(best).collect()
    }
}

impl Answers for Tag<'_> {
    fn text(&self, sample: &Sample, output: &[f32], shape: Shape, _: Option<&Path>) -> String {
        let names = Self::classes(output, shape).into_iter().map(|class| match &self.model.card.labels {
            Some(_) => self.model.class_name(class),
            None => class.to_string(),
        });
        format!("{}: {}\n", sample.id, names.collect::<Vec<_>>().join(" "))
    }

    fn json(&self, _: &Sample, output: &[f32], shape: Shape) -> Map<String, Value> {
        object(json!({ "classes": Self::classes(output, shape) }))
    }
}
