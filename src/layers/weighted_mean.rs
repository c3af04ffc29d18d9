//! The mean over the steps of a sequence, weighted by attention scores.

use super::Shape;

/// `y = Σ_t softmax(s)_t · x[:, t]` of a sequence `[C, 1, T]` with scores `s` `[1, 1, T]`.
pub(super) fn output(inputs: &[Shape]) -> Result<Shape, String> {
    let [x, scores] = [inputs[0], inputs[1]];
    if x.h != 1 || scores != (Shape { c: 1, ..x }) {
        return Err(format!("scores {scores} do not go with a sequence {x}"));
    }
    Ok(Shape::new(x.c, 1, 1))
}
