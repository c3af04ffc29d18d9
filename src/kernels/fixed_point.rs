//! The logistic function and the hyperbolic tangent in 16-bit fixed point, bit-exact with gemmlowp, for the recurrences of
//! 8-bit networks. Inputs have 3 integer bits, results none.

/// The largest value, which stands for one if there are no integer bits.
const ONE: i16 = i16::MAX;
/// One, with two integer bits.
const ONE_2: i16 = 1 << 13;

/// The rounded upper half of a 32-bit constant.
const fn constant(value: i32) -> i16 {
    ((value as i64 + (1 << 15)) >> 16) as i16
}

/// The product as gemmlowp rounds it; the integer bits of the factors add.
fn product(a: i16, b: i16) -> i16 {
    if a == i16::MIN && b == i16::MIN {
        return i16::MAX;
    }
    ((i32::from(a) * i32::from(b) + (1 << 14)) >> 15) as i16
}

/// `x` divided by a power of two, ties away from zero.
fn divided(x: i16, exponent: u32) -> i16 {
    let mask = (1i16 << exponent) - 1;
    let threshold = (mask >> 1) + i16::from(x < 0);
    (x >> exponent) + i16::from((x & mask) > threshold)
}

/// `x` multiplied by a power of two, saturating.
fn multiplied(x: i16, exponent: u32) -> i16 {
    (i32::from(x) << exponent).clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// e^a for a in -1/4..0, no integer bits: Taylor polynomial around -1/8.
fn exp_near_zero(a: i16) -> i16 {
    const AT: i16 = constant(1_895_147_668);
    const THIRD: i16 = constant(715_827_883);
    let x = a.wrapping_add(1 << 12);
    let square = product(x, x);
    let (cube, fourth) = (product(square, x), product(square, square));
    let tail = product(divided(fourth, 2).wrapping_add(cube), THIRD).wrapping_add(square);
    AT.saturating_add(product(AT, x.wrapping_add(divided(tail, 1))))
}

/// e^a for a <= 0 with `integer_bits`; the result has none.
fn exp_of_negative(a: i16, integer_bits: u32) -> i16 {
    // e^(-2^k) from k = -2 on.
    const POWERS: [i32; 7] = [1_672_461_947, 1_302_514_674, 790_015_084, 290_630_308, 39_332_535, 720_401, 242];
    if a == 0 {
        return ONE;
    }
    let fraction_bits = 15 - integer_bits;
    let quarter = 1i16 << (fraction_bits - 2);
    let near = (a & (quarter - 1)) - quarter;
    let rest = near.wrapping_sub(a);
    let mut result = exp_near_zero(multiplied(near, integer_bits));
    for (k, power) in POWERS.into_iter().enumerate().take(integer_bits as usize + 2) {
        if rest & 1 << (fraction_bits - 2 + k as u32) != 0 {
            result = product(result, constant(power));
        }
    }
    result
}

/// 2 / (1 + a) for a in 0..1, two integer bits: Newton's method on half the denominator.
fn twice_reciprocal(a: i16) -> i16 {
    let half = ((i32::from(a) + i32::from(ONE) + 1) / 2) as i16;
    let mut x = constant(1_515_870_810).wrapping_add(product(half, constant(-1_010_580_540)));
    for _ in 0..3 {
        let error = ONE_2.wrapping_sub(product(half, x));
        x = x.wrapping_add(multiplied(product(x, error), 2));
    }
    x
}

/// 1 / (1 + e^-a).
pub(super) fn logistic(a: i16) -> i16 {
    if a == 0 {
        return 1 << 14;
    }
    let positive = multiplied(twice_reciprocal(exp_of_negative(a.wrapping_abs().wrapping_neg(), 3)), 1);
    if a > 0 { positive } else { ONE - positive }
}

/// The hyperbolic tangent.
pub(super) fn tanh(a: i16) -> i16 {
    if a == 0 {
        return 0;
    }
    // For -|a|: (1 - e^2a) / (1 + e^2a), negated; doubling moves the binary point.
    let exp = exp_of_negative(a.wrapping_abs().wrapping_neg(), 4);
    let positive = multiplied(twice_reciprocal(exp).wrapping_sub(ONE_2), 2);
    if a > 0 { positive } else { positive.wrapping_neg() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_within_a_few_units_of_the_last_place() {
        for a in i16::MIN + 1..=i16::MAX {
            let x = f64::from(a) / 4096.0;
            let got = [logistic(a), tanh(a)].map(|y| f64::from(y) / 32768.0);
            let want = [1.0 / (1.0 + (-x).exp()), x.tanh()];
            assert!((got[0] - want[0]).abs() < 2e-4 && (got[1] - want[1]).abs() < 5e-4, "{x}: {got:?}, {want:?}");
        }
    }
}
