//! Safetensors files.

use safetensors::{Dtype as Stored, SafeTensors};

use super::contents::FileContents;
use super::tensor::{Blob, Content, Dtype, Storage, Tensor};
use crate::{Error, Result};

/// Largest header that is parsed; a network with 100,000 tensors has about that much.
const MAX_HEADER: usize = 16 << 20;
/// Most commas in a header: each separates values that take tens of bytes when parsed.
const MAX_VALUES: usize = 1 << 20;

/// All tensors of a file; the crate has checked that they cover its data without gaps or overlaps. Of tied tensors one is
/// stored; the metadata have the other name as a key, and the stored one as its value.
pub(super) fn read(name: &str, blob: &Blob) -> Result<FileContents> {
    let bytes: &[u8] = blob;
    let broken = |detail: String| Error::malformed(name, detail);
    let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
    let length = length.ok_or_else(|| broken("ends within the header's length".into()))?;
    let header = usize::try_from(length).ok().and_then(|length| bytes.get(8..length.checked_add(8)?));
    let header =
        header.ok_or_else(|| broken(format!("claims a header of {length} bytes, the file has {}", bytes.len())))?;
    if header.len() > MAX_HEADER || header.iter().filter(|byte| **byte == b',').count() > MAX_VALUES {
        return Err(broken(format!("the header of {length} bytes is longer than any network needs")));
    }
    let (header, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|e| broken(format!("no valid safetensors header: {e}")))?;
    let mut tensors = Vec::new();
    for (tensor, info) in metadata.tensors() {
        let (start, end) = info.data_offsets;
        let outside = || broken(format!("{tensor}: bytes {start}..{end} are not in the file"));
        let start = start.checked_add(8).and_then(|start| start.checked_add(header)).ok_or_else(outside)?;
        let bytes = end.checked_sub(info.data_offsets.0).ok_or_else(outside)?;
        let storage = Storage::new(blob, start, bytes).ok_or_else(outside)?;
        let shape = info.shape.clone();
        let value = match dtype(info.dtype) {
            Some(dtype) => Tensor::dense(storage, dtype, shape).map_err(|e| broken(format!("{tensor}: {e}")))?,
            None => Tensor { shape, content: Content::Unread(info.dtype.to_string()) },
        };
        tensors.push((tensor, value));
    }
    let pairs = metadata.metadata().iter().flatten();
    let is_alias = |alias: &str, stored: &str| metadata.info(alias).is_none() && metadata.info(stored).is_some();
    let aliases = pairs.filter(|(alias, stored)| is_alias(alias, stored));
    let mut aliases: Vec<(String, String)> = aliases.map(|(alias, stored)| (alias.clone(), stored.clone())).collect();
    aliases.sort_unstable();
    Ok(FileContents { aliases, ..tensors.into() })
}

/// Whether the header of a quantised file declares signed activations: `quant.act_dtype` is `i8`.
pub(super) fn values_are_signed(tensors: &[(String, Tensor)], bytes: &[u8]) -> bool {
    // Pickles have no such header; the header of a file that was read is valid.
    let scaled = tensors.iter().any(|(name, _)| name.ends_with("_scale"));
    let metadata = if scaled { SafeTensors::read_metadata(bytes).ok() } else { None };
    let dtype = metadata.as_ref().and_then(|(_, metadata)| metadata.metadata().as_ref()?.get("quant.act_dtype"));
    dtype.is_some_and(|kind| kind == "i8")
}

fn dtype(stored: Stored) -> Option<Dtype> {
    Some(match stored {
        Stored::BOOL => Dtype::Bool,
        Stored::U8 => Dtype::U8,
        Stored::I8 => Dtype::I8,
        Stored::U16 => Dtype::U16,
        Stored::I16 => Dtype::I16,
        Stored::U32 => Dtype::U32,
        Stored::I32 => Dtype::I32,
        Stored::U64 => Dtype::U64,
        Stored::I64 => Dtype::I64,
        Stored::F8_E4M3 => Dtype::F8E4M3,
        Stored::F8_E5M2 => Dtype::F8E5M2,
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::BF16,
        Stored::F32 => Dtype::F32,
        Stored::F64 => Dtype::F64,
        _ => return None,
    })
}
