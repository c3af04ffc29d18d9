//! Multiply-accumulates of operators that are not measured, where the extents of their tensors tell.

use std::collections::HashMap;

use rten_onnx::onnx::NodeProto;

use super::super::attributes::Attributes;
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
        // Both products of each head: queries times keys, probabilities times values.
        "Attention" => {
            let past = node.input.get(4).filter(|name| !name.is_empty()).map(|name| shapes.get(name.as_str()));
            // [B, heads, steps, features].
            let past = past.map_or(Some(0), |dims| Some(*dims?.get(2)?))?;
            let heads = |attribute: &str| usize::try_from(node.int(attribute)?).ok();
            let of = |index: usize, attribute: &str| match *dims(index)? {
                [sequences, heads, steps, features] => Some([sequences, heads, steps, features]),
                [sequences, steps, all] => {
                    let heads = heads(attribute).filter(|heads| *heads > 0)?;
                    Some([sequences, heads, steps, all / heads])
                }
                _ => None,
            };
            let ([sequences, heads, queries, features], [_, _, keys, values]) =
                (of(0, "q_num_heads")?, of(2, "kv_num_heads")?);
            Some((sequences * heads * queries) as u64 * ((keys + past) * (features + values)) as u64)
        }
        "com.microsoft:MultiHeadAttention" => {
            let (&[sequences, queries, features], &[_, keys, values]) = (dims(0)?, dims(2)?) else { return None };
            let past = node.input.get(6).is_some_and(|name| !name.is_empty());
            (!past).then(|| (sequences * queries * keys) as u64 * (features + values) as u64)
        }
        _ => None,
    }
}
