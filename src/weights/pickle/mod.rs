//! PyTorch checkpoints: zip and legacy containers, read by an unpickler that executes nothing.

mod arena;
mod choose;
mod collect;
mod machine;
mod modules;
mod reader;
mod rebuild;
mod sparse;

use std::collections::HashMap;
use std::io::{Cursor, Read};

use zip::read::{ArchiveOffset, Config};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use self::arena::{Arena, Node};
use self::rebuild::{Reference, Source, Storages};
use super::contents::FileContents;
use super::tensor::{Blob, Storage};
use crate::{Error, Result};

/// Index of a value in its arena.
type Id = u32;

/// Magic number of legacy files, `0x1950a86a20f9469cfc6c`, as little-endian bytes.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const VERSION: i64 = 1001;

/// The tensors of a checkpoint in a zip archive: `data.pkl`, and one stored member per storage.
pub(super) fn read_zip(file: &str, blob: &Blob) -> Result<FileContents> {
    let bytes: &[u8] = blob;
    // The file starts with the archive. Searching for its start would fail if the directory's first entry is as long as the
    // records that `torch.save` writes after the directory.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive = ZipArchive::with_config(config, Cursor::new(bytes)).map_err(|e| broken_zip(file, e))?;
    let mut prefix = None;
    let names: Vec<String> = (0..archive.len())
        .map(|i| archive.name_for_index(i).and_then(Result::ok).map(|name| name.into_owned()).unwrap_or_default())
        .collect();
    for name in &names {
        if let Some(found) = name.strip_suffix("data.pkl")
            && (found.is_empty() || found.find('/') == Some(found.len() - 1))
            && prefix.replace(found).is_some()
        {
            return Err(Error::malformed(file, "several data.pkl in the archive"));
        }
    }
    let prefix =
        prefix.ok_or_else(|| Error::malformed(file, "a zip archive without data.pkl: no PyTorch checkpoint"))?;

    let (mut storages, mut pickle, mut total) = (Storages::new(), None, 0_usize);
    for (index, name) in names.iter().enumerate() {
        let Some(name) = name.strip_prefix(prefix) else { continue };
        let key = name.strip_prefix("data/").filter(|key| !key.is_empty());
        if key.is_none() && !matches!(name, "data.pkl" | "byteorder") {
            continue;
        }
        let member = archive.by_index(index).map_err(|e| broken_zip(file, e))?;
        if member.compression() != CompressionMethod::Stored {
            return Err(broken_zip(file, ZipError::UnsupportedArchive("a compressed member")));
        }
        let outside = || Error::malformed(file, format!("{name}: lies outside the archive"));
        let start = member.data_start().and_then(|start| usize::try_from(start).ok()).ok_or_else(outside)?;
        let length = usize::try_from(member.size()).map_err(|_| outside())?;
        let storage = Storage::new(blob, start, length).ok_or_else(outside)?;
        // Overlapping members could make a small file expensive to check.
        total = total.saturating_add(length);
        if total > bytes.len() {
            return Err(Error::malformed(file, format!("{name}: overlaps with another member")));
        }
        check(member, length).map_err(|detail| Error::malformed(file, format!("{name}: {detail}")))?;
        let content = &bytes[start..start + length];
        match key {
            Some(key) => drop(storages.insert(key.to_owned(), storage)),
            None if name == "data.pkl" => pickle = Some(content),
            None if content == b"little" => (),
            None => return Err(big_endian(file)),
        }
    }
    let pickle = pickle.ok_or_else(|| Error::malformed(file, "data.pkl cannot be found again"))?;
    let loaded = machine::load(pickle).map_err(|e| Error::malformed(file, e))?;
    collect::collect(file, &Source { arena: &loaded.arena, storages: &storages }, loaded.root)
}

/// Reads a member once, which verifies its checksum.
fn check(member: impl Read, length: usize) -> Result<(), String> {
    let read = std::io::copy(&mut { member }, &mut std::io::sink()).map_err(|e| format!("damaged: {e}"))?;
    if read == length as u64 { Ok(()) } else { Err(format!("has {read} bytes of {length}")) }
}

fn broken_zip(file: &str, error: ZipError) -> Error {
    match error {
        ZipError::UnsupportedArchive(what) => Error::unsupported(
            format!("{file}: zip: {what}"),
            "load it with PyTorch and store it again with torch.save",
        ),
        other => Error::malformed(file, format!("zip: {other}")),
    }
}

fn big_endian(file: &str) -> Error {
    Error::unsupported(format!("{file}: big-endian data"), "store it again on a little-endian machine")
}

/// The tensors of a checkpoint by PyTorch before 1.6: five pickles (magic number, version, system, data, storage keys), then
/// the storages, each after its element count.
pub(super) fn read_legacy(file: &str, blob: &Blob) -> Result<FileContents> {
    let broken = |detail: String| Error::malformed(file, detail);
    let magic = machine::load(blob).map_err(broken)?;
    if !matches!(magic.arena.get(magic.root), Node::Bytes(bytes) if *bytes == MAGIC) {
        return Err(Error::unsupported(
            format!("{file}: a pickle that torch.save did not write"),
            "store it with torch.save or as safetensors",
        ));
    }
    let version = machine::load(magic.rest).map_err(broken)?;
    match version.arena.int(version.root) {
        Some(VERSION) => (),
        other => return Err(broken(format!("version {other:?} of the legacy format, known is {VERSION}"))),
    }
    let system = machine::load(version.rest).map_err(broken)?;
    let little = system.arena.entry(system.root, "little_endian").map(|id| system.arena.get(id));
    if matches!(little, Some(Node::Bool(false))) {
        return Err(big_endian(file));
    }
    let data = machine::load(system.rest).map_err(broken)?;
    let keys = machine::load(data.rest).map_err(broken)?;
    let sizes = element_sizes(&data.arena).map_err(broken)?;
    let mut at = blob.len() - keys.rest.len();
    let mut storages = Storages::new();
    for key in keys.arena.seq(keys.root).ok_or_else(|| broken("the storage keys are no list".into()))? {
        let key = keys.arena.text(*key).ok_or_else(|| broken("a storage key that is no text".into()))?;
        let size = *sizes.get(key).ok_or_else(|| broken(format!("storage {key:?} is of no known class")))?;
        let count = blob.get(at..).and_then(|rest| rest.first_chunk()).map(|count| u64::from_le_bytes(*count));
        let count = count.ok_or_else(|| broken(format!("ends before storage {key:?}")))?;
        let bytes = usize::try_from(count).ok().and_then(|count| count.checked_mul(size));
        let storage = bytes.and_then(|bytes| Storage::new(blob, at + 8, bytes)).ok_or_else(|| {
            broken(format!("storage {key:?} claims {count} elements of {size} bytes, {} are left", blob.len() - at - 8))
        })?;
        at = storage.start + storage.bytes;
        storages.insert(key.to_owned(), storage);
    }
    collect::collect(file, &Source { arena: &data.arena, storages: &storages }, data.root)
}

/// Element size in bytes of every storage that the data refer to.
fn element_sizes<'a>(arena: &'a Arena<'_>) -> Result<HashMap<&'a str, usize>, String> {
    let mut sizes = HashMap::new();
    for node in &arena.0 {
        let Node::Persistent(id) = node else { continue };
        let Some(reference) = Reference::parse(arena, *id) else { continue };
        let Some(size) = reference.element_size() else { continue };
        if *sizes.entry(reference.key).or_insert(size) != size {
            return Err(format!("storage {:?} is of two classes", reference.key));
        }
    }
    Ok(sizes)
}
