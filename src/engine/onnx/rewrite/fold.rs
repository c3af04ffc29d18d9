//! Batch norm folded into the convolution before it, in the file's own graph.

use std::collections::HashMap;

use rten_onnx::onnx::{DataType, GraphProto, NodeProto, TensorProto};

use super::super::attributes::Attributes;
use crate::weights::onnx::{Values, constant, operator as kind};

/// Folds every batch norm into the convolution before it, if nothing else reads that convolution and all parameters are
/// constants, as [`crate::graph::passes::fold_norm`] does: `w' = w·s`, `b' = b·s + t` in f64, rounded once. Returns whether the
/// graph had any batch norm.
pub(in super::super) fn fold_norm(graph: &mut GraphProto) -> bool {
    let mut readers: HashMap<String, usize> = HashMap::new();
    for name in graph.node.iter().flat_map(|node| &node.input) {
        *readers.entry(name.clone()).or_default() += 1;
    }
    for output in &graph.output {
        *readers.entry(output.name.clone().unwrap_or_default()).or_default() += 1;
    }
    let makers: HashMap<String, usize> = (graph.node.iter().enumerate())
        .flat_map(|(i, node)| node.output.iter().map(move |output| (output.clone(), i)))
        .collect();
    let norms: Vec<usize> = (0..graph.node.len()).filter(|&i| kind(&graph.node[i]) == "BatchNormalization").collect();
    // A graph within may read any tensor.
    if graph.node.iter().any(|node| node.attribute.iter().any(|attribute| attribute.g.is_some())) {
        return !norms.is_empty();
    }
    let mut gone = Vec::new();
    for &norm in &norms {
        let x = graph.node[norm].input.first().cloned().unwrap_or_default();
        let Some(&conv) = makers.get(&x).filter(|_| readers.get(&x) == Some(&1)) else { continue };
        if let Some((weight, bias)) = folded(graph, conv, norm) {
            let names = [&weight, &bias].map(|tensor| tensor.name.clone().unwrap_or_default());
            graph.initializer.extend([weight, bias]);
            let output = graph.node[norm].output[0].clone();
            let node = &mut graph.node[conv];
            let [weight, bias] = names;
            node.input.resize(3, String::new());
            (node.input[1], node.input[2], node.output[0]) = (weight, bias, output);
            gone.push(norm);
        }
    }
    let mut place = 0;
    graph.node.retain(|_| {
        place += 1;
        !gone.contains(&(place - 1))
    });
    // Replaced filters are held no more.
    let read: std::collections::HashSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
    let kept: Vec<bool> = (graph.initializer.iter())
        .map(|tensor| gone.is_empty() || tensor.name.as_ref().is_none_or(|name| read.contains(name)))
        .collect();
    let is_output = |tensor: &TensorProto| graph.output.iter().any(|output| output.name == tensor.name);
    let kept: Vec<bool> =
        kept.iter().zip(&graph.initializer).map(|(kept, tensor)| *kept || is_output(tensor)).collect();
    let mut kept = kept.into_iter();
    graph.initializer.retain(|_| kept.next().unwrap_or(true));
    !norms.is_empty()
}

/// Filters and bias of convolution `conv` with batch norm `norm` in them, if they can be folded.
fn folded(graph: &GraphProto, conv: usize, norm: usize) -> Option<(TensorProto, TensorProto)> {
    let (conv, norm) = (&graph.node[conv], &graph.node[norm]);
    let transposed = match kind(conv).as_str() {
        "Conv" => false,
        "ConvTranspose" if conv.int("group").unwrap_or(1) == 1 => true,
        _ => return None,
    };
    let used = norm.output.iter().filter(|output| !output.is_empty()).count();
    if used != 1 || norm.int("training_mode").unwrap_or(0) != 0 || norm.input.len() != 5 {
        return None;
    }
    let floats = |node: &NodeProto, input: usize| {
        let name = node.input.get(input)?;
        let tensor = graph.initializer.iter().find(|tensor| tensor.name.as_ref() == Some(name))?;
        match constant(name, tensor).ok()?.values {
            Values::Floats(values) => Some((tensor.dims.clone(), values)),
            _ => None,
        }
    };
    let (dims, mut weight) = floats(conv, 1)?;
    let out = usize::try_from(*dims.get(usize::from(transposed))?).ok()?;
    let given = conv.input.get(2).filter(|name| !name.is_empty());
    let bias = if given.is_some() { floats(conv, 2)?.1 } else { vec![0.0; out] };
    let parameters = [1, 2, 3, 4].map(|input| floats(norm, input).map(|(_, values)| values));
    let [Some(gamma), Some(beta), Some(mean), Some(variance)] = parameters else { return None };
    if [&bias, &gamma, &beta, &mean, &variance].iter().any(|values| values.len() != out) || weight.is_empty() {
        return None;
    }
    let eps = f64::from(norm.float("epsilon").unwrap_or(1e-5));
    let scales: Vec<f64> = (0..out).map(|k| f64::from(gamma[k]) / (f64::from(variance[k]) + eps).sqrt()).collect();
    let shifted = (0..out).map(|k| {
        let shift = f64::from(beta[k]) - f64::from(mean[k]) * scales[k];
        (f64::from(bias[k]) * scales[k] + shift) as f32
    });
    let taps: i64 = dims[2..].iter().product();
    let inner = usize::try_from(if transposed { taps } else { dims[1] * taps }).ok()?;
    for (i, part) in weight.chunks_mut(inner.max(1)).enumerate() {
        part.iter_mut().for_each(|w| *w = (f64::from(*w) * scales[i % out]) as f32);
    }
    let tensor = |what: &str, dims: Vec<i64>, values: Vec<f32>| TensorProto {
        name: Some(format!("{}//folded {what}", conv.output[0])),
        dims,
        data_type: Some(DataType::FLOAT),
        raw_data: Some(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()),
        ..TensorProto::default()
    };
    Some((tensor("weight", dims, weight), tensor("bias", vec![out as i64], shifted.collect())))
}
