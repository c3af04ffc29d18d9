//! The tensors of a graph: which are constants, which are asked for, of what extents they are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rten::{ThreadPool, Value};
use rten_onnx::onnx::{DataType, GraphProto, NodeProto};

use super::attributes::operator;
use super::find::multiplies;
use super::inputs::GraphInput;
use super::operators;
use super::rten_model::RtenModel;
use crate::Result;
use crate::input::InputType;
use crate::weights::onnx::{name_of, operator as kind};

/// Learned values: constants of floats or bytes that are no scalars, but the statistics of batch norms.
pub(super) fn parameters(graph: &GraphProto) -> usize {
    let norms = graph.node.iter().filter(|node| kind(node) == "BatchNormalization");
    let statistics: HashSet<&str> = norms.flat_map(|node| node.input.iter().skip(3)).map(String::as_str).collect();
    let learned = |tensor: &&rten_onnx::onnx::TensorProto| {
        let kind = tensor.data_type.is_some_and(|kind| {
            [DataType::FLOAT, DataType::FLOAT16, DataType::DOUBLE, DataType::BFLOAT16, DataType::INT8, DataType::UINT8]
                .contains(&kind)
        });
        kind && !tensor.dims.is_empty() && !tensor.name.as_deref().is_some_and(|name| statistics.contains(name))
    };
    let count = |dims: &[i64]| dims.iter().map(|&extent| usize::try_from(extent).unwrap_or(0)).product::<usize>();
    graph.initializer.iter().filter(learned).map(|tensor| count(&tensor.dims)).sum()
}

/// What may stand behind an operator that multiplies and be its layer's output: a bias, an activation.
const BEHIND: [&str; 7] = ["Add", "Relu", "Clip", "LeakyRelu", "HardSwish", "Sigmoid", "Tanh"];

/// Adds to `graph` operators that give the extents of what operators that multiply read and make, of what may stand behind them, and
/// of what is `given`. Returns these tensors.
pub(super) fn ask_for_shapes<'a>(
    graph: &mut GraphProto,
    measured: &[NodeProto],
    given: impl Iterator<Item = &'a String>,
) -> Vec<String> {
    let multiplying = measured.iter().filter(|node| multiplies(&kind(node)));
    let tensors = multiplying.flat_map(|node| node.input.iter().chain(&node.output));
    let made = names(graph);
    let known = |name: &&String| !name.is_empty() && made.contains(*name);
    let mut sized: Vec<String> = tensors.filter(known).cloned().collect();
    // Codes that are dequantised right before are asked for in their place.
    let before = measured.iter().filter(|node| kind(node) == "DequantizeLinear");
    sized.extend(before.filter_map(|node| node.input.first().cloned()));
    let behind = measured.iter().filter(|node| BEHIND.contains(&kind(node).as_str()));
    sized.extend(behind.filter_map(|node| node.output.first().cloned()));
    sized.extend(given.cloned());
    sized.sort_unstable();
    sized.dedup();
    for name in &sized {
        graph.node.push(operator("Shape", &[name], &[&shape_name(name)]));
    }
    sized
}

/// Names of the tensors that depend on constants alone.
pub(super) fn constants(graph: &GraphProto) -> HashSet<String> {
    let mut constants: HashSet<String> = graph.initializer.iter().filter_map(|tensor| tensor.name.clone()).collect();
    for node in &graph.node {
        let inner = operators::subgraphs(node).next().is_some();
        if !inner && node.input.iter().all(|name| name.is_empty() || constants.contains(name)) {
            constants.extend(node.output.iter().cloned());
        }
    }
    constants
}

fn shape_name(tensor: &str) -> String {
    format!("{tensor}//shape")
}

/// Names of the constants of floats that are large enough to be held once.
pub(super) fn large_floats(graph: &GraphProto) -> HashSet<String> {
    let large = |tensor: &&rten_onnx::onnx::TensorProto| {
        tensor.data_type == Some(DataType::FLOAT)
            && tensor.raw_data.as_ref().is_some_and(|raw| raw.borrow().len() >= 1 << 14)
    };
    let outputs: Vec<&str> = graph.output.iter().map(name_of).collect();
    let names = graph.initializer.iter().filter(large).filter_map(|tensor| tensor.name.clone());
    names.filter(|name| !outputs.contains(&name.as_str())).collect()
}

/// Names of all tensors.
pub(super) fn names(graph: &GraphProto) -> HashSet<String> {
    let inputs = graph.input.iter().map(|input| name_of(input).to_owned());
    let constants = graph.initializer.iter().filter_map(|tensor| tensor.name.clone());
    let made = graph.node.iter().flat_map(|node| node.output.iter().cloned());
    inputs.chain(constants).chain(made).filter(|name| !name.is_empty()).collect()
}

/// Extents of the tensors `sized`, from one run of an input whose values nobody sees.
pub(super) fn shapes(
    model: &RtenModel,
    inputs: &[&GraphInput],
    sized: &[String],
    threads: &Arc<ThreadPool>,
) -> Result<HashMap<String, Vec<usize>>> {
    let asked: Vec<String> = sized.iter().map(|name| shape_name(name)).filter(|name| model.has(name)).collect();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    // Integers may be token ids, or masks: 1 is either; or indices, of which 0 is always one.
    let run = |integer: f32| {
        let value = |input: &&GraphInput| {
            // Values between 0 and 1, none like its neighbours.
            let value = |i: usize| match input.spec.dtype {
                InputType::Float => (i.wrapping_mul(2_654_435_761) >> 8 & 0xffff) as f32 / 65536.0,
                InputType::Integer => integer,
                InputType::Bool => 1.0,
            };
            let values: Vec<f32> = (0..input.spec.elements()).map(value).collect();
            Some((input.spec.name.clone(), input.value(&values)?))
        };
        model.run(inputs.iter().filter_map(value).collect(), vec![], &asked, threads)
    };
    let values = run(1.0).or_else(|first| run(0.0).map_err(|_| first))?;
    let dims = |value: Value| {
        let dims = value.into_tensor::<i32>()?.into_data();
        Some(dims.into_iter().map(|extent| usize::try_from(extent).unwrap_or(0)).collect::<Vec<_>>())
    };
    let known = sized.iter().filter(|name| model.has(&shape_name(name)));
    Ok(known.cloned().zip(values).filter_map(|(name, value)| Some((name, dims(value)?))).collect())
}
