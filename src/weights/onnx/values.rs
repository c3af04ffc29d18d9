//! Constants of ONNX files, as stored.

use std::cell::RefCell;

use half::{bf16, f16};
use rten_onnx::onnx::{DataType, NodeProto, TensorProto};

use crate::{Error, Result};

/// Values of a constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Floats of any width.
    Floats(Vec<f32>),
    /// 8-bit integers, as bytes.
    Bytes {
        /// Whether they are signed (two's complement).
        signed: bool,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Wider integers.
    Integers(Vec<i64>),
}

/// A constant.
#[derive(Clone, Debug)]
pub struct OnnxTensor {
    /// Extents, outermost first; none for a scalar.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: Values,
}

/// The name and the value of a `Constant`.
///
/// # Errors
/// [`Error::Unsupported`] for what is no tensor of numbers.
pub fn literal(source: &str, node: &NodeProto) -> Result<(String, OnnxTensor)> {
    let name = node.output.first().cloned().unwrap_or_default();
    let place = format!("{source}: {name}");
    let other = || Error::unsupported(format!("{place}: a Constant without a tensor"), "store it as a tensor");
    let attribute = node.attribute.first().ok_or_else(other)?;
    let list = |values: Values, count: usize| OnnxTensor { shape: vec![count], values };
    let constant = match (attribute.name.as_deref(), &attribute.t) {
        (_, Some(tensor)) => constant(&place, tensor)?,
        (Some("value_float"), _) => {
            OnnxTensor { shape: vec![], values: Values::Floats(attribute.f.into_iter().collect()) }
        }
        (Some("value_int"), _) => {
            OnnxTensor { shape: vec![], values: Values::Integers(attribute.i.into_iter().collect()) }
        }
        (Some("value_ints"), _) => list(Values::Integers(attribute.ints.clone()), attribute.ints.len()),
        (Some("value_floats"), _) => list(Values::Floats(attribute.floats.clone()), attribute.floats.len()),
        _ => return Err(other()),
    };
    Ok((name, constant))
}

/// The values of `tensor`, which is at `place` in messages.
///
/// # Errors
/// [`Error::Malformed`] if they are not of its shape; [`Error::Unsupported`] for other types than numbers; [`Error::NotFinite`]
/// for NaN.
pub fn constant(place: &str, tensor: &TensorProto) -> Result<OnnxTensor> {
    let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let shape = shape.ok_or_else(|| Error::malformed(place, format!("its shape is {:?}", tensor.dims)))?;
    let raw = tensor.raw_data.as_ref().map(RefCell::borrow);
    let raw = raw.as_deref();
    let values = match tensor.data_type {
        Some(DataType::FLOAT) => Values::Floats(match raw {
            Some(raw) => raw.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
            None => tensor.float_data.clone(),
        }),
        Some(DataType::DOUBLE) => Values::Floats(match raw {
            Some(raw) => raw.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes) as f32).collect(),
            None => tensor.double_data.iter().map(|&value| value as f32).collect(),
        }),
        Some(DataType::FLOAT16) => Values::Floats(match raw {
            Some(raw) => raw.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
            None => tensor.int32_data.iter().map(|&bits| f16::from_bits(bits as u16).to_f32()).collect(),
        }),
        Some(kind @ (DataType::INT8 | DataType::UINT8)) => Values::Bytes {
            signed: kind == DataType::INT8,
            bytes: match raw {
                Some(raw) => raw.to_vec(),
                None => tensor.int32_data.iter().map(|&value| value as u8).collect(),
            },
        },
        Some(DataType::BOOL) => Values::Integers(match raw {
            Some(raw) => raw.iter().map(|&byte| byte.into()).collect(),
            None => tensor.int32_data.iter().map(|&value| value.into()).collect(),
        }),
        Some(DataType::INT32) => Values::Integers(match raw {
            Some(raw) => raw.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes).into()).collect(),
            None => tensor.int32_data.iter().map(|&value| value.into()).collect(),
        }),
        Some(DataType::BFLOAT16) => Values::Floats(match raw {
            Some(raw) => raw.as_chunks().0.iter().map(|&bytes| bf16::from_le_bytes(bytes).to_f32()).collect(),
            None => tensor.int32_data.iter().map(|&bits| bf16::from_bits(bits as u16).to_f32()).collect(),
        }),
        Some(kind @ (DataType::INT16 | DataType::UINT16)) => Values::Integers(match raw {
            Some(raw) if kind == DataType::INT16 => {
                raw.as_chunks().0.iter().map(|&bytes| i16::from_le_bytes(bytes).into()).collect()
            }
            Some(raw) => raw.as_chunks().0.iter().map(|&bytes| u16::from_le_bytes(bytes).into()).collect(),
            None => tensor.int32_data.iter().map(|&value| value.into()).collect(),
        }),
        Some(kind @ (DataType::INT4 | DataType::UINT4)) => {
            let signed = kind == DataType::INT4;
            let count = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent)).unwrap_or(0);
            let packed: Vec<u8> = match raw {
                Some(raw) => raw.to_vec(),
                None => tensor.int32_data.iter().map(|&value| value as u8).collect(),
            };
            // The first of two codes is in the lower half.
            let halves = packed.iter().flat_map(|byte| [byte & 15, byte >> 4]).take(count);
            let code = |half: u8| if signed && half > 7 { half | 0xf0 } else { half };
            Values::Bytes { signed, bytes: halves.map(code).collect() }
        }
        Some(DataType::INT64) => Values::Integers(match raw {
            Some(raw) => raw.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect(),
            None => tensor.int64_data.clone(),
        }),
        other => {
            let kind = other.map_or("no type".to_owned(), |kind| kind.to_string());
            return Err(Error::unsupported(
                format!("{place}: values of {kind}"),
                "only floats and integers can be read",
            ));
        }
    };
    let count = match &values {
        Values::Floats(values) => values.len(),
        Values::Bytes { bytes, .. } => bytes.len(),
        Values::Integers(values) => values.len(),
    };
    let wanted = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
    if wanted != Some(count) {
        return Err(Error::malformed(place, format!("{count} values, its shape is {shape:?}")));
    }
    if let Values::Floats(values) = &values
        && values.iter().any(|value| value.is_nan())
    {
        return Err(Error::NotFinite { place: place.to_owned(), detail: String::new() });
    }
    Ok(OnnxTensor { shape, values })
}
