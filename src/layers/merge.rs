//! Layers with several inputs: sum, product, concatenation.

use super::Shape;

pub(super) fn add(inputs: &[Shape]) -> Result<Shape, String> {
    let [a, b] = [inputs[0], inputs[1]];
    if a == b { Ok(a) } else { Err(format!("adds or subtracts {a} and {b}")) }
}

pub(super) fn mul(inputs: &[Shape]) -> Result<Shape, String> {
    let [x, gate] = [inputs[0], inputs[1]];
    if gate == x || gate == Shape::new(x.c, 1, 1) { Ok(x) } else { Err(format!("multiplies {x} by {gate}")) }
}

pub(super) fn concat(inputs: &[Shape]) -> Result<Shape, String> {
    let first = inputs[0];
    match inputs.iter().find(|part| (part.h, part.w) != (first.h, first.w)) {
        Some(part) => Err(format!("concatenates {part} to {first}")),
        None => Ok(Shape { c: inputs.iter().map(|part| part.c).sum(), ..first }),
    }
}
