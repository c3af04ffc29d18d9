//! Printing the likelihood of a text, and classes of its tokens.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Answers, object};
use crate::input::Sample;
use crate::layers::Shape;
use crate::measure::{add_score, start_score, step_classes};
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
        let mut one = start_score(self.model.card.task, None);
        add_score(&mut one, self.model, sample, output, shape);
        object(json!({ "quality": quality(&one, &|class| self.model.class_name(class)) }))
    }
}

/// The most likely class of each token.
pub(super) struct Tag<'a> {
    pub(super) model: &'a Model,
}

impl Answers for Tag<'_> {
    fn text(&self, sample: &Sample, output: &[f32], shape: Shape, _: Option<&Path>) -> String {
        let names = step_classes(output, shape).into_iter().map(|class| match &self.model.card.labels {
            Some(_) => self.model.class_name(class),
            None => class.to_string(),
        });
        format!("{}: {}\n", sample.id, names.collect::<Vec<_>>().join(" "))
    }

    fn json(&self, _: &Sample, output: &[f32], shape: Shape) -> Map<String, Value> {
        object(json!({ "classes": step_classes(output, shape) }))
    }
}
