//! Sixteen integers as lanes of 32 bits, and as thirty-two halves of 16: the arithmetic of counting.

use super::geometry::LANES;
use super::simd::Scalar;

/// Arithmetic on sixteen lanes of integers and on their halves: the lower halves are of one pixel, the upper ones of the pixel after it.
///
/// Sums are modulo 2^32, of halves modulo 2^16; every operation gives the same bits on all levels.
pub trait Halves: Copy + Send + Sync + 'static {
    /// Sixteen lanes of `i32`.
    type I: Copy;

    /// Sixteen integers to `to`.
    ///
    /// # Safety
    /// `to` must be valid for writing sixteen `i32` (no alignment needed).
    unsafe fn store_int(self, to: *mut i32, v: Self::I);
    /// The lowest byte of each lane to `to`.
    ///
    /// # Safety
    /// `to` must be valid for writing sixteen bytes.
    unsafe fn store_bytes(self, to: *mut u8, v: Self::I);
    /// The lower half of each lane to `to`.
    ///
    /// # Safety
    /// `to` must be valid for writing sixteen `u16`.
    unsafe fn store_words(self, to: *mut u16, v: Self::I);
    /// The bytes of two pixels: those of `even` become the lower halves, those of `odd` the upper ones.
    ///
    /// # Safety
    /// Both must be valid for reading sixteen bytes.
    unsafe fn pair_bytes(self, even: *const u8, odd: *const u8) -> Self::I;
    /// Bits that are set in both.
    fn and(self, a: Self::I, b: Self::I) -> Self::I;
    /// Bits that are set in one of them.
    fn or(self, a: Self::I, b: Self::I) -> Self::I;
    /// Bits that differ.
    fn xor(self, a: Self::I, b: Self::I) -> Self::I;
    /// The upper half of each lane, as a lane.
    fn upper(self, a: Self::I) -> Self::I;
    /// The larger.
    fn max_int(self, a: Self::I, b: Self::I) -> Self::I;
    /// The larger as unsigned integers.
    fn max_unsigned(self, a: Self::I, b: Self::I) -> Self::I;
    /// `sum`, and `one`, which is 1 in each lane, where the lane of `a` is zero.
    fn add_zeros(self, sum: Self::I, a: Self::I, one: Self::I) -> Self::I;
    /// The same where the lane of `a` is a float of 0, of either sign.
    fn add_zero_floats(self, sum: Self::I, a: Self::I, one: Self::I) -> Self::I;
    /// `a - b`.
    fn sub_int(self, a: Self::I, b: Self::I) -> Self::I;
    /// `sum`, and the leading zeros of each lane.
    fn add_leading_zeros(self, sum: Self::I, a: Self::I) -> Self::I;

    /// `sum`, and what [`Halves::bits_of`] finds the bits of each lane by, which is below 2^16.
    fn add_exponents(self, sum: Self::I, a: Self::I) -> Self::I;
    /// The bits of `all` lanes, of which `nonzero` are not zero, by the sum of their exponents.
    fn bits_of(self, sum: Self::I, all: u32, nonzero: Self::I) -> Self::I;

    /// The lower halves of `even` and of `odd`, the latter as upper ones.
    fn pair(self, even: Self::I, odd: Self::I) -> Self::I;
    /// `a + b`.
    fn add_halves(self, a: Self::I, b: Self::I) -> Self::I;
    /// Magnitudes.
    fn abs_halves(self, a: Self::I) -> Self::I;
    /// Half of it, unsigned.
    fn shift_halves(self, a: Self::I) -> Self::I;
    /// The highest bit of each.
    fn sign_halves(self, a: Self::I) -> Self::I;
    /// The larger as unsigned integers.
    fn max_halves(self, a: Self::I, b: Self::I) -> Self::I;
    /// How many bits are set.
    fn ones_halves(self, a: Self::I) -> Self::I;
    /// `sum`, and `one`, which is 1 in each half, where `a` is zero.
    fn add_zero_halves(self, sum: Self::I, a: Self::I, one: Self::I) -> Self::I;
    /// `sum`, and `value` where `a` is not zero.
    fn add_where_halves(self, sum: Self::I, a: Self::I, value: Self::I) -> Self::I;
    /// Writes halves to `to`, at least all that are not zero, in any order. Returns how many.
    ///
    /// # Safety
    /// `to` must be valid for writing thirty-two `u16`.
    unsafe fn compress(self, to: *mut u16, a: Self::I) -> usize;

    /// Two pairs of pixels on the way to [`Halves::fold`].
    fn join(self, a: Self::I, b: Self::I) -> Self::I;
    /// Of sixteen pixels, four of each joined, the or over all channels of each pixel, as lanes.
    fn fold(self, fours: [Self::I; 4]) -> Self::I;
    /// The or of the four lanes that each lane is among, and of all sixteen.
    fn spread(self, a: Self::I) -> [Self::I; 2];
}

/// Lower and upper half.
#[inline(always)]
fn halves(lane: i32) -> [u16; 2] {
    [lane as u16, (lane as u32 >> 16) as u16]
}

#[inline(always)]
fn lane([lower, upper]: [u16; 2]) -> i32 {
    (u32::from(upper) << 16 | u32::from(lower)) as i32
}

#[inline(always)]
fn each(a: [i32; LANES], f: impl Fn(u16) -> u16) -> [i32; LANES] {
    a.map(|a| lane(halves(a).map(&f)))
}

#[inline(always)]
fn zip(a: [i32; LANES], b: [i32; LANES], f: impl Fn(u16, u16) -> u16) -> [i32; LANES] {
    std::array::from_fn(|i| {
        let (a, b) = (halves(a[i]), halves(b[i]));
        lane([f(a[0], b[0]), f(a[1], b[1])])
    })
}

impl Halves for Scalar {
    type I = [i32; LANES];

    #[inline(always)]
    unsafe fn store_int(self, to: *mut i32, v: Self::I) {
        // SAFETY: the caller vouches for sixteen writable integers; the write needs no alignment.
        unsafe { to.cast::<Self::I>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, v: Self::I) {
        // SAFETY: the caller vouches for sixteen writable bytes.
        unsafe { to.cast::<[u8; LANES]>().write_unaligned(v.map(|lane| lane as u8)) }
    }
    #[inline(always)]
    unsafe fn store_words(self, to: *mut u16, v: Self::I) {
        // SAFETY: the caller vouches for sixteen writable halves; the write needs no alignment.
        unsafe { to.cast::<[u16; LANES]>().write_unaligned(v.map(|lane| lane as u16)) }
    }
    #[inline(always)]
    unsafe fn pair_bytes(self, even: *const u8, odd: *const u8) -> Self::I {
        // SAFETY: the caller vouches for sixteen readable bytes of each.
        let [even, odd] = [even, odd].map(|from| unsafe { from.cast::<[u8; LANES]>().read_unaligned() });
        std::array::from_fn(|i| lane([even[i].into(), odd[i].into()]))
    }
    #[inline(always)]
    fn and(self, a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i] & b[i])
    }
    #[inline(always)]
    fn or(self, a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i] | b[i])
    }
    #[inline(always)]
    fn xor(self, a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i] ^ b[i])
    }
    #[inline(always)]
    fn upper(self, a: Self::I) -> Self::I {
        a.map(|a| halves(a)[1].into())
    }
    #[inline(always)]
    fn max_int(self, a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i].max(b[i]))
    }
    #[inline(always)]
    fn max_unsigned(self, a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| (a[i] as u32).max(b[i] as u32) as i32)
    }
    #[inline(always)]
    fn add_zeros(self, sum: Self::I, a: Self::I, one: Self::I) -> Self::I {
        std::array::from_fn(|i| if a[i] == 0 { sum[i].wrapping_add(one[i]) } else { sum[i] })
    }
    #[inline(always)]
    fn add_zero_floats(self, sum: Self::I, a: Self::I, one: Self::I) -> Self::I {
        self.add_zeros(sum, a.map(|lane| lane << 1), one)
    }
    #[inline(always)]
    fn sub_int(self, a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i].wrapping_sub(b[i]))
    }
    #[inline(always)]
    fn add_leading_zeros(self, sum: Self::I, a: Self::I) -> Self::I {
        std::array::from_fn(|i| sum[i].wrapping_add(a[i].leading_zeros() as i32))
    }
    #[inline(always)]
    fn add_exponents(self, sum: Self::I, a: Self::I) -> Self::I {
        std::array::from_fn(|i| sum[i].wrapping_add((i32::BITS - a[i].leading_zeros()) as i32))
    }
    #[inline(always)]
    fn bits_of(self, sum: Self::I, _: u32, _: Self::I) -> Self::I {
        sum
    }
    #[inline(always)]
    fn pair(self, even: Self::I, odd: Self::I) -> Self::I {
        std::array::from_fn(|i| lane([even[i] as u16, odd[i] as u16]))
    }
    #[inline(always)]
    fn add_halves(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, u16::wrapping_add)
    }
    #[inline(always)]
    fn abs_halves(self, a: Self::I) -> Self::I {
        each(a, |half| (half as i16).unsigned_abs())
    }
    #[inline(always)]
    fn shift_halves(self, a: Self::I) -> Self::I {
        each(a, |half| half >> 1)
    }
    #[inline(always)]
    fn sign_halves(self, a: Self::I) -> Self::I {
        each(a, |half| half >> 15)
    }
    #[inline(always)]
    fn max_halves(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, u16::max)
    }
    #[inline(always)]
    fn ones_halves(self, a: Self::I) -> Self::I {
        each(a, |half| half.count_ones() as u16)
    }
    #[inline(always)]
    fn add_zero_halves(self, sum: Self::I, a: Self::I, one: Self::I) -> Self::I {
        let added = zip(a, one, |half, one| if half == 0 { one } else { 0 });
        self.add_halves(sum, added)
    }
    #[inline(always)]
    fn add_where_halves(self, sum: Self::I, a: Self::I, value: Self::I) -> Self::I {
        let added = zip(a, value, |half, value| if half != 0 { value } else { 0 });
        self.add_halves(sum, added)
    }
    #[inline(always)]
    unsafe fn compress(self, to: *mut u16, a: Self::I) -> usize {
        let mut count = 0;
        for half in a.into_iter().flat_map(halves) {
            // Stored first, kept after: no branch to mispredict.
            // SAFETY: at most thirty-two are written, for which the caller vouches.
            unsafe { to.add(count).write(half) };
            count += usize::from(half != 0);
        }
        count
    }
    #[inline(always)]
    fn join(self, a: Self::I, b: Self::I) -> Self::I {
        let (first, second) = (a.into_iter().fold(0, |all, a| all | a), b.into_iter().fold(0, |all, b| all | b));
        std::array::from_fn(|i| [first, second][i % 2])
    }
    #[inline(always)]
    fn fold(self, fours: [Self::I; 4]) -> Self::I {
        std::array::from_fn(|i| halves(fours[i / 4][i / 2 % 2])[i % 2].into())
    }
    #[inline(always)]
    fn spread(self, a: Self::I) -> [Self::I; 2] {
        [4, LANES]
            .map(|size| std::array::from_fn(|i| a[i / size * size..][..size].iter().fold(0, |all, lane| all | lane)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::isa::{Isa, Kernel};
    use super::super::simd::Simd;
    use super::*;

    /// Every operation on two inputs and sixteen pixels.
    struct Everything([i32; LANES], [i32; LANES], [[i32; LANES]; 8]);

    impl Kernel for Everything {
        type Output = Vec<[i32; LANES]>;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<[i32; LANES]> {
            let (a, b) = (s.of_ints(self.0), s.of_ints(self.1));
            let pixels = self.2.map(|pair| s.of_ints(pair));
            let fours = std::array::from_fn(|i| s.join(pixels[2 * i], pixels[2 * i + 1]));
            let none = s.splat_int(0);
            let zeros = s.add_zeros(s.add_zeros(none, s.upper(a), s.splat_int(1)), s.upper(b), s.splat_int(1));
            let nonzero = s.sub_int(s.splat_int(2), zeros);
            let results = [
                s.and(a, b),
                s.or(a, b),
                s.xor(a, b),
                s.upper(a),
                s.max_int(a, b),
                s.max_unsigned(a, b),
                s.add_zeros(b, a, s.splat_int(1)),
                s.sub_int(a, b),
                s.add_zero_floats(b, a, s.splat_int(1)),
                s.add_zero_halves(b, a, s.splat_int(0x1_0001)),
                s.add_leading_zeros(b, s.upper(a)),
                s.bits_of(s.add_exponents(s.add_exponents(none, s.upper(a)), s.upper(b)), 2, nonzero),
                s.pair(a, b),
                s.add_halves(a, b),
                s.abs_halves(a),
                s.shift_halves(a),
                s.sign_halves(a),
                s.max_halves(a, b),
                s.ones_halves(a),
                s.add_where_halves(a, b, a),
            ];
            let mut all: Vec<[i32; LANES]> =
                results.into_iter().chain([s.fold(fours)]).chain(s.spread(a)).map(|v| s.to_ints(v)).collect();
            let (mut ints, mut bytes, mut words) = ([0; LANES], [0_u8; LANES], [0_u16; LANES]);
            let mut kept = [0_u16; 2 * LANES];
            // SAFETY: the arrays hold what is read and written.
            let (loaded, count) = unsafe {
                s.store_int(ints.as_mut_ptr(), a);
                s.store_bytes(bytes.as_mut_ptr(), b);
                s.store_words(words.as_mut_ptr(), b);
                (s.pair_bytes(bytes.as_ptr(), self.0.as_ptr().cast()), s.compress(kept.as_mut_ptr(), a))
            };
            let mut kept: Vec<u16> = kept[..count].iter().copied().filter(|half| *half != 0).collect();
            kept.sort_unstable();
            kept.resize(2 * LANES, 0);
            let kept = std::array::from_fn(|i| lane([kept[2 * i], kept[2 * i + 1]]));
            all.extend([ints, bytes.map(i32::from), words.map(i32::from), s.to_ints(loaded), kept]);
            all
        }
    }

    proptest! {
        #[test]
        fn every_level_does_as_scalar_does(
            a in any::<[i32; LANES]>(),
            b in any::<[i32; LANES]>(),
            pixels in any::<[[i32; LANES]; 8]>(),
            zeros in any::<u16>(),
        ) {
            let mut a = a;
            for lane in (0..LANES).filter(|lane| zeros >> lane & 1 == 1) {
                a[lane] = [0, i32::MIN, 0x7fff, -0x7fff_8000][lane % 4];
            }
            let want = Isa::SCALAR.run(Everything(a, b, pixels));
            // The first pixel: lower halves of the first pair.
            let first = pixels[0].iter().fold(0, |all, lane| all | *lane as u16);
            prop_assert_eq!(want[20][0], i32::from(first));
            for isa in Isa::available() {
                prop_assert_eq!(&isa.run(Everything(a, b, pixels)), &want, "{}", isa.name());
            }
        }
    }
}
