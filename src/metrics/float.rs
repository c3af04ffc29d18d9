//! Values as floats of few bits: terms of significands, and what a code of the exponents leaves.

use super::entropy::information;
use super::{Allows, Compute, Fraction, Kind, Metric, Needs, Operand, Show, Value};
use crate::kernels::FloatType;
use crate::kernels::count::extra::floats::{float_counts, of_types};
use crate::tally::Extra;

const BASE: Metric =
    Metric { needs: Needs::Extra(Extra::Float), source: "this project", kind: Kind::Ratio, show: Show::Percent, ..Metric::BASE };

/// The metrics of the type of that name, number `$which` of the types.
macro_rules! of {
    ($name:literal, $which:literal, $terms:literal, $lossless:literal) => {
        [
            Metric {
                name: concat!("float.terms.", $name),
                heading: concat!($name, "\nterms"),
                definition: concat!(
                    "terms of the significands of values rounded to ",
                    $name,
                    ", hidden bit included, over their bits"
                ),
                formula: "Σ naf(significand) / (n·bits of the significand)",
                unit: "terms per bit",
                source: "FPRaker",
                allows: Allows::Skipping,
                example: $terms,
                compute: Compute::Operand(|operand| terms(operand, $which)),
                ..BASE
            },
            Metric {
                name: concat!("float.terms.", $name, ".chance"),
                heading: concat!($name, "\nchance"),
                definition: "the same if the bits of significands were independent, as many ones at each position as the layer has",
                formula: "expected naf(significand) / bits of the significand; in whole terms",
                unit: "terms per bit",
                source: "FPRaker",
                example: "1.0, 2.0 and 4.0 have the hidden bit alone: one term of each significand, as many as they have",
                compute: Compute::Operand(|operand| chance(operand, $which)),
                ..BASE
            },
            Metric {
                name: concat!("float.exponent.", $name),
                heading: concat!($name, "\nexponent"),
                definition: concat!("Shannon entropy of the exponent fields of values rounded to ", $name),
                formula: "Σ over fields n(field)/n · log2(n / n(field))",
                unit: "bits per value",
                source: "DFloat11, ZipNN",
                kind: Kind::Number,
                show: Show::Mean,
                allows: Allows::Compression,
                example: "2.0, 3.0, 8.0 and 10.0 have two exponents, two values each: 1 bit",
                compute: Compute::Operand(|operand| {
                    let n = operand.elements();
                    let (of, counts) = counts(operand, $which)?;
                    (n > 0).then(|| Value::Derived(of_exponents(of, counts, n) / n as f64))
                }),
                ..BASE
            },
            Metric {
                name: concat!("float.lossless.", $name),
                heading: concat!($name, "\nlossless"),
                definition: concat!(
                    "bits of values rounded to ",
                    $name,
                    " if a code of their entropy has the exponents, sign and fraction as they are; in whole bits (rounded up)"
                ),
                formula: "⌈n·(1 + exponent entropy + fraction bits)⌉ / (n·all bits)",
                unit: "bits per bit",
                source: "DFloat11, ZipNN",
                allows: Allows::Compression,
                example: concat!("2.0, 3.0, 8.0 and 10.0 have two exponents, two values each, 1 bit: ", $lossless),
                compute: Compute::Operand(|operand| {
                    let n = operand.elements();
                    let (of, counts) = counts(operand, $which)?;
                    let others = u128::from(n) * u128::from(1 + of.fraction);
                    let exponents = of_exponents(of, counts, n).ceil() as u128;
                    let all = u128::from(n) * u128::from(1 + of.exponent + of.fraction);
                    Some(Value::Ratio(Fraction::new(others + exponents, all)))
                }),
                ..BASE
            },
        ]
    };
}

const BF16: [Metric; 4] = of!("bf16", 0, "2.0 and 3.0: significands 10000000 and 11000000 have 1 and 2 terms of 8 bits each; 3 / 16", "4·(1 + 1 + 7) = 36 of 64");
const FP16: [Metric; 4] = of!("fp16", 1, "2.0 and 3.0: significands of 11 bits have 1 and 2 terms; 3 / 22", "4·(1 + 1 + 10) = 48 of 64");
const E4M3: [Metric; 4] = of!("e4m3", 2, "2.0 and 3.0: significands 1000 and 1100 have 1 and 2 terms of 4 bits each; 3 / 8", "4·(1 + 1 + 3) = 20 of 32");
const E5M2: [Metric; 4] = of!("e5m2", 3, "2.0 and 3.0: significands 100 and 110 have 1 and 2 terms of 3 bits each; 3 / 6", "4·(1 + 1 + 2) = 16 of 32");

pub(super) const METRICS: &[Metric] = BOTH.as_flattened();

const BOTH: &[[Metric; 4]] = &[BF16, FP16, E4M3, E5M2];

/// The type of that number and its counts; none of what a network stores as integers.
fn counts<'a>(operand: &'a Operand<'_>, which: usize) -> Option<(FloatType, &'a [u64])> {
    let counts = operand.extra(Extra::Float).filter(|counts| counts.len() == float_counts())?;
    operand.coding.stored.is_none().then(|| of_types(counts).nth(which)).flatten()
}

fn terms(operand: &Operand<'_>, which: usize) -> Option<Value> {
    let (of, counts) = counts(operand, which)?;
    let bits = u128::from(operand.elements()) * u128::from(of.fraction + 1);
    Some(Value::Ratio(Fraction::new(of.split(counts).2, bits)))
}

fn chance(operand: &Operand<'_>, which: usize) -> Option<Value> {
    let (of, counts) = counts(operand, which)?;
    let n = operand.elements();
    let shares = of.split(counts).1.iter().map(|&ones| ones as f64 / n.max(1) as f64);
    // From the lowest bit: a digit is not zero where bit and carry differ, and the next carry is what most of carry, bit and the
    // next bit are. By carry and bit, how likely they are.
    let mut places = [[1.0, 0.0], [0.0, 0.0]];
    let mut shares = shares.chain([0.0, 0.0]);
    let first = shares.next().unwrap_or(0.0);
    places[0] = [1.0 - first, first];
    let mut expected = places[0][1] + places[1][0];
    for share in shares {
        let mut next = [[0.0; 2]; 2];
        for (carry, bit, following) in (0..8).map(|i| (i & 1, i >> 1 & 1, i >> 2)) {
            let likely: f64 = if following == 1 { share } else { 1.0 - share };
            next[usize::from(carry + bit + following >= 2)][following] += places[carry][bit] * likely;
        }
        places = next;
        expected += places[0][1] + places[1][0];
    }
    let bits = u128::from(n) * u128::from(of.fraction + 1);
    Some(Value::Ratio(Fraction::new((n as f64 * expected).round() as u128, bits)))
}

/// Information of the exponent fields of `n` values, in bits.
fn of_exponents(of: FloatType, counts: &[u64], n: u64) -> f64 {
    information(of.split(counts).0.iter().copied(), n)
}
