//! Timeloop: a problem a layer, with its shape and its instance. R and P are rows, S and Q columns; a projection pairs rows with the
//! coefficients `Wdilation` and `Wstride`, columns with `Hdilation` and `Hstride`, as Timeloop's own shape of a convolution does.

use std::fmt::Write as _;

use super::layer::Loops;
use super::names::{number, unique};
use super::yaml::quoted;
use super::{Form, Run, Target, Written};
use crate::Result;
use crate::measurement::LayerCounts;

pub(super) const TARGET: Target = Target {
    name: "timeloop",
    tool: "Timeloop",
    writes: "a folder: a problem a layer, `NN_LAYER.yaml`",
    takes: "extents, strides, dilations, groups",
    leaves: "transposed convolutions, recurrent layers, products of two activations",
    source: "`problem-shape.cpp`, `workload.cpp` of NVlabs/timeloop; `timeloopfe/v4/problem.py` of Accelergy-Project/timeloop-python",
    form: Form::Folder(|run| problems(run, |_, _| String::new())),
};

/// A problem a layer; `densities` says what stands below the extents of its instance.
pub(super) fn problems(run: &Run<'_>, densities: impl Fn(&LayerCounts, &Loops) -> String) -> Result<Written> {
    let layers = &run.measurement.layers;
    let names = unique(layers.iter().map(|counts| counts.name.as_str()), "._-");
    let (made, left_out) = run.each(|counts| {
        let loops = Loops::of(counts)?.not_transposed()?;
        Ok(problem(counts, &loops, &densities(counts, &loops)))
    });
    let file = |(index, text): (usize, String)| {
        (format!("{}_{}.yaml", number(index, layers.len()), names[index]), text.into_bytes())
    };
    let notes = vec![
        "R, P are rows and S, Q columns; Wstride and Wdilation are of rows, Hstride and Hdilation of columns, as the projections say"
            .into(),
        "the inputs of an instance hold their padding, as far as windows read it".into(),
    ];
    Ok(Written { files: made.into_iter().map(file).collect(), left_out, notes })
}

/// The problem of one layer.
fn problem(counts: &LayerCounts, loops: &Loops, densities: &str) -> String {
    let Loops { groups, filters, channels, kernel: [r, s], windows: [p, q], stride, dilation, .. } = *loops;
    let mut text = format!("# {}\n", loops.words(counts));
    let name = quoted(&counts.name);
    let [rows, columns] = [0, 1].map(|axis| (stride[axis], dilation[axis]));
    write!(
        text,
        "\
problem:
  version: 0.4
  shape:
    name: {name}
    dimensions: [N, C, M, G, P, Q, R, S]
    coefficients:
      - {{name: Wstride, default: 1}}
      - {{name: Hstride, default: 1}}
      - {{name: Wdilation, default: 1}}
      - {{name: Hdilation, default: 1}}
    data_spaces:
      - name: Weights
        projection:
          - [[G]]
          - [[C]]
          - [[M]]
          - [[R]]
          - [[S]]
      - name: Inputs
        projection:
          - [[N]]
          - [[G]]
          - [[C]]
          - [[R, Wdilation], [P, Wstride]]
          - [[S, Hdilation], [Q, Hstride]]
      - name: Outputs
        projection:
          - [[N]]
          - [[G]]
          - [[M]]
          - [[P]]
          - [[Q]]
        read_write: true
  instance:
    N: 1
    C: {channels}
    M: {filters}
    G: {groups}
    P: {p}
    Q: {q}
    R: {r}
    S: {s}
    Wstride: {}
    Hstride: {}
    Wdilation: {}
    Hdilation: {}
{densities}",
        rows.0, columns.0, rows.1, columns.1
    )
    .expect("a string takes what is written to it");
    text
}
