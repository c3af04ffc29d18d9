//! Printing the most likely classes.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Answers, object};
use crate::cli::out::printable;
use crate::input::Sample;
use crate::layers::Shape;
use crate::model::Model;
use crate::task::classify::top_k;

pub(super) struct Classify<'a> {
    pub(super) model: &'a Model,
    /// Number of classes to print.
    pub(super) top: usize,
}

impl Classify<'_> {
    /// The most likely classes, with logits and probabilities. If the network outputs probabilities, they are printed
    /// unchanged, and their logarithms are the logits.
    fn most_likely(&self, output: &[f32]) -> Vec<(usize, f32, f64)> {
        let mut top = top_k(&self.model.class_values(output), self.top);
        if self.model.gives_probabilities() {
            top.iter_mut().for_each(|(_, value, share)| (*value, *share) = (value.ln(), f64::from(*value)));
        }
        top
    }
}

impl Answers for Classify<'_> {
    fn text(&self, sample: &Sample, logits: &[f32], _: Shape, _: Option<&Path>) -> String {
        // Class 0 of a data set may be class 1 of the network.
        let offset = self.model.label_offset(self.model.classes());
        let label = sample.label.map(|label| format!("  (label: {})", self.model.class_name(label as usize + offset)));
        let mut text = format!("{}{}\n", printable(&sample.id), printable(&label.unwrap_or_default()));
        for (class, _, probability) in self.most_likely(logits) {
            text += &format!("  {:6.2}%  {}\n", probability * 100.0, printable(&self.model.class_name(class)));
        }
        text
    }

    fn json(&self, sample: &Sample, logits: &[f32], _: Shape) -> Map<String, Value> {
        let answer = |(class, logit, probability): (usize, f32, f64)| {
            let name = self.model.class_name(class);
            json!({ "class": class, "name": name, "logit": logit, "probability": probability })
        };
        let top: Vec<Value> = self.most_likely(logits).into_iter().map(answer).collect();
        object(json!({ "label": sample.label, "top": top }))
    }
}
