//! The bits of a scan, and its Huffman codes.

use super::{End, Fault};

const SHORT: Fault = "is damaged or cut off: some of its blocks are missing";
const BAD: Fault = "is damaged: it has an invalid code";

/// A Huffman table.
pub(super) struct Codes {
    /// Length and value of the code at the start of eight bits; length 0 if the code is longer.
    short: Box<[(u8, u8); 256]>,
    /// By length, the 16-bit value from which codes are longer.
    limit: [u32; 17],
    /// By length, the offset from a code to the index of its value.
    offset: [i32; 17],
    values: Vec<u8>,
}

impl Codes {
    /// The table with `counts` codes of each length and their `values`; `None` if that is no prefix code.
    pub(super) fn new(counts: &[u8], values: &[u8]) -> Option<Self> {
        let mut codes =
            Self { short: Box::new([(0, 0); 256]), limit: [0; 17], offset: [0; 17], values: values.to_vec() };
        let (mut code, mut place) = (0u32, 0);
        for (&count, length) in counts.iter().zip(1u8..) {
            codes.offset[usize::from(length)] = place as i32 - code as i32;
            for _ in 0..count {
                if length <= 8 {
                    let first = (code << (8 - length)) as usize;
                    codes.short.get_mut(first..first + (1 << (8 - length)))?.fill((length, values[place]));
                }
                code += 1;
                place += 1;
            }
            if code > 1 << length {
                return None;
            }
            codes.limit[usize::from(length)] = code << (16 - length);
            code <<= 1;
        }
        Some(codes)
    }

    /// Length and value of a code of more than eight bits at the start of the 16 bits `next`.
    fn long(&self, next: u32) -> Result<(u8, u8), End> {
        let length = (9..=16).find(|&length| next < self.limit[length]).ok_or(BAD)?;
        let place = (next >> (16 - length)) as i32 + self.offset[length];
        let value = usize::try_from(place).ok().and_then(|place| self.values.get(place)).ok_or(BAD)?;
        Ok((length as u8, *value))
    }
}

/// Whether one of the eight bytes is 0xff.
fn has_ff(bytes: u64) -> bool {
    let [ones, tops] = [1, 0x80].map(|byte| u64::from_ne_bytes([byte; 8]));
    (!bytes).wrapping_sub(ones) & bytes & tops != 0
}

/// Reads bits up to the next marker.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The first byte that is not buffered.
    at: usize,
    /// The next bits, highest first. Those after the first `count` are of bytes that are not buffered, or zero.
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    /// The bits of `bytes` from `at` on.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, held: 0, count: 0 }
    }

    /// Buffers at least 32 bits, if there are that many: a code and what follows it.
    #[inline(always)]
    fn fill(&mut self) {
        if self.count < 32 {
            self.refill();
        }
    }

    /// Buffers as many bytes as fit.
    #[inline]
    fn refill(&mut self) {
        if let Some(next) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            let next = u64::from_be_bytes(*next);
            if !has_ff(next) {
                let length = (64 - self.count) / 8;
                self.held |= next >> self.count;
                self.at += length as usize;
                self.count += 8 * length;
                return;
            }
        }
        while self.count <= 56 {
            let (byte, length) = match self.bytes.get(self.at..) {
                Some([0xff, 0, ..]) => (0xff, 2),
                Some([0xff, ..] | []) | None => return,
                Some([byte, ..]) => (*byte, 1),
            };
            self.at += length;
            self.held |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next `count` bits, at most 16.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> Result<u32, End> {
        self.fill();
        let bits = self.held >> 48 >> (16 - count);
        self.skip(count)?;
        Ok(bits as u32)
    }

    /// Passes over `count` bits that [`Self::fill`] has buffered.
    #[inline(always)]
    fn skip(&mut self, count: u32) -> Result<(), End> {
        self.count = self.count.checked_sub(count).ok_or(SHORT)?;
        self.held <<= count;
        Ok(())
    }

    /// Length and value of the next code.
    #[inline(always)]
    fn next(&mut self, codes: &Codes) -> Result<(u32, u8), End> {
        self.fill();
        // Zeros are read beyond the last bit; they cannot be consumed.
        let next = (self.held >> 48) as u32;
        let (length, value) = match codes.short[next as usize >> 8] {
            (0, _) => codes.long(next)?,
            short => short,
        };
        Ok((length.into(), value))
    }

    /// Decodes the value of the next code.
    #[inline(always)]
    pub(super) fn code(&mut self, codes: &Codes) -> Result<u8, End> {
        let (length, value) = self.next(codes)?;
        self.skip(length)?;
        Ok(value)
    }

    /// The same, and passes over the bits after the code, as many as the lower half of the value says.
    #[inline(always)]
    pub(super) fn code_and_bits(&mut self, codes: &Codes) -> Result<u8, End> {
        let (length, value) = self.next(codes)?;
        self.skip(length + u32::from(value & 15))?;
        Ok(value)
    }

    /// Ends at a marker and returns its position. Bytes before it may only be fill bytes.
    pub(super) fn end(mut self) -> Result<usize, End> {
        self.skip(self.count % 8)?;
        while let Ok(byte) = self.take(8) {
            if !matches!(byte, 0 | 0xff) {
                return Err("is damaged: it has more data than blocks".into());
            }
        }
        Ok(self.at)
    }
}
