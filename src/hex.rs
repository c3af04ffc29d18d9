//! Bytes as hexadecimal digits: how digests are printed.

use std::fmt::Write;

/// Two lowercase digits a byte.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes what is written to it");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::hex;

    #[test]
    fn every_byte_has_two_digits() {
        assert_eq!((hex([0x00, 0x0a, 0xff]), hex([])), ("000aff".into(), String::new()));
    }
}
