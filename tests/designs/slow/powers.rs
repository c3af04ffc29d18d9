//! Powers of two that codes are recoded to, digit by digit.

use std::collections::BTreeSet;

use deadweight::kernels::count::Encoder;

/// The powers of two that a code is recoded to.
pub fn powers(encoder: Encoder, code: i32) -> BTreeSet<u32> {
    let mut powers = BTreeSet::new();
    let mut left = i64::from(code.abs());
    match encoder {
        Encoder::Popcount => powers.extend((0..17).filter(|bit| left >> bit & 1 == 1)),
        Encoder::Naf => {
            for power in 0..20 {
                if left % 2 != 0 {
                    powers.insert(power);
                    left -= if left.rem_euclid(4) == 1 { 1 } else { -1 };
                }
                left /= 2;
            }
        }
        Encoder::Booth4 => {
            let bit = |k: u32| left.checked_shr(k).unwrap_or(0) & 1;
            for digit in 0..10 {
                let before = if digit == 0 { 0 } else { bit(2 * digit - 1) };
                match bit(2 * digit) + before - 2 * bit(2 * digit + 1) {
                    0 => {}
                    -2 | 2 => powers.extend([2 * digit + 1]),
                    _ => powers.extend([2 * digit]),
                }
            }
        }
        Encoder::Runs => {
            let bit = |k: i64| k >= 0 && left >> k & 1 == 1;
            let mut in_run = false;
            for k in (0..17_i64).rev() {
                let emitted = match (in_run, bit(k)) {
                    (false, true) if bit(k - 1) && bit(k - 2) => {
                        in_run = true;
                        Some(k + 1)
                    }
                    (false, true) | (true, false) => Some(k),
                    (true, true) if !bit(k - 1) && !bit(k - 2) => {
                        in_run = false;
                        Some(k)
                    }
                    _ => None,
                };
                powers.extend(emitted.map(|k| k as u32));
            }
        }
    }
    powers
}
