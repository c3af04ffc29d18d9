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
    /// Into lines between two marks, of which each token but the first is predicted from the `length` before it, with
    /// number 0 where there are fewer.
    Windows {
        /// Tokens that the network sees.
        length: usize,
        /// Before and after each line.
        mark: String,
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
    /// What is the truth of an input.
    truth: Next,
    /// Inputs that run together, each place of which goes on with what it had before.
    pub(super) together: Option<usize>,
    /// Streams that inputs which follow one another are segments or windows of; none of lines that stand alone.
    pub(super) streams: Option<usize>,
    pub(super) description: String,
    /// How it was cut: what can change a number.
    pub(super) options: Vec<(&'static str, String)>,
}

/// Which tokens an input is to predict.
#[derive(Clone, Copy)]
enum Next {
    Nothing,
    /// The one after each of its tokens.
    Each,
    /// The one after its last, from a window of so many tokens.
    Last(usize),
}

impl Text {
    /// The texts of `paths`, one after the other.
    pub(super) fn open(paths: &[PathBuf], vocabulary: &Vocabulary, cut: &Cut) -> Result<Self> {
        let read = |path: &PathBuf| {
            let name = path.display().to_string();
            if !path.exists() {
                return Err(Error::NotFound { what: name, hint: "give files of text".into() });
            }
            let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
            let text = String::from_utf8(bytes).map_err(|_| Error::malformed(&name, "is not UTF-8 text"))?;
            Ok((name, text))
        };
        Self::new(&paths.iter().map(read).collect::<Result<Vec<_>>>()?, vocabulary, cut)
    }

    /// `texts` with their names, one after the other.
    pub(super) fn new(texts: &[(String, String)], vocabulary: &Vocabulary, cut: &Cut) -> Result<Self> {
        let mut tokens = Vec::new();
        let mut inputs = Vec::new();
        for (name, text) in texts {
            match cut {
                Cut::Streams { .. } => tokens.extend(vocabulary.encode(name, text)?),
                Cut::Windows { mark, .. } => {
                    let mark = Token { id: vocabulary.id(mark)?, chars: 1 };
                    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty()) {
                        let first = tokens.len();
                        tokens.push(mark);
                        tokens.extend(vocabulary.encode_from(name, number, line)?);
                        tokens.push(mark);
                        inputs.extend((1..tokens.len() - first).map(|len| (first, len)));
                    }
                }
                Cut::Lines { begin, end } => {
                    let mark = |token: &Option<String>| -> Result<Option<Token>> {
                        token.as_ref().map(|token| Ok(Token { id: vocabulary.id(token)?, chars: 0 })).transpose()
                    };
                    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
                        let first = tokens.len();
                        tokens.extend(mark(begin)?);
                        tokens.extend(vocabulary.encode_from(name, number, line)?);
                        tokens.extend(mark(end)?);
                        inputs.push((first, tokens.len() - first));
                    }
                }
            }
        }
        let of = vocabulary.describe();
        let (truth, together, description) = match *cut {
            Cut::Lines { .. } => (Next::Nothing, None, format!("lines of {of}")),
            Cut::Windows { length, .. } => (Next::Last(length), None, format!("windows of {length} of {of}")),
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
                (Next::Each, Some(streams), format!("segments of {steps} of {of}{side_by_side}"))
            }
        };
        if inputs.is_empty() {
            let names: Vec<&str> = texts.iter().map(|(name, _)| name.as_str()).collect();
            let least = if matches!(truth, Next::Each) { "a text of two tokens a stream" } else { "a line" };
            return Err(Error::malformed(names.join(", "), format!("is too short: {least} is the least")));
        }
        let options = match *cut {
            Cut::Streams { streams, steps } => vec![("streams", streams.to_string()), ("steps", steps.to_string())],
            Cut::Lines { .. } | Cut::Windows { .. } => Vec::new(),
        };
        let streams = match *cut {
            Cut::Streams { streams, .. } => Some(streams),
            Cut::Windows { .. } => Some(1),
            Cut::Lines { .. } => None,
        };
        Ok(Self { tokens, inputs, truth, together, streams, description, options })
    }

    /// `count` inputs of `steps` seeded random numbers below `rows`.
    pub(super) fn random(rows: usize, steps: usize, count: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut token = || Token { id: random.random_range(0..rows.max(1) as u32), chars: 0 };
        Self {
            tokens: (0..count * steps).map(|_| token()).collect(),
            inputs: (0..count).map(|input| (input * steps, steps)).collect(),
            truth: Next::Nothing,
            together: None,
            streams: None,
            description: "random numbers".into(),
            options: Vec::new(),
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
        let (seen, next) = match self.truth {
            Next::Nothing => (len, None),
            Next::Each => (len, Some(&self.tokens[start + 1..][..len])),
            Next::Last(length) => (length, Some(&self.tokens[start + len..][..1])),
        };
        // A window is filled up with zeros before its first token, and sees no more than the last of them.
        let values = std::iter::repeat_n(0.0, seen.saturating_sub(len))
            .chain(part[len.saturating_sub(seen)..].iter().map(|token| token.id as f32));
        Sample {
            id: format!("tokens {start} to {}", start + len - 1),
            digest: hasher.finalize().into(),
            label: None,
            values: values.collect(),
            shape: [1, 1, seen],
            size: [1, seen],
            truth: next.map(|next| Truth::Tokens(next.to_vec())),
            turned: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_no_vocabulary_is_told_with_its_line_however_texts_are_cut() {
        let vocabulary = Vocabulary::parse("v.json", r#"{"a": 0, "b": 1, "\n": 2}"#).unwrap();
        let cuts = [
            Cut::Streams { streams: 1, steps: 2 },
            Cut::Windows { length: 2, mark: "b".into() },
            Cut::Lines { begin: None, end: None },
        ];
        for cut in cuts {
            let texts = [("t.txt".to_owned(), "ab\n\nba\na?\n".to_owned())];
            let error = Text::new(&texts, &vocabulary, &cut).err().unwrap().to_string();
            assert!(error.starts_with("t.txt: line 4: \"?\""), "{cut:?}: {error}");
        }
    }
}
