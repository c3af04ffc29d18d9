//! Sums over the groups of values that lines have.

use std::ops::Range;

use super::{Lines, PIXELS};
#[cfg(target_arch = "x86_64")]
use crate::kernels::count::avx512;
use crate::kernels::count::sums::GroupSums;
use crate::kernels::simd::Simd;

impl Lines {
    /// Sums over the groups that hold the even and the odd pixels of some lines.
    #[inline(always)]
    pub(in super::super) fn groups<S: Simd>(&self, _: S, lines: Range<usize>) -> [GroupSums; 2] {
        let all = lines.start * self.stride..lines.end * self.stride;
        #[cfg(target_arch = "x86_64")]
        if S::AVX512 {
            let widths = self.buffers.widths.each_ref().map(|widths| &widths[all.clone()]);
            // SAFETY: the vector type of this level is only made where the CPU has its features.
            return unsafe { avx512::add_widths(widths, self.stride, self.pixels) };
        }
        let mut sums = [GroupSums::default(); 2];
        for (size, widths) in self.buffers.widths.iter().enumerate() {
            let (mut width, mut zero) = ([0u32; 2], [0u32; 2]);
            for line in widths[all.clone()].chunks_exact(self.stride) {
                let (pairs, rest) = line[..self.pixels].as_chunks::<2>();
                for (half, &of) in pairs.iter().flat_map(|pair| pair.iter().enumerate()).chain(rest.iter().enumerate())
                {
                    width[half] += u32::from(of);
                    zero[half] += u32::from(of == 0);
                }
            }
            for half in 0..2 {
                (sums[half].width[size], sums[half].zero[size]) = (width[half].into(), zero[half].into());
            }
        }
        sums
    }

    /// Adds the groups that hold each pixel of the first `lines` lines, at most [`super::LONGEST`], to the accumulator of its column.
    #[inline(always)]
    pub(in super::super) fn groups_of_each(&self, lines: usize, to: &mut [GroupSums]) {
        const TOGETHER: usize = PIXELS[2];
        for (size, widths) in self.buffers.widths.iter().enumerate() {
            for (first, to) in to.chunks_mut(TOGETHER).enumerate() {
                let (mut width, mut zero) = ([0u16; TOGETHER], [0u16; TOGETHER]);
                for line in widths[..lines * self.stride].chunks_exact(self.stride) {
                    let of: &[u8; TOGETHER] = &line.as_chunks().0[first];
                    for pixel in 0..TOGETHER {
                        width[pixel] += u16::from(of[pixel]);
                        zero[pixel] += u16::from(of[pixel] == 0);
                    }
                }
                for ((to, width), zero) in to.iter_mut().zip(width).zip(zero) {
                    to.width[size] += u64::from(width);
                    to.zero[size] += u64::from(zero);
                }
            }
        }
    }

    /// Sums over the groups that hold some columns of some lines.
    pub(in super::super) fn groups_of_columns(&self, lines: Range<usize>, columns: &[usize]) -> GroupSums {
        let mut sums = GroupSums::default();
        for at in lines.flat_map(|line| columns.iter().map(move |column| line * self.stride + column)) {
            for (size, widths) in self.buffers.widths.iter().enumerate() {
                sums.width[size] += u64::from(widths[at]);
                sums.zero[size] += u64::from(widths[at] == 0);
            }
        }
        sums
    }
}
