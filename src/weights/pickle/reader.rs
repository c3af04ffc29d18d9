//! Bounds-checked reading of a pickle's operands, and the escapes of its text strings.

/// A position in the input.
pub(super) struct Reader<'a> {
    input: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { input, position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.input[self.position..]
    }

    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], String> {
        let left = self.rest();
        let taken = usize::try_from(count).ok().and_then(|count| left.get(..count));
        let taken = taken.ok_or_else(|| format!("wants {count} bytes, {} are left", left.len()))?;
        self.position += taken.len();
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(*self.take(N as u64)?.first_chunk().expect("N bytes were taken"))
    }

    /// The bytes up to the next line feed, exclusive.
    pub(super) fn line(&mut self) -> Result<&'a [u8], String> {
        let length = self.rest().iter().position(|byte| *byte == b'\n').ok_or("a line without an end")?;
        let line = self.take(length as u64 + 1)?;
        Ok(line[..length].strip_suffix(b"\r").unwrap_or(&line[..length]))
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Escapes of a Python byte string as `repr` writes them.
pub(super) fn unescape_bytes(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    while let [first, rest @ ..] = text {
        text = rest;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (escape, rest) = text.split_first()?;
        text = rest;
        bytes.push(match escape {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'\\' | b'\'' | b'"' => *escape,
            b'x' => {
                let (digits, rest) = text.split_at_checked(2)?;
                text = rest;
                hex(digits)?.try_into().ok()?
            }
            _ => return None,
        });
    }
    Some(bytes)
}

/// Python's raw-unicode-escape: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn unescape_unicode(mut text: &[u8]) -> Option<String> {
    let mut unescaped = String::with_capacity(text.len());
    while let [first, rest @ ..] = text {
        text = rest;
        let digits = match (first, text.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                unescaped.push(char::from(*first));
                continue;
            }
        };
        let (code, rest) = text[1..].split_at_checked(digits)?;
        text = rest;
        unescaped.push(char::from_u32(hex(code)?)?);
    }
    Some(unescaped)
}

#[cfg(test)]
mod tests {
    use super::{unescape_bytes, unescape_unicode};

    #[test]
    fn escapes() {
        assert_eq!(unescape_bytes(br"a\n\x41\\\'").as_deref(), Some(&b"a\nA\\'"[..]));
        assert_eq!(unescape_bytes(br"\x4"), None);
        assert_eq!(unescape_bytes(b"\\"), None);
        assert_eq!(unescape_unicode(b"a\\u00e9\\U0001f600\\n\xe9").as_deref(), Some("a\u{e9}\u{1f600}\\n\u{e9}"));
        assert_eq!(unescape_unicode(br"\ud800"), None);
        assert_eq!(unescape_unicode(br"\u12"), None);
    }
}
