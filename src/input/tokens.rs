//! Token inputs: segments of continuous streams for language models, lines for taggers.

use std::path::PathBuf;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::sample::Sample;
use super::truth::Truth;
use super::vocabulary::{Token, Vocabulary};
use crate::{Error, Result};

/// How a text is split into inputs.
///
/// ```text
/// Streams { streams: 2, steps: 3 }:   t0 t1 t2 | t3 t4 t5 | ...    stream 0, its state carried from segment to segment
///                                     tn ..    |          | ...    stream 1, from the middle of the text
/// Windows { length: 4 }:              0 0 0 ^    0 0 ^ a    0 ^ a b    ^ a b c    a b c $    one input for each next token
/// Lines:                              one input per line
/// ```
#[derive(Clone, Debug)]
pub enum Cut {
    /// Into `streams` streams of equal length (the remainder is dropped), each read in segments of `steps` tokens. The
    /// network's state carries over from one segment to the next.
    Streams {
        /// Number of streams that run side by side.
        streams: usize,
        /// Tokens per segment.
        steps: usize,
    },
    /// Into lines between two marks. Each token but the first is predicted from the `length` tokens before it, padded with id
    /// 0 at the start.
    Windows {
        /// Number of tokens that the network reads.
        length: usize,
        /// Token before and after each line.
        mark: String,
    },
    /// Into independent lines, between two tokens if given.
    Lines {
        /// Token before each line.
        begin: Option<String>,
        /// Token after each line.
        end: Option<String>,
    },
}

/// A token sequence, and the inputs that it is split into.
pub(super) struct TokenInputs {
    tokens: Vec<Token>,
    /// First token and number of tokens of each input; for streams, the segments at one step are adjacent.
    inputs: Vec<(usize, usize)>,
    /// The prediction target of an input.
    truth: Target,
    /// Number of inputs that run together, each continuing from the state after the last input in its position.
    pub(super) together: Option<usize>,
    /// Number of streams, if consecutive inputs are segments or windows of continuous text; `None` for independent lines.
    pub(super) streams: Option<usize>,
    pub(super) description: String,
    /// The options of the split that can change a result.
    pub(super) options: Vec<(&'static str, String)>,
}

/// Which tokens an input predicts.
#[derive(Clone, Copy)]
enum Target {
    Nothing,
    /// The token after each of its tokens.
    Each,
    /// The token after its last, from a window of this length.
    Last(usize),
}

impl TokenInputs {
    /// The text files `paths`, concatenated.
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

    /// `texts` with their names, concatenated.
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
            Cut::Lines { .. } => (Target::Nothing, None, format!("lines of {of}")),
            Cut::Windows { length, .. } => (Target::Last(length), None, format!("windows of {length} of {of}")),
            Cut::Streams { streams, steps } => {
                let length = tokens.len() / streams;
                inputs = segments(length, streams, steps);
                let side_by_side = if streams > 1 { format!(" in {streams} streams") } else { String::new() };
                (Target::Each, Some(streams), format!("segments of {steps} of {of}{side_by_side}"))
            }
        };
        if inputs.is_empty() {
            let names: Vec<&str> = texts.iter().map(|(name, _)| name.as_str()).collect();
            let least = if matches!(truth, Target::Each) { "a text of two tokens per stream" } else { "a line" };
            return Err(Error::malformed(names.join(", "), format!("is too short: {least} is the minimum")));
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

    /// The token numbers `ids` in `file`, rows of `length`: a stream each, or a line each.
    pub(super) fn of_ids(file: &str, ids: &[u32], length: usize, cut: &Cut) -> Result<Self> {
        let rows = ids.len() / length.max(1);
        let (inputs, truth, options) = match *cut {
            Cut::Streams { steps, .. } => {
                let options = vec![("streams", rows.to_string()), ("steps", steps.to_string())];
                (segments(length, rows, steps), Target::Each, options)
            }
            Cut::Lines { .. } => ((0..rows).map(|row| (row * length, length)).collect(), Target::Nothing, vec![]),
            Cut::Windows { .. } => {
                let hint = "give the text, whose lines say where windows begin";
                return Err(Error::unsupported(
                    format!("{file}: token numbers for a network that reads windows"),
                    hint,
                ));
            }
        };
        if inputs.is_empty() {
            return Err(Error::malformed(file, "is too short: a row of two tokens is the minimum"));
        }
        let streams = matches!(truth, Target::Each).then_some(rows);
        let description = match cut {
            Cut::Streams { steps, .. } => format!("segments of {steps} of token numbers in {rows} streams"),
            _ => "rows of token numbers".to_owned(),
        };
        let tokens = ids.iter().map(|&id| Token { id, chars: 0 }).collect();
        Ok(Self { tokens, inputs, truth, together: streams, streams, description, options })
    }

    /// `count` inputs of `steps` seeded random ids below `rows`.
    pub(super) fn random(rows: usize, steps: usize, count: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut token = || Token { id: random.random_range(0..rows.max(1) as u32), chars: 0 };
        Self {
            tokens: (0..count * steps).map(|_| token()).collect(),
            inputs: (0..count).map(|input| (input * steps, steps)).collect(),
            truth: Target::Nothing,
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
            Target::Nothing => (len, None),
            Target::Each => (len, Some(&self.tokens[start + 1..][..len])),
            Target::Last(length) => (length, Some(&self.tokens[start + len..][..1])),
        };
        // A window is padded with zeros before its first token, and keeps only its last tokens.
        let values = std::iter::repeat_n(0.0, seen.saturating_sub(len))
            .chain(part[len.saturating_sub(seen)..].iter().map(|token| token.id as f32));
        Sample {
            place: index,
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

/// First token and number of tokens of each segment of `streams` streams of `length` tokens; those at one step are adjacent.
fn segments(length: usize, streams: usize, steps: usize) -> Vec<(usize, usize)> {
    // The last token of a stream is only a target.
    let starts = (0..length.saturating_sub(1)).step_by(steps);
    let side_by_side =
        |start: usize| (0..streams).map(move |stream| (stream * length + start, steps.min(length - 1 - start)));
    starts.flat_map(side_by_side).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_outside_the_vocabulary_are_errors_with_their_line_for_every_split() {
        let vocabulary = Vocabulary::parse("v.json", r#"{"a": 0, "b": 1, "\n": 2}"#).unwrap();
        let cuts = [
            Cut::Streams { streams: 1, steps: 2 },
            Cut::Windows { length: 2, mark: "b".into() },
            Cut::Lines { begin: None, end: None },
        ];
        for cut in cuts {
            let texts = [("t.txt".to_owned(), "ab\n\nba\na?\n".to_owned())];
            let error = TokenInputs::new(&texts, &vocabulary, &cut).err().unwrap().to_string();
            assert!(error.starts_with("t.txt: line 4: \"?\""), "{cut:?}: {error}");
        }
    }
}
