//! Embedding lookup.

use super::{Param, Shape};

/// `y[:, t] = table[x[t]]` for a sequence of token ids `[1, 1, T]`.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `[V, E]`.
    pub table: Param,
}

impl Embedding {
    /// Number of rows, V.
    pub fn rows(&self) -> usize {
        self.table.shape[0]
    }

    /// Length of a row, E.
    pub fn features(&self) -> usize {
        self.table.shape[1]
    }

    pub(super) fn output(&self, x: Shape) -> Result<Shape, String> {
        if (x.c, x.h) != (1, 1) {
            return Err(format!("input {x} is no sequence of token ids [1, 1, T]"));
        }
        Ok(Shape { c: self.features(), ..x })
    }
}
