//! Networks imported from a file that holds graph and weights: what the importers of such formats share.

use std::collections::HashSet;

use super::{Card, Task};
use crate::graph::{Graph, Node, NodeDef};
use crate::kernels::{Codes, Halo};
use crate::layers::{Layer, Shape};

/// A network imported from a file.
pub struct ImportedNetwork {
    /// The network.
    pub graph: Graph,
    /// `[C, H, W]` of its input.
    pub input: Shape,
    /// Quantisation parameters of its input, if the file stores it as integers.
    pub input_codes: Option<Codes>,
    /// What its output means.
    pub task: Task,
}

impl ImportedNetwork {
    /// A card for it with the given `name`, of the format `family`. Pixels are passed as the integers that the file stores,
    /// or as 0 to 1 if its input is float.
    pub fn card(&self, name: &str, family: &str) -> Card {
        let Shape { c, h, w } = self.input;
        // Pixel p is the code p, or p - 128: its real value is (p / 255 - mean) / std.
        let (mean, std) = self.input_codes.map_or((0.0, 1.0), |codes| {
            let zero = f64::from(codes.zero_point - codes.range().0);
            (zero / 255.0, 1.0 / (255.0 * f64::from(codes.scale)))
        });
        let list = |value: f64| toml::Value::from(vec![value; c]);
        let size = toml::Value::from(vec![h as i64, w as i64]);
        let mut input = toml::Table::new();
        input.insert("channels".into(), (c as i64).into());
        input.insert("size".into(), size.clone());
        input.insert("resize".into(), toml::Table::from_iter([("exact".to_owned(), size)]).into());
        if self.input_codes.is_none() {
            input.insert("assumed".into(), true.into());
        }
        input.insert("mean".into(), list(mean));
        input.insert("std".into(), list(std));
        Card { input, ..Card::new(name, family, self.task) }
    }
}

/// A tensor of the file, as a value of our graph.
#[derive(Clone, Copy)]
pub(super) struct Value {
    pub node: Node,
    pub shape: Shape,
    /// Zero padding that a layer of the file has put around it and that the next window reads.
    pub pad: Halo,
}

/// A graph under construction, with the layer names of the file made unique.
#[derive(Default)]
pub(super) struct Draft {
    pub graph: Graph,
    names: HashSet<String>,
}

impl Draft {
    /// The input.
    pub fn input(&mut self, shape: Shape) -> Value {
        self.push("input", Layer::Input, &[], shape, None)
    }

    /// Adds a layer that computes a value of `shape` from `inputs`.
    pub fn push(&mut self, name: &str, layer: Layer, inputs: &[Value], shape: Shape, codes: Option<Codes>) -> Value {
        let mut unique = name.to_owned();
        let mut count = 1;
        while !self.names.insert(unique.clone()) {
            count += 1;
            unique = format!("{name}#{count}");
        }
        let inputs = inputs.iter().map(|value| value.node).collect();
        self.graph.nodes.push(NodeDef { name: unique, layer, inputs, channels: shape.c, codes });
        Value { node: Node(self.graph.nodes.len() as u32 - 1), shape, pad: Halo::default() }
    }

    /// Quantisation parameters of `value`, if it consists of integers.
    pub fn codes(&self, value: Value) -> Option<Codes> {
        self.graph.def(value.node).codes
    }
}
