//! Arrays of numbers in files: `.npy`, `.npz` and safetensors. Headers are read at once, numbers on demand.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::npy::{Element, Header};
use super::stack::{Bytes, read_header};
use crate::{Error, Result};

/// Extensions of files of arrays.
const ENDINGS: [&str; 3] = ["npy", "npz", "safetensors"];

/// An array in a file, in C order.
pub(super) struct Array {
    /// Its file, and behind a colon its name in it, for messages.
    pub place: String,
    /// Its name in the file; empty in `.npy` files.
    pub name: String,
    pub element: Element,
    pub shape: Vec<usize>,
    pub bytes: Bytes,
    /// Offset of its first number.
    pub start: u64,
}

impl Array {
    /// Numbers in all.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The bytes of the numbers from the `first`-th on, `count` in all.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Malformed`] if they cannot be read.
    pub(super) fn read(&self, first: usize, count: usize) -> Result<Vec<u8>> {
        let size = self.element.size();
        let mut raw = vec![0; count * size];
        self.bytes.read_at(&self.place, self.start + (first * size) as u64, &mut raw)?;
        Ok(raw)
    }

    /// All its numbers as whole numbers, each not negative and at most `largest`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for others; those of [`Array::read`].
    pub(super) fn counts(&self, largest: u32) -> Result<Vec<u32>> {
        let numbers = self.element.integers(&self.read(0, self.len())?);
        let numbers = numbers.ok_or_else(|| Error::malformed(&self.place, "holds floats, must hold integers"))?;
        let small = |number: i64| u32::try_from(number).ok().filter(|number| *number <= largest);
        let counts = numbers.into_iter().map(|number| small(number).ok_or(number));
        counts.collect::<Result<_, i64>>().map_err(|number| {
            Error::malformed(&self.place, format!("holds {number}, must hold numbers of 0 to {largest}"))
        })
    }
}

/// Whether `path` is a file of arrays, by its name.
pub(super) fn holds_arrays(path: &Path) -> bool {
    path.extension().is_some_and(|end| ENDINGS.iter().any(|known| end == *known))
}

/// The arrays of the file `path`, in its order.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::Malformed`] if it is not what its name says, [`Error::Unsupported`] for numbers
/// of other types.
pub(super) fn open(path: &Path) -> Result<Vec<Array>> {
    let name = path.display().to_string();
    let mut file = File::open(path).map_err(|source| Error::io(path, source))?;
    match path.extension().and_then(|end| end.to_str()) {
        Some("npy") => {
            let header = Header::read(&name, &mut BufReader::new(&mut file))?;
            let len = file.metadata().map_err(|source| Error::io(path, source))?.len();
            if len < (header.len + header.data_len) as u64 {
                let detail = format!(
                    "its numbers need {} bytes, {} follow the header",
                    header.data_len,
                    len - header.len as u64
                );
                return Err(Error::malformed(name, detail));
            }
            let start = header.len as u64;
            Ok(vec![in_c_order(&name, "", header, Bytes::File(path.into()), start)?])
        }
        Some("npz") => entries(path, &name, file),
        _ => {
            let (metadata, start) = read_header(&name, &mut file)?;
            let array = |key: String| {
                let info = metadata.info(&key)?;
                let element = Element::of_dtype(info.dtype)?;
                let (shape, start) = (info.shape.clone(), start + info.data_offsets.0 as u64);
                Some(Array {
                    place: format!("{name}: {key}"),
                    name: key,
                    element,
                    shape,
                    bytes: Bytes::File(path.into()),
                    start,
                })
            };
            Ok(metadata.offset_keys().into_iter().filter_map(array).collect())
        }
    }
}

/// The arrays of the archive `path`.
fn entries(path: &Path, name: &str, file: File) -> Result<Vec<Array>> {
    let broken = |error: zip::result::ZipError| Error::malformed(name, format!("is no .npz file: {error}"));
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    let mut arrays = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(broken)?;
        let key = entry.name().map_err(broken)?.into_owned();
        // Names of outputs, which are no numbers, are there where this program has written it.
        let Some(key) = key.strip_suffix(".npy").filter(|key| *key != "ids") else { continue };
        let place = format!("{name}: {key}");
        let header = Header::read(&place, &mut entry)?;
        if entry.size() != (header.len + header.data_len) as u64 {
            let detail = format!("its numbers need {} bytes of {}", header.data_len, entry.size());
            return Err(Error::malformed(place, detail));
        }
        let in_place = entry.data_start().filter(|_| entry.compression() == CompressionMethod::Stored);
        arrays.push(match in_place {
            Some(start) => {
                let start = start + header.len as u64;
                in_c_order(&place, key, header, Bytes::File(path.into()), start)?
            }
            None => {
                let mut data = Vec::new();
                let whole = entry.by_ref().take(header.data_len as u64).read_to_end(&mut data);
                if !whole.is_ok_and(|read| read == header.data_len) {
                    return Err(Error::malformed(place, "cannot be unpacked to its end"));
                }
                in_c_order(&place, key, header, Bytes::Memory(data.into()), 0)?
            }
        });
    }
    Ok(arrays)
}

/// The array of `header`; one in Fortran order is read as a whole.
fn in_c_order(place: &str, name: &str, header: Header, bytes: Bytes, start: u64) -> Result<Array> {
    let Header { element, fortran, shape, data_len, .. } = header;
    let mut array = Array { place: place.to_owned(), name: name.to_owned(), element, shape, bytes, start };
    if fortran && array.shape.len() > 1 && data_len > 0 {
        let stored = array.read(0, array.len())?;
        array.bytes = Bytes::Memory(Cow::Owned(last_index_fastest(&stored, &array.shape, element.size())));
        array.start = 0;
    }
    Ok(array)
}

/// Numbers of `size` bytes and extents `shape`, stored with the first index fastest, with the last index fastest.
fn last_index_fastest(stored: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let strides: Vec<usize> =
        shape.iter().scan(1, |stride, extent| Some(std::mem::replace(stride, *stride * extent))).collect();
    let mut index = vec![0; shape.len()];
    let mut ordered = Vec::with_capacity(stored.len());
    while ordered.len() < stored.len() {
        let from: usize = index.iter().zip(&strides).map(|(index, stride)| index * stride).sum();
        ordered.extend_from_slice(&stored[from * size..][..size]);
        for (index, extent) in index.iter_mut().zip(shape).rev() {
            *index += 1;
            if *index < *extent {
                break;
            }
            *index = 0;
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::npy::npy_header;
    use super::*;

    fn numbers(array: &Array) -> Vec<f32> {
        array.element.floats(&array.read(0, array.len()).unwrap())
    }

    fn npy(shape: &[usize]) -> Vec<u8> {
        let count: usize = shape.iter().product();
        let data = (0..count).flat_map(|i| (i as f32).to_le_bytes());
        npy_header("<f4", shape).into_iter().chain(data).collect()
    }

    #[test]
    fn fortran_order_is_turned() {
        // numpy: np.arange(6).reshape(2, 3) in Fortran order is stored as 0 3 1 4 2 5.
        assert_eq!(last_index_fastest(&[0, 3, 1, 4, 2, 5], &[2, 3], 1), [0, 1, 2, 3, 4, 5]);
        let stored: Vec<u8> = [0u16, 4, 2, 6, 1, 5, 3, 7].iter().flat_map(|v| v.to_le_bytes()).collect();
        let want: Vec<u8> = (0u16..8).flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(last_index_fastest(&stored, &[2, 2, 2], 2), want);
    }

    #[test]
    fn entries_of_archives_are_read_stored_and_compressed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npz");
        let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
        for (name, method) in [("a", CompressionMethod::Stored), ("b/c", CompressionMethod::Deflated)] {
            let options = zip::write::SimpleFileOptions::default().compression_method(method);
            archive.start_file(format!("{name}.npy"), options).unwrap();
            archive.write_all(&npy(&[2, 3])).unwrap();
        }
        archive.finish().unwrap();
        let arrays = open(&path).unwrap();
        let names: Vec<&str> = arrays.iter().map(|array| array.name.as_str()).collect();
        assert_eq!(names, ["a", "b/c"]);
        for array in &arrays {
            assert_eq!((array.shape.as_slice(), numbers(array)), (&[2, 3][..], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
        }
        // Cut anywhere, it is an error or what it was.
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let error = open(&path).err().expect("the directory is at the end").to_string();
            assert!(error.contains("x.npz"), "{cut}: {error}");
        }
    }

    #[test]
    fn files_that_end_early_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let whole = npy(&[4, 5]);
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let error = open(&path).err().expect("a part is no array").to_string();
            assert!(error.contains("x.npy"), "{cut}: {error}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(numbers(&open(&path).unwrap()[0])[19], 19.0);
    }
}
