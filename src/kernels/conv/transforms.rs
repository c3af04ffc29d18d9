//! Winograd's transforms along one axis, `G g`, `B^T d` and `A^T m`, for tiles of two, three and four outputs of three taps.
//!
//! A tile of four uses the interpolation points 0, ±11/16, ±3/2 and infinity, which lose half as much precision as the usual
//! 0, ±1, ±2 and infinity (see Barabasz et al. 2020). A tile of three uses 0, 1, -1/2, -2 and infinity, which lose half as
//! much as the best set with a pair of opposites. A tile of two uses 0, ±1 and infinity. Two inputs between zeros use
//! Karatsuba's three products (of a Toeplitz matrix).

use crate::kernels::simd::Simd;

/// The finite points beside 0, in pairs: `±NEAR` and `±FAR`. Their powers, products and sums used here are exact in f32.
const NEAR: f32 = 11.0 / 16.0;
const FAR: f32 = 3.0 / 2.0;
const NEAR2: f32 = NEAR * NEAR;
const FAR2: f32 = FAR * FAR;

/// Most points along the side of a tile.
pub(super) const MOST_POINTS: usize = 6;

/// `G g` for one column (or row) of a filter, in the first `points` entries; the others are zero.
pub(super) fn transform_filter([a, b, c]: [f64; 3], points: usize) -> [f64; MOST_POINTS] {
    if points == 3 {
        return [b, c - b, a - b, 0.0, 0.0, 0.0];
    }
    if points == 4 {
        return [a, (a + b + c) / 2.0, (a - b + c) / 2.0, c, 0.0, 0.0];
    }
    // The filter's polynomial at a point, divided by the product of the point's differences to the others.
    let over = |point: f64, distances: f64| (a + b * point + c * point * point) / distances;
    if points == 5 {
        return [-a, over(1.0, 4.5), over(-0.5, 1.125), over(-2.0, -9.0), c, 0.0];
    }
    let [near, far, near2, far2] = [NEAR, FAR, NEAR2, FAR2].map(f64::from);
    let at = |point: f64, gap: f64| over(point, 2.0 * point * point * gap);
    let [near_gap, far_gap] = [near2 - far2, far2 - near2];
    [a / (near2 * far2), at(near, near_gap), at(-near, near_gap), at(far, far_gap), at(-far, far_gap), c]
}

/// `B^T d` for one column (or row).
#[inline(always)]
pub(super) fn input_side<S: Simd, const P: usize>(s: S, d: [S::V; P]) -> [S::V; P] {
    let mut sums = d;
    if P == 3 {
        // Of two inputs between zeros, `d[2]` is one of the zeros.
        sums.copy_from_slice(&[s.add(d[0], d[1]), d[1], d[0]]);
        return sums;
    }
    if P == 4 {
        sums.copy_from_slice(&[s.sub(d[0], d[2]), s.add(d[1], d[2]), s.sub(d[2], d[1]), s.sub(d[1], d[3])]);
        return sums;
    }
    if P == 5 {
        let [more, most, half, two] = [1.5, 2.5, 0.5, 2.0].map(|value| s.splat(value));
        sums.copy_from_slice(&[
            s.fma(more, s.sub(d[2], d[1]), s.sub(d[3], d[0])),
            s.fma(most, d[2], s.add(d[1], d[3])),
            s.fnma(two, d[1], s.add(d[2], d[3])),
            s.fnma(half, s.add(d[1], d[2]), d[3]),
            s.fma(more, s.sub(d[3], d[2]), s.sub(d[4], d[1])),
        ]);
        return sums;
    }
    let [near, far, near2, far2] = [NEAR, FAR, NEAR2, FAR2].map(|value| s.splat(value));
    let (product, sum) = (s.splat(NEAR2 * FAR2), s.splat(NEAR2 + FAR2));
    let (p, q) = (s.fnma(far2, d[2], d[4]), s.fnma(far2, d[1], d[3]));
    let (r, t) = (s.fnma(near2, d[2], d[4]), s.fnma(near2, d[1], d[3]));
    let first = s.fma(product, d[0], s.fnma(sum, d[2], d[4]));
    let last = s.fma(product, d[1], s.fnma(sum, d[3], d[5]));
    let middle = [s.fma(near, q, p), s.fnma(near, q, p), s.fma(far, t, r), s.fnma(far, t, r)];
    sums.copy_from_slice(&[first, middle[0], middle[1], middle[2], middle[3], last]);
    sums
}

/// `A^T m` for one column (or row).
#[inline(always)]
pub(super) fn output_side<S: Simd, const T: usize, const P: usize>(s: S, m: [S::V; P]) -> [S::V; T] {
    let mut sums = [m[0]; T];
    if P == 3 {
        sums.copy_from_slice(&[s.add(m[0], m[1]), s.add(m[0], m[2])]);
        return sums;
    }
    if P == 4 {
        sums.copy_from_slice(&[s.add(m[0], s.add(m[1], m[2])), s.sub(s.sub(m[1], m[2]), m[3])]);
        return sums;
    }
    if P == 5 {
        let [quarter, half, two, four] = [0.25, 0.5, 2.0, 4.0].map(|value| s.splat(value));
        sums.copy_from_slice(&[
            s.add(s.add(m[0], m[1]), s.add(m[2], m[3])),
            s.fnma(two, m[3], s.fnma(half, m[2], m[1])),
            s.fma(four, m[3], s.fma(quarter, m[2], s.add(m[1], m[4]))),
        ]);
        return sums;
    }
    let [near, far, near2, far2] = [NEAR, FAR, NEAR2, FAR2].map(|value| s.splat(value));
    let [near3, far3] = [NEAR * NEAR2, FAR * FAR2].map(|value| s.splat(value));
    let (p, q) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
    let (r, t) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
    sums.copy_from_slice(&[
        s.add(m[0], s.add(p, r)),
        s.fma(far, t, s.mul(near, q)),
        s.fma(far2, r, s.mul(near2, p)),
        s.fma(far3, t, s.fma(near3, q, m[5])),
    ]);
    sums
}
