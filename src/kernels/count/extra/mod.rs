//! Plain counting over all codes of one image, filter or step at once: what a pass over parts of an operand cannot see.

pub mod changes;
pub mod floats;
pub mod groups;
pub mod traffic;

use super::sums::GROUP_SIZES;

/// Values of a group.
const GROUP: usize = GROUP_SIZES[0];

/// Codes `[channels][rows][columns]`; features are channels of one pixel.
#[derive(Clone, Copy, Debug)]
pub struct Volume<'a> {
    codes: &'a [i32],
    extents: [usize; 3],
}

impl<'a> Volume<'a> {
    /// `codes` of extents `[channels, rows, columns]`.
    ///
    /// # Panics
    /// If there is not one code for each place.
    pub fn new(codes: &'a [i32], extents: [usize; 3]) -> Self {
        assert_eq!(codes.len(), extents.iter().product::<usize>(), "a code for each place");
        Self { codes, extents }
    }

    /// The codes of each group of 16 consecutive channels at one position; the last channels may be fewer.
    fn for_each_group(&self, mut each: impl FnMut(&[i32])) {
        let [channels, rows, columns] = self.extents;
        let pixels = rows * columns;
        let mut group = [0; GROUP];
        for first in (0..channels).step_by(GROUP) {
            let group = &mut group[..(channels - first).min(GROUP)];
            for pixel in 0..pixels {
                let codes = self.codes[first * pixels + pixel..].iter().step_by(pixels);
                group.iter_mut().zip(codes).for_each(|(to, code)| *to = *code);
                each(group);
            }
        }
    }

    /// The differences of codes to those `distance` columns to the left; the first of a row stay.
    fn differences(&self, distance: usize) -> Vec<i32> {
        let columns = self.extents[2].max(1);
        let before = |i: usize| if i % columns < distance { 0 } else { self.codes[i - distance] };
        self.codes.iter().enumerate().map(|(i, code)| code - before(i)).collect()
    }
}

/// Width of a group of codes or of differences: bits of the largest magnitude, and one for the sign if any is negative.
fn group_width(group: &[i32]) -> u64 {
    let magnitudes = group.iter().fold(0, |all, code| all | code.unsigned_abs());
    u64::from(u32::BITS - magnitudes.leading_zeros()) + u64::from(group.iter().any(|&code| code < 0))
}

fn nonzeros(group: &[i32]) -> u64 {
    group.iter().filter(|&&code| code != 0).count() as u64
}
