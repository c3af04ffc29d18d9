//! Texts as inputs: segments of continuous streams for language models, lines for taggers.

use std::path::PathBuf;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::dataset::Sample;
use super::truth::Truth;
use super::vocabulary::{Token, Vocabulary};
use crate::{Error, Result};

/// How a text is cut.
#[derive(Clone, Debug)]
pub enum Cut {
    /// Into `streams` equal streams (what is left over is dropped), each read in segments of `steps` tokens: what comes
    /// before a segment is in the network's state.
    Streams {
        /// How many run side by side.
        streams: usize,
        /// Tokens of a segment.
        steps: usize,
    },
    /// Into lines, each for itself, between two tokens if there are such.
    Lines {
        /// Before each line.
        begin: Option<String>,
        /// After it.
        end: Option<String>,
    },
}

/// Tokens in the order in which they are read.
pub(super) struct Text {
    tokens: Vec<Token>,
    /// First token and number of tokens of each input; inputs of one step of all streams stand side by side.
    inputs: Vec<(usize, usize)>,
    /// Whether the token after each one is the truth.
    predicts: bool,
    /// Inputs that run together.
    pub(super) together: usize,
    pub(super) description: String,
}

impl Text {
    /// The texts of `paths`, one after the other.
    pub(super) fn open(paths: &[PathBuf], vocabulary: &Vocabulary, cut: &Cut) -> Result<Self> {
        let mut tokens = Vec::new();
        let mut inputs = Vec::new();
        for path in paths {
            let name = path.display().to_string();
            if !path.exists() {
                return Err(Error::NotFound { what: name, hint: "give files of text".into() });
            }
            let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
            let text = String::from_utf8(bytes).map_err(|_| Error::malformed(&name, "is not UTF-8 text"))?;
            match cut {
                Cut::Streams { .. } => tokens.extend(vocabulary.encode(&name, &text)?),
                Cut::Lines { begin, end } => {
                    let mark = |token: &Option<String>| -> Result<Option<Token>> {
                        token.as_ref().map(|token| Ok(Token { id: vocabulary.id(token)?, chars: 0 })).transpose()
                    };
                    for line in text.lines().filter(|line| !line.trim().is_empty()) {
                        let first = tokens.len();
                        tokens.extend(mark(begin)?);
                        tokens.extend(vocabulary.encode(&name, line)?);
                        tokens.extend(mark(end)?);
                        inputs.push((first, tokens.len() - first));
                    }
                }
            }
        }
        let of = vocabulary.describe();
        let (predicts, together, description) = match *cut {
            Cut::Lines { .. } => (false, 1, format!("lines of {of}")),
            Cut::Streams { streams, steps } => {
                let length = tokens.len() / streams;
                // The last token of a stream is only a truth.
                let segments = (0..length.saturating_sub(1)).step_by(steps);
                inputs = segments
                    .flat_map(|start| {
                        (0..streams).map(move |stream| (stream * length + start, steps.min(length - 1 - start)))
                    })
                    .collect();
                let side_by_side = if streams > 1 { format!(" in {streams} streams") } else { String::new() };
                (true, streams, format!("segments of {steps} of {of}{side_by_side}"))
            }
        };
        if inputs.is_empty() {
            let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            let least = if predicts { "a text of two tokens a stream" } else { "a line" };
            return Err(Error::malformed(names.join(", "), format!("is too short: {least} is the least")));
        }
        Ok(Self { tokens, inputs, predicts, together, description })
    }

    /// `count` inputs of `steps` seeded random numbers below `rows`.
    pub(super) fn random(rows: usize, steps: usize, count: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut token = || Token { id: random.random_range(0..rows.max(1) as u32), chars: 0 };
        Self {
            tokens: (0..count * steps).map(|_| token()).collect(),
            inputs: (0..count).map(|input| (input * steps, steps)).collect(),
            predicts: false,
            together: 1,
            description: "random numbers".into(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.inputs.len()
    }

    pub(super) fn sample(&self, index: usize) -> Sample {
        let (start, len) = self.inputs[index];
        let part = &self.tokens[start..start + len];
        let mut hasher = Sha256::new();
        hasher.update((start as u64).to_le_bytes());
        part.iter().for_each(|token| hasher.update(token.id.to_le_bytes()));
        let next = &self.tokens[start + usize::from(self.predicts)..][..len];
        let truth = self.predicts.then(|| Truth::Tokens(next.to_vec()));
        Sample {
            id: format!("tokens {start} to {}", start + len - 1),
            digest: hasher.finalize().into(),
            label: None,
            values: part.iter().map(|token| token.id as f32).collect(),
            shape: [1, 1, len],
            size: [1, len],
            truth,
        }
    }
}
