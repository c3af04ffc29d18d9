//! Potentials: the work of a dense design over the ideal work left if a source of ineffectual work is exploited.

use super::{Allows, Compute, Fraction, Kind, Metric, Needs, Show, Subject, Value, Which};
use crate::tally::{Padding, Products};

/// What all potentials share.
pub(super) const BASE: Metric = Metric {
    unit: "ratio of bit products",
    allows: Allows::Skipping,
    kind: Kind::Work,
    show: Show::Times,
    min_one: true,
    ..Metric::BASE
};

/// What the costs of a layer's MACs are made of.
pub(super) struct Costs<'a> {
    /// Sums over MACs.
    sums: &'a Products,
    /// Which of them count.
    padding: Padding,
    /// Baseline width of activations.
    ba: u128,
    /// Baseline width of weights.
    pub(super) bw: u128,
    /// Widths of the layer.
    pa: u128,
    pw: u128,
    /// Whether a serial factor of a MAC that is not skipped as a zero operand takes at least one step.
    min_one: bool,
}

impl Costs<'_> {
    /// MACs.
    pub(super) fn dense(&self) -> u128 {
        self.sums.dense.of(self.padding)
    }

    /// MACs whose activation is outside the tensor.
    fn outside(&self) -> u128 {
        self.dense() - self.sums.dense.of(Padding::Without)
    }

    /// MACs of a non-zero weight.
    fn w(&self) -> u128 {
        self.sums.w.of(self.padding)
    }

    /// `sum`, and a step for each of `nothing` MACs that would cost nothing, where all cost at least one.
    pub(super) fn at_least(&self, sum: u128, nothing: u128) -> u128 {
        if self.min_one { sum + nothing } else { sum }
    }

    /// A layer's width as a serial engine takes it.
    fn layer(&self, width: u128) -> u128 {
        if self.min_one { width.max(1) } else { width }
    }

    /// Widths of activations' groups of 16, 64 or 256.
    fn groups(&self, widths: u128, zero: u128) -> u128 {
        self.at_least(widths, zero + self.outside())
    }

    fn a_terms(&self) -> u128 {
        self.at_least(self.sums.a_terms, self.dense() - self.sums.a)
    }
}

/// Dense work over `work`, with padding and without.
pub(super) fn potential(subject: &Subject<'_>, work: impl Fn(&Costs<'_>) -> u128) -> Option<Value> {
    let sums = &subject.products?;
    let [ba, bw] = Which::OF_MACS.map(|which| subject.bits(which));
    // The width of all values is unknown for one input: `Ap.layer` has no value then.
    let [pa, pw] = Which::OF_MACS.map(|which| subject.layer_width(which).unwrap_or(0));
    let of = |padding| {
        let costs = Costs { sums, padding, ba, bw, pa, pw, min_one: subject.options.min_one };
        Fraction::new(costs.dense() * ba * bw, work(&costs))
    };
    Some(Value::Work(Padding::BOTH.map(of)))
}

/// A potential of that name; `$work` is the sum of its costs, and `$of_all` whether these are of the width of all activations.
macro_rules! of {
    ($name:literal, $needs:ident, $source:literal, $definition:literal, $formula:literal, $example:literal, $work:expr) => {
        of!($name, $needs, $source, $definition, $formula, $example, $work, false)
    };
    ($name:literal, $needs:ident, $source:literal, $definition:literal, $formula:literal, $example:literal, $work:expr, $of_all:literal) => {
        Metric {
            name: concat!("potential.", $name),
            heading: $name,
            definition: concat!("dense work over work left if ", $definition),
            formula: concat!("Σ Ba·Bw / Σ cost, cost = ", $formula),
            source: $source,
            needs: Needs::$needs,
            example: $example,
            compute: Compute::Layer(|subject| {
                // Terms of activations may not have been counted.
                let counted = Needs::$needs == Needs::Values || subject.has_terms();
                let counted = counted && (!$of_all || subject.layer_width(Which::Activations).is_some());
                counted.then(|| potential(subject, $work)).flatten()
            }),
            ..BASE
        }
    };
}

pub(super) const METRICS: &[Metric] = &[
    of!("A", Values, "Cnvlutin", "zero activations are skipped", "0 if a = 0, else Ba·Bw", "6 MACs of a ≠ 0: 8/6 = 1.333", |c| {
        c.sums.a * c.ba * c.bw
    }),
    of!("W", Values, "after Nikolić 2019", "zero weights are skipped", "0 if w = 0, else Ba·Bw", "5 MACs of w ≠ 0: 8/5 = 1.6", |c| c.w() * c.ba * c.bw),
    of!("W+A", Values, "SCNN", "zeros of both operands are skipped", "0 if a = 0 or w = 0, else Ba·Bw", "4 MACs of neither: 8/4 = 2", |c| {
        c.sums.both * c.ba * c.bw
    }),
    of!(
        "Ap.layer",
        Values,
        "Stripes",
        "activations take the width of their layer",
        "p(a)·Bw",
        "4 bits of 16: 16/4 = 4", |c| c.dense() * c.layer(c.pa) * c.bw,
        true
    ),
    of!(
        "Ap.g16",
        Values,
        "Dynamic Stripes, ShapeShifter",
        "activations take the width of their group of 16",
        "width(g16 of a)·Bw",
        "one group of 4 bits: 16/4 = 4", |c| c.groups(c.sums.a_g16, c.sums.a_g16_zero) * c.bw
    ),
    of!("Ap.g64", Values, "ShapeShifter", "activations take the width of their group of 64", "width(g64 of a)·Bw", "one group of 4 bits: 16/4 = 4", |c| {
        c.groups(c.sums.a_g64, c.sums.a_g64_zero) * c.bw
    }),
    of!("Ap.g256", Values, "ShapeShifter", "activations take the width of their group of 256", "width(g256 of a)·Bw", "one group of 4 bits: 16/4 = 4", |c| {
        c.groups(c.sums.a_g256, c.sums.a_g256_zero) * c.bw
    }),
    of!("Ap.value", Values, "after Nikolić 2019", "each activation takes its own width, the bound", "width(a)·Bw", "9 bits of a, read by 2 filters: 8·16/18 = 7.111", |c| {
        c.at_least(c.sums.a_width, c.dense() - c.sums.a) * c.bw
    }),
    of!("Wp.layer", Values, "Loom", "weights take the width of their layer", "Ba·p(w)", "5 bits of 16: 16/5 = 3.2", |c| {
        c.dense() * c.ba * c.layer(c.pw)
    }),
    of!("Wp.g16", Values, "after Nikolić 2019", "weights take the width of their group of 16", "Ba·width(g16 of w)", "5 bits in 4 MACs, 4 in 4: 8·16/36 = 3.556", |c| {
        c.at_least(c.sums.w_g16.of(c.padding), c.sums.w_g16_zero.of(c.padding)) * c.ba
    }),
    of!("Wp.value", Values, "after Nikolić 2019", "each weight takes its own width, the bound", "Ba·width(w)", "8·16/13 = 9.846", |c| {
        c.at_least(c.sums.w_width.of(c.padding), c.dense() - c.w()) * c.ba
    }),
    of!(
        "Wp+Ap",
        Values,
        "Loom",
        "weights take the width of their layer, activations that of their group of 16",
        "width(g16 of a)·p(w)",
        "8·256/(8·4·5) = 12.8", |c| match c.pw {
            0 => c.at_least(0, c.dense()),
            p => c.groups(c.sums.a_g16 * p, c.sums.a_g16_zero),
        }
    ),
    of!("Ae", Terms, "Bit-Pragmatic", "only terms of activations take time", "terms(a)·Bw", "6 terms of a, read by 2 filters: 8·16/12 = 10.67", |c| c.a_terms() * c.bw),
    of!("We", Values, "after Nikolić 2019", "only terms of weights take time", "Ba·terms(w)", "8·16/6 = 21.33", |c| {
        c.at_least(c.sums.w_terms.of(c.padding), c.dense() - c.w()) * c.ba
    }),
    of!("We+Ae", Terms, "Laconic", "only terms of both operands take time", "terms(a)·terms(w)", "−5·−2, 7·15, 3·4 and 7·−1 take 2·1 + 2·2 + 2·1 + 2·1: 8·256/10 = 204.8", |c| {
        c.at_least(c.sums.terms, c.dense() - c.sums.both)
    }),
    of!(
        "W+Ap",
        Values,
        "Bit-Tactical TCLp",
        "zero weights are skipped, and activations take the width of their group of 16",
        "0 if w = 0, else width(g16 of a)·Bw",
        "5 MACs of 4 bits: 8·16/20 = 6.4", |c| {
            let outside = c.w() - c.sums.w.of(Padding::Without);
            c.at_least(c.sums.a_g16_w, c.sums.a_g16_zero_w + outside) * c.bw
        }
    ),
    of!(
        "W+Ae",
        Terms,
        "Bit-Tactical TCLe",
        "zero weights are skipped, and only terms of activations take time",
        "0 if w = 0, else terms(a)·Bw",
        "2 terms in each of 4 MACs, none of 0·1: 8·16/8 = 16", |c| c.at_least(c.sums.a_terms_w, c.w() - c.sums.both) * c.bw
    ),
    of!(
        "W+A+Ap",
        Values,
        "SCNNp",
        "zeros of both operands are skipped, and activations take the width of their group of 16",
        "0 if a = 0 or w = 0, else width(g16 of a)·Bw",
        "4 MACs of 4 bits: 8·16/16 = 8", |c| c.sums.a_g16_both * c.bw
    ),
    of!(
        "W+A+Ae",
        Terms,
        "SCNNe",
        "zeros of both operands are skipped, and only terms of activations take time",
        "0 if a = 0 or w = 0, else terms(a)·Bw",
        "2 terms in each of 4 MACs: 8·16/8 = 16", |c| c.sums.a_terms_w * c.bw
    ),
];
