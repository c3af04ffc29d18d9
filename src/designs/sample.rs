//! A part of the windows of layers, run in the place of all.

use std::fmt;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::layer::Layer;
use super::{Counts, Setup};

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

/// What is run of a layer in the place of all its windows: those that a design reads side by side are drawn together.
#[derive(Debug)]
pub struct Parts {
    /// Two halves of the sample, each of so many full blocks of windows, in order.
    pub halves: [Layer; 2],
    /// The windows behind the last full block, which stand for themselves.
    pub rest: Option<Layer>,
    /// How many full blocks there are, and how many a half has.
    blocks: [usize; 2],
}

impl Sample {
    /// The parts of `layer`, layer `place` of the network, that `setup` runs; none where it runs all of them: its time depends on no
    /// value, or the sample would be no smaller.
    pub fn parts(&self, layer: &Layer, place: usize, setup: &Setup) -> Option<Parts> {
        let side_by_side = setup.design.windows.map(|windows| windows(setup, layer))?;
        let blocks = layer.windows / side_by_side;
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
        let halves = [0, 1].map(|which| {
            let mut blocks = drawn[which * half..][..half].to_vec();
            blocks.sort_unstable();
            layer.of_windows(blocks.into_iter().flat_map(|block| block * side_by_side..(block + 1) * side_by_side))
        });
        let rest = blocks * side_by_side..layer.windows;
        let rest = (!rest.is_empty()).then(|| layer.of_windows(rest));
        Some(Parts { halves, rest, blocks: [blocks, half] })
    }
}

impl Parts {
    /// The counts of all windows, as the parts, counted by `run`, tell them.
    pub(super) fn estimate(&self, run: impl Fn(&Layer) -> Counts) -> Counts {
        let [all, of_half] = self.blocks.map(|blocks| blocks as u128);
        let rest = self.rest.as_ref().map(&run).unwrap_or_default().fields();
        let estimate = |half: &Layer| {
            let half = run(half).fields();
            std::array::from_fn(|i| (u128::from(half[i]) * all / of_half) as u64 + rest[i])
        };
        let [first, second]: [[u64; 5]; 2] = self.halves.each_ref().map(estimate);
        let both = std::array::from_fn(|i| first[i].midpoint(second[i]));
        Counts { first_half: first[0], ..Counts::of_fields(both) }
    }
}
