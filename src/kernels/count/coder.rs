//! Quantises lines to codes, and adds up their groups: sixteen pixels at a time, two to a register.

use super::code::{Coding, Detail};
use super::groups::GroupCounts;
use super::histogram::{BLOCK, CodeHistogram, HistogramWriter};
use super::lanes::LaneTotals;
use super::places::{CHUNK, PIXELS};
use super::source::{Raw, Source};
use super::sums::GROUP_SIZES;
use crate::kernels::geometry::LANES;
use crate::kernels::isa::Kernel;
use crate::kernels::simd::Simd;
use crate::kernels::tile::{NEAR, chosen, prefetch, unrolled};

/// Pixels that are joined: those of a group of 64.
const FOUR: usize = PIXELS[1];
/// Pairs whose sums of 16 bits cannot overflow: a width is at most 17.
pub(super) const LONGEST: usize = 3072;
/// Prefetch distance for floats, in bytes: large maps come from memory.
const AHEAD: usize = 2048;
/// Bit patterns of infinity, and of the sign.
const INFINITE: u32 = 0x7f80_0000;
const SIGN: u32 = 1 << 31;
/// Signs of both halves.
const SIGNS: i32 = 0x8000_8000_u32 as i32;

// Kinds of values.
/// Floats within the codes, of either sign.
pub(super) const FLOATS: u8 = 0;
/// Floats within the codes, none of them negative.
pub(super) const NON_NEGATIVE: u8 = 1;
/// Bytes, which are codes of 0 to 255.
pub(super) const BYTES: u8 = 2;
/// Codes that are there already.
pub(super) const CODES: u8 = 3;
/// The same, significands of floats: their sign is apart, and adds no bit to widths.
pub(super) const SIGNIFICANDS: u8 = 4;

// What is counted of codes wherever they stand.
/// Nothing.
const NOTHING: u8 = 0;
/// What they add up to.
const TOTALS: u8 = 1;
/// How often each is seen.
const EACH: u8 = 2;

/// Codes of an even pixel and the odd one after it, interleaved lane by lane: one 512-bit register.
///
/// ```text
/// lane      0        1      ...     15
/// i16    [e0 o0]  [e1 o1]   ...  [e15 o15]    e: even pixel, o: odd pixel
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct PixelPair(pub(super) [[i16; 2]; LANES]);

/// Sums over the groups of pixels, by their place among sixteen: of widths for each size, then of groups that are zero.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct GroupLanes(pub(super) [[u32; CHUNK]; 2 * GROUP_SIZES.len()]);

/// Range and zeros of `lines` lines of floats.
pub(super) struct Survey<'a> {
    pub(super) from: Source<'a>,
    pub(super) lines: usize,
}

impl Kernel for Survey<'_> {
    /// Smallest and largest value and the number of 0.0; none if one is NaN or infinite.
    type Output = Option<([f32; 2], u32)>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let Self { from, lines } = self;
        let Raw { x, line: row, pair, odd } = from.raw(lines);
        // Bit patterns as signed and as unsigned integers: these order positive and negative floats.
        let (mut high, mut low, mut zeros) = (s.splat_int(i32::MIN), s.splat_int(0), s.splat_int(0));
        let one = s.splat_int(std::hint::black_box(1));
        debug_assert!(pair as isize == 2 * odd, "floats lie evenly");
        for line in 0..lines {
            let mut x = x.wrapping_add(line * row);
            for _ in 0..from.pixels {
                prefetch::<_, NEAR>(x.wrapping_add(AHEAD));
                // SAFETY: `Source::raw` has checked that the pixels exist.
                let bits = unsafe { s.load_int(x.cast()) };
                high = s.max_int(high, bits);
                low = s.max_unsigned(low, bits);
                zeros = s.add_zero_floats(zeros, bits, one);
                x = x.wrapping_offset(odd);
            }
        }
        let used = from.used.0;
        let high = s.to_ints(high)[..used].iter().fold(i32::MIN, |most, &bits| most.max(bits));
        let low = s.to_ints(low)[..used].iter().fold(0, |most, &bits| most.max(bits as u32));
        // Lanes that the last pixel of a line lacks are zero, and were counted.
        let filled = lines * (used - from.used.1);
        let zeros = s.to_ints(zeros)[..used].iter().sum::<i32>() as usize - filled;
        Some((extremes(high, low, zeros > 0, || from.extremes(lines))?, zeros as u32))
    }
}

/// Smallest and largest of floats by their largest bit patterns as signed and unsigned integers, and whether one is 0; none if one is
/// NaN or infinite. Where all have one sign the patterns hold only one of the extremes, and `look` finds both: such lines are rare.
fn extremes(high: i32, low: u32, zeros: bool, look: impl FnOnce() -> [f32; 2]) -> Option<[f32; 2]> {
    if high >= INFINITE as i32 || low >= INFINITE | SIGN {
        return None;
    }
    let (negative, positive) = (low >= SIGN, high > 0);
    Some(match (negative || zeros, positive || zeros) {
        (true, true) => [if negative { f32::from_bits(low) } else { 0.0 }, f32::from_bits(high.max(0) as u32)],
        _ => look(),
    })
}

/// Codes `lines` lines of `from` to `codes`, and the groups of each pair of pixels to `groups`.
pub(super) struct Code<'a> {
    pub(super) coding: Coding,
    /// Of the values.
    pub(super) kind: u8,
    pub(super) from: Source<'a>,
    pub(super) lines: usize,
    /// Pairs of a line, filled up to whole chunks.
    pub(super) codes: &'a mut [PixelPair],
    /// Widths of the groups of 16 of each pixel, as many.
    pub(super) groups: &'a mut [[u16; 2]],
    /// Which of `lanes` the groups of each chunk are added to, counted from the first of the line.
    pub(super) chunks: &'a [usize],
    pub(super) firsts: &'a [usize],
    pub(super) lanes: &'a mut [GroupLanes],
    pub(super) counts: &'a mut GroupCounts,
    pub(super) histogram: &'a mut CodeHistogram,
    pub(super) totals: &'a mut LaneTotals,
}

/// What is added up in registers while values are coded.
struct CodeTotals<S: Simd> {
    /// Of halves.
    ones: S::I,
    nonzero: S::I,
    high: S::I,
    /// Of lanes.
    sum: S::I,
    squares: [S::I; 2],
    /// 1 in each half.
    one: S::I,
}

impl Kernel for Code<'_> {
    /// Whether a code is negative.
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> bool {
        chosen!(
            self.kind,
            KIND in [FLOATS => FLOATS, NON_NEGATIVE => NON_NEGATIVE, BYTES => BYTES, CODES => CODES, _ => SIGNIFICANDS],
            chosen!(
                self.coding.detail,
                TALLY in [Detail::Values => NOTHING, Detail::Terms(_) => TOTALS, Detail::Codes(_) => EACH],
                self.lines::<S, KIND, TALLY>(s)
            )
        )
    }
}

impl Code<'_> {
    #[inline(always)]
    fn lines<S: Simd, const KIND: u8, const TALLY: u8>(self, s: S) -> bool {
        let Self { coding, from, lines, codes, groups, chunks, firsts, lanes, counts, histogram, totals, .. } = self;
        let scale = coding.map.scale;
        let (pixels, stride) = (from.pixels, from.pixels.next_multiple_of(CHUNK) / 2);
        assert!(codes.len() >= lines * stride && groups.len() >= lines * stride, "room for the lines");
        assert!(chunks.len() * CHUNK / 2 >= stride && firsts.len() >= lines, "places of the lines");
        let Raw { x, line: row, pair, odd } = match KIND {
            CODES | SIGNIFICANDS => {
                let pair = size_of::<PixelPair>();
                Raw { x: codes.as_ptr().cast(), line: stride * pair, pair, odd: 0 }
            }
            _ => from.raw(lines),
        };
        let zero = s.splat_int(0);
        let mut sums = CodeTotals::new(s);
        let (one, mut signs, mut unflushed) = (s.splat_int(std::hint::black_box(1)), zero, 0);
        let mut writer = histogram.writer();
        for line in 0..lines {
            let x = x.wrapping_add(line * row);
            for (chunk, &place) in chunks[..pixels.div_ceil(CHUNK)].iter().enumerate() {
                if TALLY == TOTALS && unflushed == LONGEST {
                    sums.flush(s, totals);
                    unflushed = 0;
                }
                unflushed += CHUNK / 2;
                let x = x.wrapping_add(chunk * CHUNK / 2 * pair);
                let here = (pixels - chunk * CHUNK).min(CHUNK);
                let at = line * stride + chunk * CHUNK / 2;
                const FOURS: usize = CHUNK / FOUR;
                let mut fours = [zero; FOURS];
                if TALLY == EACH && KIND == SIGNIFICANDS {
                    // Their signs are lost below.
                    keep(s, &codes[at..at + here.div_ceil(2)], &mut writer);
                }
                let to = codes[at..at + CHUNK / 2].as_mut_ptr();
                // Some buffered codes are counted beside each four pixels: the vector code leaves room for scalar work. The
                // table replaces a division by the number of fours.
                let blocks = (writer.buffered() / BLOCK) as u32 * [0, 12, 6, 4, 3][here.div_ceil(FOUR)] / 12;
                let at_four = |four: usize| (x.wrapping_add(four * FOUR / 2 * pair), to.wrapping_add(four * FOUR / 2));
                // SAFETY: the pixels exist (`Source::raw`), and so does room for sixteen (above).
                unsafe {
                    if here == CHUNK {
                        unrolled!(four < FOURS, {
                            let (x, to) = at_four(four);
                            fours[four] = sums.four::<KIND, TALLY>(s, scale, (x, pair, odd), FOUR, to);
                            if TALLY == EACH {
                                writer.count_blocks(blocks);
                            }
                        });
                    } else {
                        for four in 0..here.div_ceil(FOUR) {
                            let (x, to) = at_four(four);
                            let pixels = (here - four * FOUR).min(FOUR);
                            fours[four] = sums.four::<KIND, TALLY>(s, scale, (x, pair, odd), pixels, to);
                            if TALLY == EACH {
                                writer.count_blocks(blocks);
                            }
                        }
                    }
                }
                let summaries = s.fold(fours);
                signs = s.or(signs, summaries);
                let widths = lanes[firsts[line] + place].add(s, summaries, one, (counts, here));
                // SAFETY: there is room for sixteen.
                unsafe { s.store_words(groups[at..at + CHUNK / 2].as_mut_ptr().cast(), widths) };
                if TALLY == EACH && KIND != SIGNIFICANDS {
                    keep(s, &codes[at..at + here.div_ceil(2)], &mut writer);
                }
            }
        }
        drop(writer);
        if TALLY == TOTALS {
            sums.flush(s, totals);
        }
        if KIND == BYTES {
            let halves = |v: S::I| s.to_ints(v).map(|lane| [lane as u16, (lane >> 16) as u16]);
            let all = lines * ((pixels - 1) * from.used.0 + from.used.1);
            let zeros =
                all as u32 - halves(sums.nonzero).as_flattened().iter().map(|&half| u32::from(half)).sum::<u32>();
            let high = halves(sums.high).as_flattened().iter().fold(0, |most, &half| most.max(half));
            let extremes = if zeros > 0 { [0.0, f32::from(high)] } else { from.extremes(lines) };
            totals.add_finite(extremes, zeros);
        }
        s.to_ints(signs).iter().fold(0, |all, lane| all | lane) & SIGNS != 0
    }
}

impl GroupLanes {
    /// Adds the groups of the first `pixels` of sixteen pixels, of which these are the magnitudes, or'ed with the signs, or'ed over all
    /// channels; to `counts` as well. Returns the widths of the groups of 16; `one` is 1 in each lane.
    #[inline(always)]
    fn add<S: Simd>(&mut self, s: S, summaries: S::I, one: S::I, (counts, pixels): (&mut GroupCounts, usize)) -> S::I {
        let [of_64, of_256] = s.spread(summaries);
        let (mut each, mut of_16) = ([[0; CHUNK]; 3], summaries);
        for (size, summary) in [summaries, of_64, of_256].into_iter().enumerate() {
            let unused = s.add_leading_zeros(s.splat_int(0), s.and(summary, s.splat_int(!SIGNS)));
            let widths = s.add_int(s.sign_halves(summary), s.sub_int(s.splat_int(32), unused));
            let (width, zeros) = (self.0[size].as_mut_ptr().cast(), self.0[3 + size].as_mut_ptr().cast());
            // SAFETY: the arrays hold sixteen.
            unsafe {
                s.store_int(width, s.add_int(s.load_int(width), widths));
                s.store_int(zeros, s.add_zeros(s.load_int(zeros), widths, one));
                s.store_bytes(each[size].as_mut_ptr(), widths);
            }
            if size == 0 {
                of_16 = widths;
            }
        }
        counts.add(&each, pixels);
        of_16
    }
}

/// Buffers those codes of at most eight pairs that are not zero.
#[inline(always)]
fn keep<S: Simd>(s: S, pairs: &[PixelPair], writer: &mut HistogramWriter<'_>) {
    writer.make_room::<{ CHUNK * LANES + 2 * LANES }>();
    assert!(pairs.len() <= CHUNK / 2, "there is room");
    for pair in pairs {
        // SAFETY: a pair is of sixteen integers; room for the codes of eight, and of one more, was made.
        unsafe {
            let kept = s.compress(writer.end(), s.load_int(pair.0.as_ptr().cast()));
            writer.advance(kept);
        }
    }
}

impl<S: Simd> CodeTotals<S> {
    /// Nothing yet.
    #[inline(always)]
    fn new(s: S) -> Self {
        let zero = s.splat_int(0);
        // Hidden from the compiler, which would turn known ones into mask arithmetic.
        let one = s.splat_int(std::hint::black_box(0x1_0001));
        Self { ones: zero, nonzero: zero, high: zero, sum: zero, squares: [zero; 2], one }
    }

    /// Codes the first `pixels` of four pixels to two pairs `to`. Returns their magnitudes or'ed with their signs, joined.
    ///
    /// # Safety
    /// The pixels must be valid for reading, and the pairs that hold them for writing.
    #[inline(always)]
    unsafe fn four<const KIND: u8, const TALLY: u8>(
        &mut self,
        s: S,
        scale: f32,
        (x, pair, odd): (*const u8, usize, isize),
        pixels: usize,
        to: *mut PixelPair,
    ) -> S::I {
        // SAFETY: the caller's; whoever keeps codes has made room for them.
        unsafe {
            let (first, second) = (x, x.wrapping_add(pair));
            let (first, second) = ([first, first.wrapping_offset(odd)], [second, second.wrapping_offset(odd)]);
            let first = self.pair::<KIND, TALLY>(s, scale, first, pixels, to);
            let second = match pixels {
                3.. => self.pair::<KIND, TALLY>(s, scale, second, pixels - 2, to.add(1)),
                _ => s.splat_int(0),
            };
            s.join(first, second)
        }
    }

    /// As [`CodeTotals::four`], of two pixels to one pair, not joined.
    #[inline(always)]
    unsafe fn pair<const KIND: u8, const TALLY: u8>(
        &mut self,
        s: S,
        scale: f32,
        [even, odd]: [*const u8; 2],
        pixels: usize,
        to: *mut PixelPair,
    ) -> S::I {
        let scale = s.splat(scale);
        // SAFETY: the caller's.
        let codes = unsafe {
            match KIND {
                FLOATS | NON_NEGATIVE => {
                    let even = s.to_nearest(s.mul(s.load_ptr(even.cast()), scale));
                    let odd = match pixels {
                        1 => s.splat_int(0),
                        _ => s.to_nearest(s.mul(s.load_ptr(odd.cast()), scale)),
                    };
                    s.pair(even, odd)
                }
                BYTES => {
                    let nothing = [0; LANES];
                    s.pair_bytes(even, if pixels > 1 { odd } else { nothing.as_ptr() })
                }
                _ => s.load_int(even.cast()),
            }
        };
        let m = if KIND == NON_NEGATIVE || KIND == BYTES { codes } else { s.abs_halves(codes) };
        if TALLY == TOTALS {
            self.ones = s.add_halves(self.ones, s.ones_halves(m));
            self.sum = s.dot2(codes, self.one, self.sum);
            if KIND == BYTES {
                self.squares[0] = s.dot2(m, m, self.squares[0]);
            } else {
                let squares = s.dot2(m, m, s.splat_int(0));
                self.squares[0] = s.add_int(self.squares[0], s.and(squares, s.splat_int(0xffff)));
                self.squares[1] = s.add_int(self.squares[1], s.upper(squares));
            }
        }
        if KIND == BYTES {
            self.high = s.max_halves(self.high, codes);
            self.nonzero = s.add_where_halves(self.nonzero, codes, self.one);
        }
        // SAFETY: the caller's.
        unsafe { s.store_int(to.cast(), if KIND == SIGNIFICANDS { m } else { codes }) };
        match KIND {
            FLOATS | CODES => s.or(m, s.and(codes, s.splat_int(SIGNS))),
            _ => m,
        }
    }

    /// Moves what codes add up to, to `totals`.
    #[inline(always)]
    fn flush(&mut self, s: S, totals: &mut LaneTotals) {
        let [ones, sum, low, high] = [self.ones, self.sum, self.squares[0], self.squares[1]].map(|v| s.to_ints(v));
        for lane in 0..LANES {
            totals.ones[lane] += u64::from(ones[lane] as u32 & 0xffff) + u64::from(ones[lane] as u32 >> 16);
            totals.sum[lane] += i64::from(sum[lane]);
            totals.squares[lane] += u64::from(low[lane] as u32) + (u64::from(high[lane] as u32) << 16);
        }
        let zero = s.splat_int(0);
        (self.ones, self.sum, self.squares) = (zero, zero, [zero; 2]);
    }
}
