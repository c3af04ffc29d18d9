//! Every operation on every level against plain Rust.

use super::super::isa::{Isa, Kernel};
use super::*;

/// Every operation of the trait on one pair of inputs, concatenated.
struct Everything([f32; LANES], [f32; LANES]);

impl Kernel for Everything {
    type Output = Vec<u32>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<u32> {
        let (a, b) = (s.load(&self.0), s.load(&self.1));
        let small = s.min(s.splat(100.0), s.max(s.splat(-100.0), s.round(a)));
        let results = [
            s.add(a, b),
            s.sub(a, b),
            s.mul(a, b),
            s.div(a, b),
            s.fma(a, b, a),
            s.fnma(a, b, b),
            s.max(a, b),
            s.min(a, b),
            s.round(a),
            s.exp2i(small),
        ];
        // Pairs of any bits, the extremes among them.
        let ints = |from: &[f32; LANES], turn: u32| from.map(|v| v.to_bits().rotate_left(turn) as i32);
        let (x, y, sum) = (ints(&self.0, 7), ints(&self.1, 13), ints(&self.0, 0));
        // SAFETY: the arrays hold sixteen integers.
        let [x, y, sum] = [&x, &y, &sum].map(|from| unsafe { s.load_int(from.as_ptr()) });
        let low = s.low_bytes(x).map(|quad| s.splat_int(quad));
        let all = [
            s.dot2(x, y, sum),
            s.dot2(s.splat_int(i32::MIN), y, x),
            s.dot4(x, y, sum),
            s.dot4(s.splat_int(-1), s.splat_int(i32::from_le_bytes([0x80; 4])), x),
            s.add_int(x, y),
            s.to_integers(s.round(s.max(s.splat(-1e6), s.min(s.splat(1e6), a)))),
            s.to_nearest(s.max(s.splat(-1e6), s.min(s.splat(1e6), a))),
            s.fours([x, y, sum, s.to_nearest(small)]),
            s.transpose_fours(x),
            s.sub_int(x, y),
            s.min_int(x, y),
            s.max_int(x, y),
            s.and(x, y),
            s.or(x, y),
            s.xor(x, y),
            s.shift_right::<15>(x),
            s.ones_halves(s.shift_right::<16>(x)),
            s.bits(s.shift_right::<8>(x)),
            s.bits(s.shift_right::<20>(x)),
            s.bits(s.splat_int(0)),
            s.where_not_zero(s.shift_right::<28>(x), y),
            s.splat_int(s.count_not_zero(s.shift_right::<28>(x)) as i32),
            s.as_ints(s.as_floats(x)),
        ];
        let rows = [x, y, sum, s.add_int(x, y)].map(|v| s.to_ints(v));
        // SAFETY: the arrays hold sixteen integers.
        let quads = unsafe { s.quads(rows.each_ref().map(|row| row.as_ptr())) };
        // SAFETY: as above.
        let loaded = unsafe { [s.load_bytes(rows[0].as_ptr().cast()), s.load_halves(rows[1].as_ptr().cast())] };
        let nibbles = [s.low_nibbles::<0>(x), s.low_nibbles::<-8>(s.next_nibbles(x))];
        let floats = [[s.to_floats(x), s.to_floats(s.splat_int(i32::MAX))], loaded, nibbles];
        let results = results
            .into_iter()
            .chain(floats.into_iter().flatten())
            .chain(s.transpose(std::array::from_fn(|i| s.mul(a, s.splat(i as f32)))))
            .collect::<Vec<_>>();
        let dots = all.into_iter().chain(quads).chain(low).map(|v| s.to_ints(v)).collect::<Vec<_>>();
        let mut out = [0.0; LANES];
        let floats = results.into_iter().flat_map(|v| {
            s.store(&mut out, v);
            out.map(f32::to_bits)
        });
        floats.chain(dots.as_flattened().iter().map(|&v| v as u32)).collect()
    }
}

#[test]
fn every_level_rounds_as_scalar_does() {
    let specials = [0.0, -0.0, 0.5, 1.5, -2.5, 1e-40, 3.4e38, -1.0];
    let mut state = 1u32;
    for round in 0..200 {
        let mut next = || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            if round < 20 {
                specials[(state >> 20) as usize % specials.len()]
            } else {
                (state >> 8) as f32 / 65536.0 - 128.0
            }
        };
        let (a, b) = (std::array::from_fn(|_| next()), std::array::from_fn(|_| next()));
        let want = Isa::SCALAR.run(Everything(a, b));
        for isa in Isa::available() {
            let got = isa.run(Everything(a, b));
            for (index, (&got, &want)) in got.iter().zip(&want).enumerate() {
                let (g, w) = (f32::from_bits(got), f32::from_bits(want));
                assert!(got == want || (g.is_nan() && w.is_nan()), "{} op {}: {g} != {w}", isa.name(), index / LANES);
            }
        }
    }
}
