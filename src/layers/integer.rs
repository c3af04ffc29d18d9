//! Layers without weights in 8-bit networks.

use super::{Pool, PoolKind, Shape};
use crate::kernels::Integer;

/// Shape of the output of `integer`.
pub(super) fn output(integer: &Integer, inputs: &[Shape]) -> Result<Shape, String> {
    let x = inputs[0];
    match integer {
        Integer::Quantize(..) | Integer::Dequantize(_) | Integer::Rescale { .. } | Integer::Softmax { .. } => Ok(x),
        Integer::Add { .. } => super::merge::add(inputs),
        Integer::AveragePool { shape, .. } => {
            let kind = PoolKind::Average { count_padding: false };
            let (kernel, stride, padding) = (shape.kernel, shape.stride, shape.padding);
            Pool { kind, kernel, stride, padding, ceil: false }.output(x)
        }
        Integer::Mean { .. } => Ok(Shape::new(x.c, 1, 1)),
        Integer::Resize { .. } => Ok(Shape { c: x.c, ..inputs[1] }),
    }
}
