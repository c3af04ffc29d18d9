//! Recurrences that rten lacks (RNN, and GRU with its reset gate before the product) as loops over the steps.

use rten_onnx::onnx::{
    DataType, Dimension, GraphProto, NodeProto, TensorShapeProto, TypeProto, TypeProtoTensor, ValueInfoProto,
};

use super::super::attributes::{Attributes, Given, operator, with};
use super::Rewriter;

/// What one direction of a recurrence reads: its inputs' product with a bias, its recurrent weights, its first state.
struct Direction {
    /// `[T, B, gates · H]`.
    projected: String,
    /// `[H, gates · H]`.
    recurrent: String,
    /// `[B, H]`.
    initial: String,
}

impl Rewriter<'_> {
    /// GRU: rten computes it if the reset gate is applied after the product.
    pub(super) fn gru(&mut self, mut node: NodeProto) {
        self.name_hidden(&mut node);
        if node.int("linear_before_reset").unwrap_or(0) != 0 {
            return self.keep(node);
        }
        // The hidden values times the reset gate are the candidate's operand: a third output.
        node.output.resize(3, String::new());
        node.output[2] = self.name(&node, "reset");
        self.measured.push(node.clone());
        self.unroll(&node, 3, &mut |rewriter, direction| {
            let hidden = node.int("hidden_size").unwrap_or(0);
            let [zero, middle, end, axis] = [0, 2 * hidden, 3 * hidden, 1].map(|value| rewriter.ints(&node, &[value]));
            let weights = [(&zero, &middle), (&middle, &end)]
                .map(|(from, to)| rewriter.add(&node, "Slice", &[&direction.recurrent, from, to, &axis]));
            let one = rewriter.floats(&node, &[], &[1.0]);
            let sizes = rewriter.ints(&node, &[hidden, hidden]);
            vec![
                operator("Slice", &["x", &zero, &middle, &axis], &["xzr"]),
                operator("Slice", &["x", &middle, &end, &axis], &["xc"]),
                operator("MatMul", &["h", &weights[0]], &["hzr"]),
                operator("Add", &["xzr", "hzr"], &["azr"]),
                operator("Sigmoid", &["azr"], &["zr"]),
                with(operator("Split", &["zr", &sizes], &["z", "r"]), "axis", Given::Int(1)),
                operator("Mul", &["r", "h"], &["rh"]),
                operator("MatMul", &["rh", &weights[1]], &["hc"]),
                operator("Add", &["xc", "hc"], &["ac"]),
                operator("Tanh", &["ac"], &["c"]),
                operator("Sub", &[&one, "z"], &["nz"]),
                operator("Mul", &["nz", "c"], &["new"]),
                operator("Mul", &["z", "h"], &["old"]),
                operator("Add", &["new", "old"], &["next"]),
            ]
        });
    }

    /// DynamicQuantizeLSTM, whose inputs are quantised within it: here once more, to be seen. As it is measured, inputs 12 and 13
    /// are these codes and their zero point.
    pub(super) fn dynamic_lstm(&mut self, mut node: NodeProto) {
        self.name_hidden(&mut node);
        let [codes, scale, zero] = ["codes", "scale", "zero"].map(|what| self.name(&node, what));
        self.nodes.push(operator("DynamicQuantizeLinear", &[&node.input[0]], &[&codes, &scale, &zero]));
        let mut measured = node.clone();
        measured.input.resize(12, String::new());
        measured.input.extend([codes, zero]);
        self.measured.push(measured);
        self.nodes.push(node);
    }

    /// RNN: `h = f(x·W + h·R + b)`.
    pub(super) fn rnn(&mut self, mut node: NodeProto) {
        self.name_hidden(&mut node);
        self.measured.push(node.clone());
        let functions: Vec<String> = node.texts("activations").to_vec();
        let mut next = 0;
        self.unroll(&node, 1, &mut |_, direction| {
            let function = functions.get(next).map_or("Tanh", String::as_str);
            next += 1;
            vec![
                operator("MatMul", &["h", &direction.recurrent], &["hr"]),
                operator("Add", &["x", "hr"], &["a"]),
                operator(function, &["a"], &["next"]),
            ]
        });
    }

    /// Names the hidden values of all steps, which are an operand, whether the file reads them or not.
    pub(super) fn name_hidden(&mut self, node: &mut NodeProto) {
        node.output.resize(node.output.len().max(2), String::new());
        for (output, what) in [(0, "hidden"), (1, "last")] {
            if node.output[output].is_empty() {
                node.output[output] = self.name(node, what);
            }
        }
    }

    /// Loops over the steps of every direction. `body` makes, of the step's `x` `[B, gates · H]` and the state `h` `[B, H]`, the
    /// state `next` (and `rh`, if there are three outputs).
    fn unroll(&mut self, node: &NodeProto, gates: i64, body: &mut dyn FnMut(&mut Self, &Direction) -> Vec<NodeProto>) {
        let kind = node.text("direction").unwrap_or("forward");
        let reversed: &[bool] = match kind {
            "reverse" => &[true],
            "bidirectional" => &[false, true],
            _ => &[false],
        };
        let x = node.input[0].clone();
        let shape = self.add(node, "Shape", &[&x]);
        let [zero, one] = [0, 1].map(|value| self.int(node, value));
        let steps = self.add_with(node, "Gather", &[&shape, &zero], &[("axis", 0)]);
        let last = self.add(node, "Sub", &[&steps, &one]);
        let mut parts = vec![Vec::new(); node.output.len()];
        for (index, &reverse) in reversed.iter().enumerate() {
            let direction = self.direction(node, (index as i64, gates), &shape);
            let inner = body(self, &direction);
            let outputs = self.steps(node, &direction, reverse.then_some(&last), &steps, inner);
            // The direction is the second axis of sequences and the first of the last state.
            let axes = [self.ints(node, &[1]), self.ints(node, &[0])];
            for (output, part) in outputs.iter().enumerate() {
                let part = self.add(node, "Unsqueeze", &[part, &axes[usize::from(output == 1)]]);
                parts[output].push(part);
            }
        }
        for (output, parts) in parts.iter().enumerate() {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let axis = Given::Int(i64::from(output != 1));
            self.nodes.push(with(operator("Concat", &parts, &[&node.output[output]]), "axis", axis));
        }
    }

    /// What direction `index` reads; `shape` is that of x, `[T, B, I]`.
    fn direction(&mut self, node: &NodeProto, (index, gates): (i64, i64), shape: &str) -> Direction {
        let hidden = node.int("hidden_size").unwrap_or(0);
        let index = self.int(node, index);
        let part = |rewriter: &mut Self, input: usize| {
            let name = node.input.get(input).filter(|name| !name.is_empty())?.clone();
            Some(rewriter.add_with(node, "Gather", &[&name, &index], &[("axis", 0)]))
        };
        let weights = [1, 2].map(|input| part(self, input).unwrap_or_default());
        let (bias, initial) = (part(self, 3), part(self, 5));
        let [inputs, recurrent] = weights.map(|weight| {
            let output = self.name(node, "transposed");
            self.nodes.push(with(operator("Transpose", &[&weight], &[&output]), "perm", Given::Ints(&[1, 0])));
            output
        });
        let mut projected = self.add(node, "MatMul", &[&node.input[0], &inputs]);
        if let Some(bias) = bias {
            // One of the inputs' product, one of the recurrent product.
            let rows = self.ints(node, &[2, gates * hidden]);
            let axis = self.ints(node, &[0]);
            let both = self.add(node, "Reshape", &[&bias, &rows]);
            let sum = self.add_with(node, "ReduceSum", &[&both, &axis], &[("keepdims", 0)]);
            projected = self.add(node, "Add", &[&projected, &sum]);
        }
        let initial = initial.unwrap_or_else(|| {
            let one = self.ints(node, &[1]);
            let batch = self.add_with(node, "Gather", &[shape, &one], &[("axis", 0)]);
            let width = self.ints(node, &[hidden]);
            let extents = self.add_with(node, "Concat", &[&batch, &width], &[("axis", 0)]);
            self.add(node, "ConstantOfShape", &[&extents])
        });
        Direction { projected, recurrent, initial }
    }

    /// One direction's loop: the hidden values of all steps `[T, B, H]`, the last ones, and those times the reset gate.
    fn steps(
        &mut self,
        node: &NodeProto,
        direction: &Direction,
        last: Option<&String>,
        steps: &str,
        inner: Vec<NodeProto>,
    ) -> Vec<String> {
        let mut nodes = vec![operator("Identity", &["going"], &["goes"])];
        let step = match last {
            Some(last) => {
                nodes.push(operator("Sub", &[last, "step"], &["t"]));
                "t"
            }
            None => "step",
        };
        nodes.push(with(operator("Gather", &[&direction.projected, step], &["x"]), "axis", Given::Int(0)));
        nodes.extend(inner);
        nodes.push(operator("Identity", &["next"], &["y"]));
        let resets = node.output.len() > 2;
        let outputs = ["goes", "next", "y", "rh"];
        let value = |name: &&str| typed(name, DataType::FLOAT, None);
        let graph = GraphProto {
            node: nodes,
            input: vec![
                typed("step", DataType::INT64, Some(0)),
                typed("going", DataType::BOOL, Some(0)),
                typed("h", DataType::FLOAT, None),
            ],
            output: std::iter::once(typed("goes", DataType::BOOL, Some(0)))
                .chain(outputs[1..if resets { 4 } else { 3 }].iter().map(value))
                .collect(),
            ..GraphProto::default()
        };
        // Names within must not hide those around: each loop has its own.
        let prefix = self.name(node, "loop");
        let graph = prefixed(graph, &prefix);
        let [final_state, mut all, mut reset] = ["final", "all", "reset"].map(|what| self.name(node, what));
        let outputs = [final_state.as_str(), &all, &reset];
        let repeat = operator("Loop", &[steps, "", &direction.initial], &outputs[..if resets { 3 } else { 2 }]);
        self.nodes.push(with(repeat, "body", Given::Graph(graph)));
        if let Some(last) = last {
            let [minus, end] = [-1, -1].map(|value| self.int(node, value));
            let order = self.add(node, "Range", &[last, &end, &minus]);
            all = self.add_with(node, "Gather", &[&all, &order], &[("axis", 0)]);
            if resets {
                reset = self.add_with(node, "Gather", &[&reset, &order], &[("axis", 0)]);
            }
        }
        let mut given = vec![all, final_state];
        given.extend(resets.then_some(reset));
        given
    }
}

/// A value of a type, and of a rank if it is known.
fn typed(name: &str, kind: DataType, rank: Option<usize>) -> ValueInfoProto {
    let shape = rank.map(|rank| TensorShapeProto { dim: vec![Dimension::default(); rank] });
    let tensor = TypeProtoTensor { elem_type: Some(kind), shape };
    let kind = TypeProto { tensor_type: Some(tensor), sequence: None };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(kind) }
}

/// `graph` with every name that it makes itself behind `prefix`.
fn prefixed(mut graph: GraphProto, prefix: &str) -> GraphProto {
    let inputs = graph.input.iter().filter_map(|input| input.name.clone());
    let made = graph.node.iter().flat_map(|node| node.output.iter().cloned());
    let own: std::collections::HashSet<String> = inputs.chain(made).collect();
    let renamed = |name: &mut String| {
        if own.contains(name.as_str()) {
            *name = format!("{prefix}/{name}");
        }
    };
    graph.node.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output)).for_each(renamed);
    graph.input.iter_mut().chain(&mut graph.output).filter_map(|value| value.name.as_mut()).for_each(renamed);
    graph
}
