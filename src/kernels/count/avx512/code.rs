//! Quantises lines to codes and adds up codes and group widths, sixteen pixels at a time.

use std::arch::x86_64::*;

use super::super::code::Encoder;
use super::super::counter::LaneSums;
use super::super::groups::GroupCounts;
use super::super::histogram::CodeHistogram;
use super::super::lanes::LaneTotals;
use super::super::lines::{Coding, LONGEST, ParitySums, PixelPair};
use super::super::source::{Source, Strided, Values};
use super::add::{BOOTH4, NAF, NONE, POPCOUNT, add_to};
use super::coder::{BYTES, Coder, FLOATS, NON_NEGATIVE};
use super::fold::FOLDED;
use crate::kernels::geometry::LANES;

/// Where the codes of some lines are written.
pub(in super::super) struct Coded<'a> {
    pub(in super::super) codes: &'a mut [PixelPair],
    pub(in super::super) widths: [&'a mut [u8]; 3],
    /// Groups by width.
    pub(in super::super) counts: &'a mut GroupCounts,
    /// How often each code occurs.
    pub(in super::super) histogram: &'a mut CodeHistogram,
}

/// Quantises `lines` lines of `from`. Writes the codes, and for each pixel the widths of its groups, to `to`; counts the groups
/// and, with an encoder, the non-zero codes there; adds even and odd pixels to `sums`. Returns false, and changes no sum, if a
/// value is out of the range of the codes, NaN or infinite.
///
/// # Safety
/// The CPU must have the features of the AVX-512 level.
#[inline(always)]
pub(in super::super) unsafe fn code(
    coding: Coding,
    from: Source<'_>,
    lines: usize,
    mut to: Coded<'_>,
    mut sums: Option<&mut ParitySums<'_>>,
    totals: &mut LaneTotals,
) -> bool {
    // SAFETY: the caller vouches for the features.
    unsafe {
        if let Values::Bytes(_) = from.values {
            return code_as::<{ BYTES }>(coding, from, lines, &mut to, sums, totals);
        }
        // A negative value with an unsigned code is rare.
        if coding.map.lo == 0 && code_as::<{ NON_NEGATIVE }>(coding, from, lines, &mut to, sums.as_deref_mut(), totals)
        {
            return true;
        }
        code_as::<{ FLOATS }>(coding, from, lines, &mut to, sums, totals)
    }
}

/// As [`code`]; also false if a value is not of the `KIND`.
#[inline(always)]
unsafe fn code_as<const KIND: u8>(
    coding: Coding,
    from: Source<'_>,
    lines: usize,
    to: &mut Coded<'_>,
    sums: Option<&mut ParitySums<'_>>,
    totals: &mut LaneTotals,
) -> bool {
    let unused = &mut ParitySums { even: &mut LaneSums::default(), odd: None };
    // SAFETY: the caller vouches for the features.
    unsafe {
        match (sums, coding.encoder) {
            (None, None) => code_lines::<KIND, false, false, NONE>(coding, from, lines, to, unused, totals),
            (None, Some(_)) => code_lines::<KIND, false, true, NONE>(coding, from, lines, to, unused, totals),
            (Some(sums), None) => code_lines::<KIND, true, false, NONE>(coding, from, lines, to, sums, totals),
            (Some(sums), Some(Encoder::Naf)) => {
                code_lines::<KIND, true, true, NAF>(coding, from, lines, to, sums, totals)
            }
            (Some(sums), Some(Encoder::Popcount)) => {
                code_lines::<KIND, true, true, POPCOUNT>(coding, from, lines, to, sums, totals)
            }
            (Some(sums), Some(Encoder::Booth4)) => {
                code_lines::<KIND, true, true, BOOTH4>(coding, from, lines, to, sums, totals)
            }
            (Some(sums), Some(Encoder::Runs)) => {
                code_lines::<KIND, true, true, NONE>(coding, from, lines, to, sums, totals)
            }
        }
    }
}

/// As [`code`]; adds to `sums` if `SUMS`, counts codes if `KEEP`. Not inlined, because it is long.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bitalg,avx512vbmi2,popcnt")]
unsafe fn code_lines<const KIND: u8, const SUMS: bool, const KEEP: bool, const ENCODER: u8>(
    Coding { map, .. }: Coding,
    from: Source<'_>,
    lines: usize,
    to: &mut Coded<'_>,
    sums: &mut ParitySums<'_>,
    totals: &mut LaneTotals,
) -> bool {
    let (pixels, stride) = (from.pixels, from.pixels.next_multiple_of(FOLDED));
    assert!(lines > 0 && pixels > 0, "lines of pixels");
    let (x, row) = match from.values {
        Values::Floats(Strided { x, line, pixel }) => {
            assert!(x.len() >= (lines - 1) * line + (pixels - 1) * pixel + LANES, "lines of pixels");
            (x.as_ptr().cast::<u8>(), line * size_of::<f32>())
        }
        Values::Bytes(plane) => {
            let (words, first) = plane.range(lines, pixels);
            (words.as_ptr().wrapping_add(first).cast(), plane.row_len() * size_of::<i32>())
        }
    };
    assert!(to.codes.len() * 2 >= lines * stride, "room for codes");
    assert!(to.widths.iter().all(|widths| widths.len() >= lines * stride), "room for widths");
    // SAFETY: the caller vouches for the features; only pixels that exist are read (asserted; of bytes by
    // `Plane::range`); codes and widths are stored up to the next multiple of `FOLDED` pixels; `chunk` makes room in the
    // histogram's buffer for all its pairs and one more.
    unsafe {
        let mut coder = Coder::<KIND, SUMS, KEEP, ENCODER>::new(map.scale, from.values, to.histogram.writer());
        let counts = &mut *to.counts;
        let [widths_16, widths_64, widths_256] = &mut to.widths;
        let (to_16, to_64, to_256) = (widths_16.as_mut_ptr(), widths_64.as_mut_ptr(), widths_256.as_mut_ptr());
        let codes = to.codes.as_mut_ptr().cast::<__m512i>();
        let mut added = [LaneSums::default(); 2];
        let (mut unflushed, mut flushed) = (0, false);
        for line in 0..lines {
            let x = x.add(line * row);
            for start in (0..pixels).step_by(FOLDED) {
                if SUMS && unflushed + FOLDED > 2 * LONGEST {
                    let [even, odd] = &mut added;
                    coder.flush(&mut ParitySums { even, odd: Some(odd) });
                    (unflushed, flushed) = (0, true);
                }
                let x = x.add(start / 2 * coder.pair_stride);
                let at = line * stride + start;
                let codes = codes.add(at / 2);
                let widths = [to_16.add(at), to_64.add(at), to_256.add(at)];
                coder.chunk(x, (pixels - start).min(FOLDED), codes, widths, counts);
                unflushed += FOLDED;
            }
        }
        let found = coder.found(from, lines).filter(|(extremes, _)| extremes.iter().all(|&extreme| map.fits(extreme)));
        let Some((extremes, zeros)) = found else {
            for line in (0..lines).map(|line| line * stride..line * stride + pixels) {
                let widths = [&widths_16[line.clone()], &widths_64[line.clone()], &widths_256[line]];
                counts.of_line(widths, |count| *count -= 1);
            }
            if KEEP {
                coder.histogram.count_all();
                drop(coder);
                for line in to.codes[..lines * stride / 2].chunks_exact(stride / 2) {
                    // Pixels beyond the line's end belong to other lines.
                    let codes = line[..pixels.div_ceil(2)].iter().flat_map(|pair| pair.0.as_flattened());
                    codes.filter(|&&code| code != 0).for_each(|&code| to.histogram.remove(code as u16));
                }
            }
            return false;
        };
        totals.add_finite(extremes, zeros);
        coder.flush(sums);
        if SUMS && flushed {
            for (half, added) in added.iter().enumerate() {
                for (to, added) in sums.of(half).0.iter_mut().zip(&added.0) {
                    add_to(to, _mm512_loadu_si512(added.as_ptr().cast()));
                }
            }
        }
        true
    }
}
