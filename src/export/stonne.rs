//! STONNE: a script of its command lines, sparse matrix products with the measured shares of zeros in whole percents. Weights are the
//! matrix M·K, a column of K·N is what one window reads, padding too.

use super::layer::{Loops, Share, nonzeros};
use super::names::unique;
use super::{File, Form, Run, Target, Written};
use crate::Result;
use crate::kernels::count::NONZERO;
use crate::measurement::LayerCounts;
use crate::metrics::Which;

pub(super) const TARGET: Target = Target {
    name: "stonne",
    tool: "STONNE",
    writes: "a script of its command lines, `-SparseGEMM`, and `-CONV` for layers with groups",
    takes: "extents; of matrix products `-MK_sparsity` (weights) and `-KN_sparsity` (what windows read, padding too) in whole percents",
    leaves: "groups with dilations or strides that differ, transposed convolutions, recurrent layers, products of two activations",
    source: "`stonne/src/main.cpp` of stonne-simulator/stonne",
    form: Form::File(File { first: "#!/bin/sh\n", comment: "#", write }),
};

fn write(run: &Run<'_>) -> Result<Written> {
    let names = unique(run.measurement.layers.iter().map(|counts| counts.name.as_str()), "_");
    let (made, left_out) = run.each(line);
    let lines = made.into_iter().map(|(index, line)| line.replace('@', &names[index]));
    let text = format!(
        "set -e\n: \"${{STONNE:=./stonne}}\"   # the program\n: \"${{SPARSE:=}}\" \"${{CONV:=}}\"   # flags of the hardware, e.g. SPARSE='-num_ms=128 -dn_bw=64 -rn_bw=64'\n\n{}",
        lines.collect::<String>()
    );
    let notes = vec![
        "-SparseGEMM: M filters, K values that a filter reads, N windows; MK are the weights, KN what windows read, padding too".into(),
        "STONNE places that many percent of zeros at random, and one percent more (rand() % 100 <= sparsity)".into(),
        "-CONV is dense, and its X and Y hold the padding, as far as windows read it".into(),
    ];
    Ok(Written { files: vec![(String::new(), text.into_bytes())], left_out, notes })
}

/// The command line of a layer, `@` for its name.
fn line(counts: &LayerCounts) -> Result<String, String> {
    let loops = Loops::of(counts)?.not_transposed()?;
    let Loops { groups, filters, channels, kernel: [r, s], windows: [p, q], .. } = loops;
    if groups == 1 {
        let [weights, reads] = [zeros_of_weights(counts), zeros_read(counts)].map(Share::percent);
        let (n, k) = (p * q, loops.reduction());
        return Ok(format!(
            "\"$STONNE\" -SparseGEMM $SPARSE -layer_name=@ -M={filters} -N={n} -K={k} -MK_sparsity={weights} -KN_sparsity={reads}\n"
        ));
    }
    let loops = loops.not_dilated()?.one_stride()?;
    let ([x, y], stride) = (loops.read(), loops.stride_of_both());
    let (c, k) = (groups * channels, groups * filters);
    Ok(format!(
        "\"$STONNE\" -CONV $CONV -layer_name=@ -R={r} -S={s} -C={c} -K={k} -G={groups} -N=1 -X={x} -Y={y} -strides={stride} -generate_tile=performance\n"
    ))
}

/// Zeros among the weights.
fn zeros_of_weights(counts: &LayerCounts) -> Share {
    let share = nonzeros(counts, Which::Weights).unwrap_or(Share { part: 0, of: 0 });
    Share { part: share.of - share.part, of: share.of }
}

/// Zeros among all that windows read, padding too.
fn zeros_read(counts: &LayerCounts) -> Share {
    let sums = &counts.tally.activations;
    let of = u128::from(sums.windows) * sums.taps.len() as u128;
    let nonzero: u128 = sums.taps.iter().map(|tap| u128::from(tap[NONZERO])).sum();
    Share { part: of - nonzero, of }
}
