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
}

/// Reads bits up to the next marker.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    /// The bits of `bytes` from `at` on.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, held: 0, count: 0 }
    }

    /// Buffers at least `count` bits (at most 16) if there are that many.
    fn fill(&mut self, count: u32) {
        while self.count < count {
            let (byte, length) = match self.bytes.get(self.at..) {
                Some([0xff, 0, ..]) => (0xff, 2),
                Some([0xff, ..] | []) | None => return,
                Some([byte, ..]) => (*byte, 1),
            };
            self.at += length;
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next `count` bits, at most 16.
    pub(super) fn take(&mut self, count: u32) -> Result<u32, End> {
        self.fill(count);
        if self.count < count {
            return Err(SHORT.into());
        }
        self.count -= count;
        Ok((self.held >> self.count) as u32 & ((1 << count) - 1))
    }

    /// Decodes the value of the next code.
    pub(super) fn code(&mut self, codes: &Codes) -> Result<u8, End> {
        self.fill(16);
        // Zeros are read beyond the last bit; they cannot be consumed.
        let next = match self.count {
            16.. => (self.held >> (self.count - 16)) as u32 & 0xffff,
            count => (self.held << (16 - count)) as u32 & 0xffff,
        };
        let (mut length, mut value) = codes.short[next as usize >> 8];
        if length == 0 {
            let long = (9..=16).find(|&length| next < codes.limit[length]).ok_or(BAD)?;
            let place = (next >> (16 - long)) as i32 + codes.offset[long];
            value = *usize::try_from(place).ok().and_then(|place| codes.values.get(place)).ok_or(BAD)?;
            length = long as u8;
        }
        self.take(length.into())?;
        Ok(value)
    }

    /// Ends at a marker and returns its position. Bytes before it may only be fill bytes.
    pub(super) fn end(mut self) -> Result<usize, End> {
        self.count -= self.count % 8;
        while let Ok(byte) = self.take(8) {
            if !matches!(byte, 0 | 0xff) {
                return Err("is damaged: it has more data than blocks".into());
            }
        }
        Ok(self.at)
    }
}
