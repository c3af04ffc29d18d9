//! Values of several metrics, of one layer or pooled over layers: the cells of a row of the report.

use super::sampled::name;
use super::{Compute, Interval, Metric, Subject, Value, Which, pool};
use crate::tally::Spread;

/// One metric's value in a row of the report.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The metric.
    pub metric: &'static Metric,
    /// The operand, if the metric has a value for each.
    pub operand: Option<Which>,
    /// The value.
    pub value: Value,
    /// Confidence intervals of its ratios ([`Value::fractions`]), where they are known.
    pub intervals: [Option<Interval>; 2],
}

/// The values of a row, in the order of their metrics; metrics without a value are left out.
#[derive(Clone, Debug, Default)]
pub struct Cells(Vec<Cell>);

impl Cells {
    /// `metrics` of `subject`, counted over `inputs` inputs.
    pub fn of(subject: &Subject<'_>, metrics: &[&'static Metric], inputs: u64) -> Self {
        // Made once: all metrics share what an operand caches.
        let operands = Which::ALL.map(|which| subject.operand(which));
        Self::each(metrics, inputs, |metric, operand| match (metric.compute, operand) {
            (Compute::Layer(compute), _) => compute(subject),
            (Compute::Operand(compute), Some(which)) => compute(operands[which as usize].as_ref()?),
            _ => None,
        })
    }

    /// `metrics` of several layers together: their values pooled.
    pub fn pooled(layers: &[Self], metrics: &[&'static Metric], inputs: u64) -> Self {
        Self::each(metrics, inputs, |metric, operand| pool(layers.iter().map(|layer| layer.get(metric.name, operand))))
    }

    fn each(
        metrics: &[&'static Metric],
        inputs: u64,
        value: impl Fn(&'static Metric, Option<Which>) -> Option<Value>,
    ) -> Self {
        let mut cells = Self::default();
        for &metric in metrics {
            match metric.compute {
                Compute::Layer(_) => cells.push(metric, None, value(metric, None)),
                Compute::Operand(_) => {
                    metric.operands().for_each(|which| cells.push(metric, Some(which), value(metric, Some(which))));
                }
                Compute::Pooled(_) => {}
            }
        }
        for &metric in metrics {
            if let Compute::Pooled(compute) = metric.compute {
                let value = compute(&|name| cells.get(name, None).cloned(), inputs);
                cells.push(metric, None, value);
            }
        }
        cells
    }

    /// The value of metric `name`, of `operand` if the metric has one for each.
    pub fn get(&self, name: &str, operand: Option<Which>) -> Option<&Value> {
        self.iter().find(|cell| cell.metric.name == name && cell.operand == operand).map(|cell| &cell.value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Cell> {
        self.0.iter()
    }

    fn push(&mut self, metric: &'static Metric, operand: Option<Which>, value: Option<Value>) {
        debug_assert!(value.as_ref().is_none_or(|value| value.kind() == metric.kind), "{}: of its kind", metric.name);
        self.0.extend(value.map(|value| Cell { metric, operand, value, intervals: [None; 2] }));
    }

    /// The same, with the confidence intervals that `spread` has for scope `scope` (see [`Spread::get`]), with `--min-one` or without.
    pub fn with_spread(mut self, spread: &Spread, scope: usize, min_one: bool) -> Self {
        let Some(t) = Interval::half_width(spread.inputs) else { return self };
        // Weights are the same for all inputs, and outputs are not kept by input.
        for cell in self.0.iter_mut().filter(|cell| cell.operand.is_none_or(|which| which == Which::Activations)) {
            for (interval, (padding, fraction)) in cell.intervals.iter_mut().zip(cell.value.fractions()) {
                let moments = spread.get(scope, &name(cell.metric, padding, min_one));
                let same = moments.filter(|of| (of.n, of.d) == (fraction.numerator, fraction.denominator));
                *interval = same.and_then(|moments| Interval::with(moments, spread.inputs, t));
            }
        }
        self
    }
}

impl FromIterator<Cell> for Cells {
    fn from_iter<I: IntoIterator<Item = Cell>>(cells: I) -> Self {
        Self(cells.into_iter().collect())
    }
}
