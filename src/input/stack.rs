//! Image stacks: images of one size in a safetensors file, whose header is read at once and each image on demand; or random
//! ones.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, Metadata};

use super::arrays::Array;
use super::decode::Pixels;
use super::npy::Element;
use crate::{Error, Result};

/// Headers above this are refused as hostile.
const LARGEST_HEADER: u64 = 100 << 20;

/// Rows and columns of a tile of random images.
const TILE: usize = 8;

/// Where the bytes of stored numbers are.
#[derive(Clone)]
pub(super) enum Bytes {
    File(PathBuf),
    Memory(Cow<'static, [u8]>),
}

impl Bytes {
    /// Fills `to` with the bytes from `offset` on; `name` is their name in messages.
    pub(super) fn read_at(&self, name: &str, offset: u64, to: &mut [u8]) -> Result<()> {
        match self {
            Self::File(path) => {
                let mut file = File::open(path).map_err(|source| Error::io(path, source))?;
                read_at(name, &mut file, offset, to)
            }
            Self::Memory(bytes) => read_at(name, &mut std::io::Cursor::new(bytes), offset, to),
        }
    }
}

/// A tensor `images` `[N, H, W, C]`, `[N, C, H, W]` or `[N, H, W]` of u8.
pub(super) struct Stack {
    pub(super) name: String,
    bytes: Bytes,
    /// Offset of the first image.
    start: u64,
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) c: usize,
    channels_first: bool,
    pub(super) labels: Vec<u32>,
    /// The class maps, if there are any.
    masks: Option<Array>,
}

impl Stack {
    pub(super) fn open(name: &str, source: &mut (impl Read + Seek), bytes: Bytes) -> Result<Self> {
        let (metadata, start) = read_header(name, source)?;
        let wrong = |detail: String| Error::malformed(format!("{name}: images"), detail);
        let Some(info) = metadata.info("images") else {
            return Err(Error::malformed(name, "holds no tensor `images`"));
        };
        if info.dtype != Dtype::U8 {
            return Err(wrong(format!("is {:?}, must be u8", info.dtype)));
        }
        let (h, w, c, channels_first) = extents(&info.shape).map_err(wrong)?;
        let start = start + info.data_offsets.0 as u64;
        Ok(Self { name: name.to_owned(), bytes, start, h, w, c, channels_first, labels: Vec::new(), masks: None })
    }

    /// The images of `images`, a stack of them or a single one, of u8, and how many they are; `beside` holds their labels and
    /// class maps, if there are any.
    pub(super) fn of_arrays(file: &str, images: Array, beside: Vec<Array>) -> Result<(Self, usize)> {
        let Array { place, mut shape, bytes, start, .. } = images;
        if matches!(shape[..], [_, _] | [_, _, 1 | 3] | [1 | 3, _, _]) {
            shape.insert(0, 1);
        }
        let (h, w, c, channels_first) = extents(&shape).map_err(|detail| Error::malformed(place, detail))?;
        let name = file.to_owned();
        let mut stack = Self { name, bytes, start, h, w, c, channels_first, labels: Vec::new(), masks: None };
        for array in beside {
            let classes = array.name == "labels";
            let want = if classes { vec![shape[0]] } else { vec![shape[0], h, w] };
            if array.shape != want || !(classes || array.element == Element::U8) {
                let detail = format!("is {:?} {:?}, must be {want:?}, masks of u8", array.element, array.shape);
                return Err(Error::malformed(array.place, detail));
            }
            if classes { stack.labels = array.counts(u32::MAX)? } else { stack.masks = Some(array) }
        }
        Ok((stack, shape[0]))
    }

    /// `count` seeded random images `[h, w, c]` of tiles with noise: with large and small structure, so that no resizing
    /// turns them into plain noise.
    pub(super) fn random(count: usize, [h, w, c]: [usize; 3], seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut pixels = Vec::with_capacity(count * h * w * c);
        let across = w.div_ceil(TILE);
        for _ in 0..count {
            let tiles: Vec<u8> = (0..h.div_ceil(TILE) * across * c).map(|_| random.random_range(0..192)).collect();
            for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                let tile = (y / TILE * across + x / TILE) * c;
                pixels.extend(tiles[tile..tile + c].iter().map(|base| base + random.random_range(0..64)));
            }
        }
        let bytes = Bytes::Memory(pixels.into());
        Self { name: "random".into(), bytes, start: 0, h, w, c, channels_first: false, labels: Vec::new(), masks: None }
    }

    /// Reads the labels and finds the class maps, if there are any; returns the number of images.
    pub(super) fn read_labels(&mut self, source: &mut (impl Read + Seek)) -> Result<usize> {
        let (metadata, start) = read_header(&self.name, source)?;
        let count = metadata.info("images").map_or(0, |info| info.shape[0]);
        if let Some(info) = metadata.info("masks") {
            if info.dtype != Dtype::U8 || info.shape != [count, self.h, self.w] {
                let detail = format!("is {:?} {:?}, must be u8 {:?}", info.dtype, info.shape, [count, self.h, self.w]);
                return Err(Error::malformed(format!("{}: masks", self.name), detail));
            }
            self.masks = Some(Array {
                place: format!("{}: masks", self.name),
                name: "masks".into(),
                element: Element::U8,
                shape: info.shape.clone(),
                bytes: self.bytes.clone(),
                start: start + info.data_offsets.0 as u64,
            });
        }
        let Some(info) = metadata.info("labels") else { return Ok(count) };
        let place = format!("{}: labels", self.name);
        let wrong = |detail: String| Error::malformed(&place, detail);
        if info.shape != [count] {
            return Err(wrong(format!("is {:?}, must be [{count}], one per image", info.shape)));
        }
        let size = match info.dtype {
            Dtype::U8 => 1,
            Dtype::I32 | Dtype::U32 => 4,
            Dtype::I64 | Dtype::U64 => 8,
            other => return Err(wrong(format!("is {other:?}, must be integers"))),
        };
        let mut raw = vec![0; count * size];
        let offset = start + info.data_offsets.0 as u64;
        read_at(&self.name, source, offset, &mut raw)?;
        let label = |bytes: &[u8]| {
            let mut wide = [0; 8];
            wide[..size].copy_from_slice(bytes);
            u32::try_from(u64::from_le_bytes(wide)).map_err(|_| wrong("holds a number that is no class".into()))
        };
        self.labels = raw.chunks_exact(size).map(label).collect::<Result<_>>()?;
        Ok(count)
    }

    pub(super) fn read(&self, index: usize) -> Result<Vec<u8>> {
        let mut raw = vec![0; self.h * self.w * self.c];
        self.bytes.read_at(&self.name, self.start + (index * raw.len()) as u64, &mut raw)?;
        Ok(raw)
    }

    /// The class map of image `index`, if there are any.
    pub(super) fn read_mask(&self, index: usize) -> Result<Option<Vec<u8>>> {
        let pixels = self.h * self.w;
        self.masks.as_ref().map(|masks| masks.read(index * pixels, pixels)).transpose()
    }

    pub(super) fn pixels(&self, raw: Vec<u8>) -> Pixels {
        let Self { h, w, c, .. } = *self;
        let data = if self.channels_first {
            (0..h * w).flat_map(|pixel| (0..c).map(move |channel| channel * h * w + pixel)).map(|i| raw[i]).collect()
        } else {
            raw
        };
        Pixels { h, w, c, data }
    }
}

/// Rows, columns and channels of images in a tensor of extents `shape`, and whether the channels come first.
fn extents(shape: &[usize]) -> Result<(usize, usize, usize, bool), String> {
    let found = match *shape {
        [_, h, w] => (h, w, 1, false),
        [_, h, w, c @ (1 | 3)] => (h, w, c, false),
        [_, c @ (1 | 3), h, w] => (h, w, c, true),
        _ => return Err(format!("is {shape:?}, must be [N, H, W, C], [N, C, H, W] or [N, H, W]")),
    };
    if found.0 * found.1 == 0 { Err(format!("is {shape:?}: images without pixels")) } else { Ok(found) }
}

fn read_at(name: &str, source: &mut (impl Read + Seek), offset: u64, to: &mut [u8]) -> Result<()> {
    let short = |error: std::io::Error| Error::malformed(name, format!("cannot be read to its end: {error}"));
    source.seek(SeekFrom::Start(offset)).map_err(short)?;
    source.read_exact(to).map_err(short)
}

/// The checked header of a safetensors file, and where its data start.
pub(super) fn read_header(name: &str, source: &mut (impl Read + Seek)) -> Result<(Metadata, u64)> {
    let broken = |detail: String| Error::malformed(name, format!("is no safetensors file: {detail}"));
    let end = source.seek(SeekFrom::End(0)).map_err(|error| broken(error.to_string()))?;
    let mut len = [0; 8];
    read_at(name, source, 0, &mut len)?;
    let len = u64::from_le_bytes(len);
    if len > LARGEST_HEADER || len > end.saturating_sub(8) {
        return Err(broken(format!("its header claims {len} bytes of a file of {end}")));
    }
    let mut header = vec![0; 8 + len as usize];
    read_at(name, source, 0, &mut header)?;
    let metadata: Metadata = serde_json::from_slice(&header[8..]).map_err(|error| broken(error.to_string()))?;
    if metadata.data_len() as u64 > end - 8 - len {
        return Err(broken(format!(
            "its tensors need {} bytes, {} follow the header",
            metadata.data_len(),
            end - 8 - len
        )));
    }
    Ok((metadata, 8 + len))
}
