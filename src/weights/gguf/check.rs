//! What a GGUF header must satisfy before candle reads it: every size in it is held against the file's own.
//!
//! candle's reader checks lengths against the file too, but not how much its values take in memory (32 bytes for one of a
//! byte), divides by the file's alignment, and multiplies extents without looking.
//!
//! ```text
//! "GGUF"  version  tensors  entries  entries x (key, type, value)  tensors x (name, rank, extents, type, offset)  padding  data
//! ```

use std::collections::HashSet;

use super::blocks::BlockType;
use crate::{Error, Result};

/// Most values in the arrays of the metadata: the largest vocabularies have 1.3 million (tokens, scores, types and merges).
const MAX_VALUES: u64 = 1 << 21;
/// Deepest nesting of arrays; real files have arrays of scalars only.
const MAX_DEPTH: usize = 4;
/// Most extents of a tensor.
const MAX_RANK: u32 = 4;
/// Type codes of metadata.
const U32: u32 = 4;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Checks the header in `bytes`, a file called `name`.
///
/// # Errors
/// [`Error::Malformed`] for sizes that do not fit the file; [`Error::Unsupported`] for another version and for types of tensors
/// that are not read.
pub(super) fn check(name: &str, bytes: &[u8]) -> Result<()> {
    let mut header = Header { name, bytes, at: 4, values: 0 };
    let version = header.u32("its version")?;
    match version {
        2 | 3 => {}
        1 => {
            return Err(Error::unsupported(
                format!("{name}: GGUF version 1"),
                "convert it again: versions 2 and 3 are read",
            ));
        }
        _ if matches!(version.swap_bytes(), 1..=3) => {
            return Err(Error::unsupported(
                format!("{name}: a big-endian GGUF file"),
                "convert it for little-endian machines",
            ));
        }
        _ => return Err(header.broken(format!("is of version {version}, versions 2 and 3 are read"))),
    }
    let tensors = header.count("tensors", 24)?;
    let entries = header.count("entries of metadata", 13)?;
    let mut keys = HashSet::new();
    for entry in 0..entries {
        let key = header.string(&format!("the key of entry {entry}"))?;
        let kind = header.u32(key)?;
        if key == "general.alignment" {
            let at = header.at;
            let alignment = if kind == U32 { header.u32(key)? } else { 0 };
            if !alignment.is_power_of_two() || alignment > 1 << 16 {
                return Err(header.broken(format!("{key}: is no power of two of at most 65536")));
            }
            header.at = at;
        }
        header.value(key, kind, 0)?;
        if !keys.insert(key) {
            return Err(header.broken(format!("{key}: two values of that key")));
        }
    }
    let mut names = HashSet::new();
    for tensor in 0..tensors {
        let tensor = header.string(&format!("the name of tensor {tensor}"))?;
        header.tensor(tensor)?;
        if !names.insert(tensor) {
            return Err(header.broken(format!("{tensor}: two tensors of that name")));
        }
    }
    Ok(())
}

struct Header<'a> {
    name: &'a str,
    bytes: &'a [u8],
    /// Where reading goes on.
    at: usize,
    /// Values of arrays so far.
    values: u64,
}

impl<'a> Header<'a> {
    fn broken(&self, detail: String) -> Error {
        Error::malformed(self.name, detail)
    }

    fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    /// The next `count` bytes, of `what`.
    fn take(&mut self, count: u64, what: &str) -> Result<&'a [u8]> {
        if count > self.left() {
            let detail = format!("{what}: is {count} bytes long, {} are left of the file", self.left());
            return Err(self.broken(detail));
        }
        let part = &self.bytes[self.at..][..count as usize];
        self.at += count as usize;
        Ok(part)
    }

    fn u32(&mut self, what: &str) -> Result<u32> {
        self.take(4, what).map(|bytes| bytes.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte)))
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        self.take(8, what).map(|bytes| bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// How many `what` there are, each of at least `least` bytes.
    fn count(&mut self, what: &str, least: u64) -> Result<u64> {
        let count = self.u64(what)?;
        match count.checked_mul(least) {
            Some(bytes) if bytes <= self.left() => Ok(count),
            _ => Err(self.broken(format!("claims {count} {what}, {} bytes are left of the file", self.left()))),
        }
    }

    fn string(&mut self, what: &str) -> Result<&'a str> {
        let length = self.u64(what)?;
        let bytes = self.take(length, what)?;
        std::str::from_utf8(bytes).map_err(|_| self.broken(format!("{what}: is not UTF-8")))
    }

    /// Passes over a value of metadata.
    fn value(&mut self, key: &str, kind: u32, depth: usize) -> Result<()> {
        let size = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            U32 | 5 | 6 => 4,
            10..=12 => 8,
            STRING => self.u64(key)?,
            ARRAY if depth < MAX_DEPTH => {
                let kind = self.u32(key)?;
                let count = self.count(&format!("values of {key}"), 1)?;
                self.values += count;
                if self.values > MAX_VALUES {
                    return Err(self.broken(format!("{key}: more than {MAX_VALUES} values of metadata")));
                }
                return (0..count).try_for_each(|_| self.value(key, kind, depth + 1));
            }
            ARRAY => return Err(self.broken(format!("{key}: arrays nested too deep"))),
            kind => return Err(self.broken(format!("{key}: is of type {kind}, which GGUF does not have"))),
        };
        let value = self.take(size, key)?;
        match kind == 7 && value[0] > 1 {
            true => Err(self.broken(format!("{key}: is neither true nor false"))),
            false => Ok(()),
        }
    }

    /// Passes over the description of a tensor.
    fn tensor(&mut self, tensor: &str) -> Result<()> {
        let rank = self.u32(tensor)?;
        if rank > MAX_RANK {
            return Err(self.broken(format!("{tensor}: has {rank} dimensions, at most {MAX_RANK} are read")));
        }
        let mut elements = 1_u64;
        for _ in 0..rank {
            let extent = self.u64(tensor)?;
            let product = elements.checked_mul(extent).filter(|&product| product > 0 && product < 1 << 48);
            elements = product.ok_or_else(|| self.broken(format!("{tensor}: has an extent of {extent}")))?;
        }
        let kind = self.u32(tensor)?;
        if BlockType::of_code(kind).is_none() {
            let what = format!("{}: {tensor}: type {}", self.name, type_name(kind));
            let known: Vec<&str> = BlockType::ALL.iter().map(|kind| kind.name()).collect();
            return Err(Error::unsupported(what, format!("read are {}", known.join(", "))));
        }
        self.u64(tensor).map(|_| ())
    }
}

/// The name that ggml has for a type that is not read.
fn type_name(code: u32) -> String {
    const NAMES: [(u32, &str); 24] = [
        (9, "Q8_1"),
        (10, "Q2_K"),
        (11, "Q3_K"),
        (15, "Q8_K"),
        (16, "IQ2_XXS"),
        (17, "IQ2_XS"),
        (18, "IQ3_XXS"),
        (19, "IQ1_S"),
        (20, "IQ4_NL"),
        (21, "IQ3_S"),
        (22, "IQ2_S"),
        (23, "IQ4_XS"),
        (24, "I8"),
        (25, "I16"),
        (26, "I32"),
        (27, "I64"),
        (28, "F64"),
        (29, "IQ1_M"),
        (31, "Q4_0_4_4"),
        (32, "Q4_0_4_8"),
        (33, "Q4_0_8_8"),
        (34, "TQ1_0"),
        (35, "TQ2_0"),
        (39, "MXFP4"),
    ];
    let known = NAMES.iter().find(|(known, _)| *known == code);
    known.map_or_else(|| code.to_string(), |(_, name)| (*name).to_owned())
}
