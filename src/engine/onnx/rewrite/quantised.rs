//! Operators of 8-bit integers that rten lacks: exact integer sums, then the rounding of ONNX Runtime.

use rten_onnx::onnx::NodeProto;

use super::super::attributes::{Attributes, Given, operator, with};
use super::Rewriter;
use crate::weights::onnx::operator as kind;

impl Rewriter<'_> {
    /// Input `index` of `node`; empty if it is left out.
    fn given<'n>(&self, node: &'n NodeProto, index: usize) -> &'n str {
        node.input.get(index).map_or("", String::as_str)
    }

    /// Input `index`, a scalar even where the file has a list of one.
    fn scalar(&mut self, node: &NodeProto, index: usize) -> String {
        let name = self.given(node, index).to_owned();
        match self.known.get(&name) {
            Some(tensor) if tensor.dims.iter().product::<i64>() == 1 && !tensor.dims.is_empty() => {
                let shape = self.ints(node, &[]);
                self.add(node, "Reshape", &[&name, &shape])
            }
            _ => name,
        }
    }

    /// QLinearConv: x, its scale and zero point, w, w's, y's, bias.
    pub(super) fn quantised_conv(&mut self, node: &NodeProto) {
        let (x, w) = (self.given(node, 0).to_owned(), self.given(node, 3).to_owned());
        let zeros = [self.scalar(node, 2), self.scalar(node, 5)];
        let rank = self.dims(&w).map_or(4, <[i64]>::len);
        let sums = self.name(node, "sums");
        let mut conv = operator("ConvInteger", &[&x, &w, &zeros[0], &zeros[1]], &[&sums]);
        (conv.name, conv.attribute) = (node.name.clone(), node.attribute.clone());
        let conv = self.with_kernel_shape(conv);
        self.measure_with_scales(node, &conv, 7);
        self.padded_by_zero_point(conv);
        // One value a filter, along the second axis.
        let filters: Vec<i64> = (0..rank).map(|axis| if axis == 1 { -1 } else { 1 }).collect();
        let filters = self.ints(node, &filters);
        let bias = self.given(node, 8).to_owned();
        let sums = if bias.is_empty() {
            sums
        } else {
            let bias = self.add(node, "Reshape", &[&bias, &filters]);
            self.add(node, "Add", &[&sums, &bias])
        };
        let scale = self.product_of_scales(node, [1, 4], Some(6));
        let scale = self.add(node, "Reshape", &[&scale, &filters]);
        self.requantize(node, &sums, &scale, Some(7));
    }

    /// QLinearMatMul and QGemm: a, its scale and zero point, b, b's, (QGemm: bias,) y's.
    pub(super) fn quantised_product(&mut self, node: &NodeProto) {
        let gemm = kind(node).ends_with("QGemm");
        let transposed = |name: &str| gemm && node.int(name) == Some(1);
        let [a, b] = [(0, "transA"), (3, "transB")].map(|(index, flag)| {
            let name = self.given(node, index).to_owned();
            if !transposed(flag) {
                return name;
            }
            let output = self.name(node, "transposed");
            self.nodes.push(with(operator("Transpose", &[&name], &[&output]), "perm", Given::Ints(&[1, 0])));
            output
        });
        let zeros = [self.scalar(node, 2), self.scalar(node, 5)];
        let sums = self.name(node, "sums");
        let mut product = operator("MatMulInteger", &[&a, &b, &zeros[0], &zeros[1]], &[&sums]);
        product.name.clone_from(&node.name);
        let to = if gemm { 8 } else { 7 };
        self.measure_with_scales(node, &product, to);
        self.nodes.push(product);
        let (bias, output) = if gemm { (self.given(node, 6).to_owned(), 7) } else { (String::new(), 6) };
        let sums = if bias.is_empty() { sums } else { self.add(node, "Add", &[&sums, &bias]) };
        let to = (!self.given(node, output).is_empty()).then_some(output);
        let scale = self.product_of_scales(node, [1, 4], to);
        let scale = match node.float("alpha").filter(|alpha| gemm && *alpha != 1.0) {
            Some(alpha) => {
                let alpha = self.floats(node, &[], &[alpha]);
                self.add(node, "Mul", &[&scale, &alpha])
            }
            None => scale,
        };
        self.requantize(node, &sums, &scale, to.map(|output| output + 1));
    }

    /// The sums of `node` as they are measured: its scales behind their inputs, and the zero point of its output, input `zero`.
    fn measure_with_scales(&mut self, node: &NodeProto, sums: &NodeProto, zero: usize) {
        let mut measured = sums.clone();
        measured.input.extend([1, 4, zero].map(|index| self.given(node, index).to_owned()));
        self.measured.push(measured);
    }

    /// The product of the scales `factors`, divided by the scale `by`, in the order of ONNX Runtime.
    fn product_of_scales(&mut self, node: &NodeProto, factors: [usize; 2], by: Option<usize>) -> String {
        let [first, second] = factors.map(|index| self.given(node, index).to_owned());
        let product = self.add(node, "Mul", &[&first, &second]);
        match by {
            Some(by) => {
                let by = self.given(node, by).to_owned();
                self.add(node, "Div", &[&product, &by])
            }
            None => product,
        }
    }

    /// From sums to the output of `node`: codes with the zero point at input `zero`, or floats.
    fn requantize(&mut self, node: &NodeProto, sums: &str, scale: &str, zero: Option<usize>) {
        let floats = self.add_with(node, "Cast", &[sums], &[("to", 1)]);
        let Some(zero) = zero else {
            return self.nodes.push(operator("Mul", &[&floats, scale], &[&node.output[0]]));
        };
        let scaled = self.add(node, "Mul", &[&floats, scale]);
        let (one, zero) = (self.floats(node, &[], &[1.0]), self.scalar(node, zero));
        self.nodes.push(operator("QuantizeLinear", &[&scaled, &one, &zero], &[&node.output[0]]));
    }

    /// Those that compute with floats: dequantised, computed, quantised.
    pub(super) fn quantised_others(&mut self, node: &NodeProto) {
        let op = kind(node);
        let op = op.trim_start_matches("com.microsoft:QLinear");
        let floats = |rewriter: &mut Self, first: usize| {
            let x = rewriter.given(node, first).to_owned();
            let [scale, zero] = [first + 1, first + 2].map(|index| rewriter.scalar(node, index));
            rewriter.add(node, "DequantizeLinear", &[&x, &scale, &zero])
        };
        let (inputs, to) = match op {
            "Add" | "Mul" => (vec![floats(self, 0), floats(self, 3)], 6),
            "Concat" => ((2..node.input.len()).step_by(3).map(|first| floats(self, first)).collect(), 0),
            _ => (vec![floats(self, 0)], 3),
        };
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let output = self.name(node, op);
        let mut inner = operator(op, &inputs, &[&output]);
        let kept = |name: Option<&str>| matches!(name, Some("axis" | "alpha"));
        inner.attribute = node.attribute.iter().filter(|a| kept(a.name.as_deref())).cloned().collect();
        self.nodes.push(inner);
        let [scale, zero] = [to, to + 1].map(|index| self.scalar(node, index));
        self.nodes.push(operator("QuantizeLinear", &[&output, &scale, &zero], &[&node.output[0]]));
    }
}
