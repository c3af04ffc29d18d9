//! Which operators run: rten's, and those that are rewritten for it.

use std::collections::HashMap;

use rten_onnx::onnx::{AttributeProto, GraphProto, NodeProto};

use super::attributes::Attributes;
use crate::weights::onnx::operator;

/// ONNX's own operators that rten computes.
const OWN: &str = "Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization \
    BitCast Cast CastLike Ceil Clip Concat ConcatFromSequence Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos \
    Cosh CumSum DequantizeLinear DepthToSpace Div DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten \
    Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample \
    HardSigmoid HardSwish Identity If InstanceNormalization IsInf IsNaN LSTM LayerNormalization LeakyRelu Less LessOrEqual \
    Log LogSoftmax Loop LpNormalization MatMul MatMulInteger Max MaxPool Mean Min Mod Mul Neg NonMaxSuppression NonZero Not \
    OneHot Or PRelu Pad Pow QuantizeLinear RMSNormalization Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum \
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence \
    RotaryEmbedding Round ScatterElements ScatterND Scatter SequenceAt SequenceConstruct SequenceEmpty SequenceErase \
    SequenceInsert SequenceLength Shape Sigmoid Sign SimplifiedLayerNormalization Sin Sinh Size Slice Softmax Softplus \
    Softsign Split SplitToSequence Sqrt Squeeze Sub Sum Swish Tan Tanh Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor";

/// ONNX Runtime's operators that rten computes.
const MICROSOFT: &str = "BiasGelu DynamicQuantizeLSTM FastGelu Gelu GroupQueryAttention MatMulNBits MultiHeadAttention \
    QuickGelu RotaryEmbedding SkipLayerNormalization SkipSimplifiedLayerNormalization";

/// Operators that [`super::rewrite`] replaces.
const REWRITTEN: &str = "Dropout RNN QLinearConv QLinearMatMul Mish Selu Celu ThresholdedRelu LRN com.microsoft:QGemm \
    com.microsoft:QLinearAdd com.microsoft:QLinearMul com.microsoft:QLinearSigmoid com.microsoft:QLinearLeakyRelu \
    com.microsoft:QLinearGlobalAveragePool com.microsoft:QLinearConcat";

/// What an operator is refused for.
pub(super) fn refused(node: &NodeProto, opset: i64) -> Option<String> {
    let op = operator(node);
    let listed = |list: &str, name: &str| list.split_ascii_whitespace().any(|known| known == name);
    let known = listed(REWRITTEN, &op)
        || listed(OWN, &op)
        || op.strip_prefix("com.microsoft:").is_some_and(|name| listed(MICROSOFT, name));
    if !known {
        return Some(op);
    }
    let text = |name: &str| node.text(name).unwrap_or_default().to_owned();
    // What rten would compute in another way than the file says, or refuses when it runs.
    match op.as_str() {
        "Resize" | "Upsample" if text("mode") == "cubic" => Some(format!("{op} with mode cubic")),
        "Resize" if opset < 11 => Some("Resize of version 10".into()),
        "Dropout" if node.output.get(1).is_some_and(|mask| !mask.is_empty()) => {
            Some("Dropout whose mask is read".into())
        }
        "MaxPool" if node.output.len() > 1 => Some("MaxPool whose indices are read".into()),
        "ConvTranspose" if text("auto_pad") == "SAME_LOWER" => Some("ConvTranspose with auto_pad SAME_LOWER".into()),
        "Conv" | "MaxPool" | "AveragePool" if text("auto_pad") == "SAME_LOWER" && has_strides(node) => {
            Some(format!("{op} with auto_pad SAME_LOWER and strides"))
        }
        "ConvInteger" | "QLinearConv" if text("auto_pad").starts_with("SAME") && has_strides(node) => {
            Some(format!("{op} with auto_pad {} and strides", text("auto_pad")))
        }
        "com.microsoft:DynamicQuantizeLSTM" if node.int("input_forget").unwrap_or(0) != 0 => {
            Some(format!("{op} with input_forget"))
        }
        "LSTM" | "com.microsoft:DynamicQuantizeLSTM"
            if node.input.get(7).is_some_and(|peepholes| !peepholes.is_empty()) =>
        {
            Some(format!("{op} with peepholes"))
        }
        "LSTM" | "GRU" | "RNN" | "com.microsoft:DynamicQuantizeLSTM"
            if node.input.get(4).is_some_and(|lengths| !lengths.is_empty()) =>
        {
            Some(format!("{op} with sequence_lens"))
        }
        "LSTM" | "GRU" | "RNN" | "com.microsoft:DynamicQuantizeLSTM"
            if node.float("clip").is_some_and(|clip| clip != 0.0) =>
        {
            Some(format!("{op} with clip"))
        }
        "LSTM" | "GRU" | "RNN" if node.int("layout").is_some_and(|layout| layout != 0) => {
            Some(format!("{op} with layout 1"))
        }
        "LSTM" | "GRU" | "RNN" | "com.microsoft:DynamicQuantizeLSTM" if !functions_fit(&op, node) => {
            Some(format!("{op} with other activations"))
        }
        "com.microsoft:QLinearGlobalAveragePool" if node.int("channels_last").unwrap_or(0) != 0 => {
            Some(format!("{op} with channels_last"))
        }
        _ => None,
    }
}

/// Windows over more than two dimensions; `ranks` are those of the graph's constants.
fn over_volumes(node: &NodeProto, ranks: &HashMap<&str, usize>) -> Option<String> {
    let op = operator(node);
    let filters = match op.as_str() {
        "Conv" | "ConvTranspose" | "ConvInteger" => node.input.get(1),
        "QLinearConv" => node.input.get(3),
        "MaxPool" | "AveragePool" => None,
        _ => return None,
    };
    let stated = node.ints("kernel_shape").map_or(0, <[i64]>::len);
    let filters = filters.and_then(|name| ranks.get(name.as_str())).map_or(0, |rank| rank.saturating_sub(2));
    let dimensions = stated.max(filters);
    (dimensions > 2).then(|| format!("{op} over {dimensions} dimensions"))
}

/// Largest extent, step or padding of a window.
const LARGEST: i64 = 1 << 16;

/// An operator of windows that states what no network does, if there is one: a damaged file can ask for more memory than there is.
pub(super) fn absurd(graph: &GraphProto) -> Option<String> {
    const OF_WINDOWS: [&str; 5] = ["pads", "strides", "dilations", "kernel_shape", "output_padding"];
    let mut found = None;
    for_each(graph, &mut |node| {
        for name in OF_WINDOWS {
            let list = node.ints(name).unwrap_or_default();
            // Pad itself may cut.
            let least = if node.op_type.as_deref() == Some("Pad") { -LARGEST } else { 0 };
            if list.iter().any(|value| !(least..=LARGEST).contains(value)) {
                found.get_or_insert_with(|| format!("{}: its {name} are {list:?}", super::rten_model::title(node)));
            }
        }
    });
    found
}

fn has_strides(node: &NodeProto) -> bool {
    node.ints("strides").unwrap_or_default().iter().any(|&stride| stride != 1)
}

/// Whether the activations of a recurrence are those that it is computed with.
fn functions_fit(op: &str, node: &NodeProto) -> bool {
    let all = node.texts("activations");
    let usual: &[&str] = match op {
        "LSTM" | "com.microsoft:DynamicQuantizeLSTM" => &["Sigmoid", "Tanh", "Tanh"],
        "GRU" => &["Sigmoid", "Tanh"],
        _ => return all.iter().all(|name| ["Tanh", "Relu", "Sigmoid"].contains(&name.as_str())),
    };
    all.iter().zip(usual.iter().cycle()).all(|(name, usual)| name == usual)
}

/// Every operator of `graph`, and of the graphs in it, that cannot be run, once each and in order, with how often it occurs.
pub(super) fn unsupported(graph: &GraphProto, opset: i64) -> Vec<(String, usize)> {
    let mut all: Vec<(String, usize)> = Vec::new();
    let ranks = graph.initializer.iter().filter_map(|tensor| Some((tensor.name.as_deref()?, tensor.dims.len())));
    let ranks: HashMap<&str, usize> = ranks.collect();
    for_each(graph, &mut |node| {
        if let Some(what) = refused(node, opset).or_else(|| over_volumes(node, &ranks)) {
            match all.iter_mut().find(|(known, _)| *known == what) {
                Some((_, count)) => *count += 1,
                None => all.push((what, 1)),
            }
        }
    });
    all
}

/// Calls `each` with every operator of `graph`, and of the graphs in it.
pub(super) fn for_each(graph: &GraphProto, each: &mut dyn FnMut(&NodeProto)) {
    for node in &graph.node {
        each(node);
        subgraphs(node).for_each(|inner| for_each(inner, each));
    }
}

/// The graphs in `node`.
pub(super) fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().filter_map(|attribute: &AttributeProto| attribute.g.as_ref())
}

#[cfg(test)]
mod tests {
    use rten_onnx::onnx::{ModelProto, OperatorSetIdProto};

    use super::*;

    /// The error of loading a model of one operator.
    fn load(op: &str, domain: &str) -> String {
        let node = NodeProto {
            op_type: Some(op.into()),
            domain: Some(domain.into()),
            output: vec!["y".into()],
            ..NodeProto::default()
        };
        let set = |domain: &str| OperatorSetIdProto { domain: Some(domain.into()), version: Some(21) };
        let model = ModelProto {
            ir_version: Some(8),
            opset_import: vec![set(""), set("com.microsoft")],
            graph: Some(GraphProto { node: vec![node], ..GraphProto::default() }),
            ..ModelProto::default()
        };
        let loaded = rten::ModelOptions::with_all_ops().enable_optimization(false).load(model.write_buf().unwrap());
        loaded.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn rten_has_every_operator_of_the_lists_and_none_that_is_rewritten() {
        let missing = |op: &str, domain: &str| load(op, domain).contains("not supported or not enabled");
        let own = OWN.split_ascii_whitespace().filter(|op| *op != "Constant");
        let all = own.map(|op| (op, "")).chain(MICROSOFT.split_ascii_whitespace().map(|op| (op, "com.microsoft")));
        let wrong: Vec<&str> = all.filter(|(op, domain)| missing(op, domain)).map(|(op, _)| op).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(missing("QLinearConv", "") && missing("Mish", ""));
    }
}
