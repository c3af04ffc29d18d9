//! Multiply-accumulates of operators that are not measured, where the extents of their tensors tell.

use std::collections::HashMap;

use rten_onnx::onnx::NodeProto;

use super::product::Labels;
use crate::weights::onnx::operator as kind;

/// MACs of `node` for one input, if they follow from the extents of its tensors.
pub(super) fn macs(node: &NodeProto, shapes: &HashMap<String, Vec<usize>>) -> Option<u64> {
    let dims = |index: usize| shapes.get(node.input.get(index)?).map(Vec::as_slice);
    let count = |dims: &[usize]| dims.iter().map(|&extent| extent as u64).product::<u64>();
    let given = || shapes.get(node.output.first()?);
    match kind(node).as_str() {
        // Each output value is a sum over a window of the channels of a group.
        "Conv" | "ConvInteger" => Some(count(given()?) * count(dims(1)?.get(1..)?)),
        // Each input value meets every tap of every filter of its group.
        "ConvTranspose" => Some(count(dims(0)?) * count(dims(1)?.get(1..)?)),
        "Gemm" | "MatMul" | "MatMulInteger" | "Einsum" => {
            let both = [dims(0)?, dims(1)?];
            Some(Labels::of(node, both).ok()?.macs(both))
        }
        // Both products, at each step of each sequence.
        "LSTM" | "GRU" | "RNN" => {
            let &[steps, sequences, ..] = dims(0)? else { return None };
            Some((steps * sequences) as u64 * (count(dims(1)?) + count(dims(2)?)))
        }
        _ => None,
    }
}
