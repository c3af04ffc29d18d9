//! Weights in blocks that share a scale: their values, by candle, and the integers that enter the multiplier.
//!
//! ```text
//! type   weights  bytes  layout                                          value             code
//! Q4_0        32     18  d, 16 x 2 nibbles                               d (q - 8)         q - 8    -8..7
//! Q4_1        32     20  d, m, 16 x 2 nibbles                            d q + m           q         0..15
//! Q5_0        32     22  d, 32 fifth bits, 16 x 2 nibbles                d (q - 16)        q - 16  -16..15
//! Q5_1        32     24  d, m, 32 fifth bits, 16 x 2 nibbles             d q + m           q         0..31
//! Q8_0        32     34  d, 32 bytes                                     d q               q      -128..127
//! Q4_K       256    144  d, m, 8 x 2 six-bit scales, 128 x 2 nibbles     d s q - m t       q         0..15
//! Q5_K       256    176  d, m, the same, 256 fifth bits, nibbles         d s q - m t       q         0..31
//! Q6_K       256    210  nibbles, 128 x 2 upper bits, 16 scales, d       d s (q - 32)      q - 32  -32..31
//! ```
//! Layouts and values as ggml defines them (`ggml-common.h`, `dequantize_row_*` of `ggml-quants.c`).

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use half::f16;

use crate::weights::tensor::{Dtype, ReadFault, Storage, decode};

/// A type of tensors: of floats, or of blocks of integers with their scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::weights) enum BlockType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

impl BlockType {
    /// All that are read.
    pub const ALL: [Self; 11] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// ggml's number of the type, its name, weights and bytes in a block, and candle's name.
    const fn facts(self) -> (u32, &'static str, usize, usize, GgmlDType) {
        match self {
            Self::F32 => (0, "F32", 1, 4, GgmlDType::F32),
            Self::F16 => (1, "F16", 1, 2, GgmlDType::F16),
            Self::Q4_0 => (2, "Q4_0", 32, 18, GgmlDType::Q4_0),
            Self::Q4_1 => (3, "Q4_1", 32, 20, GgmlDType::Q4_1),
            Self::Q5_0 => (6, "Q5_0", 32, 22, GgmlDType::Q5_0),
            Self::Q5_1 => (7, "Q5_1", 32, 24, GgmlDType::Q5_1),
            Self::Q8_0 => (8, "Q8_0", 32, 34, GgmlDType::Q8_0),
            Self::Q4K => (12, "Q4_K", 256, 144, GgmlDType::Q4K),
            Self::Q5K => (13, "Q5_K", 256, 176, GgmlDType::Q5K),
            Self::Q6K => (14, "Q6_K", 256, 210, GgmlDType::Q6K),
            Self::Bf16 => (30, "BF16", 1, 2, GgmlDType::BF16),
        }
    }

    /// The type that candle calls `kind`, if it is read.
    pub fn of_candle(kind: GgmlDType) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.facts().4 == kind)
    }

    /// The type with that number in ggml, if it is read.
    pub fn of_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.facts().0 == code)
    }

    /// Its name in ggml.
    pub fn name(self) -> &'static str {
        self.facts().1
    }

    /// Weights in a block.
    pub fn weights(self) -> usize {
        self.facts().2
    }

    /// Bytes of a block.
    pub fn bytes(self) -> usize {
        self.facts().3
    }

    /// Bits of a code, and whether codes have a sign; `None` of floats.
    pub fn bits(self) -> Option<(u32, bool)> {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => None,
            Self::Q4_0 => Some((4, true)),
            Self::Q4_1 | Self::Q4K => Some((4, false)),
            Self::Q5_0 => Some((5, true)),
            Self::Q5_1 | Self::Q5K => Some((5, false)),
            Self::Q6K => Some((6, true)),
            Self::Q8_0 => Some((8, true)),
        }
    }

    /// The values of the blocks in `bytes`.
    fn values(self, bytes: &[u8]) -> candle_core::Result<Arc<[f32]>> {
        match self {
            Self::F32 => return Ok(decode(Dtype::F32, bytes)),
            Self::F16 => return Ok(decode(Dtype::F16, bytes)),
            Self::Bf16 => return Ok(decode(Dtype::BF16, bytes)),
            _ => {}
        }
        // candle demands aligned blocks, which a file does not have.
        const ALIGNED: usize = 16;
        let mut copy = vec![0; bytes.len() + ALIGNED];
        let start = copy.as_ptr().align_offset(ALIGNED).min(ALIGNED);
        let blocks = &mut copy[start..][..bytes.len()];
        blocks.copy_from_slice(bytes);
        let storage = QStorage::from_data(Cow::Borrowed(blocks), &Device::Cpu, self.facts().4)?;
        let count = bytes.len() / self.bytes() * self.weights();
        Ok(QTensor::new(storage, count)?.dequantize(&Device::Cpu)?.to_vec1::<f32>()?.into())
    }

    /// How its weights are coded; `None` of floats.
    fn form(self) -> Option<BlockForm> {
        let (group, minimum, halves) = match self {
            Self::F32 | Self::F16 | Self::Bf16 => return None,
            Self::Q4_0 | Self::Q5_0 | Self::Q8_0 => (32, false, true),
            Self::Q4_1 | Self::Q5_1 => (32, true, true),
            Self::Q4K | Self::Q5K => (32, true, false),
            Self::Q6K => (16, false, false),
        };
        Some(BlockForm { group, four_bits: self.bits().is_some_and(|(bits, _)| bits == 4), minimum, halves })
    }

    /// Where half floats are in a block: they are all that may not be finite.
    fn halves(self) -> &'static [usize] {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => &[],
            Self::Q4_0 | Self::Q5_0 | Self::Q8_0 => &[0],
            Self::Q4_1 | Self::Q5_1 | Self::Q4K | Self::Q5K => &[0, 2],
            Self::Q6K => &[208],
        }
    }

    /// The integers that enter the multiplier of the `part`-th group of weights of `block`, and their scale and minimum
    /// `[scale, minimum]`.
    fn group(self, block: &[u8], part: usize, codes: &mut [i8]) -> [f32; 2] {
        // The weights of a half of a small block are the lower nibbles, those of the other half the upper ones.
        let mut halves = |nibbles: &[u8], fifth: u32, offset: i8| {
            for (half, shift) in [(0, 0), (16, 4)] {
                for (i, pair) in nibbles.iter().enumerate() {
                    let code = pair >> shift & 15 | ((fifth >> (half + i)) as u8 & 1) << 4;
                    codes[half + i] = code.cast_signed() - offset;
                }
            }
        };
        let fifth = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => return [0.0; 2],
            Self::Q4_0 => halves(&block[2..18], 0, 8),
            Self::Q4_1 => halves(&block[4..20], 0, 0),
            Self::Q5_0 => halves(&block[6..22], fifth(2), 16),
            Self::Q5_1 => halves(&block[8..24], fifth(4), 0),
            Self::Q8_0 => codes.iter_mut().zip(&block[2..34]).for_each(|(code, byte)| *code = byte.cast_signed()),
            Self::Q4K | Self::Q5K => {
                let (upper, nibbles) = if self == Self::Q4K { (None, 16) } else { (Some(&block[16..48]), 48) };
                for (i, code) in codes.iter_mut().enumerate() {
                    let nibble = block[nibbles + part / 2 * 32 + i] >> (part % 2 * 4) & 15;
                    *code = (nibble | upper.map_or(0, |upper| (upper[i] >> part & 1) << 4)).cast_signed();
                }
                let [scale, minimum] = sixes(&block[4..16], part);
                return [half(block, 0) * scale, -(half(block, 2) * minimum)];
            }
            Self::Q6K => {
                // Eight groups to a half, two to each of its four ranges of 32 weights.
                let (first, range, from) = (part / 8 * 32, part % 8 / 2, part % 2 * 16);
                for (i, code) in codes.iter_mut().enumerate() {
                    let nibble = block[first * 2 + range % 2 * 32 + from + i] >> (range / 2 * 4) & 15;
                    *code = (nibble | (block[128 + first + from + i] >> (range * 2) & 3) << 4).cast_signed() - 32;
                }
                return [half(block, 208) * f32::from(block[192 + part].cast_signed()), 0.0];
            }
        }
        let scale = |place: usize| self.halves().get(place).map_or(0.0, |&at| half(block, at));
        [scale(0), scale(1)]
    }
}

/// The half float at byte `at` of `block`.
fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// The six-bit scale and minimum of part `part` of a block of 256 with the twelve bytes `packed` of such.
fn sixes(packed: &[u8], part: usize) -> [f32; 2] {
    let six = match part {
        0..4 => [packed[part] & 63, packed[part + 4] & 63],
        _ => [packed[part + 4] & 15 | packed[part - 4] >> 6 << 4, packed[part + 4] >> 4 | packed[part] >> 6 << 4],
    };
    six.map(f32::from)
}

/// A tensor of blocks in a file.
#[derive(Clone)]
pub(in crate::weights) struct Blocks {
    pub(super) storage: Storage,
    pub(super) kind: BlockType,
    /// Rows of the tensor, and heads whose rows are stored in pairs for rotary embedding: they are read as two halves.
    pub(super) pairs: Option<(usize, usize)>,
}

/// How the weights of blocks are coded: `scale * code`, or `scale * code + minimum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockForm {
    /// Weights that share a scale.
    pub group: usize,
    /// Whether codes have four bits; others have at most eight.
    pub four_bits: bool,
    /// Whether there is a minimum. Codes then have no sign, and their product with the scale is exact.
    pub minimum: bool,
    /// Whether scales and minima are half floats.
    pub halves: bool,
}

/// The integers that the weights of a tensor are stored as.
#[derive(Clone)]
pub struct BlockCodes {
    blocks: Blocks,
    form: BlockForm,
    bits: u32,
    signed: bool,
}

/// The groups of weights that share a scale, of a whole tensor.
pub struct BlockGroups<'a> {
    bytes: Cow<'a, [u8]>,
    kind: BlockType,
    /// In a block.
    groups: usize,
}

impl BlockGroups<'_> {
    /// The integers that enter the multiplier of group `index`, in the order of the weights, and `[scale, minimum]`.
    pub fn read(&self, index: usize, codes: &mut [i8]) -> [f32; 2] {
        let block = &self.bytes[index / self.groups * self.kind.bytes()..][..self.kind.bytes()];
        self.kind.group(block, index % self.groups, codes)
    }
}

impl BlockCodes {
    /// Bits of each, the sign included.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Whether they have a sign.
    pub fn signed(&self) -> bool {
        self.signed
    }

    /// How they are coded.
    pub fn form(&self) -> BlockForm {
        self.form
    }

    /// Whether all scales are finite, and so all values.
    pub fn are_of_finite_values(&self) -> bool {
        let kind = self.blocks.kind;
        let finite = |block: &[u8]| kind.halves().iter().all(|&at| half(block, at).is_finite());
        self.blocks.storage.get().chunks_exact(kind.bytes()).all(finite)
    }

    /// The groups that share a scale.
    pub fn groups(&self) -> BlockGroups<'_> {
        let kind = self.blocks.kind;
        BlockGroups { bytes: self.blocks.bytes(), kind, groups: kind.weights() / self.form.group }
    }

    /// The integers that enter the multiplier, in the order of the weights: symmetric ones less their offset, affine ones as they
    /// are stored.
    pub fn codes(&self) -> Vec<f32> {
        let (groups, mut codes) = (self.groups(), vec![0; self.form.group]);
        let count = groups.bytes.len() / groups.kind.bytes() * groups.groups;
        let mut all = Vec::with_capacity(count * codes.len());
        for index in 0..count {
            groups.read(index, &mut codes);
            all.extend(codes.iter().map(|code| f32::from(*code)));
        }
        all
    }
}

impl Blocks {
    /// ggml's name of the type.
    pub fn dtype(&self) -> &'static str {
        self.kind.name()
    }

    /// The blocks, rows in the order of Hugging Face's checkpoints.
    ///
    /// ```text
    /// stored:  head 0: x0 y0 x1 y1 ..  head 1: ..        pair i is turned by the angle of frequency i
    /// read:    head 0: x0 x1 .. y0 y1 ..  head 1: ..
    /// ```
    fn bytes(&self) -> Cow<'_, [u8]> {
        let bytes = self.storage.get();
        let Some((rows, heads)) = self.pairs else { return Cow::Borrowed(bytes) };
        let (row, half) = (bytes.len() / rows, rows / heads / 2);
        let stored = |at: usize| {
            let (head, within) = (at / (2 * half), at % (2 * half));
            head * 2 * half + within % half * 2 + within / half
        };
        (0..rows).flat_map(|at| &bytes[stored(at) * row..][..row]).copied().collect::<Vec<u8>>().into()
    }

    /// The values, row-major.
    pub fn read(&self) -> Result<Arc<[f32]>, ReadFault> {
        self.kind.values(&self.bytes()).map_err(|_| ReadFault::Dtype(self.dtype().into()))
    }

    /// The integers; `None` of floats.
    pub fn codes(&self) -> Option<BlockCodes> {
        let (bits, signed) = self.kind.bits()?;
        Some(BlockCodes { blocks: self.clone(), form: self.kind.form()?, bits, signed })
    }
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
