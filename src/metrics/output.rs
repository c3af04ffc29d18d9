//! Work spent on outputs that become zero (SnaPEA).

use super::{Compute, Fraction, Kind, Metric, Needs, Value};
use crate::tally::{Extra, Padding};

pub(super) const METRICS: &[Metric] = &[Metric {
    name: "output",
    heading: "zeroed\noutputs",
    definition: "MACs of outputs that the ReLU (or ReLU6) behind the layer sets to zero; nothing where none follows at once, and \
                 nothing behind the sum of two values",
    formula: "Σ over outputs not above 0 MACs of the output / MACs",
    unit: "fraction of MACs",
    source: "SnaPEA",
    needs: Needs::Extra(Extra::Output),
    kind: Kind::Work,
    example: "a filter of 2x2 over 4 channels gives −1 3 0 5 before the ReLU: two of four outputs, 32 / 64",
    compute: Compute::Layer(|subject| {
        let dense = subject.products?.dense;
        let macs: [u64; 2] = subject.tally?.activations.extra.get(Extra::Output)?.try_into().ok()?;
        let of = |mode: usize| Fraction::new(macs[mode], dense.of(Padding::BOTH[mode]));
        Some(Value::Work([of(0), of(1)]))
    }),
    ..Metric::SHARE
}];
