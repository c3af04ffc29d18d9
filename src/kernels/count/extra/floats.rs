//! Values as floats of few bits: exponents, and the bits and terms of significands (METRICS section 7, `float`).

use crate::kernels::count::code::naf;
use crate::kernels::floats::{FLOAT_TYPES, FloatType};

impl FloatType {
    /// How many counts there are: of values by exponent field, of ones of significands by position from the lowest, and of their
    /// terms (non-zero digits of the canonical signed-digit form).
    pub fn counts(self) -> usize {
        (1 << self.exponent) + self.fraction as usize + 2
    }

    /// The counts of values by exponent field, of ones by position, and of terms.
    ///
    /// # Panics
    /// If `counts` are not as many as there are.
    pub fn split(self, counts: &[u64]) -> (&[u64], &[u64], u64) {
        assert_eq!(counts.len(), self.counts(), "counts of the type");
        let (exponents, others) = counts.split_at(1 << self.exponent);
        let (terms, ones) = others.split_last().expect("terms are behind the ones");
        (exponents, ones, *terms)
    }

    fn add(self, x: f32, counts: &mut [u64]) {
        let (exponent, significand) = self.fields(x);
        let ones = 1 << self.exponent;
        counts[usize::from(exponent)] += 1;
        for position in 0..=self.fraction as usize {
            counts[ones + position] += u64::from(significand >> position & 1);
        }
        counts[ones + self.fraction as usize + 1] += u64::from(naf(significand));
    }
}

/// How many counts [`add_floats`] makes: those of all types, one after the other.
pub fn float_counts() -> usize {
    FLOAT_TYPES.into_iter().map(FloatType::counts).sum()
}

/// The counts of each type in `counts`, in the order of the types.
pub fn of_types(counts: &[u64]) -> impl Iterator<Item = (FloatType, &[u64])> {
    let mut first = 0;
    FLOAT_TYPES.into_iter().map(move |of| {
        first += of.counts();
        (of, &counts[first - of.counts()..first])
    })
}

/// Adds `x` as each of the types.
pub fn add_floats(values: impl IntoIterator<Item = f32>, counts: &mut [u64]) {
    for x in values {
        let mut rest = &mut *counts;
        for of in FLOAT_TYPES {
            let (own, others) = rest.split_at_mut(of.counts());
            of.add(x, own);
            rest = others;
        }
    }
}
