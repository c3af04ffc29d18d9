//! A part of the windows of layers, run in the place of all.

use std::fmt;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::layer::Layer;

/// Windows that are drawn together: neighbours, as designs read them side by side.
const BLOCK: usize = 16;

/// How much is run, and how it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Windows of a thousand.
    pub per_mille: u32,
    /// What draws them.
    pub seed: u64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} % of windows, seed {}", f64::from(self.per_mille) / 10.0, self.seed)
    }
}

impl Sample {
    /// Two halves of the sample of `layer`, layer `place` of the network, each with as many blocks of windows, in order; none where the
    /// sample would be all of them.
    pub fn halves(&self, layer: &Layer, place: usize) -> Option<[Layer; 2]> {
        let blocks = layer.windows.div_ceil(BLOCK);
        let half = (blocks * self.per_mille as usize).div_ceil(2000).max(1);
        if 2 * half >= blocks {
            return None;
        }
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(place as u64);
        let mut drawn: Vec<usize> = (0..blocks).collect();
        for i in 0..2 * half {
            drawn.swap(i, random.random_range(i..blocks));
        }
        Some([0, 1].map(|which| {
            let mut blocks = drawn[which * half..][..half].to_vec();
            blocks.sort_unstable();
            let windows = blocks.into_iter().flat_map(|block| block * BLOCK..((block + 1) * BLOCK).min(layer.windows));
            layer.of_windows(windows)
        }))
    }
}
