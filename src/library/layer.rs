//! What is known of a layer before it runs.

use crate::Result;
use crate::graph::Graph;
use crate::layers::Shape;

/// A layer of a network, as probes and listings see it.
///
/// ```
/// use deadweight::prelude::*;
///
/// let model = Model::load("digits").open()?;
/// let largest = model.layers().iter().max_by_key(|layer| layer.macs).expect("it has layers");
/// assert!(largest.is_mac() && largest.kind == "conv");
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LayerInfo {
    /// Its place in the order of execution, from 0, the network's input.
    pub index: usize,
    /// Where its weights are in the checkpoint, or where it stands among such.
    pub name: String,
    /// `conv`, `linear`, `lstm`, `attention`, `add`, …
    pub kind: &'static str,
    /// `[C, H, W]` of its output, for an input of the network's own size.
    pub output: [usize; 3],
    /// Multiply-accumulates for such an input; 0 for layers that do none.
    pub macs: u64,
    /// Learned values.
    pub parameters: usize,
    /// Of a network of 8-bit integers, scale s and zero point z of its first input: the value is `s·(q − z)`, and probes are shown
    /// `q − z`. None of floats.
    pub input_codes: Option<(f32, i32)>,
}

impl LayerInfo {
    /// Whether it multiplies and accumulates.
    pub fn is_mac(&self) -> bool {
        self.macs > 0
    }

    /// The layers of `graph` for an input of extents `input`.
    pub(super) fn all(graph: &Graph, input: Shape) -> Result<Vec<Self>> {
        let shapes = graph.shapes(input)?;
        let of = |(index, def): (usize, &crate::graph::NodeDef)| {
            let codes = def.inputs.first().and_then(|node| graph.def(*node).codes);
            let Shape { c, h, w } = shapes[index];
            Self {
                index,
                name: def.name.clone(),
                kind: def.layer.kind(),
                output: [c, h, w],
                macs: def.layer.macs(shapes[index]),
                parameters: def.layer.parameters(),
                input_codes: codes.map(|codes| (codes.scale, codes.zero_point)),
            }
        };
        Ok(graph.nodes.iter().enumerate().map(of).collect())
    }
}
