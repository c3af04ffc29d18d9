//! Potentials: the ideal work left if a source of ineffectual work is exploited (METRICS section 5).

use super::{Tap, ratio, taps};
use crate::kernels::count::MAX_WIDTH;
use crate::report::document::{Potential, Potentials, Work};
use crate::tally::LayerTally;

/// Names in report order, each with what it exploits and the cost of one MAC (a, w) in bit products; a dense MAC costs
/// `Ba·Bw`. `min-one` charges each serial factor of a MAC that is not skipped as a zero operand at least one step.
pub const POTENTIALS: [(&str, &str); 19] = [
    ("A", "zero activations (Cnvlutin): 0 if a = 0, else Ba·Bw"),
    ("W", "zero weights: 0 if w = 0, else Ba·Bw"),
    ("W+A", "zeros of both (SCNN): 0 if either is 0, else Ba·Bw"),
    ("Ap.layer", "one activation width a layer (Stripes): p(a)·Bw"),
    ("Ap.g16", "activation width of groups of 16 (Dynamic Stripes, ShapeShifter): width(g16 of a)·Bw"),
    ("Ap.g64", "activation width of groups of 64: width(g64 of a)·Bw"),
    ("Ap.g256", "activation width of groups of 256: width(g256 of a)·Bw"),
    ("Ap.value", "activation width of each value, the bound: width(a)·Bw"),
    ("Wp.layer", "one weight width a layer: Ba·p(w)"),
    ("Wp.g16", "weight width of groups of 16: Ba·width(g16 of w)"),
    ("Wp.value", "weight width of each value: Ba·width(w)"),
    ("Wp+Ap", "both widths (Loom): width(g16 of a)·p(w)"),
    ("Ae", "effectual activation terms (Pragmatic): terms(a)·Bw"),
    ("We", "effectual weight terms: Ba·terms(w)"),
    ("We+Ae", "effectual terms of both (Laconic): terms(a)·terms(w)"),
    ("W+Ap", "zero weights, activation width (Tactical): 0 if w = 0, else width(g16 of a)·Bw"),
    ("W+Ae", "zero weights, activation terms (Tactical): 0 if w = 0, else terms(a)·Bw"),
    ("W+A+Ap", "zeros of both, then width: 0 if either is 0, else width(g16 of a)·Bw"),
    ("W+A+Ae", "zeros of both, then terms: 0 if either is 0, else terms(a)·Bw"),
];

/// Widths of the formats and of the layer's operands.
#[derive(Clone, Copy)]
struct Widths {
    /// Baseline width of activations and weights.
    base: [u128; 2],
    /// Largest width of an activation and of a weight.
    layer: [u128; 2],
    /// Whether a serial factor takes at least one step.
    min_one: bool,
}

impl Widths {
    /// Costs of the MACs of one tap in the order of [`POTENTIALS`]; `positions` of its windows count.
    fn costs(&self, tap: &Tap, positions: u128) -> [u128; 19] {
        let [ba, bw] = self.base;
        // One more for each position, value or pair whose cost would be nothing.
        let at_least = |sum: u128, nothing: u128| if self.min_one { sum + nothing } else { sum };
        let layer = self.layer.map(|p| if self.min_one { p.max(1) } else { p });
        let outside = positions - tap.inside.min(positions);
        let filters = tap.filters;
        let weight = |sum: u64| u128::from(sum);
        let (nw, na) = (weight(tap.weight.nonzero), tap.nonzero);
        let [g16, g64, g256] = [0, 1, 2]
            .map(|size| at_least(u128::from(tap.groups.width[size]), u128::from(tap.groups.zero[size]) + outside));
        let terms = at_least(tap.terms, positions - na);
        let loom = match self.layer[1] {
            0 => at_least(0, positions),
            p => at_least(u128::from(tap.groups.width[0]) * p, u128::from(tap.groups.zero[0]) + outside),
        };
        [
            na * filters * ba * bw,
            positions * nw * ba * bw,
            na * nw * ba * bw,
            positions * filters * layer[0] * bw,
            g16 * filters * bw,
            g64 * filters * bw,
            g256 * filters * bw,
            at_least(tap.width, positions - na) * filters * bw,
            positions * filters * ba * layer[1],
            positions * at_least(weight(tap.weight.g16), weight(tap.weight.g16_zero)) * ba,
            positions * at_least(weight(tap.weight.width), filters - nw) * ba,
            loom * filters,
            terms * filters * bw,
            positions * at_least(weight(tap.weight.terms), filters - nw) * ba,
            at_least(tap.terms * weight(tap.weight.terms), positions * filters - na * nw),
            g16 * nw * bw,
            terms * nw * bw,
            tap.nonzero_g16 * nw * bw,
            tap.terms * nw * bw,
        ]
    }
}

/// The layer's potentials for baseline widths `bits` of activations and weights.
pub fn potentials(tally: &LayerTally, bits: [u32; 2], min_one: bool) -> Potentials {
    let values = [&tally.activations.values, &tally.weights.values];
    let layer = values.map(|values| super::operand::layer_width(values).into());
    let widths = Widths { base: bits.map(u128::from), layer, min_one };
    let mut sums = [[(0u128, 0u128); 19]; 2];
    for tap in taps(tally) {
        for (sums, positions) in sums.iter_mut().zip([tap.windows, tap.inside]) {
            let baseline = positions * tap.filters * widths.base[0] * widths.base[1];
            for (sum, cost) in sums.iter_mut().zip(widths.costs(&tap, positions)) {
                *sum = (sum.0 + baseline, sum.1 + cost);
            }
        }
    }
    debug_assert!(widths.layer.iter().all(|&p| p <= MAX_WIDTH as u128));
    let potential = |i: usize| Potential { with_padding: work(sums[0][i]), without_padding: work(sums[1][i]) };
    // Terms of activations may not have been counted.
    let terms = !tally.activations.values.codes.is_empty();
    let known = POTENTIALS.iter().enumerate().filter(|(_, (name, _))| terms || !name.contains("Ae"));
    Potentials(known.map(|(i, (name, _))| (*name, potential(i))).collect())
}

fn work((baseline, work): (u128, u128)) -> Work {
    Work { baseline, work, potential: ratio(baseline, work) }
}

/// Ratios of sums over layers.
pub fn sum_potentials<'a>(parts: impl IntoIterator<Item = &'a Potentials>) -> Potentials {
    let mut sums: Vec<(&'static str, [(u128, u128); 2])> = Vec::new();
    for part in parts {
        // Every part has the same ones.
        if sums.is_empty() {
            sums = part.0.iter().map(|(name, _)| (*name, Default::default())).collect();
        }
        for ((_, sum), (_, potential)) in sums.iter_mut().zip(&part.0) {
            for (sum, part) in sum.iter_mut().zip([potential.with_padding, potential.without_padding]) {
                *sum = (sum.0 + part.baseline, sum.1 + part.work);
            }
        }
    }
    let potential =
        |[with, without]: [(u128, u128); 2]| Potential { with_padding: work(with), without_padding: work(without) };
    Potentials(sums.into_iter().map(|(name, sums)| (name, potential(sums))).collect())
}
