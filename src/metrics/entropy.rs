//! Entropy of an operand's codes (METRICS section 4).

use super::{Allows, Compute, Kind, Metric, Needs, Show, Value};

pub(super) const METRICS: &[Metric] = &[Metric {
    name: "entropy",
    kind: Kind::Number,
    heading: "entropy",
    definition: "Shannon entropy of the codes: the bits a value that no code without memory can go below; of floats, of sign and significand alone",
    formula: "Σ over codes n(q)/n · log2(n / n(q))",
    unit: "bits per value",
    needs: Needs::Full,
    allows: Allows::Compression,
    show: Show::Mean,
    example: "a 4·(1/4)·2 = 2, w (3/8)·1.415 + 5·(1/8)·3 = 2.406",
        compute: Compute::Operand(|operand| {
        let n = operand.elements() as f64;
        let information = |(_, count): (i32, u64)| count as f64 * (n / count as f64).log2();
        let sum = operand.codes()?.map(information).fold(0.0, |sum, part| sum + part);
        (n > 0.0).then(|| Value::Derived(sum / n))
    }),
    ..Metric::BASE
}];
