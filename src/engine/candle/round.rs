//! Rounding to the values of codes.

use candle_core::Tensor;

use super::CandleResult;
use crate::kernels::count::CodeMap;

/// [`CodeMap::nearest`] of each value of `x`, on the host: candle rounds halves away from zero.
pub(super) fn rounded(x: &Tensor, map: CodeMap) -> CandleResult {
    let values: Vec<f32> = x.flatten_all()?.to_vec1()?;
    Tensor::from_vec(values.into_iter().map(|x| map.nearest(x)).collect::<Vec<f32>>(), x.shape(), x.device())
}
