//! Values that are small beside the others of their layer (TEAL).

use super::{Compute, Fraction, Metric, Needs, Operand, Value};

/// Of the quantile at so many percent.
macro_rules! at {
    ($name:literal, $percent:literal) => {
        Metric {
            name: concat!("threshold.", $name),
            heading: concat!("up to\nq", $name),
            definition: concat!(
                "values of magnitudes up to the ",
                $name,
                " %-quantile of their operand in the layer: more than these where many are equal, zeros above all"
            ),
            formula: concat!("n(|q| ≤ t) / n, t the least with n(|q| ≤ t) ≥ ", $name, " % of n"),
            unit: "fraction of values",
            source: "TEAL",
            needs: Needs::Full,
            example: "magnitudes 0 0 0 1 2: up to 60 % t is 0 and the share 3 / 5, at 70 % t is 1 and the share 4 / 5",
            compute: Compute::Operand(|operand| up_to(operand, $percent)),
            ..Metric::SHARE
        }
    };
}

pub(super) const METRICS: &[Metric] = &[
    at!("10", 10),
    at!("20", 20),
    at!("30", 30),
    at!("40", 40),
    at!("50", 50),
    at!("60", 60),
    at!("70", 70),
    at!("80", 80),
    at!("90", 90),
];

fn up_to(operand: &Operand<'_>, percent: u64) -> Option<Value> {
    // Neither significands nor codes of filters with scales of their own order values.
    if operand.coding.map.float.is_some() || operand.coding.per_filter {
        return None;
    }
    let n = operand.elements();
    let codes = operand.seen()?;
    let (negative, others) = codes.split_at(codes.partition_point(|(code, _)| *code < 0));
    // Both in rising order of magnitudes.
    let mut negative = negative.iter().rev().peekable();
    let mut others = others.iter().peekable();
    let mut below = 0;
    while u128::from(below) * 100 < u128::from(n) * u128::from(percent) {
        let next = [negative.peek(), others.peek()].into_iter().flatten().map(|(code, _)| code.unsigned_abs()).min();
        let Some(magnitude) = next else { break };
        let is_it = |(code, _): &&(i32, u64)| code.unsigned_abs() == magnitude;
        below += negative.next_if(is_it).map_or(0, |&(_, count)| count);
        below += others.next_if(is_it).map_or(0, |&(_, count)| count);
    }
    Some(Value::Ratio(Fraction::new(below, n)))
}
