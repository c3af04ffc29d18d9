//! Codes, and the widths of their groups.

use std::arch::x86_64::*;

use super::super::code::CodeMap;
use super::super::lanes::LaneTotals;
use super::super::lines::{PIXELS, SIGN};
use crate::kernels::geometry::LANES;

/// Pixels whose summaries are folded together: those of the largest group.
const FOLDED: usize = PIXELS[2];

/// Codes `pixels`, of whose lanes the first `used.0` count, of the last one's `used.1`; the widths of the groups that hold
/// each pixel go to `widths`, the non-zero codes, if they are to be kept, to the front of `nonzeros`. Returns how many of these there are, or
/// nothing, and the totals are as they were, if a value is beyond the codes, NaN or infinite.
///
/// # Safety
/// The CPU must have the features of the AVX-512 level.
#[inline(always)]
pub(in super::super) unsafe fn code<const KEEP: bool>(
    map: CodeMap,
    pixels: &[[f32; LANES]],
    used: (usize, usize),
    codes: &mut [[i16; LANES]],
    widths: [&mut [u8]; 3],
    nonzeros: &mut [u16],
    totals: &mut LaneTotals,
) -> Option<usize> {
    let room = pixels.len().next_multiple_of(FOLDED);
    assert!(codes.len() >= room && widths.iter().all(|widths| widths.len() >= room), "room for whole groups");
    assert!(nonzeros.len() >= (pixels.len() + 2) * LANES, "room for a pair of pixels more than there are");
    let mask = |used: usize| ((1u32 << used) - 1) as __mmask16;
    let (all, of_last) = (mask(used.0), mask(used.1));
    // Pixels before which all lanes count.
    let whole = if used.0 < LANES { 0 } else { pixels.len() - usize::from(used.1 < LANES) };
    // SAFETY: the caller vouches for the features; codes and widths are stored at most up to the next multiple of
    // `FOLDED` pixels, and a store to `nonzeros` starts at most 32 for each earlier pair after its start.
    unsafe {
        let (codes, nonzeros) = (codes.as_mut_ptr(), nonzeros.as_mut_ptr());
        let mut coder = Coder {
            scale: _mm512_set1_ps(map.scale),
            low: _mm512_loadu_ps(totals.low.as_ptr()),
            high: _mm512_loadu_ps(totals.high.as_ptr()),
            zeros: _mm512_loadu_si512(totals.zeros.as_ptr().cast()),
            least: _mm512_setzero_si512(),
            most: _mm512_setzero_si512(),
            kept: 0,
        };
        let [to_16, to_64, to_256] = widths;
        for start in (0..pixels.len()).step_by(FOLDED) {
            let mut summaries = [_mm512_setzero_si512(); FOLDED / 2];
            let in_chunk = pixels[start..].chunks(2).take(FOLDED / 2);
            for (index, (pair, summary)) in in_chunk.zip(&mut summaries).enumerate() {
                let at = start + 2 * index;
                *summary = match pair {
                    [a, b] if at + 2 <= whole => {
                        let values = [_mm512_loadu_ps(a.as_ptr()), _mm512_loadu_ps(b.as_ptr())];
                        coder.pair::<KEEP>(values, [!0; 2], codes.add(at).cast(), nonzeros)
                    }
                    _ => {
                        let (mut values, mut masks) = ([_mm512_setzero_ps(); 2], [0; 2]);
                        for (index, pixel) in pair.iter().enumerate() {
                            values[index] = _mm512_loadu_ps(pixel.as_ptr());
                            masks[index] = if at + index + 1 == pixels.len() { of_last } else { all };
                        }
                        coder.pair::<KEEP>(values, masks, codes.add(at).cast(), nonzeros)
                    }
                };
            }
            let of_16 = fold(summaries);
            let of_64 = _mm512_or_si512(of_16, _mm512_shuffle_epi32::<0b10_11_00_01>(of_16));
            let of_64 = _mm512_or_si512(of_64, _mm512_shuffle_epi32::<0b01_00_11_10>(of_64));
            let of_256 = _mm512_or_si512(of_64, _mm512_shuffle_i32x4::<0b10_11_00_01>(of_64, of_64));
            let of_256 = _mm512_or_si512(of_256, _mm512_shuffle_i32x4::<0b01_00_11_10>(of_256, of_256));
            _mm_storeu_si128(to_16.as_mut_ptr().add(start).cast(), widths_of(of_16));
            _mm_storeu_si128(to_64.as_mut_ptr().add(start).cast(), widths_of(of_64));
            _mm_storeu_si128(to_256.as_mut_ptr().add(start).cast(), widths_of(of_256));
        }
        // The highest code may stand for more than itself where codes have sixteen bits.
        let highest = _mm512_set1_epi16(map.hi.min(i32::from(i16::MAX) - 1) as i16);
        let lowest = _mm512_set1_epi16(map.lo as i16);
        if _mm512_cmpgt_epi16_mask(coder.most, highest) | _mm512_cmplt_epi16_mask(coder.least, lowest) != 0 {
            return None;
        }
        _mm512_storeu_ps(totals.low.as_mut_ptr(), coder.low);
        _mm512_storeu_ps(totals.high.as_mut_ptr(), coder.high);
        _mm512_storeu_si512(totals.zeros.as_mut_ptr().cast(), coder.zeros);
        Some(coder.kept)
    }
}

/// What a line's values add up to while it is coded.
struct Coder {
    scale: __m512,
    low: __m512,
    high: __m512,
    zeros: __m512i,
    least: __m512i,
    most: __m512i,
    kept: usize,
}

impl Coder {
    /// Codes a pair of pixels, of whose lanes those of `masks` count, to `codes`, and the non-zero codes to `nonzeros`
    /// behind those already there. Returns the magnitudes of its codes, and their signs.
    #[inline(always)]
    unsafe fn pair<const KEEP: bool>(
        &mut self,
        [a, b]: [__m512; 2],
        masks: [__mmask16; 2],
        codes: *mut __m512i,
        nonzeros: *mut u16,
    ) -> __m512i {
        // SAFETY: the caller vouches for the features and for room in `codes` and `nonzeros`.
        unsafe {
            // What does not fit becomes the extreme, and NaN and infinity the least: the bounds of the codes tell.
            let round = _mm512_cvtps_epi32(_mm512_mul_ps(a, self.scale));
            let packed = _mm512_packs_epi32(round, _mm512_cvtps_epi32(_mm512_mul_ps(b, self.scale)));
            let both = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), packed);
            self.least = _mm512_min_epi16(self.least, both);
            self.most = _mm512_max_epi16(self.most, both);
            self.see(a, masks[0]);
            self.see(b, masks[1]);
            _mm512_storeu_si512(codes, both);
            if KEEP {
                let nonzero = _mm512_test_epi16_mask(both, both);
                _mm512_storeu_si512(nonzeros.add(self.kept).cast(), _mm512_maskz_compress_epi16(nonzero, both));
                self.kept += nonzero.count_ones() as usize;
            }
            let sign = _mm512_set1_epi16(SIGN as i16);
            _mm512_ternarylogic_epi64::<0xf8>(_mm512_abs_epi16(both), both, sign)
        }
    }

    /// Notes extremes and zeros of the lanes of `mask`.
    #[inline(always)]
    unsafe fn see(&mut self, x: __m512, mask: __mmask16) {
        // SAFETY: the caller vouches for the features.
        unsafe {
            let zero = _mm512_mask_cmp_ps_mask::<_CMP_EQ_OQ>(mask, x, _mm512_setzero_ps());
            self.zeros = _mm512_mask_add_epi32(self.zeros, zero, self.zeros, _mm512_set1_epi32(1));
            self.low = _mm512_mask_min_ps(self.low, mask, x, self.low);
            self.high = _mm512_mask_max_ps(self.high, mask, x, self.high);
        }
    }
}

/// The sixteen lanes of each of sixteen pixels or'ed, each in 32 bits, from two pixels a register.
#[inline(always)]
unsafe fn fold(s: [__m512i; FOLDED / 2]) -> __m512i {
    // SAFETY: the caller vouches for the features.
    unsafe {
        // Halves, then quarters, then eighths of pixels; each step puts the remains of two registers into one.
        let (a, b) = (halves(s[0], s[1]), halves(s[2], s[3]));
        let (c, d) = (halves(s[4], s[5]), halves(s[6], s[7]));
        let a = _mm512_castsi512_ps(_mm512_or_si512(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b)));
        let c = _mm512_castsi512_ps(_mm512_or_si512(_mm512_unpacklo_epi64(c, d), _mm512_unpackhi_epi64(c, d)));
        let (even, odd) = (_mm512_shuffle_ps::<0b10_00_10_00>(a, c), _mm512_shuffle_ps::<0b11_01_11_01>(a, c));
        let v = _mm512_or_si512(_mm512_castps_si512(even), _mm512_castps_si512(odd));
        let v = _mm512_and_si512(_mm512_or_si512(v, _mm512_srli_epi32::<16>(v)), _mm512_set1_epi32(0xffff));
        // Lane j of four holds pixels j, j + 4, j + 8 and j + 12.
        let in_order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        _mm512_permutexvar_epi32(in_order, v)
    }
}

/// The halves of the two pixels of each register or'ed: four half pixels.
#[inline(always)]
unsafe fn halves(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the caller vouches for the features.
    unsafe {
        let (low, high) = (_mm512_shuffle_i64x2::<0b10_00_10_00>(a, b), _mm512_shuffle_i64x2::<0b11_01_11_01>(a, b));
        _mm512_or_si512(low, high)
    }
}

/// Widths of the groups that sixteen summaries are of.
#[inline(always)]
unsafe fn widths_of(summaries: __m512i) -> __m128i {
    // SAFETY: the caller vouches for the features.
    unsafe {
        let sign = _mm512_srli_epi32::<15>(summaries);
        let m = _mm512_and_si512(summaries, _mm512_set1_epi32(i32::from(!SIGN)));
        let unused = _mm512_lzcnt_epi32(m);
        _mm512_cvtepi32_epi8(_mm512_sub_epi32(_mm512_add_epi32(sign, _mm512_set1_epi32(32)), unused))
    }
}
