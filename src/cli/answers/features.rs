//! Printing the features of a network without a classifier.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Answers, object};
use crate::cli::out::printable;
use crate::input::Sample;
use crate::layers::Shape;

/// Features that are printed for people.
const SHOWN: usize = 8;

pub(super) struct Features;

/// The Euclidean norm of a vector.
fn norm(features: &[f32]) -> f64 {
    features.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

impl Answers for Features {
    fn text(&self, sample: &Sample, output: &[f32], _: Shape, _: Option<&Path>) -> String {
        let first: Vec<String> = output.iter().take(SHOWN).map(|value| format!("{value:.4}")).collect();
        let more = if output.len() > SHOWN { " ... (all with --format json)" } else { "" };
        let (id, count) = (printable(&sample.id), output.len());
        format!("{id}\n  {count} features of norm {:.4}: {}{more}\n", norm(output), first.join(" "))
    }

    fn json(&self, _: &Sample, output: &[f32], _: Shape) -> Map<String, Value> {
        object(json!({ "norm": norm(output), "features": output }))
    }
}
