//! Constant operands: floats, or the codes that they are dequantised from.

use std::sync::Arc;

use rten::Value;

use super::super::attributes::Attributes;
use super::Finder;
use crate::kernels::{Codes, Requantize, Rounding};
use crate::layers::{IntegerWeights, Param};
use crate::weights::onnx::operator as kind;
use crate::{Error, Result};

/// A tensor that is dequantised from 8-bit codes with one scale and zero point.
pub(super) struct Coded {
    /// The tensor of the codes.
    pub codes: String,
    /// What they are.
    pub of: Codes,
}

/// Constant weights, as they are held: floats, or codes less their zero point.
pub(super) struct Held {
    pub dims: Vec<usize>,
    pub values: Vec<f32>,
    pub codes: Option<HeldCodes>,
}

/// How held codes become floats.
pub(super) struct HeldCodes {
    pub scales: Vec<f32>,
    /// The axis along which scales differ.
    pub axis: usize,
    pub zero_point: i32,
    pub signed: bool,
}

impl Held {
    /// The values with axes in the order `axes`, merged into a matrix or filters of extents `shape`.
    pub fn ordered(&self, axes: &[usize], shape: Vec<usize>) -> Param {
        let stride = |axis: usize| self.dims[axis + 1..].iter().product::<usize>();
        let identity = axes.iter().copied().eq(0..self.dims.len());
        let data: Arc<[f32]> = if identity {
            self.values.as_slice().into()
        } else {
            // Where an index over the axes in their new order is.
            let axes: Vec<[usize; 2]> = axes.iter().map(|&axis| [self.dims[axis], stride(axis)]).collect();
            let (mut index, mut place) = (vec![0; axes.len()], 0);
            let next = |_| {
                let value = self.values[place];
                for (index, [extent, stride]) in index.iter_mut().zip(&axes).rev() {
                    (*index, place) = (*index + 1, place + stride);
                    if *index < *extent {
                        break;
                    }
                    place -= *index * stride;
                    *index = 0;
                }
                value
            };
            (0..self.values.len()).map(next).collect()
        };
        Param { shape, data: data.into() }
    }

    /// What makes a layer one of integers, if its scales are one, or one a filter: along the axes `filters`.
    pub fn integer(&self, filters: &[usize], biases: usize, relu: bool) -> Option<IntegerWeights> {
        let codes = self.codes.as_ref()?;
        if codes.scales.len() > 1 && filters != [codes.axis] {
            return None;
        }
        // How sums become codes is computed elsewhere: only whether they are cut at zero is known here.
        let requantize = Requantize {
            bias: vec![0; biases],
            offset: vec![],
            multipliers: vec![],
            rounding: Rounding::Float32,
            input: (-255, 255),
            low: if relu { 0 } else { -1 },
            high: 1,
            wrapped: Default::default(),
        };
        let (scales, zero_point, signed) = (codes.scales.clone(), codes.zero_point, codes.signed);
        Some(IntegerWeights { scales, zero_point, signed, requantize: Arc::new(requantize) })
    }

    /// The same as floats.
    pub fn dequantised(mut self) -> Self {
        if let Some(HeldCodes { scales, axis, .. }) = self.codes.take() {
            let inner: usize = self.dims[axis + 1..].iter().product();
            let extent = self.dims[axis];
            let scale = |i: usize| if scales.len() == 1 { scales[0] } else { scales[i / inner.max(1) % extent.max(1)] };
            self.values.iter_mut().enumerate().for_each(|(i, value)| *value *= scale(i));
        }
        self
    }
}

/// All values of a tensor, and whether they are signed bytes, unsigned ones, or others.
fn numbers(value: Value) -> Option<(Vec<usize>, Vec<f32>, Option<bool>)> {
    use rten_tensor::Layout;

    let dims = value.as_view().shape().to_vec();
    let (values, signed): (Vec<f32>, _) = match value {
        Value::FloatTensor(tensor) => (tensor.into_data(), None),
        Value::Int8Tensor(tensor) => (tensor.into_data().into_iter().map(f32::from).collect(), Some(true)),
        Value::UInt8Tensor(tensor) => (tensor.into_data().into_iter().map(f32::from).collect(), Some(false)),
        Value::Int32Tensor(tensor) => (tensor.into_data().into_iter().map(|value| value as f32).collect(), None),
        _ => return None,
    };
    Some((dims, values, signed))
}

impl<'a> Finder<'a> {
    /// The codes that the tensor `name` is dequantised from, if they are 8-bit integers with one scale that the file states.
    pub(super) fn dequantised(&self, name: &str) -> Option<Coded> {
        let node = &self.known.nodes[*self.makers.get(name)?];
        if kind(node) != "DequantizeLinear" {
            return None;
        }
        let scale = self.number(node.input.get(1)?)?;
        let (zero_point, signed) = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(zero) => {
                let value = self.known.constants.contains(zero.as_str()).then(|| (self.known.value)(zero).ok())??;
                let (_, values, signed) = numbers(value)?;
                (*values.first().filter(|_| values.len() == 1)? as i32, signed?)
            }
            None => return None,
        };
        (scale > 0.0).then(|| Coded { codes: node.input[0].clone(), of: Codes { scale, zero_point, signed } })
    }

    /// The value of constant `name`: the codes that it is dequantised from, or floats.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for NaN or infinity; those of asking for it.
    pub(super) fn held(&self, name: &str) -> Result<Held> {
        if let Some(held) = self.held_codes(name)? {
            return Ok(held);
        }
        let value = (self.known.value)(name)?;
        let (dims, values, signed) = numbers(value).ok_or_else(|| self.failed(format!("{name}: is no tensor")))?;
        if values.iter().any(|value| !value.is_finite()) {
            let place = format!("{}: {name}", self.known.source);
            return Err(Error::NotFinite { place, detail: String::new() });
        }
        let codes = signed.map(|signed| HeldCodes { scales: vec![1.0], axis: 0, zero_point: 0, signed });
        Ok(Held { dims, values, codes })
    }

    /// The codes of constant `name`, if it is dequantised from bytes, perhaps transposed behind that.
    fn held_codes(&self, name: &str) -> Result<Option<Held>> {
        let Some(&maker) = self.makers.get(name) else { return Ok(None) };
        let node = &self.known.nodes[maker];
        match kind(node).as_str() {
            "Transpose" => {
                let Some(inner) = self.held_codes(&node.input[0])? else { return Ok(None) };
                let rank = inner.dims.len();
                let perm: Vec<usize> = match node.ints("perm") {
                    Some(perm) => perm.iter().filter_map(|&axis| usize::try_from(axis).ok()).collect(),
                    None => (0..rank).rev().collect(),
                };
                if perm.len() != rank || perm.iter().any(|&axis| axis >= rank) {
                    return Ok(None);
                }
                let dims: Vec<usize> = perm.iter().map(|&axis| inner.dims[axis]).collect();
                let values = inner.ordered(&perm, dims.clone()).data.to_vec();
                let axis = |codes: &HeldCodes| perm.iter().position(|&axis| axis == codes.axis).unwrap_or(0);
                let codes = inner.codes.map(|codes| HeldCodes { axis: axis(&codes), ..codes });
                Ok(Some(Held { dims, values, codes }))
            }
            "DequantizeLinear" => {
                let read = |index: usize| match node.input.get(index).filter(|name| !name.is_empty()) {
                    Some(name) => (self.known.value)(name).map(numbers),
                    None => Ok(None),
                };
                let (codes, scales, zeros) = (read(0)?, read(1)?, read(2)?);
                let (Some((dims, mut values, Some(signed))), Some((_, scales, _))) = (codes, scales) else {
                    return Ok(None);
                };
                let zeros = zeros.map_or(vec![0.0], |(_, zeros, _)| zeros);
                let axis = node.int("axis").unwrap_or(1);
                let axis = if axis < 0 { axis + dims.len() as i64 } else { axis } as usize;
                let axis = if scales.len() == 1 { 0 } else { axis };
                let fits = |list: &[f32]| list.len() == 1 || dims.get(axis) == Some(&list.len());
                let one_zero = zeros.iter().all(|zero| *zero == zeros[0]);
                if !fits(&scales) || !one_zero || dims.is_empty() || node.int("block_size").unwrap_or(0) != 0 {
                    return Ok(None);
                }
                if scales.iter().any(|scale| !scale.is_finite()) {
                    let place = format!("{}: {}", self.known.source, node.input[1]);
                    return Err(Error::NotFinite { place, detail: String::new() });
                }
                values.iter_mut().for_each(|value| *value -= zeros[0]);
                let codes = HeldCodes { scales, axis, zero_point: zeros[0] as i32, signed };
                Ok(Some(Held { dims, values, codes: Some(codes) }))
            }
            _ => Ok(None),
        }
    }
}
