//! Reads whole files, hashed on the way, and recognises their kind by content.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::tensor::Blob;
use crate::hex::hex;
use crate::{Error, Result};

/// Largest JSON file that is read: parsed, it takes many times its size.
const MAX_JSON: u64 = 4 << 20;
/// Number of leading bytes by which a file's kind is recognised.
const HEAD: usize = 512;

/// A file that weights were read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// File name without directories.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// SHA-256 of its content, hex.
    pub sha256: String,
}

impl SourceFile {
    /// The description of `bytes` in memory.
    pub(super) fn of_bytes(name: &str, bytes: &[u8]) -> Self {
        Self { name: name.to_owned(), bytes: bytes.len() as u64, sha256: hex(Sha256::digest(bytes)) }
    }
}

/// The last component of a path.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Reads a regular file whole, if its first bytes are of a known kind. Its size is taken first: a file that grows meanwhile
/// is read up to that size.
pub(super) fn read(path: &Path) -> Result<(Kind, Blob, SourceFile)> {
    let (mut file, length) = open(path)?;
    let shown = path.display().to_string();
    let length = usize::try_from(length).map_err(|_| Error::malformed(&shown, "larger than the address space"))?;
    let head = length.min(HEAD);
    let mut bytes = Vec::with_capacity(head);
    (&mut file).take(head as u64).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    let kind = kind(&shown, &bytes)?;
    // A sparse file can claim any size; failing to allocate it is an error, not an abort.
    bytes
        .try_reserve_exact(length.saturating_sub(bytes.len()))
        .map_err(|_| Error::malformed(&shown, format!("{length} bytes do not fit memory")))?;
    let mut hash = Sha256::new_with_prefix(&bytes);
    while bytes.len() < length {
        let start = bytes.len();
        let step = (length - start).min(1 << 20) as u64;
        let read = (&mut file).take(step).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
        if read == 0 {
            return Err(Error::malformed(shown, format!("shrank from {length} to {start} bytes while it was read")));
        }
        hash.update(&bytes[start..]);
    }
    let source = SourceFile { name: file_name(path), bytes: length as u64, sha256: hex(hash.finalize()) };
    Ok((kind, Blob::new(bytes.into()), source))
}

/// Reads a JSON file of a bounded size; `None` if it does not exist.
pub(crate) fn read_json(path: &Path) -> Result<Option<serde_json::Value>> {
    let (file, length) = match open(path) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let shown = path.display().to_string();
    if length > MAX_JSON {
        return Err(Error::malformed(shown, format!("{length} bytes of JSON, at most {MAX_JSON} are read")));
    }
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::malformed(shown, format!("no valid JSON: {e}")))
}

/// A regular file, and its size.
pub(super) fn open(path: &Path) -> Result<(File, u64)> {
    let metadata = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    // Opening a pipe or a device could block or never end.
    if !metadata.is_file() {
        return Err(Error::malformed(path.display().to_string(), "no regular file"));
    }
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    Ok((file, metadata.len()))
}

/// The description of an open file of so many bytes, which is read through for it.
pub(super) fn describe(path: &Path, file: &mut File, bytes: u64) -> Result<SourceFile> {
    file.seek(SeekFrom::Start(0)).map_err(|e| Error::io(path, e))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    let mut left = bytes;
    while left > 0 {
        let step = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut buffer[..step]).map_err(|e| Error::io(path, e))?;
        hash.update(&buffer[..step]);
        left -= step as u64;
    }
    Ok(SourceFile { name: file_name(path), bytes, sha256: hex(hash.finalize()) })
}

/// The kind of a file.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Safetensors,
    /// JSON that may be the index of a checkpoint's shards.
    Index,
    ZipPickle,
    Pickle,
    /// A network with its weights.
    Tflite,
    /// Another kind of file.
    Onnx,
    /// Weights in blocks, with the network's sizes and its vocabulary.
    Gguf,
}

/// Recognises the kind of a file by its first bytes.
pub(super) fn kind(name: &str, bytes: &[u8]) -> Result<Kind> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let wanted =
        "weights come as safetensors, PyTorch checkpoints or GGUF files (.safetensors, .bin, .pt, .pth, .gguf)";
    let refuse = |what: &str, hint: &str| Err(Error::unsupported(format!("{name}: {what}"), hint));
    if bytes.is_empty() {
        return Err(Error::malformed(name, "empty file"));
    }
    if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") {
        return Ok(Kind::ZipPickle);
    }
    if bytes.get(8) == Some(&b'{') {
        return Ok(Kind::Safetensors);
    }
    if starts(b"{") {
        return Ok(Kind::Index);
    }
    if starts(b"version https://git-lfs") {
        return Err(Error::malformed(name, "a Git LFS pointer, not the weights themselves: run `git lfs pull`"));
    }
    // A protocol buffer has no magic number; in practice ONNX files start with a version.
    let versioned = bytes.len() > 2 && bytes[0] == 8 && (1..32).contains(&bytes[1]) && bytes.get(8) != Some(&b'{');
    if versioned || name.ends_with(".onnx") {
        return Ok(Kind::Onnx);
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return refuse(
            "the tar checkpoint of PyTorch before 0.1.10",
            "load it with PyTorch and store it again with torch.save",
        );
    }
    if starts(b"\x89HDF\r\n") {
        return refuse("HDF5", wanted);
    }
    if starts(b"GGUF") {
        return Ok(Kind::Gguf);
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return Ok(Kind::Tflite);
    }
    if starts(b"\x1f\x8b") {
        return refuse("a gzip archive", "unpack it first");
    }
    // Protocol 2 and later is declared; older pickles start with a text opcode.
    if starts(b"\x80") || starts(b"(") || starts(b"c") || starts(b"L") || starts(b"}") || starts(b"]") {
        return Ok(Kind::Pickle);
    }
    Err(Error::malformed(name, format!("not recognised: {wanted}")))
}
