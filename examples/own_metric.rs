//! Adds a metric: the share of multiply-accumulates that have a zero operand, padding among them.
#![allow(clippy::print_stdout)]

use deadweight::metrics::{Padding, Show};
use deadweight::prelude::*;

/// The headline of a report as a metric of each layer.
static INEFFECTUAL: Metric = Metric {
    name: "macs.ineffectual",
    heading: "wasted",
    definition: "MACs of which an operand is zero, or padding",
    formula: "Σ [a = 0 or w = 0] / Σ 1",
    unit: "share of MACs",
    source: "an example of the library",
    kind: Kind::Ratio,
    show: Show::Percent,
    compute: Compute::Layer(|subject| {
        let sums = subject.products?;
        let dense = sums.dense.of(Padding::With);
        Some(Value::Ratio(Fraction::new(dense - sums.both, dense)))
    }),
    ..Metric::BASE
};

/// Runs the example.
pub fn main() -> Result<()> {
    let model = Model::load("digits").open()?;
    let run = model.measure(Inputs::built_in()).run()?.with_metrics(&[&INEFFECTUAL]);
    for layer in run.layers().chain([run.network()]) {
        let share = layer.number("macs.ineffectual")?.unwrap_or_default();
        println!(
            "{:24} {:5.1} %, {:5.2} times less work without",
            layer.name(),
            100.0 * share,
            layer.potential("W+A")?.ratio()
        );
    }
    Ok(())
}
