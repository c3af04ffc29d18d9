//! Products of 8-bit integers on CPUs whose instruction for them saturates.

use rten_gemm::GemmExecutor;
use rten_onnx::onnx::NodeProto;

use crate::weights::onnx::operator as kind;

/// Whether products of 8-bit integers, added in pairs, can leave the 16 bits that this CPU adds them in: where it lacks VNNI.
pub(super) fn can_saturate() -> bool {
    GemmExecutor::<u8, i8, i32>::default().may_saturate()
}

/// A sentence for a graph of `nodes` that multiplies 8-bit integers, where these saturate; `None` for others.
pub(super) fn note(source: &str, nodes: &[NodeProto], saturates: bool) -> Option<String> {
    let integers = |node: &NodeProto| {
        matches!(kind(node).as_str(), "ConvInteger" | "MatMulInteger" | "com.microsoft:DynamicQuantizeLSTM")
    };
    let is_affected = saturates && nodes.iter().any(integers);
    is_affected.then(|| {
        format!(
            "{source}: this CPU has no VNNI instructions, and adds products of 8-bit integers in 16 bits: where weights need more \
             than 7 bits its outputs can differ from those of other machines"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_noted_of_integers_on_such_a_cpu() {
        let node = |op: &str| NodeProto { op_type: Some(op.into()), ..NodeProto::default() };
        let noted = |op: &str, saturates| note("net.onnx", &[node("Relu"), node(op)], saturates).is_some();
        assert!(noted("ConvInteger", true) && noted("MatMulInteger", true));
        assert!(!noted("Conv", true) && !noted("ConvInteger", false));
    }
}
