//! One stored tensor: a view into a file's bytes, and its values as `f32`.

use std::borrow::Cow;
use std::sync::Arc;

use half::{bf16, f16};

use super::gguf::Blocks;

/// A file's content, shared by the tensors in it.
pub(super) type Blob = Arc<Cow<'static, [u8]>>;

/// A view may repeat elements of its storage (stride 0), but only up to a bound: a small file must not claim all memory.
const MAX_REPEATED: usize = 1 << 20;
const MAX_RANK: usize = 16;

/// Supported element types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dtype {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F8E4M3,
    F8E5M2,
    F16,
    BF16,
    F32,
    F64,
}

impl Dtype {
    /// Its name in safetensors.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::U8 => "U8",
            Self::I8 => "I8",
            Self::U16 => "U16",
            Self::I16 => "I16",
            Self::U32 => "U32",
            Self::I32 => "I32",
            Self::U64 => "U64",
            Self::I64 => "I64",
            Self::F8E4M3 => "F8_E4M3",
            Self::F8E5M2 => "F8_E5M2",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F32 => "F32",
            Self::F64 => "F64",
        }
    }

    /// Bytes of an element.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 | Self::F8E4M3 | Self::F8E5M2 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

/// A range of bytes in a file.
#[derive(Clone)]
pub(super) struct Storage {
    pub(super) blob: Blob,
    pub(super) start: usize,
    pub(super) bytes: usize,
}

impl Storage {
    /// `bytes` bytes of `blob` from `start` on; `None` if they are not in it.
    pub(super) fn new(blob: &Blob, start: usize, bytes: usize) -> Option<Self> {
        blob.get(start..start.checked_add(bytes)?)?;
        Some(Self { blob: Arc::clone(blob), start, bytes })
    }

    pub(super) fn get(&self) -> &[u8] {
        &self.blob[self.start..self.start + self.bytes]
    }
}

/// Dequantisation: `(q - zero point) * scale`.
pub(super) enum Quantisation {
    Whole {
        scale: f64,
        zero_point: i64,
    },
    /// A filter, the first dimension, is divided into equal parts with separate scales.
    Parts {
        scales: Vec<f32>,
        zero_point: i32,
    },
    /// One scale and zero point for each index along `axis`.
    Channels {
        scales: Box<Tensor>,
        zero_points: Box<Tensor>,
        axis: usize,
    },
}

/// Elements in a storage.
pub(super) struct Stored {
    storage: Storage,
    pub(super) dtype: Dtype,
    /// Offset of the first element, in elements.
    offset: usize,
    /// In elements; `None` if the elements are contiguous and row-major.
    strides: Option<Vec<usize>>,
    pub(super) quantisation: Option<Quantisation>,
}

/// Where the values of a tensor are.
pub(super) enum Content {
    Values(Arc<[f32]>),
    Stored(Stored),
    /// Of a GGUF file.
    Blocks(Blocks),
    /// Of an unsupported dtype; its name.
    Unread(String),
}

/// Extents and values of a tensor.
pub(super) struct Tensor {
    pub(super) shape: Vec<usize>,
    pub(super) content: Content,
}

/// Why a tensor cannot be read.
pub(super) enum ReadFault {
    Dtype(String),
    NotFinite,
}

impl Tensor {
    /// A view with `shape` and `strides` (in elements), `offset` elements into `storage`; the error says what is out of
    /// bounds.
    pub(super) fn view(
        storage: Storage,
        dtype: Dtype,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Result<Self, String> {
        if shape.len() != strides.len() {
            return Err(format!("has {} extents and {} strides", shape.len(), strides.len()));
        }
        if shape.len() > MAX_RANK {
            return Err(format!("has {} dimensions, at most {MAX_RANK} are read", shape.len()));
        }
        let available = storage.bytes / dtype.size();
        let count = elements(&shape).ok_or_else(|| format!("shape {shape:?} overflows"))?;
        if count > available.max(MAX_REPEATED) {
            return Err(format!("shape {shape:?} has {count} elements, its storage {available}"));
        }
        if count > 0 {
            let last = shape
                .iter()
                .zip(&strides)
                .try_fold(offset, |last, (extent, stride)| last.checked_add((extent - 1).checked_mul(*stride)?));
            if last.is_none_or(|last| last >= available) {
                return Err(format!(
                    "shape {shape:?}, strides {strides:?} from {offset} leave the storage of {available} elements"
                ));
            }
        }
        let strides = (count > 0 && !contiguous(&shape, &strides)).then_some(strides);
        let stored = Stored { storage, dtype, offset, strides, quantisation: None };
        Ok(Self { shape, content: Content::Stored(stored) })
    }

    /// The whole of `storage`, with contiguous elements.
    pub(super) fn dense(storage: Storage, dtype: Dtype, shape: Vec<usize>) -> Result<Self, String> {
        let strides = row_major(&shape);
        Self::view(storage, dtype, 0, shape, strides)
    }

    /// With its axes in the order `axes`; quantised tensors stay as they are.
    pub(super) fn permuted(mut self, axes: &[usize]) -> Self {
        let shape: Vec<usize> = axes.iter().map(|&axis| self.shape[axis]).collect();
        let ordered = |strides: Vec<usize>| axes.iter().map(|&axis| strides[axis]).collect::<Vec<_>>();
        match &mut self.content {
            Content::Stored(Stored { strides, quantisation: None, .. }) => {
                *strides = Some(ordered(strides.take().unwrap_or_else(|| row_major(&self.shape))));
            }
            Content::Values(values) => {
                *values = offsets(&shape, &ordered(row_major(&self.shape))).map(|offset| values[offset]).collect();
            }
            Content::Stored(_) | Content::Blocks(_) | Content::Unread(_) => return self,
        }
        Self { shape, ..self }
    }

    /// The same integers with quantisation parameters.
    pub(super) fn quantised(mut self, quantisation: Quantisation) -> Result<Self, String> {
        if let Quantisation::Channels { scales, zero_points, axis } = &quantisation {
            let channels = self.shape.get(*axis).ok_or_else(|| format!("has no axis {axis} to quantise along"))?;
            let lengths = [&scales.shape, &zero_points.shape];
            if lengths.iter().any(|shape| shape.as_slice() != [*channels]) {
                return Err(format!("has {channels} channels, scales {:?}, zero points {:?}", lengths[0], lengths[1]));
            }
        }
        if let Content::Stored(stored) = &mut self.content {
            stored.quantisation = Some(quantisation);
        }
        Ok(self)
    }

    /// The dtype's name in safetensors.
    pub(super) fn dtype(&self) -> &str {
        match &self.content {
            Content::Values(_) => Dtype::F32.name(),
            Content::Stored(stored) => stored.dtype.name(),
            Content::Blocks(blocks) => blocks.dtype(),
            Content::Unread(name) => name,
        }
    }

    /// The values, row-major.
    pub(super) fn read(&self) -> Result<Arc<[f32]>, ReadFault> {
        let values = match &self.content {
            Content::Values(values) => Arc::clone(values),
            Content::Stored(stored) => stored.read(&self.shape)?,
            Content::Blocks(blocks) => blocks.read()?,
            Content::Unread(name) => return Err(ReadFault::Dtype(name.clone())),
        };
        // Stops at a chunk, not at a value, so that the test of each chunk is vectorised.
        let finite = |part: &[f32]| part.iter().fold(true, |finite, value| finite & value.is_finite());
        if values.chunks(1024).all(finite) { Ok(values) } else { Err(ReadFault::NotFinite) }
    }
}

impl Stored {
    fn read(&self, shape: &[usize]) -> Result<Arc<[f32]>, ReadFault> {
        let count: usize = shape.iter().product();
        if count == 0 {
            return Ok(Arc::default());
        }
        let bytes = self.bytes(shape);
        match &self.quantisation {
            None => Ok(decode(self.dtype, &bytes)),
            Some(quantisation) => {
                let codes = integers(self.dtype, &bytes).ok_or_else(|| ReadFault::Dtype(self.dtype.name().into()))?;
                dequantise(&codes, shape, quantisation)
            }
        }
    }
}

impl Stored {
    /// The elements, contiguous.
    pub(super) fn bytes(&self, shape: &[usize]) -> Cow<'_, [u8]> {
        let (size, count) = (self.dtype.size(), shape.iter().product::<usize>());
        if count == 0 {
            return Cow::Borrowed(&[]);
        }
        let from = &self.storage.get()[self.offset * size..];
        match &self.strides {
            None => Cow::Borrowed(&from[..count * size]),
            Some(strides) => Cow::Owned(gather(from, size, shape, strides)),
        }
    }
}

/// Product of the extents.
pub(super) fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |count, extent| count.checked_mul(*extent))
}

/// Whether the elements of a non-empty view are contiguous.
fn contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(&extent, &stride)| {
        let fits = extent == 1 || stride == expected;
        expected *= extent;
        fits
    })
}

/// Copies a strided view to contiguous bytes. The view must be within `from`.
fn gather(from: &[u8], size: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(shape.iter().product::<usize>() * size);
    offsets(shape, strides).for_each(|at| bytes.extend_from_slice(&from[at * size..][..size]));
    bytes
}

/// Offsets of the elements of a view, the last index fastest.
fn offsets(shape: &[usize], strides: &[usize]) -> impl Iterator<Item = usize> {
    let mut index = vec![0; shape.len()];
    let mut next = 0;
    (0..shape.iter().product()).map(move |_| {
        let at = next;
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            next += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            next -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
        at
    })
}

/// Strides of contiguous elements, the last index fastest. Saturated, which only those of empty tensors are.
fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].saturating_mul(shape[i]);
    }
    strides
}

fn map<const N: usize, T>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|element| value(*element)).collect()
}

/// [`map`] into the shared slice of a tensor.
fn shared<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Arc<[f32]> {
    let elements = bytes.as_chunks::<N>().0;
    let mut values: Arc<[f32]> = std::iter::repeat_n(0.0, elements.len()).collect();
    // Allocated first and filled then, so that the loop is vectorised.
    let places = Arc::get_mut(&mut values).expect("nobody else holds it");
    places.iter_mut().zip(elements).for_each(|(place, element)| *place = value(*element));
    values
}

/// Little-endian elements as `f32`, rounded to nearest if `f32` is narrower.
pub(super) fn decode(dtype: Dtype, bytes: &[u8]) -> Arc<[f32]> {
    match dtype {
        Dtype::Bool => shared(bytes, |[b]| if b == 0 { 0.0 } else { 1.0 }),
        Dtype::U8 => shared(bytes, |[b]| f32::from(b)),
        Dtype::I8 => shared(bytes, |[b]| f32::from(b.cast_signed())),
        Dtype::U16 => shared(bytes, |b| f32::from(u16::from_le_bytes(b))),
        Dtype::I16 => shared(bytes, |b| f32::from(i16::from_le_bytes(b))),
        Dtype::U32 => shared(bytes, |b| u32::from_le_bytes(b) as f32),
        Dtype::I32 => shared(bytes, |b| i32::from_le_bytes(b) as f32),
        Dtype::U64 => shared(bytes, |b| u64::from_le_bytes(b) as f32),
        Dtype::I64 => shared(bytes, |b| i64::from_le_bytes(b) as f32),
        Dtype::F8E4M3 => shared(bytes, |[b]| f8_e4m3(b)),
        // The upper byte of a half float.
        Dtype::F8E5M2 => shared(bytes, |[b]| f16::from_bits(u16::from(b) << 8).to_f32()),
        Dtype::F16 => shared(bytes, |b| f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => shared(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        Dtype::F32 => shared(bytes, f32::from_le_bytes),
        Dtype::F64 => shared(bytes, |b| f64::from_le_bytes(b) as f32),
    }
}

/// The finite E4M3 of arXiv 2209.05433: bias 7, no infinity, NaN if all bits but the sign are set.
fn f8_e4m3(bits: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(bits >> 3 & 15), f32::from(bits & 7));
    let magnitude = match (exponent, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 512.0,
        _ => (8.0 + mantissa) * 2_f32.powi(exponent - 10),
    };
    if bits & 128 == 0 { magnitude } else { -magnitude }
}

/// Codes of the three integer types of quantised tensors.
pub(super) fn integers(dtype: Dtype, bytes: &[u8]) -> Option<Vec<i32>> {
    match dtype {
        Dtype::I8 => Some(map(bytes, |[b]| i32::from(b.cast_signed()))),
        Dtype::U8 => Some(map(bytes, |[b]| i32::from(b))),
        Dtype::I32 => Some(map(bytes, i32::from_le_bytes)),
        _ => None,
    }
}

fn dequantise(codes: &[i32], shape: &[usize], quantisation: &Quantisation) -> Result<Arc<[f32]>, ReadFault> {
    match quantisation {
        Quantisation::Whole { scale, zero_point } => {
            let real = |code: &i32| i64::from(*code).saturating_sub(*zero_point) as f32 * *scale as f32;
            Ok(codes.iter().map(real).collect())
        }
        Quantisation::Parts { scales, zero_point } => {
            let part = codes.len() / scales.len();
            let real = |(i, code): (usize, &i32)| (code - zero_point) as f32 * scales[i / part];
            Ok(codes.iter().enumerate().map(real).collect())
        }
        Quantisation::Channels { scales, zero_points, axis } => {
            let (scales, zero_points) = (scales.read()?, zero_points.read()?);
            let inner: usize = shape[axis + 1..].iter().product();
            let real = |(i, code): (usize, &i32)| {
                let channel = i / inner % shape[*axis];
                (f64::from(*code) - f64::from(zero_points[channel])) as f32 * scales[channel]
            };
            Ok(codes.iter().enumerate().map(real).collect())
        }
    }
}
