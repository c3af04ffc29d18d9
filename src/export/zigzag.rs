//! ZigZag: a workload of all layers, with the bits that each operand of each layer needs.

use std::fmt::Write as _;

use super::layer::{Loops, width};
use super::yaml::quoted;
use super::{File, Form, Run, Target, Written};
use crate::Result;
use crate::measurement::LayerCounts;
use crate::metrics::Which;

pub(super) const TARGET: Target = Target {
    name: "zigzag",
    tool: "ZigZag",
    writes: "a workload (YAML)",
    takes: "extents, strides, dilations, groups, padding; `operand_precision`: widths of weights and inputs, measured or of a precision file, what holds each sum, and the width of counted outputs",
    leaves: "transposed convolutions, recurrent layers, products of two activations",
    source: "`workload_validator.py`, `workload_factory.py` of zigzag-dse 3.9.1",
    form: Form::File(File { first: "", comment: "#", write }),
};

fn write(run: &Run<'_>) -> Result<Written> {
    run.check_integers(&TARGET)?;
    let (made, left_out) = run.each(|counts| Ok((counts, Loops::of(counts)?.not_transposed()?)));
    let layers = made.iter().zip(0..).map(|((_, (counts, loops)), id)| layer(counts, loops, id));
    let text: String = layers.collect();
    let mut notes = vec![
        "W and I are the widths of the largest magnitudes, with a sign where any is negative; O holds every sum of products".into(),
        "O_final is the width of the outputs where they were counted (`measure --metrics o.traffic`), else the baseline of the inputs".into(),
        "each layer stands by itself (operand_source is its own id): counts do not say which layer reads which".into(),
    ];
    if made.iter().any(|(_, (counts, _))| counts.codings.iter().any(|coding| coding.stored.is_some())) {
        notes.push("codes are those that the network stores less their zero points".into());
    }
    Ok(Written { files: vec![(String::new(), text.into_bytes())], left_out, notes })
}

/// The entry of a layer.
fn layer(counts: &LayerCounts, loops: &Loops, id: usize) -> String {
    let Loops { groups, filters, channels, kernel, windows, input, stride, dilation, padding, linear, .. } = *loops;
    let mut text = format!("- id: {id}\n  name: {}\n", quoted(&counts.name));
    let body = if linear {
        format!(
            "  operator_type: Gemm
  equation: O[b][k]+=I[b][c]*W[c][k]
  dimension_relations: []
  loop_dims: [B, C, K]
  loop_sizes: [{}, {channels}, {filters}]
",
            windows[0]
        )
    } else {
        let relation = |axis: usize, name: &str| format!("i{name}={}*o{name}+{}*f{name}", stride[axis], dilation[axis]);
        let [top, bottom, left, right] = padding;
        format!(
            "  operator_type: Conv
  equation: O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]
  dimension_relations: [{}, {}]
  loop_dims: [B, G, K, C, OY, OX, FY, FX]
  loop_sizes: [1, {groups}, {filters}, {channels}, {}, {}, {}, {}]
  pr_loop_dims: [IY, IX]
  pr_loop_sizes: [{}, {}]
  padding: [[{top}, {bottom}], [{left}, {right}]]
",
            relation(0, "y"),
            relation(1, "x"),
            windows[0],
            windows[1],
            kernel[0],
            kernel[1],
            input[0],
            input[1]
        )
    };
    text += &body;
    let [weights, inputs] = [Which::Weights, Which::Activations].map(|which| width(counts, which).unwrap_or(1));
    let sums = weights + inputs + usize::BITS - (loops.reduction() - 1).leading_zeros();
    let last = width(counts, Which::Outputs).unwrap_or(counts.codings[0].bits);
    write!(
        text,
        "  operand_precision: {{W: {weights}, I: {inputs}, O: {sums}, O_final: {last}}}\n  operand_source: {{W: {id}, I: {id}}}\n"
    )
    .expect("a string takes what is written to it");
    text
}
