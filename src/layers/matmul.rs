//! The product of two activations: attention scores, and the values that they weigh.

use super::Shape;

/// For each of `heads` heads `y[n, m] = Σ_k a[k, m] · b[k, n]`.
///
/// `a` is `[heads·K, 1, M]` and `b` `[heads·K, 1, N]`, the channels of one head after those of the other; the output is
/// `[heads·N, 1, M]`. So queries times keys have K features a head, M queries and N keys; probabilities times values have K keys,
/// M queries and N features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatMul {
    /// Products side by side.
    pub heads: usize,
    /// K, over which is summed.
    pub inner: usize,
}

impl MatMul {
    pub(super) fn output(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let [a, b] = [inputs[0], inputs[1]];
        let channels = self.heads * self.inner;
        if self.heads == 0 || a != Shape::new(channels, 1, a.w) || b != Shape::new(channels, 1, b.w) {
            return Err(format!("operands {a} and {b} are not [{channels}, 1, M] and [{channels}, 1, N]"));
        }
        Ok(Shape::new(self.heads * b.w, 1, a.w))
    }

    pub(super) fn macs(&self, y: Shape) -> u64 {
        (self.inner * y.elements()) as u64
    }
}
