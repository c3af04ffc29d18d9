//! Per-input metrics: ratios of sums that are known for each input, so that they have confidence intervals.

use super::{Cell, Compute, Fraction, Kind, Metric, Options, Subject, Value, Which};
use crate::format::Coding;
use crate::kernels::count::{CodeMap, Encoder};
use crate::tally::{InputCounts, Padding};

/// A per-input metric.
#[derive(Clone, Copy, Debug)]
pub struct Sampled {
    /// The metric.
    pub metric: &'static Metric,
    /// Whether a MAC that is not skipped costs at least one step.
    pub min_one: bool,
}

impl Sampled {
    /// All of them for counts by `encoder`, with terms or without; potentials with and without `--min-one`.
    pub fn all(encoder: Encoder, has_terms: bool) -> Vec<Self> {
        let metrics = super::all().filter(|metric| is_sampled(metric, encoder, has_terms));
        let with_and_without = |metric: &'static Metric| {
            let both = [false, true].into_iter().filter(|&min_one| metric.min_one || !min_one);
            both.map(move |min_one| Self { metric, min_one })
        };
        metrics.flat_map(with_and_without).collect()
    }

    /// Names of the ratios of `metric`, in the order in which its value has them.
    pub fn names(&self) -> Vec<String> {
        match self.metric.kind {
            Kind::Work => Padding::BOTH.map(|padding| name(self.metric, Some(padding), self.min_one)).to_vec(),
            _ => vec![name(self.metric, None, self.min_one)],
        }
    }

    /// Ratios of nothing, as many as its value has.
    pub fn none(&self) -> impl Iterator<Item = Fraction> {
        std::iter::repeat_n(Fraction::default(), if self.metric.kind == Kind::Work { 2 } else { 1 })
    }

    /// The metric's value for one input, whose ratios `ratio` finds by name.
    pub fn cell(&self, ratio: impl Fn(&str) -> Option<Fraction>) -> Option<Cell> {
        let fractions = self.names().iter().map(|name| ratio(name)).collect::<Option<Vec<_>>>()?;
        let value = match fractions[..] {
            [with, without] => Value::Work([with, without]),
            _ => Value::Ratio(fractions[0]),
        };
        Some(Cell { metric: self.metric, operand: self.operand(), value, intervals: [None; 2] })
    }

    /// Activations, if it has a value for each operand: weights are the same for all inputs.
    pub fn operand(&self) -> Option<Which> {
        self.metric.is_of_operands().then_some(Which::Activations)
    }

    /// The metric's value for the input that `subjects` are of: without `--min-one`, and with it.
    pub fn value(&self, subjects: &[Subject<'_>; 2]) -> Option<Value> {
        value(self.metric, &subjects[usize::from(self.min_one)])
    }
}

/// The name of a ratio among those of per-input metrics.
pub fn name(metric: &Metric, padding: Option<Padding>, min_one: bool) -> String {
    let letter = if metric.is_of_operands() { "a." } else { "" };
    let padding = padding.map(|padding| format!(":{}", padding.name())).unwrap_or_default();
    let min_one = if metric.min_one && min_one { ":min_one" } else { "" };
    format!("{letter}{}{padding}{min_one}", metric.name)
}

fn value(metric: &Metric, subject: &Subject<'_>) -> Option<Value> {
    match metric.compute {
        Compute::Layer(compute) => compute(subject),
        Compute::Operand(compute) => compute(&subject.operand(Which::Activations)?),
        Compute::Pooled(_) => None,
    }
}

/// Whether `metric` is a ratio of sums that is known for one input.
fn is_sampled(metric: &Metric, encoder: Encoder, has_terms: bool) -> bool {
    // Which metrics have a value does not depend on the counts: any will do.
    let map = CodeMap::linear(1.0, -1, 1);
    let codings = [Coding { map, bits: 2, unit: None, per_filter: false, width: None, stored: None }; 2];
    let options = Options { encoder, min_one: false };
    let counts = InputCounts::default();
    let subject = Subject::input(&counts, None, &codings, options, has_terms);
    matches!(metric.kind, Kind::Ratio | Kind::Work) && value(metric, &subject).is_some()
}

impl Metric {
    /// Whether it is a per-input metric with some encoder; if it has a value for each operand, then of activations only.
    pub fn is_sampled(&self) -> bool {
        Encoder::ALL.into_iter().any(|encoder| is_sampled(self, encoder, true))
    }

    /// What it has a 95 % interval for, as `explain` prints it.
    pub fn interval(&self) -> &'static str {
        let by_default = is_sampled(self, Encoder::default(), true);
        match (self.is_sampled(), self.is_of_operands()) {
            (true, true) if by_default => "of activations, of layers and the network",
            (true, true) => "of activations, of layers and the network, where the encoder is the one that was chosen",
            (true, false) => "of layers and the network",
            (false, _) => "none: it is not kept by input",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_that_one_input_has_are_kept_and_no_others() {
        let names = |encoder: Encoder, has_terms: bool| -> Vec<&'static str> {
            let all = Sampled::all(encoder, has_terms);
            assert!(all.iter().all(|sampled| sampled.metric.is_sampled() && sampled.metric.interval() != "none"));
            all.into_iter().filter(|sampled| !sampled.min_one).map(|sampled| sampled.metric.name).collect()
        };
        let full = names(Encoder::Naf, true);
        for name in ["macs.effectual", "zeros", "zeros.rounded", "width", "width.g256", "terms", "terms.naf.nonzero"] {
            assert!(full.contains(&name), "{name}: {full:?}");
        }
        for name in ["potential.Ap.layer", "terms.popcount", "zero_bits", "entropy", "dead", "temporal", "raw.zeros"] {
            assert!(!full.contains(&name), "{name}: {full:?}");
        }
        // All potentials but one.
        let potentials = |names: &[&str]| names.iter().filter(|name| name.starts_with("potential.")).count();
        let all = crate::metrics::all().filter(|metric| metric.name.starts_with("potential.")).count();
        assert_eq!(potentials(&full), all - 1);
        assert!(names(Encoder::Popcount, true).contains(&"terms.popcount"));
        let values = names(Encoder::Naf, false);
        assert!(
            values.contains(&"potential.W+A+Ap") && !values.contains(&"potential.Ae") && !values.contains(&"width")
        );
        let work = Sampled::all(Encoder::Naf, true).into_iter().find(|sampled| sampled.min_one).unwrap();
        assert_eq!(work.names(), ["potential.A:with_padding:min_one", "potential.A:without_padding:min_one"]);
    }
}
