//! Printing when speech occurs in a recording.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Answers, object};
use crate::input::Sample;
use crate::layers::Shape;
use crate::model::Model;

/// Probability from which a chunk counts as speech.
const SPEECH: f32 = 0.5;

/// Intervals of chunks with speech.
pub(super) struct Detect<'a> {
    pub(super) model: &'a Model,
}

impl Detect<'_> {
    /// First and last second of each interval, and the share of speech.
    fn speech(&self, output: &[f32]) -> (Vec<[f64; 2]>, f64) {
        let seconds = self.model.preprocess.framing().map_or(1.0, |framing| framing.seconds());
        let mut start = 0;
        let mut stretches = Vec::new();
        for stretch in output.chunk_by(|a, b| (*a >= SPEECH) == (*b >= SPEECH)) {
            let end = start + stretch.len();
            if stretch[0] >= SPEECH {
                stretches.push([start as f64 * seconds, end as f64 * seconds]);
            }
            start = end;
        }
        let chunks = output.iter().filter(|&&p| p >= SPEECH).count();
        (stretches, chunks as f64 / output.len().max(1) as f64)
    }
}

impl Answers for Detect<'_> {
    fn text(&self, sample: &Sample, output: &[f32], _: Shape, _: Option<&Path>) -> String {
        let (stretches, share) = self.speech(output);
        let lines: String = stretches.iter().map(|[from, to]| format!("  {from:8.2} s to {to:.2} s\n")).collect();
        format!("{}: speech {:.1}% of the time\n{lines}", sample.id, 100.0 * share)
    }

    fn json(&self, _: &Sample, output: &[f32], _: Shape) -> Map<String, Value> {
        let (stretches, share) = self.speech(output);
        object(json!({ "speech_share": share, "speech_seconds": stretches, "probabilities": output }))
    }
}
