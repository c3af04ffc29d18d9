//! Token inputs: segments of continuous streams for language models, lines for taggers.

use std::path::PathBuf;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::labels::{LabelOf, Labels, UNLABELLED};
use super::sample::Sample;
use super::texts::{self, Content, Split, Text};
use super::truth::Truth;
use super::vocabulary::{Token, Vocabulary};
use crate::{Error, Result};

/// How a text is split into inputs.
///
/// ```text
/// Streams { streams: 2, steps: 3 }:   t0 t1 t2 | t3 t4 t5 | ...    stream 0, its state carried from segment to segment
///                                     tn ..    |          | ...    stream 1, from the middle of the text
/// Windows { length: 4 }:              0 0 0 ^    0 0 ^ a    0 ^ a b    ^ a b c    a b c $    one input for each next token
/// Contexts { length: 4, stride: 2 }:  t0 t1 t2 t3    t2 t3 t4 t5    t4 t5 t6 t7        each predicts what the one before did not
/// Texts:                              one input per line or paragraph, with the marks of its tokenizer
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
    /// Into windows of texts, each read from an empty context. A text is a file or a record; windows begin anywhere in it, so that
    /// the marks that its tokenizer would set around it are left out.
    Contexts {
        /// Number of tokens that the network reads.
        length: usize,
        /// Tokens from the start of one window to the next. If windows overlap, each token is predicted in the first that has it.
        stride: usize,
        /// The field of records that holds their text.
        field: Option<String>,
    },
    /// Into independent texts, between the marks that their tokenizer sets.
    Texts {
        /// What of a file is a text.
        split: Split,
        /// Texts are cut off after so many tokens, the marks among them.
        length: Option<usize>,
        /// The field of records that holds their text.
        field: Option<String>,
        /// Whether the network predicts the tokens of a text from those before them.
        predicts: bool,
        /// The labels that records and tables have beside their texts.
        labels: Option<Labels>,
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
    /// Names of the inputs, if they have any; their file and line.
    names: Vec<String>,
    /// First token and number of tokens of each input; for streams, the segments at one step are adjacent.
    inputs: Vec<(usize, usize)>,
    /// The prediction target of an input.
    truth: Target,
    /// Number of inputs that run together, each continuing from the state after the last input in its position.
    pub(super) together: Option<usize>,
    /// Number of streams, if consecutive inputs are segments or windows of continuous text; `None` for independent lines.
    pub(super) streams: Option<usize>,
    pub(super) description: String,
    /// What has labels, if anything: the class of each input, or of each token.
    labels: Option<(LabelOf, Vec<u32>)>,
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
    /// The token after each of its tokens but the last, unless the input before has predicted it.
    Within,
}

impl TokenInputs {
    /// The text files `paths`, concatenated.
    pub(super) fn open(paths: &[PathBuf], vocabulary: &Vocabulary, cut: &Cut) -> Result<Self> {
        Self::new(&texts::read(paths)?, vocabulary, cut)
    }

    /// `texts` with their names, concatenated.
    pub(super) fn new(texts: &[(String, String)], vocabulary: &Vocabulary, cut: &Cut) -> Result<Self> {
        let mut tokens = Vec::new();
        let mut inputs = Vec::new();
        let mut names = Vec::new();
        let (mut classes, mut labelled) = (Vec::new(), None);
        for (name, text) in texts {
            match cut {
                Cut::Contexts { length, stride, field } => {
                    for text in texts::texts(name, text, None, (field.as_deref(), None))? {
                        let first = tokens.len();
                        if let Content::Whole(whole) = &text.content {
                            tokens.extend(vocabulary.encode_from(name, text.line, whole)?);
                        }
                        inputs.extend(contexts(first, tokens.len(), *length, *stride));
                    }
                }
                Cut::Texts { split, length, field, labels, .. } => {
                    for text in texts::texts(name, text, Some(*split), (field.as_deref(), labels.as_ref()))? {
                        let first = tokens.len();
                        let of = labels.as_ref().map_or(LabelOf::Text, |labels| labels.of);
                        let (read, known) = whole_text(vocabulary, name, &text, *length, of)?;
                        if !read.is_empty() {
                            inputs.push((first, read.len()));
                            names.push(format!("{name}:{}", text.line));
                            classes.extend(known);
                            labelled = labelled.or(text.labels.map(|_| of));
                        }
                        tokens.extend(read);
                    }
                }
                Cut::Streams { .. } => tokens.extend(vocabulary.encode(name, text)?),
                Cut::Windows { mark, .. } => {
                    let mark = Token { id: vocabulary.id(mark)?, chars: 1, bytes: 1 };
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
                        token.as_ref().map(|token| vocabulary.id(token).map(Token::bare)).transpose()
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
            Cut::Contexts { length, .. } => (Target::Within, None, format!("windows of {length} of {of}")),
            Cut::Texts { split, predicts, .. } => (whole(predicts), None, format!("{}s of {of}", split.name())),
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
            let least = match truth {
                Target::Each => "a text of two tokens per stream",
                Target::Within => "a text of two tokens",
                Target::Nothing | Target::Last(_) => "a line",
            };
            return Err(Error::malformed(names.join(", "), format!("is too short: {least} is the minimum")));
        }
        let given = |name, value: Option<String>| value.map(|value| (name, value));
        let options = match *cut {
            Cut::Streams { streams, steps } => vec![("streams", streams.to_string()), ("steps", steps.to_string())],
            Cut::Contexts { length, stride, ref field } => {
                let stated =
                    [("split", "window".to_owned()), ("context", length.to_string()), ("stride", stride.to_string())];
                stated.into_iter().chain(given("field", field.clone())).collect()
            }
            Cut::Texts { split, length, ref field, ref labels, .. } => {
                let length = given("context", length.map(|length| length.to_string()));
                let label = given("label_field", labels.as_ref().and_then(|labels| labels.field.clone()));
                let stated = [Some(("split", split.name().to_owned())), length, given("field", field.clone()), label];
                stated.into_iter().flatten().collect()
            }
            Cut::Lines { .. } | Cut::Windows { .. } => Vec::new(),
        };
        let streams = match *cut {
            Cut::Streams { streams, .. } => Some(streams),
            Cut::Windows { .. } | Cut::Contexts { .. } => Some(1),
            Cut::Lines { .. } | Cut::Texts { .. } => None,
        };
        let labels = labelled.map(|of| (of, classes));
        Ok(Self { tokens, names, inputs, truth, together, streams, description, labels, options })
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
            Cut::Texts { length: most, predicts, .. } => {
                let kept = most.map_or(length, |most| length.min(most));
                let options = most.map(|most| ("context", most.to_string())).into_iter().collect();
                ((0..rows).map(|row| (row * length, kept)).collect(), whole(predicts), options)
            }
            Cut::Contexts { length: window, stride, .. } => {
                let windows = |row| contexts(row * length, (row + 1) * length, window, stride);
                let options = vec![("context", window.to_string()), ("stride", stride.to_string())];
                ((0..rows).flat_map(windows).collect(), Target::Within, options)
            }
            Cut::Windows { .. } => {
                let what = format!("{file}: token numbers for a network that reads windows");
                return Err(Error::unsupported(what, "give the text, whose lines say where windows begin"));
            }
        };
        if inputs.is_empty() {
            return Err(Error::malformed(file, "is too short: a row of two tokens is the minimum"));
        }
        let together = matches!(cut, Cut::Streams { .. }).then_some(rows);
        // Contexts of a row follow one another.
        let streams = together.or(matches!(cut, Cut::Contexts { .. }).then_some(1));
        let description = match cut {
            Cut::Contexts { length, .. } => format!("windows of {length} of token numbers in {rows} rows"),
            Cut::Streams { steps, .. } => format!("segments of {steps} of token numbers in {rows} streams"),
            _ => "rows of token numbers".to_owned(),
        };
        let tokens = ids.iter().copied().map(Token::bare).collect();
        Ok(Self { tokens, names: Vec::new(), inputs, truth, together, streams, description, labels: None, options })
    }

    /// `sequences`, each an input.
    pub(super) fn of_sequences(sequences: &[Vec<u32>], predicts: bool) -> Self {
        let tokens = sequences.iter().flatten().copied().map(Token::bare).collect();
        let start = |index: usize| sequences[..index].iter().map(Vec::len).sum();
        let inputs = sequences.iter().enumerate().map(|(index, sequence)| (start(index), sequence.len())).collect();
        let description = "rows of token numbers".into();
        Self { tokens, inputs, truth: whole(predicts), description, ..Self::random(1, 0, 0, 0) }
    }

    /// `count` inputs of `steps` seeded random ids below `rows`.
    pub(super) fn random(rows: usize, steps: usize, count: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut token = || Token::bare(random.random_range(0..rows.max(1) as u32));
        Self {
            tokens: (0..count * steps).map(|_| token()).collect(),
            names: Vec::new(),
            inputs: (0..count).map(|input| (input * steps, steps)).collect(),
            truth: Target::Nothing,
            together: None,
            streams: None,
            description: "random numbers".into(),
            labels: None,
            options: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Whether inputs or their tokens have labels.
    pub(super) fn is_labelled(&self) -> bool {
        self.labels.is_some()
    }

    /// Whether each line of a file is an input.
    pub(super) fn is_of_lines(&self) -> bool {
        self.options.contains(&("split", Split::Line.name().to_owned()))
    }

    /// The longest input: its name and its number of tokens.
    pub(super) fn longest(&self) -> Option<(String, usize)> {
        // The first of equals.
        let (index, (_, length)) = self.inputs.iter().enumerate().rev().max_by_key(|(_, (_, length))| *length)?;
        Some((self.name(index), *length))
    }

    /// The name of input `index`: its file and its line, where it is a text.
    pub(super) fn name(&self, index: usize) -> String {
        let (start, length) = self.inputs[index];
        self.names.get(index).cloned().unwrap_or_else(|| format!("tokens {start} to {}", start + length - 1))
    }

    /// The tokens that input `index` predicts, which begins with token `start` and has `len`.
    fn within(&self, index: usize, start: usize, len: usize) -> Vec<Token> {
        let seen = index.checked_sub(1).map_or(0, |before| self.inputs[before].0 + self.inputs[before].1);
        let next = (start + 1..start + len).zip(&self.tokens[start + 1..start + len]);
        next.map(|(at, token)| if at < seen { Token { id: Token::UNSCORED, ..*token } } else { *token }).collect()
    }

    pub(super) fn sample(&self, index: usize) -> Sample {
        let (start, len) = self.inputs[index];
        let part = &self.tokens[start..start + len];
        let mut hasher = Sha256::new();
        hasher.update((start as u64).to_le_bytes());
        part.iter().for_each(|token| hasher.update(token.id.to_le_bytes()));
        let (seen, next) = match self.truth {
            Target::Nothing => (len, None),
            Target::Each => (len, Some(self.tokens[start + 1..][..len].to_vec())),
            Target::Last(length) => (length, Some(self.tokens[start + len..][..1].to_vec())),
            Target::Within => (len, Some(self.within(index, start, len))),
        };
        let (label, marks) = match &self.labels {
            None => (None, None),
            Some((LabelOf::Text, classes)) => (Some(classes[index]).filter(|class| *class != UNLABELLED), None),
            Some((LabelOf::Word, classes)) => (None, Some(Truth::Steps(classes[start..start + len].to_vec()))),
        };
        // A window is padded with zeros before its first token, and keeps only its last tokens.
        let values = std::iter::repeat_n(0.0, seen.saturating_sub(len))
            .chain(part[len.saturating_sub(seen)..].iter().map(|token| token.id as f32));
        Sample {
            place: index,
            id: self.name(index),
            digest: hasher.finalize().into(),
            label,
            values: values.collect(),
            shape: [1, 1, seen],
            size: [1, seen],
            truth: next.map(Truth::Tokens).or(marks),
            turned: false,
        }
    }
}

/// The tokens of a whole `text` of the file `name`, no more than `length`, and the class of it or of each of them.
fn whole_text(
    vocabulary: &Vocabulary,
    name: &str,
    text: &Text<'_>,
    length: Option<usize>,
    of: LabelOf,
) -> Result<(Vec<Token>, Vec<u32>)> {
    let labels = text.labels.as_deref();
    match &text.content {
        Content::Whole(whole) => {
            let tokens = vocabulary.encode_whole(name, text.line, whole, length)?;
            let count = if of == LabelOf::Text { 1 } else { tokens.len() };
            let class = labels.and_then(|labels| labels.first().copied()).unwrap_or(UNLABELLED);
            Ok((tokens, vec![class; count]))
        }
        Content::Words(words) => {
            let tokens = vocabulary.encode_words(name, text.line, words, length)?;
            let class =
                |begins: Option<usize>| begins.and_then(|word| labels?.get(word).copied()).unwrap_or(UNLABELLED);
            Ok(tokens.into_iter().map(|(token, begins)| (token, class(begins))).unzip())
        }
    }
}

/// First token and number of tokens of each window of the text from token `first` to `end`; one token predicts nothing.
fn contexts(first: usize, end: usize, length: usize, stride: usize) -> Vec<(usize, usize)> {
    let starts = (first..end).step_by(stride);
    // The window that reaches the end is the last.
    let needed = starts.take_while(|&start| start == first || start - stride + length < end);
    needed.map(|start| (start, length.min(end - start))).filter(|(_, count)| *count > 1).collect()
}

/// What is predicted of whole texts.
fn whole(predicts: bool) -> Target {
    if predicts { Target::Within } else { Target::Nothing }
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
#[path = "tokens_tests.rs"]
mod tests;
