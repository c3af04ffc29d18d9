//! Quantised checkpoints: PyTorch's quantised modules, and weights with a `weight_scale`.
//!
//! In our own layout `<layer>.weight` is I8, `[K, ...]`. `<layer>.weight_scale` is one scale, one per filter, or `[K, G]`:
//! one for each of G equal parts of a filter. `<layer>.weight_zero_point` is one integer, 0 by default. A network with
//! integer activations also has `<layer>.input_scale`, `.input_zero_point`, `.output_scale` and `.output_zero_point`, and may
//! have `<layer>.bias` as I32, in the scale of its sums. The header's `quant.act_dtype` says whether activations are `u8` or
//! `i8`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::IntegerTensor;
use super::tensor::{Content, Tensor};
use crate::{Error, Result};

/// Quantisation parameters of an 8-bit activation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// The real value of one step of the code.
    pub scale: f32,
    /// Code of zero.
    pub zero_point: i32,
    /// Whether codes are -128..=127 or 0..=255.
    pub signed: bool,
}

/// Quantisation parameters of the activations in a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Quantised {
    /// Of the output of each layer, by its name.
    pub outputs: BTreeMap<String, Affine>,
    /// Of the input of each layer, by its name; PyTorch stores only that of the network's input, as `quant`.
    pub inputs: BTreeMap<String, Affine>,
    /// Integer biases in the scale of their sums, by layer.
    pub sums: BTreeMap<String, Vec<i32>>,
}

/// Takes the quantisation parameters out of `tensors`; `None` if the network is float.
pub(super) fn take(tensors: &mut BTreeMap<String, Tensor>, source: &str, signed: bool) -> Result<Option<Quantised>> {
    let torch = tensors.values().any(Tensor::is_quantised);
    let scaled = tensors.keys().filter(|name| name.ends_with(".weight_scale"));
    let scaled: Vec<String> = scaled.filter_map(|name| name.strip_suffix("_scale")).map(String::from).collect();
    if !torch && !scaled.iter().any(|name| tensors.get(name).is_some_and(|weight| weight.dtype() == "I8")) {
        return Ok(None);
    }
    let mut quantised = Quantised::default();
    if torch {
        unpack(tensors);
        let pair = |scale: &String| {
            let name = scale.strip_suffix(".scale")?;
            tensors.contains_key(&format!("{name}.zero_point")).then(|| name.to_owned())
        };
        let names: Vec<String> = tensors.keys().filter_map(pair).collect();
        for name in names {
            if let Some(affine) =
                affine(tensors, source, &format!("{name}.scale"), &format!("{name}.zero_point"), false)?
            {
                let to = if name == "quant" { &mut quantised.inputs } else { &mut quantised.outputs };
                to.insert(name, affine);
            }
        }
        return Ok(Some(quantised));
    }
    let wrong = |name: &str, detail: String| Error::malformed(format!("{source}: {name}"), detail);
    for name in scaled {
        let layer = name.strip_suffix(".weight").unwrap_or_default().to_owned();
        for (operand, to) in [("input", &mut quantised.inputs), ("output", &mut quantised.outputs)] {
            let (scale, zero) = (format!("{layer}.{operand}_scale"), format!("{layer}.{operand}_zero_point"));
            if let Some(affine) = affine(tensors, source, &scale, &zero, signed)? {
                to.insert(layer.clone(), affine);
            }
        }
        let scale = format!("{name}_scale");
        let scales = numbers(tensors, source, &scale)?.unwrap_or_default();
        let zero_point = numbers(tensors, source, &format!("{name}_zero_point"))?.unwrap_or_else(|| vec![0.0]);
        let zero = zero_point.first().copied().unwrap_or(0.0);
        if zero_point.iter().any(|&other| other != zero) || zero.abs() > 128.0 {
            return Err(wrong(&name, format!("zero points {zero_point:?}: only one of 8 bits can be read")));
        }
        let Some(weight) = tensors.remove(&name) else {
            return Err(wrong(&scale, "there is no weight for it".to_owned()));
        };
        let weight = weight.scaled(&scales, zero as i32).map_err(|detail| wrong(&name, detail))?;
        if let (Some(input), Some(bias)) = (quantised.inputs.get(&layer), tensors.get(&format!("{layer}.bias")))
            && bias.dtype() == "I32"
        {
            let name = format!("{layer}.bias");
            let sums = numbers(tensors, source, &name)?.unwrap_or_default();
            if ![1, sums.len()].contains(&scales.len()) {
                return Err(wrong(&name, format!("{} integers for {} scales", sums.len(), scales.len())));
            }
            let scale = |i: usize| input.scale * scales[if scales.len() == 1 { 0 } else { i }];
            let floats: Arc<[f32]> = sums.iter().enumerate().map(|(i, sum)| sum * scale(i)).collect();
            quantised.sums.insert(layer.clone(), sums.iter().map(|&sum| sum as i32).collect());
            tensors.insert(name, Tensor { shape: vec![floats.len()], content: Content::Values(floats) });
        }
        tensors.insert(name, weight);
    }
    // Sums of two activations have no weights.
    let rest: Vec<String> =
        tensors.keys().filter_map(|name| name.strip_suffix(".output_scale")).map(String::from).collect();
    for layer in rest {
        let (scale, zero) = (format!("{layer}.output_scale"), format!("{layer}.output_zero_point"));
        if let Some(affine) = affine(tensors, source, &scale, &zero, signed)? {
            quantised.outputs.insert(layer, affine);
        }
    }
    Ok(Some(quantised))
}

/// PyTorch stores weight and bias of a linear layer as a pair.
fn unpack(tensors: &mut BTreeMap<String, Tensor>) {
    for (part, name) in [("0", "weight"), ("1", "bias")] {
        let packed = format!("._packed_params._packed_params.{part}");
        let found: Vec<String> = tensors.keys().filter(|name| name.ends_with(&packed)).cloned().collect();
        for old in found {
            if let Some(tensor) = tensors.remove(&old) {
                tensors.insert(format!("{}.{name}", &old[..old.len() - packed.len()]), tensor);
            }
        }
    }
}

/// Takes the values of a tensor, if it exists.
fn numbers(tensors: &mut BTreeMap<String, Tensor>, source: &str, name: &str) -> Result<Option<Vec<f32>>> {
    let Some(tensor) = tensors.remove(name) else { return Ok(None) };
    let values = tensor.read().map_err(|_| Error::malformed(format!("{source}: {name}"), "is not finite"))?;
    Ok(Some(values.to_vec()))
}

/// Takes a scale and its zero point, if they exist.
fn affine(
    tensors: &mut BTreeMap<String, Tensor>,
    source: &str,
    scale: &str,
    zero_point: &str,
    signed: bool,
) -> Result<Option<Affine>> {
    let Some(scales) = numbers(tensors, source, scale)? else { return Ok(None) };
    let zero_points = numbers(tensors, source, zero_point)?.unwrap_or_else(|| vec![0.0]);
    let range = if signed { -128.0..=127.0 } else { 0.0..=255.0 };
    match (scales.as_slice(), zero_points.as_slice()) {
        (&[value], &[zero]) if value > 0.0 && range.contains(&zero) && zero.fract() == 0.0 => {
            Ok(Some(Affine { scale: value, zero_point: zero as i32, signed }))
        }
        _ => {
            let detail = format!("scale {scales:?} and zero point {zero_points:?} of 8-bit integers");
            Err(Error::malformed(format!("{source}: {scale}"), detail))
        }
    }
}

impl super::Weights {
    /// Quantisation parameters of the activations, if the network is an integer one.
    pub fn quantised(&self) -> Option<&Quantised> {
        self.quantised.as_deref()
    }

    /// The integers that the tensor `name` is stored as, if it has scales.
    pub fn integers(&self, name: &str) -> Option<IntegerTensor> {
        self.tensors.get(name)?.integers()
    }
}
