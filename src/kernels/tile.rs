//! The register tile of convolutions and linear layers: a few pixels times a few blocks of sixteen filters.

use super::geometry::LANES;
use super::simd::Simd;

/// The block for each index below a constant of at most 14, unrolled: the optimiser does not unroll loops of this size, and
/// sums that are indexed by a variable spill.
macro_rules! unrolled {
    ($index:ident < $count:ident, $body:block) => {
        unrolled!(@ $index $count $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13)
    };
    (@ $index:ident $count:ident $body:block $($value:literal)+) => {
        $(if $value < $count {
            let $index: usize = $value;
            $body
        })+
    };
}
pub(super) use unrolled;

/// `$body` with the constant `$of` as what `$value` matches: it is compiled once for each of these.
macro_rules! chosen {
    ($value:expr, $of:ident in [$($pattern:pat => $constant:expr),+], $body:expr) => {
        match $value {
            $($pattern => {
                const $of: u8 = $constant;
                $body
            })+
        }
    };
}
pub(super) use chosen;

/// The inner product of a tile: an input times sixteen weights, added to a sum.
pub trait Product<S: Simd> {
    /// One input, and one weight: a float, or a word of packed integers.
    type Element: Copy;
    /// Sixteen of them, or of their sums.
    type V: Copy;
    /// All lanes `element`.
    fn splat(s: S, element: Self::Element) -> Self::V;
    /// Sixteen elements from `from`.
    ///
    /// # Safety
    /// `from` must be valid for reading sixteen elements.
    unsafe fn load(s: S, from: *const Self::Element) -> Self::V;
    /// `sum` plus the products of `x` and `w`.
    fn add(s: S, x: Self::V, w: Self::V, sum: Self::V) -> Self::V;
}

/// Products of floats, each accumulated with one rounding.
pub struct Floats;

impl<S: Simd> Product<S> for Floats {
    type Element = f32;
    type V = S::V;

    #[inline(always)]
    fn splat(s: S, element: f32) -> S::V {
        s.splat(element)
    }
    #[inline(always)]
    unsafe fn load(s: S, from: *const f32) -> S::V {
        // SAFETY: the caller's.
        unsafe { s.load_ptr(from) }
    }
    #[inline(always)]
    fn add(s: S, x: S::V, w: S::V, sum: S::V) -> S::V {
        s.fma(x, w, sum)
    }
}

/// Exact products of integers, `A_LANE` per 32-bit lane: two of 16 bits, or four bytes, unsigned ones of the input and signed
/// ones of the weights.
pub struct Integers<const A_LANE: usize>;

impl<S: Simd, const A_LANE: usize> Product<S> for Integers<A_LANE> {
    type Element = i32;
    type V = S::I;

    #[inline(always)]
    fn splat(s: S, element: i32) -> S::I {
        s.splat_int(element)
    }
    #[inline(always)]
    unsafe fn load(s: S, from: *const i32) -> S::I {
        // SAFETY: the caller's.
        unsafe { s.load_int(from) }
    }
    #[inline(always)]
    fn add(s: S, x: S::I, w: S::I, sum: S::I) -> S::I {
        if A_LANE == 4 { s.dot4(x, w, sum) } else { s.dot2(x, w, sum) }
    }
}

/// A loop: how often it repeats, and by how many elements the input and the weights advance each time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loop {
    /// Repetitions.
    pub count: usize,
    /// Elements of input.
    pub input: usize,
    /// Elements of weights.
    pub weights: usize,
}

/// The loop nest of a tile: input block, row tap, column tap (`outer`), then `run` contiguous elements. It fixes the order of
/// every sum, whatever the tile's size.
///
/// ```text
/// for block, for row tap, for column tap, for element in run:
///     sums[b][p] += x[... + p * pixel] * w[... + b * 16 .. + 16]      all pixels p, all filter blocks b
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// The three outer loops, outermost first.
    pub outer: [Loop; 3],
    /// Contiguous elements of input in the innermost loop.
    pub run: usize,
    /// Elements of input from one pixel of the tile to the next.
    pub pixel: usize,
    /// Elements of weights for each element of input.
    pub width: usize,
    /// Prefetch distance of the weights to the second-level cache, in elements; 0 for none. Used where the weights come from
    /// memory: with a small map, few tiles share them.
    pub ahead: usize,
}

impl Walk {
    /// Whether every input of a tile of `pixels` is among the `x` elements from its first, every weight of `blocks` is among
    /// the `weights` elements from its first, and no loop is empty. Debug builds assert it for every tile.
    pub fn fits(&self, pixels: usize, blocks: usize, x: usize, weights: usize) -> bool {
        if self.run == 0 || self.outer.iter().any(|level| level.count == 0) {
            return false;
        }
        let last = |stride: fn(&Loop) -> usize| self.outer.iter().map(|l| (l.count - 1) * stride(l)).sum::<usize>();
        last(|l| l.input) + (pixels - 1) * self.pixel + self.run <= x
            && last(|l| l.weights) + (self.run - 1) * self.width + blocks * LANES <= weights
    }

    /// Adds to `sums[b][p]`, in the order of the walk, each input of pixel `p` times its weights for block `b`.
    ///
    /// # Safety
    /// `x` and `w` are the first input and weight of a tile that [`Walk::fits`].
    #[inline(always)]
    pub unsafe fn accumulate<S: Simd, T: Product<S>, const P: usize, const B: usize>(
        &self,
        s: S,
        x: *const T::Element,
        w: *const T::Element,
        sums: [[T::V; P]; B],
    ) -> [[T::V; P]; B] {
        // SAFETY: the caller's.
        unsafe { self.walk::<S, T, P, B, false>(s, x, w, sums) }
    }

    /// The same for a large map, whose input blocks are far apart. The hardware prefetcher does not follow from one to the
    /// next, so the pixels of the next block are prefetched to the first-level cache.
    ///
    /// # Safety
    /// As [`Walk::accumulate`].
    #[inline(always)]
    pub unsafe fn accumulate_prefetching<S: Simd, T: Product<S>, const P: usize, const B: usize>(
        &self,
        s: S,
        x: *const T::Element,
        w: *const T::Element,
        sums: [[T::V; P]; B],
    ) -> [[T::V; P]; B] {
        // SAFETY: the caller's.
        unsafe { self.walk::<S, T, P, B, true>(s, x, w, sums) }
    }

    /// # Safety
    /// As [`Walk::accumulate`].
    #[inline(always)]
    unsafe fn walk<S: Simd, T: Product<S>, const P: usize, const B: usize, const PREFETCH: bool>(
        &self,
        s: S,
        x: *const T::Element,
        w: *const T::Element,
        mut sums: [[T::V; P]; B],
    ) -> [[T::V; P]; B] {
        let [planes, rows, columns] = self.outer;
        // No loop is empty, so the conditions are at the end: tested first, the compiler would copy all sums around the loop.
        let (mut plane, mut row, mut column) = (0, 0, 0);
        loop {
            // SAFETY: the caller vouches for every address of the walk.
            unsafe {
                if PREFETCH && row + column == 0 {
                    let next = x.wrapping_add((plane + 1) * planes.input);
                    unrolled!(p < P, {
                        prefetch::<_, NEAR>(next.wrapping_add(p * self.pixel));
                    });
                }
                let x = x.add(plane * planes.input + row * rows.input + column * columns.input);
                let w = w.add(plane * planes.weights + row * rows.weights + column * columns.weights);
                sums = self.run::<S, T, P, B>(s, x, w, sums);
            }
            column += 1;
            if column == columns.count {
                (column, row) = (0, row + 1);
                if row == rows.count {
                    (row, plane) = (0, plane + 1);
                    if plane == planes.count {
                        break sums;
                    }
                }
            }
        }
    }

    /// The innermost loop.
    ///
    /// # Safety
    /// As [`Walk::accumulate`].
    #[inline(always)]
    unsafe fn run<S: Simd, T: Product<S>, const P: usize, const B: usize>(
        &self,
        s: S,
        x: *const T::Element,
        mut w: *const T::Element,
        mut sums: [[T::V; P]; B],
    ) -> [[T::V; P]; B] {
        // Every third pixel has a pointer; those between are reached by scaled addressing.
        let mut thirds = [x; 5];
        for (third, pointer) in thirds.iter_mut().enumerate() {
            *pointer = x.wrapping_add(3 * third * self.pixel);
        }
        let mut left = self.run;
        loop {
            // SAFETY: the caller vouches for the weights.
            let mut filters = [unsafe { T::load(s, w) }; B];
            unrolled!(b < B, {
                // SAFETY: as above.
                filters[b] = unsafe { T::load(s, w.add(b * LANES)) };
            });
            if self.ahead > 0 {
                unrolled!(b < B, {
                    prefetch::<_, SECOND>(w.wrapping_add(self.ahead + b * LANES));
                });
            }
            unrolled!(p < P, {
                // SAFETY: the caller vouches for the input.
                let value = T::splat(s, unsafe { *thirds[p / 3].add(p % 3 * self.pixel) });
                for b in 0..B {
                    sums[b][p] = T::add(s, value, filters[b], sums[b][p]);
                }
            });
            w = w.wrapping_add(self.width);
            for pointer in &mut thirds {
                *pointer = pointer.wrapping_add(1);
            }
            left -= 1;
            if left == 0 {
                break sums;
            }
        }
    }
}

/// Prefetch hint: into the first-level cache, as x86-64 numbers it.
pub const NEAR: i32 = 3;
/// Prefetch hint: into the second-level cache.
pub const SECOND: i32 = 2;
/// Prefetch hint: into the first-level cache, for writing.
pub const WRITTEN: i32 = 7;

/// Prefetches the cache line of `from`, which may be an invalid address, as `HINT` says.
#[inline(always)]
pub fn prefetch<T, const HINT: i32>(from: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program sees, and no address makes it fail.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<HINT>(from.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}
