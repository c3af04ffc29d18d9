//! Counting weights, filter by filter.

use super::code::{CodeMap, Encoder, bits, booth4, naf, popcount, runs, width};
use super::sums::{GROUP_SIZES, ValueSums, key};
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;

const GROUP: usize = GROUP_SIZES[0];

/// Sums over the filters that read the same input channels.
pub struct FilterSums {
    encoder: Encoder,
    taps: usize,
    /// Non-zero codes, `[channel][tap]`.
    pub nonzero: Vec<u32>,
    /// Widths of values, `[channel][tap]`.
    pub width: Vec<u32>,
    /// Terms of values, `[channel][tap]`.
    pub terms: Vec<u32>,
    /// Widths of groups of 16 channels, `[channel / 16][tap]`.
    pub g16: Vec<u32>,
    /// Groups of 16 channels that are all zero, `[channel / 16][tap]`.
    pub g16_zero: Vec<u32>,
    /// Codes of the filter added last, `[channel][tap]`.
    codes: Vec<i16>,
    /// Or of the magnitudes and of the codes of each group of the filter added last, `[channel / 16][tap]`.
    any: Vec<(u16, i16)>,
}

impl FilterSums {
    /// Sums before the first filter, for filters of `channels` input channels and `taps` taps.
    pub fn new(channels: usize, taps: usize, encoder: Encoder) -> Self {
        let (values, groups) = (channels * taps, channels.div_ceil(GROUP) * taps);
        let zeros = |len: usize| vec![0; len];
        Self {
            encoder,
            taps,
            nonzero: zeros(values),
            width: zeros(values),
            terms: zeros(values),
            g16: zeros(groups),
            g16_zero: zeros(groups),
            codes: vec![0; values],
            any: vec![(0, 0); groups],
        }
    }

    /// Adds `filter`, `[channel][tap]`, as codes of `map` here and (all but its groups and how often each code is seen) to `values`.
    /// Returns its number of non-zero codes.
    pub fn add(&mut self, isa: Isa, filter: &[f32], map: CodeMap, values: &mut ValueSums) -> u64 {
        assert_eq!(filter.len(), self.codes.len(), "one weight a channel and tap");
        match map.float {
            Some(_) => isa.run(Add::<true> { sums: self, filter, map, values }),
            None => isa.run(Add::<false> { sums: self, filter, map, values }),
        }
    }

    /// Or'ed magnitudes, and sign, of the groups of 16 of the filter added last, `[channel / 16][tap]`.
    pub fn groups(&self) -> impl Iterator<Item = (u16, bool)> {
        self.any.iter().map(|&(magnitudes, codes)| (bits(magnitudes), codes < 0))
    }
}

/// `FLOAT` says whether the map has a floating-point type.
struct Add<'a, const FLOAT: bool> {
    sums: &'a mut FilterSums,
    filter: &'a [f32],
    map: CodeMap,
    values: &'a mut ValueSums,
}

/// Plain loops of one statement each, which the compiler vectorises at every level.
impl<const FLOAT: bool> Kernel for Add<'_, FLOAT> {
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> u64 {
        let Self { sums, filter, map, values } = self;
        let taps = sums.taps;
        let (mut natural_zeros, mut saturated) = (0_u32, 0_u32);
        let ([mut least, mut most], [mut lowest, mut highest]) = (values.extremes, values.code_extremes);
        for (place, &x) in sums.codes.iter_mut().zip(filter) {
            let (code, beyond) = map.code_as::<FLOAT>(x);
            *place = code as i16;
            natural_zeros += u32::from(x == 0.0);
            saturated += u32::from(beyond);
            (least, most) = (least.min(key(x)), most.max(key(x)));
            (lowest, highest) = (lowest.min(code), highest.max(code));
        }
        values.elements += filter.len() as u64;
        values.natural_zeros += u64::from(natural_zeros);
        values.saturated += u64::from(saturated);
        (values.extremes, values.code_extremes) = ([least, most], [lowest, highest]);
        if FLOAT {
            // A sign that is apart adds no bit to a width.
            sums.codes.iter_mut().for_each(|code| *code = code.abs());
        }
        let mut nonzeros = 0_u32;
        for ((nonzero, width_sum), &code) in sums.nonzero.iter_mut().zip(&mut sums.width).zip(&sums.codes) {
            *nonzero += u32::from(code != 0);
            nonzeros += u32::from(code != 0);
            *width_sum += u32::from(width(code.into()));
        }
        match sums.encoder {
            Encoder::Naf => add_terms(&mut sums.terms, &sums.codes, naf),
            Encoder::Popcount => add_terms(&mut sums.terms, &sums.codes, popcount),
            Encoder::Booth4 => add_terms(&mut sums.terms, &sums.codes, booth4),
            Encoder::Runs => add_terms(&mut sums.terms, &sums.codes, runs),
        }
        for (any, codes) in sums.any.chunks_exact_mut(taps).zip(sums.codes.chunks(GROUP * taps)) {
            any.fill((0, 0));
            for codes in codes.chunks_exact(taps) {
                for (any, &code) in any.iter_mut().zip(codes) {
                    *any = (any.0 | code.unsigned_abs(), any.1 | code);
                }
            }
        }
        for ((g16, zero), any) in sums.g16.iter_mut().zip(&mut sums.g16_zero).zip(&sums.any) {
            *g16 += u32::from(bits(any.0)) + u32::from(any.1 < 0);
            *zero += u32::from(any.0 == 0);
        }
        nonzeros.into()
    }
}

#[inline(always)]
fn add_terms(sums: &mut [u32], codes: &[i16], terms: impl Fn(u16) -> u16) {
    for (sum, code) in sums.iter_mut().zip(codes) {
        *sum += u32::from(terms(code.unsigned_abs()));
    }
}
