//! GGUF files: a header of metadata and tensors in blocks, read by candle after a check has held its sizes against the file's.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Tensors bear the names of Hugging Face's checkpoints,
//! with their rows in that order.

mod blocks;
mod check;
mod metadata;
mod names;

use std::borrow::Cow;
use std::io::Cursor;

use candle_core::quantized::gguf_file::{Content as Container, TensorInfo};

use self::blocks::BlockType;
pub(super) use self::blocks::Blocks;
pub use self::blocks::{BlockCodes, BlockForm, BlockGroups};
pub use self::metadata::Metadata;
use self::names::Layout;
use super::contents::FileContents;
use super::tensor::{Blob, Content, Storage, Tensor};
use super::{SourceFile, Weights};
use crate::{Error, Result};

/// The tensor of factors that divide the frequencies of rotary embedding.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// A GGUF file.
pub struct Gguf {
    /// Its tensors, by the names of Hugging Face's checkpoints.
    pub weights: Weights,
    /// What it says of itself.
    pub metadata: Metadata,
}

impl Gguf {
    /// A file in memory; `name` is its name in messages.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a file that is damaged; [`Error::Unsupported`] for an architecture, a type or a version that is not
    /// read.
    pub fn from_bytes(name: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self> {
        let blob = Blob::new(bytes.into());
        Self::new(name.to_owned(), &blob, SourceFile::of_bytes(name, &blob))
    }

    pub(super) fn new(source: String, blob: &Blob, file: SourceFile) -> Result<Self> {
        let (contents, metadata) = read(&source, blob)?;
        Ok(Self { weights: Weights::new(source, contents, vec![file], false)?, metadata })
    }
}

/// Tensors and metadata of the file `name`.
///
/// # Errors
/// [`Error::Malformed`] for a file that is damaged; [`Error::Unsupported`] for an architecture, a type or a version that is not
/// read.
pub(super) fn read(name: &str, blob: &Blob) -> Result<(FileContents, Metadata)> {
    check::check(name, blob)?;
    let broken = |detail: String| Error::malformed(name, detail);
    let container = Container::read(&mut Cursor::new(&blob[..])).map_err(|error| broken(error.to_string()))?;
    let Container { metadata: values, tensor_infos, tensor_data_offset, .. } = container;
    let mut metadata = Metadata { file: name.to_owned(), values, rope_factors: None };
    if let Some(parts) = metadata.count("split.count")?.filter(|parts| *parts > 1) {
        let hint = "join the parts with llama-gguf-split --merge";
        return Err(Error::unsupported(format!("{name}: one of {parts} parts of a GGUF file"), hint));
    }
    let layout = Layout::of(&metadata)?;
    let mut infos: Vec<(String, TensorInfo)> = tensor_infos.into_iter().collect();
    infos.sort_by(|(a, first), (b, second)| (first.offset, a).cmp(&(second.offset, b)));
    let mut tensors = Vec::with_capacity(infos.len());
    let mut end = 0;
    for (stored, info) in infos {
        let place = |detail: String| broken(format!("{stored}: {detail}"));
        if info.offset < end {
            return Err(place(format!("begins at byte {} of the data, where another tensor is", info.offset)));
        }
        let (blocks, bytes) = blocks(&info, layout.paired_heads(&stored), (blob, tensor_data_offset)).map_err(place)?;
        end = info.offset + bytes as u64;
        let shape = info.shape.dims().to_vec();
        if stored == ROPE_FACTORS {
            let factors = blocks.read().map_err(|_| place("cannot be read".into()))?;
            metadata.rope_factors = Some(factors.to_vec());
            continue;
        }
        tensors.push((layout.renamed(&stored), Tensor { shape, content: Content::Blocks(blocks) }));
    }
    Ok((tensors.into(), metadata))
}

/// The tensor `info` in `blob`, whose tensors begin at byte `data`, and its bytes; the error says what is wrong with it.
fn blocks(info: &TensorInfo, heads: Option<usize>, (blob, data): (&Blob, u64)) -> Result<(Blocks, usize), String> {
    let dims = info.shape.dims();
    let kind = BlockType::of_candle(info.ggml_dtype).ok_or("is of a type that is not read")?;
    let (rows, columns) = (dims.first().copied().unwrap_or(1), dims.last().copied().unwrap_or(1));
    if !columns.is_multiple_of(kind.weights()) {
        return Err(format!("{dims:?} of {}: its rows are no whole blocks of {}", kind.name(), kind.weights()));
    }
    // The extents were checked: their product is far below 2^64.
    let bytes = info.shape.elem_count() / kind.weights() * kind.bytes();
    let start = data.checked_add(info.offset).and_then(|start| usize::try_from(start).ok());
    let storage = start.and_then(|start| Storage::new(blob, start, bytes));
    let storage = storage.ok_or_else(|| {
        format!("{bytes} bytes from byte {} of the data on are not in the file of {} bytes", info.offset, blob.len())
    })?;
    let pairs = match heads {
        Some(heads) if heads == 0 || !rows.is_multiple_of(2 * heads) || (dims.len() == 1 && kind.weights() > 1) => {
            return Err(format!("{dims:?} of {}: its rows are no pairs of {heads} heads", kind.name()));
        }
        heads => heads.map(|heads| (rows, heads)),
    };
    Ok((Blocks { storage, kind, pairs }, bytes))
}

impl Weights {
    /// The integers of the tensor `name` that enter the multiplier, if it is stored in blocks of integers.
    pub fn block_codes(&self, name: &str) -> Option<BlockCodes> {
        match &self.tensor(name)?.content {
            Content::Blocks(blocks) => blocks.codes(),
            _ => None,
        }
    }
}
