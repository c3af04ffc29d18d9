//! What structured sparsity and repetition need to know of an operand (METRICS section 7).

use std::collections::BTreeSet;

use super::{GROUP, Volume, nonzeros};

/// Adds to `counts` the whole aligned blocks of 4 along the channels of each of `parts` parts of these, how many of them have
/// at most 2 non-zeros, and the same of 8 with at most 4.
pub fn add_blocks(volume: Volume<'_>, parts: usize, counts: &mut [u64; 4]) {
    let [channels, rows, columns] = volume.extents;
    let (pixels, part) = (rows * columns, channels / parts);
    for (size, counts) in [4, 8].into_iter().zip(counts.as_chunks_mut::<2>().0) {
        let firsts = (0..parts).flat_map(|of| (0..part / size).map(move |block| of * part + block * size));
        for first in firsts {
            for pixel in 0..pixels {
                let block = (first..first + size).map(|channel| volume.codes[channel * pixels + pixel]);
                counts[0] += 1;
                counts[1] += u64::from(2 * block.filter(|&code| code != 0).count() <= size);
            }
        }
    }
}

/// Adds to `counts` the groups of 16 that are not all zero, and for each the bits below the lowest bit that any of its
/// magnitudes has set.
pub fn add_trailing(volume: Volume<'_>, counts: &mut [u64; 2]) {
    volume.for_each_group(|group| {
        if nonzeros(group) > 0 {
            let magnitudes = group.iter().fold(0, |all, code| all | code.unsigned_abs());
            counts[0] += 1;
            counts[1] += u64::from(magnitudes.trailing_zeros());
        }
    });
}

/// Adds to `counts` groups of 16 by members from 1 to 16, then the positions at which any member has a one in sign-magnitude,
/// and those at which members differ in two's complement of `word` bits.
pub fn add_planes(volume: Volume<'_>, word: u32, counts: &mut [u64; GROUP + 2]) {
    let mask = u32::MAX >> (u32::BITS - word);
    volume.for_each_group(|group| {
        let magnitudes = group.iter().fold(0, |all, code| all | code.unsigned_abs());
        let any = group.iter().fold(0, |any, &code| any | code as u32);
        let all = group.iter().fold(u32::MAX, |all, &code| all & code as u32);
        counts[group.len() - 1] += 1;
        counts[GROUP] += u64::from(magnitudes.count_ones()) + u64::from(group.iter().any(|&code| code < 0));
        counts[GROUP + 1] += u64::from(((any ^ all) & mask).count_ones());
    });
}

/// Adds how many different codes other than zero there are.
pub fn add_distinct(volume: Volume<'_>, counts: &mut [u64; 1]) {
    let distinct: BTreeSet<i32> = volume.codes.iter().copied().filter(|&code| code != 0).collect();
    counts[0] += distinct.len() as u64;
}
