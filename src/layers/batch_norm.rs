//! Batch norm at inference: a scale and a shift for each channel.

use super::{Param, Shape};

/// `(x - mean) / sqrt(variance + eps) * weight + bias`, all parameters `[C]`.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    /// Learned scale (gamma).
    pub weight: Param,
    /// Learned shift (beta).
    pub bias: Param,
    /// Running mean.
    pub mean: Param,
    /// Running variance.
    pub variance: Param,
    /// Added to the variance.
    pub eps: f64,
}

impl BatchNorm {
    /// Scale and shift of each channel, computed in f64 and not yet rounded.
    pub fn affine(&self) -> Vec<(f64, f64)> {
        let params = [&self.weight, &self.bias, &self.mean, &self.variance].map(|param| &param.data);
        (0..params[0].len())
            .map(|c| {
                let [weight, bias, mean, variance] = params.map(|data| f64::from(data[c]));
                let scale = weight / (variance + self.eps).sqrt();
                (scale, bias - mean * scale)
            })
            .collect()
    }

    pub(super) fn output(&self, x: Shape) -> Result<Shape, String> {
        let c = self.weight.shape[0];
        if x.c == c { Ok(x) } else { Err(format!("input has {} channels, the norm has {c}", x.c)) }
    }
}
