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

/// `$body` with the constant `$of` as the number of the `$encoder`, of which there is an `Option`.
macro_rules! with_encoder {
    ($encoder:expr, $of:ident => $body:expr) => {
        chosen!(
            $encoder.map_or(NONE, |encoder| encoder as u8),
            $of in [NONE => NONE, NAF => NAF, POPCOUNT => POPCOUNT, BOOTH4 => BOOTH4, _ => RUNS],
            $body
        )
    };
}
pub(super) use with_encoder;
