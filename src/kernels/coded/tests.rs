//! Elements of random matrices against plain arithmetic, and panels of them on every level.

use proptest::prelude::*;

use super::*;

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

/// A matrix of random codes and scales, and its elements, row-major.
pub(in crate::kernels) fn random(rows: usize, groups: usize, form: CodedForm, seed: u64) -> (CodedMatrix, Vec<f32>) {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    // Of 11 significant bits, or of 17, as the product of a half float and a scale of six bits has.
    let scale = |next: &mut dyn FnMut() -> u32| {
        let mantissa = (next() as i32 >> 8) % if form.halves { 2048 } else { 1 << 17 };
        mantissa as f32 / if form.halves { 4096.0 } else { 262_144.0 }
    };
    let (mut elements, columns) = (vec![0.0; rows * groups * form.group], groups * form.group);
    let read = |row: usize, group: usize, codes: &mut [i8]| {
        let scales = [scale(&mut next), scale(&mut next)];
        for (i, code) in codes.iter_mut().enumerate() {
            let bits = if form.nibbles { 4 } else { 8 };
            let range = if form.minimum && !form.nibbles { 32 } else { 1 << bits };
            let first = if form.minimum { 0 } else { form.first() };
            *code = (first + (next() % range) as i32) as i8;
            let product = f32::from(*code) * scales[0];
            elements[row * columns + group * form.group + i] = if form.minimum { product + scales[1] } else { product };
        }
        scales
    };
    (CodedMatrix::new((rows, columns), form, read), elements)
}

fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|float| float.to_bits()).collect()
}

proptest! {
    #[test]
    fn elements_are_codes_times_scales_on_every_level(
        form in forms(),
        (rows, groups) in (1usize..200, 1usize..5),
        (first, count) in (0usize..12, 1usize..5),
        seed in any::<u64>(),
    ) {
        let (matrix, elements) = random(rows, groups, form, seed);
        prop_assert_eq!(bits(&matrix.to_floats()), bits(&elements));
        let columns = groups * form.group;
        let blocks = first.min(matrix.blocks() - 1)..(first + count).min(matrix.blocks());
        let blocks = blocks.start..blocks.end.max(blocks.start + 1);
        let element = |block: usize, lane: usize, column: usize| {
            let row = block * LANES + lane;
            if row < rows { elements[row * columns + column] } else { 0.0 }
        };
        let want: Vec<f32> = (0..columns)
            .flat_map(|column| blocks.clone().map(move |block| (column, block)))
            .flat_map(|(column, block)| (0..LANES).map(move |lane| element(block, lane, column)))
            .collect();
        for isa in Isa::available() {
            let mut panel = vec![f32::NAN; want.len()];
            matrix.panel(isa, blocks.clone(), &mut panel);
            prop_assert_eq!(bits(&panel), bits(&want), "{}", isa.name());
        }
    }
}

#[test]
#[should_panic(expected = "whole groups")]
fn a_part_of_a_group_is_refused() {
    let form = CodedForm { group: 32, nibbles: true, minimum: true, halves: true };
    CodedMatrix::new((16, 48), form, |_, _, _| [0.0; 2]);
}
