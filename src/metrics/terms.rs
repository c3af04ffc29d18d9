//! Terms: how many signed powers of two a code is the sum of.

use super::{Compute, Fraction, Metric, Needs, Operand, Value};
use crate::kernels::count::Encoder;

const BASE: Metric = Metric {
    unit: "terms per value",
    source: "Bit-Pragmatic",
    ..Metric::MEAN
};

/// Of one encoder: per value, and per value that is not zero.
macro_rules! of {
    ($encoder:expr, $needs:ident, $name:literal, [$heading:literal, $nonzero:literal], $definition:literal, $formula:literal, [$example:literal, $of_nonzero:literal]) => {
        [
            Metric {
                name: $name,
                needs: Needs::$needs,
                heading: $heading,
                definition: concat!("mean terms of a value: ", $definition),
                formula: $formula,
                example: $example,
                compute: Compute::Operand(|operand| mean(operand, $encoder(operand), operand.elements())),
                ..BASE
            },
            Metric {
                name: concat!($name, ".nonzero"),
                needs: Needs::$needs,
                heading: $nonzero,
                definition: concat!("mean terms of a value that is not zero: ", $definition),
                formula: $formula,
                unit: "terms per non-zero value",
                example: $of_nonzero,
                compute: Compute::Operand(|operand| mean(operand, $encoder(operand), operand.nonzeros())),
                ..BASE
            },
        ]
    };
}

const CHOSEN: [Metric; 2] =
    of!(|operand: &Operand<'_>| operand.encoder, Terms, "terms", ["terms", "terms of\nnon-zero"], "by the encoder chosen", "Σ terms(q) / values",
    ["by naf, a 6/4 = 1.5, w 6/8 = 0.75", "by naf, a 6/3 = 2, w 6/5 = 1.2"]
);
const NAF: [Metric; 2] = of!(
    |_: &Operand<'_>| Encoder::Naf,
    Full,
    "terms.naf",
    ["naf\nterms", "naf of\nnon-zero"],
    "non-zero digits of the canonical signed-digit form",
    "Σ popcount(m XOR 3m) / values",
    ["a 6/4 = 1.5, w 6/8 = 0.75", "a 6/3 = 2, w 6/5 = 1.2"]
);
const POPCOUNT: [Metric; 2] =
    of!(|_: &Operand<'_>| Encoder::Popcount, Terms, "terms.popcount", ["ones", "ones of\nnon-zero"], "ones of the magnitude", "Σ popcount(m) / values",
    ["a 7/4 = 1.75, w 8/8 = 1", "a 7/3 = 2.333, w 8/5 = 1.6"]
);
const BOOTH4: [Metric; 2] = of!(
    |_: &Operand<'_>| Encoder::Booth4,
    Full,
    "terms.booth4",
    ["booth4\nterms", "booth4 of\nnon-zero"],
    "non-zero digits of radix-4 modified Booth recoding",
    "Σ booth4(m) / values",
    ["a 6/4 = 1.5, w 7/8 = 0.875", "a 6/3 = 2, w 7/5 = 1.4"]
);
const RUNS: [Metric; 2] = of!(
    |_: &Operand<'_>| Encoder::Runs,
    Full,
    "terms.runs",
    ["runs\nterms", "runs of\nnon-zero"],
    "terms of the run code of a public simulator",
    "Σ runs(m) / values",
    ["a 6/4 = 1.5, w 6/8 = 0.75", "a 6/3 = 2, w 6/5 = 1.2"]
);

pub(super) const METRICS: &[Metric] = &{
    let [a, b] = CHOSEN;
    let [c, d] = NAF;
    let [e, f] = POPCOUNT;
    let [g, h] = BOOTH4;
    let [i, j] = RUNS;
    [a, b, c, d, e, f, g, h, i, j]
};

fn mean(operand: &Operand<'_>, encoder: Encoder, values: u64) -> Option<Value> {
    Some(Value::Ratio(Fraction::new(operand.terms(encoder)?, values)))
}
