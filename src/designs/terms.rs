//! Powers of two that a code is recoded to: what bit-serial designs feed one by one.

use crate::kernels::count::Encoder;

/// A table of the terms of every magnitude.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Bit i of entry m: a term ±2^i.
    positions: Vec<u32>,
}

/// Magnitudes that codes have: 0 to 2^15, and of unsigned codes of 16 bits 0 to 2^16 - 1.
const MAGNITUDES: u32 = 1 << 16;

impl Terms {
    /// Of `encoder`.
    pub fn new(encoder: Encoder) -> Self {
        Self { positions: (0..MAGNITUDES).map(|m| positions(encoder, m)).collect() }
    }

    /// The powers of `code`: bit i for ±2^i.
    pub fn positions(&self, code: i32) -> u32 {
        self.positions[code.unsigned_abs() as usize]
    }

    /// How many terms `code` has.
    pub fn count(&self, code: i32) -> u8 {
        self.positions(code).count_ones() as u8
    }
}

fn positions(encoder: Encoder, m: u32) -> u32 {
    match encoder {
        Encoder::Popcount => m,
        Encoder::Naf => (m ^ (3 * m)) >> 1,
        Encoder::Booth4 => (0..=MAGNITUDES.ilog2() / 2).fold(0, |all, digit| {
            // Bits 2i+1, 2i and 2i-1.
            match (m << 1) >> (2 * digit) & 7 {
                1 | 2 | 5 | 6 => all | 1 << (2 * digit),
                3 | 4 => all | 2 << (2 * digit),
                _ => all,
            }
        }),
        Encoder::Runs => {
            let (mut all, mut in_run) = (0, false);
            for k in (0..u32::BITS - m.leading_zeros()).rev() {
                let (bit, next) = (m >> k & 1 == 1, if k < 2 { m << (2 - k) & 3 } else { m >> (k - 2) & 3 });
                match (in_run, bit) {
                    (false, true) if next == 3 => (all, in_run) = (all | 2 << k, true),
                    (false, true) | (true, false) => all |= 1 << k,
                    (true, true) if next == 0 => (all, in_run) = (all | 1 << k, false),
                    _ => {}
                }
            }
            all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_position_for_each_term() {
        for encoder in Encoder::ALL {
            let terms = Terms::new(encoder);
            for m in 0..=i16::MAX {
                let found = u16::from(terms.count(-i32::from(m)));
                assert_eq!(found, encoder.terms(m.unsigned_abs()), "{} of {m}", encoder.name());
            }
        }
    }
}
