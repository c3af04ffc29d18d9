//! Values of random blocks, rebuilt from their codes and scales; layouts by hand.

use proptest::prelude::*;

use super::*;
use crate::weights::tensor::Blob;

/// The six-bit scale and minimum of part `part` of a block of 256 with `packed` scales, of which the last four bytes hold the lower
/// bits of parts 4 to 7, and the upper two bits of the others those of these.
fn sixes_of(packed: &[u8], part: usize) -> (f32, f32) {
    let low = |at: usize| packed[at] & 63;
    let (scale, minimum) = match part {
        0..4 => (low(part), low(part + 4)),
        _ => {
            let upper = |at: usize| packed[at] >> 6 << 4;
            (packed[part + 4] & 15 | upper(part - 4), packed[part + 4] >> 4 | upper(part))
        }
    };
    (scale.into(), minimum.into())
}

/// What a code is multiplied with, and what is added, for weight `i` of `block`.
fn scale(kind: BlockType, block: &[u8], i: usize) -> (f32, f32) {
    match kind {
        BlockType::Q4_0 | BlockType::Q5_0 | BlockType::Q8_0 => (half(block, 0), 0.0),
        BlockType::Q4_1 | BlockType::Q5_1 => (half(block, 0), half(block, 2)),
        BlockType::Q4K | BlockType::Q5K => {
            let (scale, minimum) = sixes_of(&block[4..16], i / 32);
            (half(block, 0) * scale, -(half(block, 2) * minimum))
        }
        BlockType::Q6K => (half(block, 208) * f32::from(block[192 + i / 16].cast_signed()), 0.0),
        BlockType::F32 | BlockType::F16 | BlockType::Bf16 => unreachable!("floats have no codes"),
    }
}

/// `count` blocks of random bytes whose scales are finite.
fn random(kind: BlockType, mut bytes: Vec<u8>) -> Vec<u8> {
    let scales: &[usize] = match kind {
        BlockType::Q6K => &[208],
        BlockType::Q4_0 | BlockType::Q5_0 | BlockType::Q8_0 => &[0],
        _ => &[0, 2],
    };
    for block in bytes.chunks_exact_mut(kind.bytes()) {
        // An exponent below the largest.
        scales.iter().for_each(|at| block[at + 1] &= 0b1011_1111);
    }
    bytes
}

fn blocks(kind: BlockType, bytes: Vec<u8>, pairs: Option<(usize, usize)>) -> Blocks {
    let count = bytes.len();
    let blob: Blob = Blob::new([vec![0], bytes].concat().into());
    Blocks { storage: Storage::new(&blob, 1, count).unwrap(), kind, pairs }
}

fn quantised() -> impl Strategy<Value = BlockType> {
    prop::sample::select(BlockType::ALL.into_iter().filter(|kind| kind.bits().is_some()).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn codes_times_scales_are_the_values((kind, bytes) in quantised().prop_flat_map(|kind| {
        (Just(kind), (1..4usize).prop_flat_map(move |n| prop::collection::vec(any::<u8>(), n * kind.bytes())))
    })) {
        let bytes = random(kind, bytes);
        let stored = blocks(kind, bytes.clone(), None);
        let (values, stored) = (stored.read().ok().unwrap(), stored.codes().unwrap());
        let codes = stored.codes();
        prop_assert_eq!((values.len(), codes.len()), (bytes.len() / kind.bytes() * kind.weights(), values.len()));
        let (low, high) = match stored.signed() {
            true => (-(1 << (stored.bits() - 1)), (1 << (stored.bits() - 1)) - 1),
            false => (0, (1 << stored.bits()) - 1),
        };
        for (i, (value, code)) in values.iter().zip(&codes).enumerate() {
            let (block, within) = (i / kind.weights(), i % kind.weights());
            let (scale, added) = scale(kind, &bytes[block * kind.bytes()..][..kind.bytes()], within);
            prop_assert_eq!(*value, code * scale + added, "{:?}: weight {}", kind, i);
            prop_assert!((low..=high).contains(&(*code as i32)), "{:?}: code {}", kind, code);
        }
    }

    #[test]
    fn groups_are_the_values_to_the_last_bit((kind, bytes) in quantised().prop_flat_map(|kind| {
        (Just(kind), (1..4usize).prop_flat_map(move |n| prop::collection::vec(any::<u8>(), n * kind.bytes())))
    })) {
        let stored = blocks(kind, random(kind, bytes), None);
        let (values, stored) = (stored.read().ok().unwrap(), stored.codes().unwrap());
        let BlockForm { group, four_bits, minimum, .. } = stored.form();
        let (groups, mut codes) = (stored.groups(), vec![0; group]);
        prop_assert!(stored.are_of_finite_values());
        for (index, values) in values.chunks(group).enumerate() {
            let [scale, added] = groups.read(index, &mut codes);
            for (code, value) in codes.iter().zip(values) {
                let code = f32::from(*code);
                // With a minimum, fused and rounded once or in two steps.
                let both = if minimum { [code * scale + added, code.mul_add(scale, added)] } else { [code * scale; 2] };
                prop_assert_eq!(both.map(f32::to_bits), [value.to_bits(); 2], "{:?}", kind);
                prop_assert!(!four_bits || (if minimum { 0.0..=15.0 } else { -8.0..=7.0 }).contains(&code), "{}", code);
            }
        }
    }

    #[test]
    fn a_scale_that_is_not_finite_is_found(kind in quantised(), place in 0..2usize, blocks_before in 0..3usize) {
        let mut bytes = vec![0; (blocks_before + 1) * kind.bytes()];
        let at = kind.halves()[place.min(kind.halves().len() - 1)];
        bytes[blocks_before * kind.bytes() + at + 1] = 0x7c;
        let stored = blocks(kind, bytes, None);
        prop_assert!(!stored.codes().unwrap().are_of_finite_values());
        prop_assert!(stored.read().ok().unwrap().iter().any(|value| !value.is_finite()));
    }

    #[test]
    fn rows_in_pairs_are_read_as_halves(heads in 1..4usize, half in 1..5usize) {
        let rows = heads * half * 2;
        // As the converter does: half h, frequency i of a head becomes row 2 i + h of it.
        let mut stored = vec![0.0_f32; rows * 2];
        for row in 0..rows {
            let (head, h, i) = (row / (2 * half), row / half % 2, row % half);
            let to = head * 2 * half + 2 * i + h;
            stored[to * 2] = row as f32;
            stored[to * 2 + 1] = -(row as f32);
        }
        let bytes = stored.iter().flat_map(|value| value.to_le_bytes()).collect();
        let read = blocks(BlockType::F32, bytes, Some((rows, heads))).read().ok().unwrap();
        let want: Vec<f32> = (0..rows).flat_map(|row| [row as f32, -(row as f32)]).collect();
        prop_assert_eq!(&read[..], &want[..]);
    }
}

#[test]
fn nibbles_and_upper_bits_are_where_ggml_has_them() {
    // d = 2: low nibble of byte 0 is weight 0, its high nibble weight 16.
    let mut q4_0 = vec![0x88; 18];
    (q4_0[0], q4_0[1], q4_0[2]) = (0, 0x40, 0xa3);
    let stored = blocks(BlockType::Q4_0, q4_0, None);
    let (codes, values) = (stored.codes().unwrap(), stored.read().ok().unwrap());
    let (bits, signed, codes) = (codes.bits(), codes.signed(), codes.codes());
    assert_eq!((bits, signed, codes[0], codes[1], codes[16]), (4, true, -5.0, 0.0, 2.0));
    assert_eq!((values[0], values[1], values[16]), (-10.0, 0.0, 4.0));
    // d = 1, m = -3: weight 31 has the fifth bit 31 and the high nibble of byte 15.
    let mut q5_1 = vec![0; 24];
    (q5_1[1], q5_1[3], q5_1[7], q5_1[23]) = (0x3c, 0xc2, 0x80, 0x70);
    let stored = blocks(BlockType::Q5_1, q5_1, None);
    assert_eq!((stored.codes().unwrap().codes()[31], stored.read().ok().unwrap()[31]), (23.0, 20.0));
}
