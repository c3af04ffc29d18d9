//! Which sums the pixels of a line are added to.

use super::classes::Classes;
use super::sums::LANE_SUMS;
use crate::kernels::geometry::LANES;

/// Pixels (of sixteen channels) in a group of 16, 64 and 256 values.
pub(super) const PIXELS: [usize; 3] = [1, 4, 16];
/// Bit of a group's summary that marks a negative code; magnitudes have 15 bits.
pub(super) const SIGN: u16 = 0x8000;
/// Pixels whose groups are found together: those of the largest group.
pub(super) const CHUNK: usize = PIXELS[2];

/// The sums of one place's sixteen lanes, as they are added up.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct LaneSums(pub(super) [[u32; LANES]; LANE_SUMS]);

/// Consecutive pairs of pixels, all even ones of one class of columns and all odd ones of one.
pub(super) struct Pairs {
    pub(super) classes: [usize; 2],
    pub(super) first: usize,
    pub(super) count: usize,
}

/// The columns of a line, by class.
pub(super) struct Columns {
    /// All pairs, in order. A line of an odd number of pixels ends with a pair whose odd pixel does not exist and counts for nothing.
    pub(super) pairs: Vec<Pairs>,
    /// For each sixteen columns, which of the patterns they have.
    pub(super) chunks: Vec<usize>,
    /// Classes, and which of sixteen columns are of each.
    pub(super) patterns: Vec<Vec<(usize, u16)>>,
}

impl Columns {
    /// Those of a line with these classes of columns.
    pub(super) fn new(classes: &Classes) -> Self {
        Self::of(&classes.of.iter().map(|&class| class.into()).collect::<Vec<_>>())
    }

    /// Those of a line of so many columns, each of its own class.
    pub(super) fn each(columns: usize) -> Self {
        Self::of(&(0..columns).collect::<Vec<_>>())
    }

    fn of(classes: &[usize]) -> Self {
        let mut all = Self { pairs: Vec::new(), chunks: Vec::new(), patterns: Vec::new() };
        for (first, pair) in classes.chunks(2).enumerate() {
            let classes = [pair[0], pair[pair.len() - 1]];
            match all.pairs.last_mut() {
                Some(last) if last.classes == classes => last.count += 1,
                _ => all.pairs.push(Pairs { classes, first, count: 1 }),
            }
        }
        for chunk in classes.chunks(CHUNK) {
            let mut pattern: Vec<(usize, u16)> = Vec::new();
            for (column, &class) in chunk.iter().enumerate() {
                match pattern.iter_mut().find(|(known, _)| *known == class) {
                    Some((_, mask)) => *mask |= 1 << column,
                    None => pattern.push((class, 1 << column)),
                }
            }
            // A line where each column has a class has a pattern for each chunk: only the last can be the same.
            let known = all.patterns.last().is_some_and(|last| *last == pattern);
            let known = known.then(|| all.patterns.len() - 1);
            all.chunks.push(known.unwrap_or(all.patterns.len()));
            if known.is_none() {
                all.patterns.push(pattern);
            }
        }
        all
    }
}

/// The place of each class of columns, for rows of one class and a block of channels.
#[derive(Clone, Copy)]
pub(super) struct Places {
    /// That of the first class.
    pub(super) first: usize,
    /// From one class to the next.
    pub(super) step: usize,
}

impl Places {
    pub(super) fn of(self, class: usize) -> usize {
        self.first + class * self.step
    }
}
