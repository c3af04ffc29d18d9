//! Elements of random matrices against plain arithmetic, and panels of them on every level.

use proptest::prelude::*;

use super::random::{forms, random};
use super::*;

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
        let (matrix, [elements, codes]) = random(rows, groups, form, seed);
        prop_assert_eq!(bits(&matrix.to_floats()), bits(&elements));
        prop_assert_eq!(matrix.codes(), codes);
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
