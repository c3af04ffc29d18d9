//! Shannon entropy: of an operand's codes, and of any histogram.

use super::{Allows, Compute, Kind, Metric, Needs, Operand, Show, Value};

pub(super) const METRICS: &[Metric] = &[Metric {
    name: "entropy",
    kind: Kind::Number,
    heading: "entropy",
    definition: "Shannon entropy of the codes: the bits a value that no code without memory can go below; of floats, of sign and significand alone",
    formula: "Σ over codes n(q)/n · log2(n / n(q))",
    unit: "bits per value",
    source: "Shannon 1948",
    needs: Needs::Full,
    allows: Allows::Compression,
    show: Show::Mean,
    example: "a 4·(1/4)·2 = 2, w (3/8)·1.415 + 5·(1/8)·3 = 2.406",
    compute: Compute::Operand(|operand| {
        let (n, bits) = (operand.elements(), information_of_codes(operand)?);
        (n > 0).then(|| Value::Derived(bits / n as f64))
    }),
    ..Metric::BASE
}];

/// Information of a histogram of `n` values in all, in bits: Σ count·log2(n / count), n times its Shannon entropy.
pub(super) fn information(counts: impl Iterator<Item = u64>, n: u64) -> f64 {
    let counts = counts.filter(|&count| count > 0).map(|count| count as f64);
    counts.map(|count| count * (n as f64 / count).log2()).fold(0.0, |sum, part| sum + part)
}

/// Information of the operand's codes; none where codes were not counted.
pub(super) fn information_of_codes(operand: &Operand<'_>) -> Option<f64> {
    Some(information(operand.codes()?.map(|(_, count)| count), operand.elements()))
}
