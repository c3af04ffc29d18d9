//! A network as data: nodes from a closed set of layer kinds. The graph knows channels; rows and columns are known to the
//! plan.

mod extents;
mod fitted;
mod params;
pub mod passes;
pub mod pruned;
pub mod quantize;
pub mod rounded;
pub mod scope;
mod sequences;
mod stored;
pub mod threshold;
mod weightless;

use crate::kernels::Codes;
use crate::layers::{Layer, Shape};
use crate::{Error, Result};

pub use extents::{Difference, Extent, note as differences_note};
pub use fitted::Fitted;
pub use params::{Listing, Params};
pub use scope::Scope;
pub use stored::as_stored;

/// Handle of a value of the graph. `Copy`, so that a network reads like arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node(pub(crate) u32);

impl Node {
    /// The node at place `index` of the graph.
    pub fn at(index: usize) -> Self {
        Self(index as u32)
    }

    /// Position of its definition in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One layer and its inputs.
#[derive(Clone, Debug)]
pub struct NodeDef {
    /// The path of its weights in the checkpoint, or one next to it: the name of its row in a report.
    pub name: String,
    /// Kind, attributes and parameters.
    pub layer: Layer,
    /// Its inputs; always earlier nodes.
    pub inputs: Vec<Node>,
    /// Channels of its output.
    pub channels: usize,
    /// For a value of 8-bit integers `q - zero_point`: its quantisation parameters.
    pub codes: Option<Codes>,
}

/// A network: definitions in topological order. Node 0 is the input.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The definitions.
    pub nodes: Vec<NodeDef>,
    /// The value that is the network's output.
    pub output: Option<Node>,
}

impl Graph {
    /// The output node.
    ///
    /// # Panics
    /// If the graph was never finished.
    pub fn output(&self) -> Node {
        self.output.expect("a finished graph has an output")
    }

    /// Definition of `node`.
    pub fn def(&self, node: Node) -> &NodeDef {
        &self.nodes[node.index()]
    }

    /// All handles in order.
    pub fn handles(&self) -> impl DoubleEndedIterator<Item = Node> + use<> {
        (0..self.nodes.len() as u32).map(Node)
    }

    /// For each node, the nodes that read it (a node that reads it twice is listed twice).
    pub fn readers(&self) -> Vec<Vec<Node>> {
        let mut readers = vec![Vec::new(); self.nodes.len()];
        for node in self.handles() {
            for input in &self.def(node).inputs {
                readers[input.index()].push(node);
            }
        }
        readers
    }

    /// Shape of every value for one image of `input`, with each layer's rule checked.
    ///
    /// # Errors
    /// [`Error::Shape`] naming the first layer that cannot take its input, with got and want.
    pub fn shapes(&self, input: Shape) -> Result<Vec<Shape>> {
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.nodes.len());
        for def in &self.nodes {
            let inputs: Vec<Shape> = def.inputs.iter().map(|node| shapes[node.index()]).collect();
            let shape = match &def.layer {
                Layer::Input if input.c == def.channels => input,
                Layer::Input => {
                    let detail = format!("has {} channels, the network needs {}", input.c, def.channels);
                    return Err(Error::shape("input", detail));
                }
                layer => layer.output(&inputs).map_err(|detail| Error::shape(&def.name, detail))?,
            };
            shapes.push(shape);
        }
        Ok(shapes)
    }

    /// Number of learned values in the layers (batch norm counts weight and bias, as PyTorch's `parameters()` does).
    pub fn parameters(&self) -> usize {
        self.nodes.iter().map(|def| def.layer.parameters()).sum()
    }

    /// Multiply-accumulates for one image of `input` in the layers that METRICS section 1 counts.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn macs(&self, input: Shape) -> Result<u64> {
        let shapes = self.shapes(input)?;
        Ok(self.nodes.iter().enumerate().map(|(i, def)| def.layer.macs(shapes[i])).sum())
    }
}
