//! MAESTRO: a network of layers without their dataflows, as MAESTRO's own front ends write one and its script completes it.

use super::layer::Loops;
use super::names::unique;
use super::{File, Form, Run, Target, Written};
use crate::Result;
use crate::measurement::LayerCounts;

pub(super) const TARGET: Target = Target {
    name: "maestro",
    tool: "MAESTRO",
    writes: "a network (`.m`) without dataflows, which its script `modelfile_to_mapping.py` adds",
    takes: "extents and strides, padding added to the inputs",
    leaves: "dilations, groups of a transposed convolution, or one of another stride than 2, recurrent layers, products of two activations",
    source: "`DFSL_parser.hpp`, `DFSL_syntax_tokens.hpp` and the front ends of maestro-project/maestro",
    form: Form::File(File { first: "", comment: "//", write }),
};

fn write(run: &Run<'_>) -> Result<Written> {
    let names = unique(run.measurement.layers.iter().map(|counts| counts.name.as_str()), "_");
    let (made, left_out) = run.each(layer);
    let layers = made.into_iter().map(|(index, text)| text.replace('@', &names[index]));
    let network = unique([run.measurement.provenance.model.name.as_str()], "_").concat();
    let text = format!("Network {network} {{\n{}}}\n", layers.collect::<String>());
    let notes = vec![
        "Y and X hold the padding, as far as windows read it; a fully connected layer is a convolution of one tap whose rows are steps".into(),
        "C and K of layers with groups (NGCONV) are of one group, so that \
         the product of the dimensions is that of multiply-accumulates (MAESTRO's own ResNeXt-50 states C of all groups); MAESTRO's grammar has no density and no precision".into(),
    ];
    Ok(Written { files: vec![(String::new(), text.into_bytes())], left_out, notes })
}

/// A layer, `@` for its name.
fn layer(counts: &LayerCounts) -> Result<String, String> {
    let loops = Loops::of(counts)?.not_dilated()?;
    let Loops { groups, filters, channels, kernel: [r, s], stride: [rows, columns], .. } = loops;
    let [y, x] = if loops.transposed { loops.input } else { loops.read() };
    let (kind, group, channels) = match (loops.transposed, loops.is_depthwise(), groups) {
        (true, _, 1) if loops.stride == [2, 2] => ("TRCONV", String::new(), channels),
        (true, _, 1) => {
            return Err(format!("it is a transposed convolution of stride {rows}x{columns}, MAESTRO's is of 2x2"));
        }
        (true, ..) => return Err("it is a transposed convolution with groups".into()),
        (false, true, _) => ("DSCONV", String::new(), groups),
        (false, false, 1) => ("CONV", String::new(), channels),
        (false, false, _) => ("NGCONV", format!("G: {groups}, "), channels),
    };
    // Steps of one pixel to the next: a transposed convolution has its stride in its type.
    let [rows, columns] = if loops.transposed { [1, 1] } else { [rows, columns] };
    Ok(format!(
        "Layer @ {{\nType: {kind}\nStride {{ X: {columns}, Y: {rows} }}\nDimensions {{ {group}K: {filters}, C: {channels}, R: {r}, S: {s}, Y: {y}, X: {x} }}\n}}\n"
    ))
}
