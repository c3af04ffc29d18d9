//! Adds a metric: what is left to do if 16 activations that are zero are skipped as one.
#![allow(clippy::print_stdout)]

use deadweight::metrics::{Allows, Padding, Show};
use deadweight::prelude::*;

/// Dense work over the work left if groups of 16 zero activations are skipped at once. A window outside the tensor reads such a group.
static SKIP16: Metric = Metric {
    name: "potential.skip16",
    heading: "skip16",
    definition: "dense work over work left if groups of 16 zero activations are skipped at once",
    formula: "Σ 1 / Σ cost, cost = 0 if the group of 16 that holds a is all zero, else 1",
    unit: "ratio of MACs",
    source: "an example of the library",
    allows: Allows::Skipping,
    kind: Kind::Work,
    show: Show::Times,
    compute: Compute::Layer(|subject| {
        let sums = subject.products?;
        let left = sums.dense.of(Padding::Without) - sums.a_g16_zero;
        Some(Value::Work(Padding::BOTH.map(|padding| Fraction::new(sums.dense.of(padding), left))))
    }),
    ..Metric::BASE
};

/// Runs the example.
pub fn main() -> Result<()> {
    let model = Model::load("digits").open()?;
    let run = model.measure(Inputs::built_in()).run()?.with_metrics(&[&SKIP16]);
    for layer in run.layers().chain([run.network()]) {
        let [one, sixteen] = [layer.potential("A")?, layer.potential("potential.skip16")?];
        println!("{:24} {:5.2} one by one, {:5.2} by sixteen", layer.name(), one.ratio(), sixteen.ratio());
    }
    Ok(())
}
