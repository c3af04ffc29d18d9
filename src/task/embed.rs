//! Embeddings: how near each is to the vector that it is compared with, and whether that is the nearest of all.

use serde::{Deserialize, Serialize};

/// Units of cosines that are added, of one.
const UNIT: f64 = 1e9;

/// Sums that a product keeps apart, so that they may be added at once.
const LANES: usize = 8;

/// Sums over inputs of the cosines of embeddings with their own vectors, in integers so that the order of addition does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nearness {
    /// Inputs.
    pub inputs: u64,
    /// Of these, those to which no vector is nearer than their own; `None` where the others are not compared.
    pub nearest: Option<u64>,
    /// Cosines with their own vectors, in units of 1e-9.
    pub cosine: i64,
    /// The least of these.
    pub least: Option<i64>,
}

impl Nearness {
    /// Of embeddings that are compared with the vectors of others too.
    pub fn of_partners() -> Self {
        Self { nearest: Some(0), ..Self::default() }
    }

    /// Adds one input, by its cosine with its own vector, and whether that is the nearest.
    pub fn add(&mut self, cosine: f64, nearest: Option<bool>) {
        let cosine = (cosine * UNIT).round() as i64;
        self.merge(&Self { inputs: 1, nearest: nearest.map(u64::from), cosine, least: Some(cosine) });
    }

    /// Adds another part of the data.
    pub fn merge(&mut self, other: &Self) {
        self.inputs += other.inputs;
        self.nearest = self.nearest.zip(other.nearest).map(|(own, other)| own + other);
        self.cosine += other.cosine;
        self.least = self.least.into_iter().chain(other.least).min();
    }

    /// Mean and least cosine; `None` without an input.
    pub fn cosines(&self) -> Option<[f64; 2]> {
        self.least
            .filter(|_| self.inputs > 0)
            .map(|least| [self.cosine as f64 / UNIT / self.inputs as f64, least as f64 / UNIT])
    }
}

/// `Σ a·b`, added in an order that their length alone decides.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (&a, &b))| *sum += f64::from(a) * f64::from(b));
    }
    sums.iter().sum()
}

/// The cosine of the angle between `a` and `b`, `a·b / (|a|·|b|)`; 0 where one of them is zero.
///
/// # Panics
/// If the two differ in length.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "vectors of one length");
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths == 0.0 { 0.0 } else { dot(a, b) / lengths }
}

/// The place of the vector whose cosine with `own` is the highest, the first of equals; `None` of none.
///
/// # Panics
/// As [`cosine`].
pub fn nearest<'a>(own: &[f32], vectors: impl Iterator<Item = &'a [f32]>) -> Option<usize> {
    let cosines = vectors.map(|vector| cosine(own, vector)).enumerate();
    cosines.reduce(|best, other| if other.1 > best.1 { other } else { best }).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_nearest_is_the_first_of_the_highest_cosines() {
        assert_eq!(cosine(&[3.0, 4.0], &[4.0, 3.0]), 0.96);
        assert_eq!(cosine(&[3.0, 4.0], &[0.0, 0.0]), 0.0);
        let rows: [&[f32]; 4] = [&[1.0, -1.0], &[2.0, 2.0], &[1.0, 1.0], &[0.0, 5.0]];
        assert_eq!(nearest(&[0.1, 0.1], rows.into_iter()), Some(1));
        assert_eq!(nearest(&[0.0, 0.0], rows.into_iter()), Some(0));
        assert_eq!(nearest(&[0.0, 0.0], [].into_iter()), None);
    }

    proptest! {
        #[test]
        fn cosines_and_their_sums_are_those_of_plain_loops(
            pairs in prop::collection::vec(prop::collection::vec((-4f32..4.0, -4f32..4.0), 19), 1..9),
            cut in 0usize..9,
        ) {
            let of = |pairs: &[Vec<(f32, f32)>]| {
                let mut sums = Nearness::of_partners();
                for pair in pairs {
                    let (a, b): (Vec<f32>, Vec<f32>) = pair.iter().copied().unzip();
                    sums.add(cosine(&a, &b), Some(true));
                }
                sums
            };
            let plain = |pair: &Vec<(f32, f32)>| {
                let sum = |of: &dyn Fn(f64, f64) -> f64| pair.iter().map(|&(a, b)| of(a.into(), b.into())).sum::<f64>();
                sum(&|a, b| a * b) / sum(&|a, _| a * a).sqrt() / sum(&|_, b| b * b).sqrt()
            };
            let sums = of(&pairs);
            let wanted: Vec<f64> = pairs.iter().map(plain).collect();
            let [mean, least] = sums.cosines().unwrap();
            prop_assert!((mean - wanted.iter().sum::<f64>() / wanted.len() as f64).abs() < 2e-9);
            prop_assert!((least - wanted.iter().copied().fold(1.0, f64::min)).abs() < 2e-9);
            let cut = cut.min(pairs.len());
            let mut parts = of(&pairs[cut..]);
            parts.merge(&of(&pairs[..cut]));
            prop_assert_eq!(parts, sums);
        }
    }
}
