//! Adds up coded lines, channel by channel: zeros, widths, terms, and the widths of the groups that values which are not zero are in.

use super::coder::{LONGEST, PixelPair};
use super::places::{LaneSums, Pairs, Places};
use super::sums::{NONZERO, NONZERO_G16, TERMS, WIDTH};
use super::terms::{NONE, terms_of};
use crate::kernels::geometry::LANES;
use crate::kernels::isa::Kernel;
use crate::kernels::simd::Simd;

/// Lines that are added to the same places: how many, and these.
pub(super) type Segment = (usize, Places);

/// Adds lines of pairs, `stride` apart, to the places of their columns. Codes are negative only if `SIGNED`.
pub(super) struct Add<'a, const ENCODER: u8, const SIGNED: bool> {
    pub(super) codes: &'a [PixelPair],
    /// Widths of the groups of 16 of each pixel.
    pub(super) groups: &'a [[u16; 2]],
    pub(super) segments: &'a [Segment],
    pub(super) stride: usize,
    pub(super) pairs: &'a [Pairs],
    pub(super) sums: &'a mut [LaneSums],
}

impl<const ENCODER: u8, const SIGNED: bool> Kernel for Add<'_, ENCODER, SIGNED> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { codes, groups, segments, stride, pairs, sums } = self;
        let lines = segments.iter().map(|(lines, _)| lines).sum::<usize>();
        let last = pairs.last().map_or(0, |last| last.first + last.count);
        assert!(last <= stride && codes.len() >= lines * stride && groups.len() >= lines * stride, "whole lines");
        let mut end = 0;
        for &(lines, places) in segments {
            let first = end;
            end += lines;
            for &Pairs { classes, first: pair, count } in pairs {
                // As many lines and pairs as sums of 16 bits hold.
                let together = (LONGEST / count).max(1);
                for line in (first..end).step_by(together) {
                    let lines = line..(line + together).min(end);
                    for pair in (pair..pair + count).step_by(LONGEST).map(|at| at..(at + LONGEST).min(pair + count)) {
                        let mut added = Added::new(s);
                        for line in lines.clone() {
                            for at in line * stride + pair.start..line * stride + pair.end {
                                // SAFETY: pairs are within the lines, which both slices hold (asserted).
                                unsafe {
                                    let group = groups.as_ptr().add(at).cast::<i32>().read_unaligned();
                                    let code = s.load_int(codes.as_ptr().add(at).cast());
                                    added.add::<ENCODER, SIGNED>(s, code, s.splat_int(group));
                                }
                            }
                        }
                        for half in 0..2 {
                            added.add_to::<ENCODER>(s, half, &mut sums[places.of(classes[half])]);
                        }
                    }
                }
            }
        }
    }
}

/// Sums over some pairs, at most [`LONGEST`]: of halves, but for the leading zeros of the magnitudes of even and of odd pixels.
pub(super) struct Added<S: Simd> {
    nonzero: S::I,
    negative: S::I,
    terms: S::I,
    groups: S::I,
    unused: [S::I; 2],
    /// How many pairs.
    pairs: u32,
    /// 1 in each half.
    one: S::I,
}

impl<S: Simd> Added<S> {
    /// Nothing yet.
    #[inline(always)]
    pub(super) fn new(s: S) -> Self {
        let zero = s.splat_int(0);
        // Hidden from the compiler, which would turn known ones into mask arithmetic.
        let one = s.splat_int(std::hint::black_box(0x1_0001));
        Self { nonzero: zero, negative: zero, terms: zero, groups: zero, unused: [zero; 2], pairs: 0, one }
    }

    /// Adds the codes of a pair, which are in groups of 16 of the widths `group`.
    #[inline(always)]
    pub(super) fn add<const ENCODER: u8, const SIGNED: bool>(&mut self, s: S, code: S::I, group: S::I) {
        self.pairs += 1;
        let m = if SIGNED { s.abs_halves(code) } else { code };
        self.nonzero = s.add_where_halves(self.nonzero, m, self.one);
        self.groups = s.add_where_halves(self.groups, m, group);
        self.unused[0] = s.add_leading_zeros(self.unused[0], s.and(m, s.splat_int(0xffff)));
        self.unused[1] = s.add_leading_zeros(self.unused[1], s.upper(m));
        if SIGNED {
            self.negative = s.add_halves(self.negative, s.sign_halves(code));
        }
        if ENCODER != NONE {
            self.terms = s.add_halves(self.terms, terms_of::<S, ENCODER>(s, m));
        }
    }

    /// Adds the even pixels (`half` 0) or the odd ones to `to`.
    #[inline(always)]
    pub(super) fn add_to<const ENCODER: u8>(&self, s: S, half: usize, LaneSums(to): &mut LaneSums) {
        let all = s.splat_int((self.pairs * u32::BITS) as i32);
        let width = s.add_int(s.sub_int(all, self.unused[half]), widened(s, self.negative, half));
        add_to(s, &mut to[NONZERO], widened(s, self.nonzero, half));
        add_to(s, &mut to[WIDTH], width);
        if ENCODER != NONE {
            add_to(s, &mut to[TERMS], widened(s, self.terms, half));
        }
        add_to(s, &mut to[NONZERO_G16], widened(s, self.groups, half));
    }
}

/// The lower halves, or the upper ones, as lanes.
#[inline(always)]
fn widened<S: Simd>(s: S, v: S::I, half: usize) -> S::I {
    if half == 0 { s.and(v, s.splat_int(0xffff)) } else { s.upper(v) }
}

#[inline(always)]
fn add_to<S: Simd>(s: S, to: &mut [u32; LANES], sum: S::I) {
    let to = to.as_mut_ptr().cast();
    // SAFETY: the array holds sixteen integers.
    unsafe { s.store_int(to, s.add_int(s.load_int(to), sum)) }
}
