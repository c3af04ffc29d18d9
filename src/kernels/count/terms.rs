//! Terms of magnitudes, half by half.

use super::code::Encoder;
use crate::kernels::geometry::LANES;
use crate::kernels::simd::Simd;

// Encoders.
pub(super) const NAF: u8 = Encoder::Naf as u8;
pub(super) const POPCOUNT: u8 = Encoder::Popcount as u8;
pub(super) const BOOTH4: u8 = Encoder::Booth4 as u8;
pub(super) const RUNS: u8 = Encoder::Runs as u8;
/// Terms are not counted.
pub(super) const NONE: u8 = u8::MAX;

/// Terms of each magnitude, as [`Encoder::terms`].
#[inline(always)]
pub(super) fn terms_of<S: Simd, const ENCODER: u8>(s: S, m: S::I) -> S::I {
    match ENCODER {
        NAF => {
            let half = s.shift_halves(m);
            s.ones_halves(s.xor(s.add_halves(m, half), half))
        }
        BOOTH4 => {
            let edges = s.xor(m, s.add_halves(m, m));
            s.ones_halves(s.and(s.or(edges, s.shift_halves(edges)), s.splat_int(0x5555_5555)))
        }
        POPCOUNT => s.ones_halves(m),
        // By table.
        _ => {
            let terms = |half: u16| i32::from(Encoder::Runs.terms(half));
            let lanes: [i32; LANES] = s.to_ints(m).map(|lane| terms((lane >> 16) as u16) << 16 | terms(lane as u16));
            s.of_ints(lanes)
        }
    }
}

/// The same of an encoder that is chosen while the program runs.
#[inline(always)]
pub(super) fn terms_by<S: Simd>(s: S, encoder: Encoder, m: S::I) -> S::I {
    match encoder {
        Encoder::Naf => terms_of::<S, NAF>(s, m),
        Encoder::Popcount => terms_of::<S, POPCOUNT>(s, m),
        Encoder::Booth4 => terms_of::<S, BOOTH4>(s, m),
        Encoder::Runs => terms_of::<S, RUNS>(s, m),
    }
}
