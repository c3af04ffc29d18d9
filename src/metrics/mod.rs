//! Definitions: pure functions of a layer's tally, one file a family. Integers until the last division.

mod operand;
mod potentials;
mod recurrent;
mod work;

pub use operand::{activations, sum_operands, weights};
pub use potentials::{POTENTIALS, potentials, sum_potentials};
pub use recurrent::recurrent;
pub use work::{macs, sum_macs};

use crate::kernels::count::GroupSums;
use crate::tally::LayerTally;

/// `a / b`, nothing where `b` is 0.
fn ratio(a: u128, b: u128) -> Option<f64> {
    (b != 0).then(|| a as f64 / b as f64)
}

/// What one input channel and the filters it meets have at one tap: every sum over MACs is a sum over these of a
/// product of a sum over windows and a sum over filters (METRICS section 5, "Exactness").
struct Tap {
    /// Windows, over all inputs.
    windows: u128,
    /// Windows whose tap lies inside the tensor.
    inside: u128,
    /// Filters.
    filters: u128,
    /// Sums over windows of non-zeros, widths, terms, and widths of non-zeros' groups of 16.
    nonzero: u128,
    width: u128,
    terms: u128,
    nonzero_g16: u128,
    /// Sums over windows of widths of the groups that hold the value.
    groups: GroupSums,
    /// Sums over filters.
    weight: crate::tally::TapSums,
}

/// Every tap of every channel.
fn taps(tally: &LayerTally) -> impl Iterator<Item = Tap> {
    use crate::kernels::count::{NONZERO, NONZERO_G16, TERMS, WIDTH};
    let sums = &tally.activations;
    let taps = sums.inside.len();
    (0..sums.channels).flat_map(move |c| {
        (0..taps).map(move |tap| {
            let lane = |which: usize| u128::from(sums.taps[c * taps + tap][which]);
            Tap {
                windows: sums.windows.into(),
                inside: sums.inside[tap].into(),
                filters: tally.shape.filters() as u128,
                nonzero: lane(NONZERO),
                width: lane(WIDTH),
                terms: lane(TERMS),
                nonzero_g16: lane(NONZERO_G16),
                groups: sums.groups[c / 16 * taps + tap],
                weight: tally.weights.taps[c * taps + tap],
            }
        })
    })
}
