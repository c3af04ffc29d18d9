//! Adds up coded lines, channel by channel: zeros, widths, terms, and the widths of the groups that values which are not zero are in.

use super::classes::Run;
use super::code::Encoder;
use super::coder::{LONGEST, PixelPair};
use super::places::{LaneSums, Pairs, Places};
use super::sums::{NONZERO, NONZERO_G16, TERMS, WIDTH};
use super::terms::{BOOTH4, NAF, NONE, POPCOUNT, RUNS, terms_of, with_encoder};
use crate::kernels::geometry::LANES;
use crate::kernels::isa::Kernel;
use crate::kernels::simd::Simd;
use crate::kernels::tile::chosen;

/// Lines that are added to the same places: which of those that are coded together, and these.
pub(super) type Segment = (Run, Places);

/// Adds lines of pairs, `stride` apart, to the places of their columns.
pub(super) struct Add<'a> {
    /// Whose terms are counted, if any are.
    pub(super) encoder: Option<Encoder>,
    /// Whether codes may be negative.
    pub(super) signed: bool,
    pub(super) codes: &'a [PixelPair],
    /// Widths of the groups of 16 of each pixel.
    pub(super) groups: &'a [[u16; 2]],
    pub(super) segments: &'a [Segment],
    pub(super) stride: usize,
    pub(super) pairs: &'a [Pairs],
    pub(super) sums: &'a mut [LaneSums],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        with_encoder!(self.encoder, ENCODER => match self.signed {
            false => self.lines::<S, ENCODER, false>(s),
            true => self.lines::<S, ENCODER, true>(s),
        });
    }
}

impl Add<'_> {
    #[inline(always)]
    fn lines<S: Simd, const ENCODER: u8, const SIGNED: bool>(self, s: S) {
        let Self { codes, groups, segments, stride, pairs, sums, .. } = self;
        let lines = codes.len().min(groups.len()) / stride;
        let last = pairs.last().map_or(0, |last| last.first + last.count);
        assert!(last <= stride && segments.iter().all(|(of, _)| of.end() <= lines), "whole lines");
        for &(of, places) in segments {
            for &Pairs { classes, first: pair, count } in pairs {
                // As many lines and pairs as sums of 16 bits hold.
                let together = (LONGEST / count).max(1);
                for lines in of.split(together) {
                    for pair in (pair..pair + count).step_by(LONGEST).map(|at| at..(at + LONGEST).min(pair + count)) {
                        let mut added = Added::new(s);
                        for line in lines.indices() {
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

/// Sums over some pairs, at most [`LONGEST`]: of halves, but for the exponents of even and of odd pixels.
struct Added<S: Simd> {
    zeros: S::I,
    negative: S::I,
    terms: S::I,
    groups: S::I,
    exponents: [S::I; 2],
    /// How many pairs.
    pairs: u32,
    /// 1 in each half.
    one: S::I,
}

impl<S: Simd> Added<S> {
    /// Nothing yet.
    #[inline(always)]
    fn new(s: S) -> Self {
        let zero = s.splat_int(0);
        // Hidden from the compiler, which would turn known ones into mask arithmetic.
        let one = s.splat_int(std::hint::black_box(0x1_0001));
        Self { zeros: zero, negative: zero, terms: zero, groups: zero, exponents: [zero; 2], pairs: 0, one }
    }

    /// Adds the codes of a pair, which are in groups of 16 of the widths `group`.
    #[inline(always)]
    fn add<const ENCODER: u8, const SIGNED: bool>(&mut self, s: S, code: S::I, group: S::I) {
        self.pairs += 1;
        let m = if SIGNED { s.abs_halves(code) } else { code };
        self.zeros = s.add_zero_halves(self.zeros, m, self.one);
        self.groups = s.add_where_halves(self.groups, m, group);
        for half in 0..2 {
            self.exponents[half] = s.add_exponents(self.exponents[half], widened(s, m, half));
        }
        if SIGNED {
            self.negative = s.add_halves(self.negative, s.sign_halves(code));
        }
        if ENCODER != NONE {
            self.terms = s.add_halves(self.terms, terms_of::<S, ENCODER>(s, m));
        }
    }

    /// Adds the even pixels (`half` 0) or the odd ones to `to`.
    #[inline(always)]
    fn add_to<const ENCODER: u8>(&self, s: S, half: usize, LaneSums(to): &mut LaneSums) {
        let nonzero = s.sub_int(s.splat_int(self.pairs as i32), widened(s, self.zeros, half));
        let bits = s.bits_of(self.exponents[half], self.pairs, nonzero);
        let width = s.add_int(bits, widened(s, self.negative, half));
        add_to(s, &mut to[NONZERO], nonzero);
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
