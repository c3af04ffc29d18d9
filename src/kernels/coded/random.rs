//! Random matrices for tests, with their elements by plain arithmetic.

use proptest::prelude::*;

use super::{CodedForm, CodedMatrix};

/// A form of each kind, as blocks of GGUF files have them: Q4_0, Q4_1, Q4_K, Q5_0 and Q8_0, Q5_1, Q5_K, Q6_K.
pub(in crate::kernels) fn forms() -> impl Strategy<Value = CodedForm> {
    let form = |nibbles, minimum, halves, group| CodedForm { group, nibbles, minimum, halves };
    prop::sample::select(vec![
        form(true, false, true, 32),
        form(true, true, true, 32),
        form(true, true, false, 32),
        form(false, false, true, 32),
        form(false, true, true, 32),
        form(false, true, false, 32),
        form(false, false, false, 16),
    ])
}

/// A matrix of random codes and scales, its elements, and its codes, both row-major.
pub(in crate::kernels) fn random(
    rows: usize,
    groups: usize,
    form: CodedForm,
    seed: u64,
) -> (CodedMatrix, [Vec<f32>; 2]) {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    // Of 11 significant bits, or of 17, as the product of a half float and a scale of six bits has.
    let scale = |next: &mut dyn FnMut() -> u32| {
        let mantissa = (next() as i32 - (1 << 30)) % if form.halves { 2048 } else { 1 << 17 };
        mantissa as f32 / if form.halves { 4096.0 } else { 262_144.0 }
    };
    let columns = groups * form.group;
    let [mut elements, mut all] = [vec![0.0; rows * columns], vec![0.0; rows * columns]];
    let read = |row: usize, group: usize, codes: &mut [i8]| {
        let scales = [scale(&mut next), scale(&mut next)];
        for (i, code) in codes.iter_mut().enumerate() {
            let bits = if form.nibbles { 4 } else { 8 };
            let range = if form.minimum && !form.nibbles { 32 } else { 1 << bits };
            let first = if form.minimum { 0 } else { form.first() };
            *code = (first + (next() % range) as i32) as i8;
            let (at, product) = (row * columns + group * form.group + i, f32::from(*code) * scales[0]);
            all[at] = f32::from(*code);
            elements[at] = if form.minimum { product + scales[1] } else { product };
        }
        scales
    };
    let matrix = CodedMatrix::new((rows, columns), form, read);
    (matrix, [elements, all])
}
