//! What a search has asked for so far: a file from which it goes on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Name and version of the file.
const SCHEMA: &str = "deadweight/search/1";

/// Figures of networks by the bits of their operands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    schema: String,
    /// What they are of: names with their values.
    of: Vec<(String, String)>,
    /// By the bits of each operand, one character each (base 36; 0: as it is).
    figures: BTreeMap<String, f64>,
}

impl State {
    /// Nothing yet, of a search that `of` describes.
    pub fn new(of: Vec<(String, String)>) -> Self {
        Self { schema: SCHEMA.into(), of, figures: BTreeMap::new() }
    }

    /// Reads the `bytes` of `file`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for another file.
    pub fn from_bytes(file: &str, bytes: &[u8]) -> Result<Self> {
        let wrong = |detail: String| Error::malformed(file, format!("is no state of a search: {detail}"));
        let state: Self = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if state.schema != SCHEMA {
            return Err(wrong(format!("it is of {}, not {SCHEMA}", state.schema)));
        }
        Ok(state)
    }

    /// The content of a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a state is JSON")
    }

    /// Checks that it is of the same search as `other`.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first difference.
    pub fn check(&self, other: &Self) -> Result<()> {
        let differs = self.of.iter().zip(&other.of).find(|(own, other)| own != other);
        let detail = match differs {
            None if self.of.len() == other.of.len() => return Ok(()),
            None => "it describes itself in other words".to_owned(),
            Some(((name, own), (_, other))) => format!("its {name} is {own}, not {other}"),
        };
        Err(Error::invalid("--checkpoint", format!("is of another search: {detail}")))
    }

    /// The figure of `bits`, if it is known.
    pub fn get(&self, bits: &[u32]) -> Option<f64> {
        self.figures.get(&key(bits)).copied()
    }

    /// Keeps the figure of `bits`.
    pub fn insert(&mut self, bits: &[u32], figure: f64) {
        self.figures.insert(key(bits), figure);
    }

    /// How many figures are known.
    pub fn len(&self) -> usize {
        self.figures.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.figures.is_empty()
    }
}

fn key(bits: &[u32]) -> String {
    bits.iter().map(|&bits| char::from_digit(bits, 36).expect("bits below 36")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_back_and_checked() {
        let of =
            |tolerance: &str| vec![("model".to_owned(), "net".to_owned()), ("inputs".to_owned(), tolerance.to_owned())];
        let mut state = State::new(of("a"));
        assert!(state.is_empty());
        state.insert(&[0, 16, 3], 0.1 + 0.2);
        let read = State::from_bytes("f", &state.to_bytes()).unwrap();
        assert_eq!(
            (&read, read.get(&[0, 16, 3]), read.get(&[1, 16, 3]), read.len()),
            (&state, Some(0.1 + 0.2), None, 1)
        );
        assert!(read.check(&State::new(of("a"))).is_ok());
        let error = read.check(&State::new(of("b"))).unwrap_err().to_string();
        assert!(error.contains("its inputs is a, not b"), "{error}");
        for bytes in [&b"{}"[..], b"", br#"{"schema":"other","of":[],"figures":{}}"#] {
            assert!(State::from_bytes("f", bytes).unwrap_err().to_string().starts_with("f: is no state"));
        }
    }
}
