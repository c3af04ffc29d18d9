//! Vectors that the embeddings of inputs are compared with: one an input, in their order.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::arrays;
use super::truth::Known;
use crate::hex::hex;
use crate::{Error, Result};

/// Names of the array of vectors in a file of several.
const NAMES: [&str; 2] = ["embeddings", "output"];

/// Vectors of one length.
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    known: Known,
    /// One after the other.
    values: Vec<f32>,
    length: usize,
}

impl Vectors {
    /// The embeddings of partners, one after the other, each of `length` values.
    pub fn of_partners(values: Vec<f32>, length: usize) -> Self {
        Self { known: Known::Partners, values, length: length.max(1) }
    }

    /// The rows of the one array `[N, D]` of the file `path`, or of that named `embeddings` or `output`; `length` is D.
    ///
    /// # Errors
    /// [`Error::Malformed`] for another file, or other extents; [`Error::NotFinite`]; those of reading.
    pub fn open(path: &Path, length: usize) -> Result<Self> {
        let mut all = arrays::open(path)?;
        let place = NAMES.iter().find_map(|name| all.iter().position(|array| array.name == *name));
        let place = place.or((all.len() == 1).then_some(0)).ok_or_else(|| {
            let detail =
                format!("holds {} arrays, none named {}; give one [N, {length}]", all.len(), NAMES.join(" or "));
            Error::malformed(path.display().to_string(), detail)
        })?;
        let array = all.swap_remove(place);
        if array.shape.len() != 2 || array.shape[1] != length {
            let detail =
                format!("is {:?}; the network's embeddings are of {length} values: give [N, {length}]", array.shape);
            return Err(Error::malformed(array.place, detail));
        }
        let values = array.element.floats(&array.read(0, array.len())?);
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(Error::NotFinite { place: array.place, detail: format!(" in row {}", at / length) }),
            None => Ok(Self { known: Known::Vectors, values, length }),
        }
    }

    /// What they are.
    pub fn known(&self) -> Known {
        self.known
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.values.len() / self.length
    }

    /// All, in order.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks(self.length)
    }

    /// That of input `place`.
    ///
    /// # Panics
    /// If `place` is not below [`Vectors::count`].
    pub fn row(&self, place: usize) -> &[f32] {
        &self.values[place * self.length..][..self.length]
    }

    /// SHA-256 of the values, hex.
    pub(super) fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        self.values.iter().for_each(|value| hasher.update(value.to_le_bytes()));
        hex(hasher.finalize())
    }
}
