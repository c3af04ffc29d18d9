//! Sparseloop: Timeloop's problems with the measured density of each data space.

use std::fmt::Write as _;

use super::layer::{Loops, nonzeros};
use super::scalesim::{Blocks, blocks};
use super::timeloop::problems;
use super::{Form, Run, Target, Written};
use crate::Result;
use crate::measurement::LayerCounts;
use crate::metrics::Which;

pub(super) const TARGET: Target = Target {
    name: "sparseloop",
    tool: "Sparseloop",
    writes: "a folder: a problem a layer with `densities`, `NN_LAYER.yaml`",
    takes: "extents, strides, dilations, groups; the density of weights, inputs and counted outputs",
    leaves: "transposed convolutions, recurrent layers, products of two activations",
    source: "`density-distribution-factory.cpp`, `workload.cpp` of NVlabs/timeloop; `timeloopfe/v4/problem.py` of Accelergy-Project/timeloop-python",
    form: Form::Folder(write),
};

/// The data spaces, and the operands that they are.
const SPACES: [(&str, Which); 3] =
    [("Weights", Which::Weights), ("Inputs", Which::Activations), ("Outputs", Which::Outputs)];

fn write(run: &Run<'_>) -> Result<Written> {
    let mut written = problems(run, densities)?;
    let sentences = [
        "a density is non-zeros over the values of the data space: of inputs over all that windows span, whose padding is zeros; of outputs those behind the activation",
        "where windows leave rows or columns of the inputs over, these are taken to hold their share of the non-zeros",
        "densities are hypergeometric, but fixed_structured where every block of weights has 2 of 4 or 4 of 8 non-zeros (`measure --metrics nm`)",
    ];
    written.notes.extend(sentences.map(str::to_owned));
    written.notes.extend(run.note_of_outputs("density"));
    Ok(written)
}

fn densities(counts: &LayerCounts, loops: &Loops) -> String {
    let mut text = String::from("    densities:\n");
    for (space, which) in SPACES {
        let share = nonzeros(counts, which);
        // The data space of inputs is what windows span.
        let share = if which == Which::Activations { share.and_then(|all| loops.of_what_is_read(all)) } else { share };
        let Some(share) = share else { continue };
        // Blocks with at most N of M non-zeros, and N·blocks of these in all: each has N.
        let fits = blocks(counts).and_then(Blocks::fits).filter(|_| which == Which::Weights);
        let structured = fits.is_some_and(|[n, m]| share.part * u128::from(m) == share.of * u128::from(n));
        let distribution = if structured { "fixed_structured" } else { "hypergeometric" };
        writeln!(
            text,
            "      {space}: {{distribution: {distribution}, density: {}}}  # {} of {}",
            share.value(),
            share.part,
            share.of
        )
        .expect("a string takes what is written to it");
    }
    text
}
