//! A network as data: nodes of a closed set of layer kinds. It knows channels; pixels are the plan's.

mod params;
pub mod passes;
pub mod quantize;
pub mod scope;
mod stored;
mod weightless;

use crate::kernels::Codes;
use crate::layers::{Layer, Shape};
use crate::{Error, Result};

pub use params::Params;
pub use scope::Scope;
pub use stored::as_stored;

/// Handle of a value of the graph. `Copy`, so that a network reads like arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node(pub(crate) u32);

impl Node {
    /// Position of its definition in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One layer and what it reads.
#[derive(Clone, Debug)]
pub struct NodeDef {
    /// Where its weights live in the checkpoint, or a path beside them: the name of the row in a report.
    pub name: String,
    /// Kind, attributes and parameters.
    pub layer: Layer,
    /// What it reads; always earlier nodes.
    pub inputs: Vec<Node>,
    /// Channels of its output.
    pub channels: usize,
    /// Of a value of 8-bit integers `q - zero_point`, how they stand for reals.
    pub codes: Option<Codes>,
}

/// A network: definitions in an order in which each reads only earlier ones. Node 0 is the input.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The definitions.
    pub nodes: Vec<NodeDef>,
    /// The value that is the network's result.
    pub output: Option<Node>,
}

impl Graph {
    /// The node that is the result.
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

    /// For each node, which nodes read it (once for each reading).
    pub fn readers(&self) -> Vec<Vec<Node>> {
        let mut readers = vec![Vec::new(); self.nodes.len()];
        for node in self.handles() {
            for input in &self.def(node).inputs {
                readers[input.index()].push(node);
            }
        }
        readers
    }

    /// Shape of every value for one image of `input`, each layer's rule checked.
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

    /// How many learned values the layers hold (batch norm counts weight and bias, as PyTorch's `parameters()` does).
    pub fn parameters(&self) -> usize {
        self.nodes.iter().map(|def| def.layer.parameters()).sum()
    }

    /// Multiply-accumulates of one image of `input` in the layers METRICS section 1 counts.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn macs(&self, input: Shape) -> Result<u64> {
        let shapes = self.shapes(input)?;
        Ok(self.nodes.iter().enumerate().map(|(i, def)| def.layer.macs(shapes[i])).sum())
    }
}
