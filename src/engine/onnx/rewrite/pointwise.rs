//! Activations and normalisations that rten lacks, of operators that it has.

use rten_onnx::onnx::NodeProto;

use super::super::attributes::{Attributes, Given, operator, with};
use super::Rewriter;

impl Rewriter<'_> {
    /// By ONNX's own definitions (onnx/docs/Operators.md).
    pub(super) fn pointwise(&mut self, node: &NodeProto) {
        let x = node.input[0].clone();
        let alpha = |default: f32| node.float("alpha").unwrap_or(default);
        let scalar = |rewriter: &mut Self, value: f32| rewriter.floats(node, &[], &[value]);
        let (op, inputs) = match node.op_type.as_deref().unwrap_or_default() {
            "Mish" => {
                let soft = self.add(node, "Softplus", &[&x]);
                ("Mul", vec![x, self.add(node, "Tanh", &[&soft])])
            }
            "Selu" => {
                let gamma = scalar(self, node.float("gamma").unwrap_or(1.050_701));
                let elu = self.elu(node, &x, alpha(1.673_263_2));
                ("Mul", vec![gamma, elu])
            }
            "Celu" => {
                // max(0, x) + min(0, a·(exp(x / a) - 1)) = a·elu(x / a).
                let a = scalar(self, alpha(1.0));
                let scaled = self.add(node, "Div", &[&x, &a]);
                let elu = self.elu(node, &scaled, 1.0);
                ("Mul", vec![a, elu])
            }
            "ThresholdedRelu" => {
                let (bound, zero) = (scalar(self, alpha(1.0)), scalar(self, 0.0));
                let above = self.add(node, "Greater", &[&x, &bound]);
                ("Where", vec![above, x, zero])
            }
            _ => ("Div", vec![x, self.local_norm(node)]),
        };
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.nodes.push(operator(op, &inputs, &[&node.output[0]]));
    }

    fn elu(&mut self, of: &NodeProto, x: &str, alpha: f32) -> String {
        let output = self.name(of, "elu");
        self.nodes.push(with(operator("Elu", &[x], &[&output]), "alpha", Given::Float(alpha)));
        output
    }

    /// What LRN divides by: (bias + alpha · mean of squares over `size` channels)^beta, zeros beyond the channels counted.
    fn local_norm(&mut self, node: &NodeProto) -> String {
        let x = node.input[0].clone();
        let size = node.int("size").unwrap_or(1).clamp(1, 1 << 16);
        let numbers = [("alpha", 1e-4), ("bias", 1.0), ("beta", 0.75)];
        let [alpha, bias, beta] = numbers.map(|(name, default)| {
            let value = node.float(name).unwrap_or(default);
            self.floats(node, &[], &[value])
        });
        let square = self.add(node, "Mul", &[&x, &x]);
        let shape = self.add(node, "Shape", &[&x]);
        // [N, C, H, W] as an image [N, 1, C, H·W], whose rows are channels.
        let (axis, rows) = (self.ints(node, &[1]), self.ints(node, &[0, 0, 0, -1]));
        let image = self.add(node, "Unsqueeze", &[&square, &axis]);
        let image = self.add(node, "Reshape", &[&image, &rows]);
        let mean = self.name(node, "mean");
        let (before, after) = ((size - 1) / 2, size - 1 - (size - 1) / 2);
        let pool = operator("AveragePool", &[&image], &[&mean]);
        let pool = with(pool, "kernel_shape", Given::Ints(&[size, 1]));
        let pool = with(pool, "pads", Given::Ints(&[before, 0, after, 0]));
        let pool = with(pool, "strides", Given::Ints(&[1, 1]));
        self.nodes.push(with(pool, "count_include_pad", Given::Int(1)));
        let mean = self.add(node, "Reshape", &[&mean, &shape]);
        let scaled = self.add(node, "Mul", &[&mean, &alpha]);
        let sum = self.add(node, "Add", &[&scaled, &bias]);
        self.add(node, "Pow", &[&sum, &beta])
    }
}
