//! One number for a set of inputs, independent of their order and of how they were split.

use std::fmt;

use crate::hex::hex;

/// The sum modulo 2^256 of the SHA-256 digests (as big-endian numbers) of all inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputDigest([u8; 32]);

impl InputDigest {
    /// Adds one input's digest.
    pub fn add(&mut self, digest: &[u8; 32]) {
        let mut carry = 0;
        for (sum, byte) in self.0.iter_mut().zip(digest).rev() {
            let total = u16::from(*sum) + u16::from(*byte) + carry;
            *sum = total as u8;
            carry = total >> 8;
        }
    }

    /// Adds the digest of another set.
    pub fn merge(&mut self, other: &Self) {
        self.add(&other.0);
    }
}

impl InputDigest {
    /// Parses the output of [`fmt::Display`].
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        let pairs = text.as_bytes().chunks(2);
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(pairs) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(digest))
    }
}

impl fmt::Display for InputDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_carry_and_do_not_depend_on_order() {
        let (mut a, mut b) = (InputDigest::default(), InputDigest::default());
        let (ones, one) = ([0xff; 32], std::array::from_fn(|i| u8::from(i == 31)));
        a.add(&ones);
        a.add(&one);
        assert_eq!(a.to_string(), "0".repeat(64));
        a.add(&ones);
        b.add(&one);
        b.add(&ones);
        b.add(&ones);
        assert_eq!(a, b);
        assert_eq!(InputDigest::from_hex(&a.to_string()), Some(a));
        assert_eq!([InputDigest::from_hex("00"), InputDigest::from_hex(&"+1".repeat(32))], [None, None]);
    }
}
