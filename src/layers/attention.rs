//! Attention (Vaswani 2017), both products and the softmax between them.

use super::Shape;
use crate::kernels::attention::AttentionShape;
use crate::kernels::count::CodeMap;

/// For each head `y[:, t] = Σ_j softmax_j(scale · q[:, t]·k[:, j]) · v[:, j]` over the keys that step t sees.
///
/// Inputs are queries `[heads·inner, 1, T]`, keys `[kv_heads·inner, 1, T]` and values `[kv_heads·outer, 1, T]`; with padding, the
/// token ids `[1, 1, T]` too. A run that goes on from another one sees that one's keys and values before its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Heads, features, mask.
    pub shape: AttentionShape,
    /// The token that pads sequences: at both ends it is no key.
    pub pad: Option<u32>,
    /// What probabilities are rounded to before they multiply values, if they are.
    pub rounding: Option<CodeMap>,
}

impl Attention {
    pub(super) fn output(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let AttentionShape { heads, kv_heads, inner, outer, .. } = self.shape;
        let steps = inputs[0].w;
        let want = [heads * inner, kv_heads * inner, kv_heads * outer, 1].map(|c| Shape::new(c, 1, steps));
        if inputs != &want[..3 + usize::from(self.pad.is_some())] || kv_heads == 0 || heads % kv_heads != 0 {
            let [q, k, v] = [inputs[0], inputs[1], inputs[2]];
            return Err(format!(
                "queries {q}, keys {k} and values {v} are not those of {heads} heads of {inner} features on {kv_heads} of \
                 {inner} and {outer}"
            ));
        }
        Ok(Shape::new(heads * outer, 1, steps))
    }

    /// Of both products, for as many keys as queries.
    pub(super) fn macs(&self, y: Shape) -> u64 {
        let AttentionShape { heads, inner, outer, .. } = self.shape;
        (heads * (inner + outer) * y.w * y.w) as u64
    }
}
