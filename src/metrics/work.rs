//! MACs by class (METRICS section 1).

use super::taps;
use crate::report::document::Macs;
use crate::tally::LayerTally;

/// Every MAC of the layer in exactly one class: padding; both operands zero; only the activation; only the weight;
/// neither.
pub fn macs(tally: &LayerTally) -> Macs {
    let mut macs = Macs::default();
    for tap in taps(tally) {
        let zero_windows = tap.inside - tap.nonzero;
        let nonzero_filters = u128::from(tap.weight.nonzero);
        let zero_filters = tap.filters - nonzero_filters;
        macs.dense += count(tap.windows * tap.filters);
        macs.padding += count((tap.windows - tap.inside) * tap.filters);
        macs.zero_both += count(zero_windows * zero_filters);
        macs.zero_activation += count(zero_windows * nonzero_filters);
        macs.zero_weight += count(tap.nonzero * zero_filters);
        macs.effectual += count(tap.nonzero * nonzero_filters);
    }
    macs
}

fn count(macs: u128) -> u64 {
    u64::try_from(macs).expect("fewer than 2^64 MACs: half a million years of one core")
}

/// Sums over layers.
pub fn sum_macs<'a>(parts: impl IntoIterator<Item = &'a Macs>) -> Macs {
    parts.into_iter().fold(Macs::default(), |a, b| Macs {
        dense: a.dense + b.dense,
        padding: a.padding + b.padding,
        zero_both: a.zero_both + b.zero_both,
        zero_activation: a.zero_activation + b.zero_activation,
        zero_weight: a.zero_weight + b.zero_weight,
        effectual: a.effectual + b.effectual,
    })
}
