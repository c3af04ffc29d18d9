//! Sixteen `f32` lanes: the vector type of the kernels, and its implementation in plain Rust.

use super::geometry::LANES;
use super::halves::Halves;
use super::isa::Kernel;

/// Arithmetic on sixteen lanes. A value of the implementing type proves that the CPU can do it.
///
/// Every operation rounds exactly as its scalar form, and multiply-add is fused on every level. A kernel written with these
/// gives the same bits on all of them.
pub trait Simd: Halves {
    /// Sixteen lanes.
    type V: Copy;
    /// Number of `V` that the register file holds; tile sizes depend on it (but no order of summation).
    const REGISTERS: usize;

    /// Runs `kernel` in a function of its own, which is not inlined.
    fn apart<K: Kernel>(self, kernel: K) -> K::Output;

    /// All lanes `value`.
    fn splat(self, value: f32) -> Self::V;
    /// The first sixteen of `from`. Panics if there are fewer.
    #[inline(always)]
    fn load(self, from: &[f32]) -> Self::V {
        let from: &[f32; LANES] = from.first_chunk().expect("sixteen lanes");
        // SAFETY: the array holds sixteen floats.
        unsafe { self.load_ptr(from.as_ptr()) }
    }
    /// Into the first sixteen of `to`. Panics if there are fewer.
    #[inline(always)]
    fn store(self, to: &mut [f32], v: Self::V) {
        let to: &mut [f32; LANES] = to.first_chunk_mut().expect("sixteen lanes");
        // SAFETY: the array holds sixteen floats.
        unsafe { self.store_ptr(to.as_mut_ptr(), v) }
    }
    /// Sixteen floats from `from`.
    ///
    /// # Safety
    /// `from` must be valid for reading sixteen `f32` (no alignment needed).
    unsafe fn load_ptr(self, from: *const f32) -> Self::V;
    /// Sixteen floats to `to`.
    ///
    /// # Safety
    /// `to` must be valid for writing sixteen `f32` (no alignment needed).
    unsafe fn store_ptr(self, to: *mut f32, v: Self::V);
    /// [`Simd::store_ptr`] with a non-temporal store, if the level has one: for what is read again only after it has left the
    /// caches.
    ///
    /// # Safety
    /// As [`Simd::store_ptr`], and `to` must be a multiple of 64.
    #[inline(always)]
    unsafe fn stream_ptr(self, to: *mut f32, v: Self::V) {
        // SAFETY: the caller's.
        unsafe { self.store_ptr(to, v) }
    }
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a * b`, rounded once.
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `if a > b { a } else { b }` in each lane: a NaN in `b` comes through, and so does `b` where they are equal.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `if a < b { a } else { b }` in each lane: a NaN in `b` comes through, and so does `b` where they are equal.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// To the nearest integer, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    /// Square root.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// `2^a` for integral `a` in -126..=127.
    fn exp2i(self, a: Self::V) -> Self::V;
    /// Lane `j` of row `i` becomes lane `i` of row `j`.
    #[inline(always)]
    fn transpose(self, rows: [Self::V; LANES]) -> [Self::V; LANES] {
        let mut lanes = [[0.0; LANES]; LANES];
        for i in 0..LANES {
            self.store(&mut lanes[i], rows[i]);
        }
        let mut columns = rows;
        for j in 0..LANES {
            columns[j] = self.load(&lanes.map(|row| row[j]));
        }
        columns
    }

    /// All lanes `value`.
    fn splat_int(self, value: i32) -> Self::I;
    /// Sixteen integers from `from`.
    ///
    /// # Safety
    /// `from` must be valid for reading sixteen `i32` (no alignment needed).
    unsafe fn load_int(self, from: *const i32) -> Self::I;
    /// The lanes as an array.
    fn to_ints(self, v: Self::I) -> [i32; LANES];
    /// `a + b`, modulo 2^32.
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I;
    /// The nearest floats.
    fn to_floats(self, v: Self::I) -> Self::V;
    /// Converts integral floats that fit 32 bits.
    fn to_integers(self, v: Self::V) -> Self::I;
    /// `sum` plus the products of the two signed 16-bit halves of each lane of `a` and `b`, modulo 2^32.
    fn dot2(self, a: Self::I, b: Self::I, sum: Self::I) -> Self::I;
    /// `sum` plus the products of the four unsigned bytes of each lane of `a` and the four signed ones of `b`, modulo 2^32.
    fn dot4(self, a: Self::I, b: Self::I, sum: Self::I) -> Self::I;
    /// The nearest integers, ties to even, of what fits 32 bits.
    fn to_nearest(self, v: Self::V) -> Self::I;
    /// Sixteen signed bytes from `from`, as floats.
    ///
    /// # Safety
    /// `from` must be valid for reading sixteen bytes.
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const i8) -> Self::V {
        // SAFETY: the caller's.
        self.to_floats(self.of_ints(unsafe { from.cast::<[i8; LANES]>().read_unaligned() }.map(i32::from)))
    }
    /// Sixteen half floats from `from`.
    ///
    /// # Safety
    /// `from` must be valid for reading sixteen `u16` (no alignment needed).
    #[inline(always)]
    unsafe fn load_halves(self, from: *const u16) -> Self::V {
        // SAFETY: the caller's.
        self.load(&unsafe { from.cast::<[half::f16; LANES]>().read_unaligned() }.map(half::f16::to_f32))
    }
    /// The lowest four bits of each lane, as an unsigned number, plus `FIRST`: as floats.
    #[inline(always)]
    fn low_nibbles<const FIRST: i32>(self, v: Self::I) -> Self::V {
        self.to_floats(self.of_ints(self.to_ints(v).map(|lane| (lane & 15) + FIRST)))
    }
    /// Each lane shifted right by four bits, zeros from above.
    #[inline(always)]
    fn next_nibbles(self, v: Self::I) -> Self::I {
        self.of_ints(self.to_ints(v).map(|lane| (lane.cast_unsigned() >> 4).cast_signed()))
    }
    /// The smaller ones, as signed integers.
    fn min_int(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a >> N`, filled with zeros.
    fn shift_right<const N: u32>(self, a: Self::I) -> Self::I;
    /// The position behind the highest bit set in each lane of what is below 2^24; 0 of 0.
    #[inline(always)]
    fn bits(self, a: Self::I) -> Self::I {
        self.sub_int(self.splat_int(i32::BITS as i32), self.add_leading_zeros(self.splat_int(0), a))
    }
    /// The lanes of `a` where those of `v` are not 0, else 0.
    fn where_not_zero(self, v: Self::I, a: Self::I) -> Self::I;
    /// How many lanes are not 0.
    fn count_not_zero(self, v: Self::I) -> u32;
    /// The same bits as integers.
    fn as_ints(self, v: Self::V) -> Self::I;
    /// The same bits as floats.
    fn as_floats(self, v: Self::I) -> Self::V;
    /// Sixteen lanes.
    #[inline(always)]
    fn of_ints(self, lanes: [i32; LANES]) -> Self::I {
        // SAFETY: the array holds sixteen integers.
        unsafe { self.load_int(lanes.as_ptr()) }
    }
    /// Byte `4 * k + j` of quarter `p` is lane `4 * p + j` of vector `k`, cut to 0..=255.
    #[inline(always)]
    fn fours(self, v: [Self::I; 4]) -> Self::I {
        let lanes = v.map(|v| self.to_ints(v));
        let byte = |p: usize, k: usize, j: usize| lanes[k][4 * p + j].clamp(0, 255) as u8;
        self.of_ints(std::array::from_fn(|i| i32::from_le_bytes(std::array::from_fn(|j| byte(i / 4, i % 4, j)))))
    }
    /// Lane `i` of quarter `j` becomes lane `j` of quarter `i`.
    #[inline(always)]
    fn transpose_fours(self, v: Self::I) -> Self::I {
        let lanes = self.to_ints(v);
        self.of_ints(std::array::from_fn(|i| lanes[i % 4 * 4 + i / 4]))
    }
    /// Lane `4 * p + j` of vector `k` has the bytes `16 * p + 4 * k + j` of the four rows.
    ///
    /// # Safety
    /// Each of `rows` must be valid for reading sixteen `i32` (no alignment needed).
    #[inline(always)]
    unsafe fn quads(self, rows: [*const i32; 4]) -> [Self::I; 4] {
        // SAFETY: the caller's.
        let rows = rows.map(|row| self.to_ints(unsafe { self.load_int(row) }));
        let byte = |row: usize, k: usize, lane: usize| rows[row][lane / 4 * 4 + k].to_le_bytes()[lane % 4];
        std::array::from_fn(|k| {
            let quad = |lane| i32::from_le_bytes(std::array::from_fn(|row| byte(row, k, lane)));
            self.of_ints(std::array::from_fn(quad))
        })
    }
    /// The lowest byte of each lane, four to an integer.
    #[inline(always)]
    fn low_bytes(self, v: Self::I) -> [i32; LANES / 4] {
        let (lanes, mut quads) = (self.to_ints(v), [0; LANES / 4]);
        for i in 0..LANES {
            quads[i / 4] |= (lanes[i] & 0xff) << (i % 4 * 8);
        }
        quads
    }
}

/// Two signed 16-bit integers as one lane of [`Simd::dot2`].
pub fn pair(low: i16, high: i16) -> i32 {
    i32::from(high) << 16 | i32::from(low) & 0xffff
}

/// The level without vector instructions: each operation lane by lane.
#[derive(Clone, Copy, Debug)]
pub struct Scalar;

impl Scalar {
    #[inline(always)]
    fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
        std::array::from_fn(|i| f(a[i], b[i]))
    }
}

impl Simd for Scalar {
    type V = [f32; LANES];
    const REGISTERS: usize = 8;

    #[inline(never)]
    fn apart<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn load_ptr(self, from: *const f32) -> Self::V {
        // SAFETY: the caller vouches for sixteen readable floats; the read needs no alignment.
        unsafe { from.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, to: *mut f32, v: Self::V) {
        // SAFETY: the caller vouches for sixteen writable floats; the write needs no alignment.
        unsafe { to.cast::<Self::V>().write_unaligned(v) }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| (-a[i]).mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        a.map(f32::round_ties_even)
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    fn exp2i(self, a: Self::V) -> Self::V {
        a.map(|a| f32::from_bits(((a as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    fn splat_int(self, value: i32) -> Self::I {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn load_int(self, from: *const i32) -> Self::I {
        // SAFETY: the caller vouches for sixteen readable integers; the read needs no alignment.
        unsafe { from.cast::<Self::I>().read_unaligned() }
    }
    #[inline(always)]
    fn to_ints(self, v: Self::I) -> [i32; LANES] {
        v
    }
    #[inline(always)]
    fn dot2(self, a: Self::I, b: Self::I, sum: Self::I) -> Self::I {
        let product = |a: i32, b: i32| i32::from(a as i16) * i32::from(b as i16);
        std::array::from_fn(|i| sum[i].wrapping_add(product(a[i], b[i]).wrapping_add(product(a[i] >> 16, b[i] >> 16))))
    }
    #[inline(always)]
    fn dot4(self, a: Self::I, b: Self::I, sum: Self::I) -> Self::I {
        let product = |a: u8, b: u8| i32::from(a) * i32::from(b as i8);
        let products =
            |a: i32, b: i32| a.to_le_bytes().into_iter().zip(b.to_le_bytes()).map(move |(a, b)| product(a, b));
        std::array::from_fn(|i| products(a[i], b[i]).fold(sum[i], i32::wrapping_add))
    }
    #[inline(always)]
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    fn to_floats(self, v: Self::I) -> Self::V {
        std::array::from_fn(|i| v[i] as f32)
    }
    #[inline(always)]
    fn to_integers(self, v: Self::V) -> Self::I {
        std::array::from_fn(|i| v[i] as i32)
    }
    #[inline(always)]
    fn to_nearest(self, v: Self::V) -> Self::I {
        std::array::from_fn(|i| v[i].round_ties_even() as i32)
    }
    #[inline(always)]
    fn min_int(self, a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i].min(b[i]))
    }
    #[inline(always)]
    fn shift_right<const N: u32>(self, a: Self::I) -> Self::I {
        a.map(|a| (a as u32 >> N) as i32)
    }
    #[inline(always)]
    fn where_not_zero(self, v: Self::I, a: Self::I) -> Self::I {
        std::array::from_fn(|i| if v[i] != 0 { a[i] } else { 0 })
    }
    #[inline(always)]
    fn count_not_zero(self, v: Self::I) -> u32 {
        v.iter().map(|&v| u32::from(v != 0)).sum()
    }
    #[inline(always)]
    fn as_ints(self, v: Self::V) -> Self::I {
        v.map(|v| v.to_bits() as i32)
    }
    #[inline(always)]
    fn as_floats(self, v: Self::I) -> Self::V {
        v.map(|v| f32::from_bits(v as u32))
    }
}

#[cfg(test)]
#[path = "simd_tests.rs"]
mod tests;
