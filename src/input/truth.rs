//! Ground truth: clean images or class maps, found by the input's file name; tokens, classes and vectors that belong to inputs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageFormat};

use super::decode::{self, decode};
use super::preprocess::Preprocess;
use super::vectors::Vectors;
use super::vocabulary::Token;
use crate::{Error, Result};

/// Pixels of this class are ignored.
pub const IGNORE: u8 = 255;

/// The expected output.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// The clean image, `[C, H, W]`, preprocessed as the input.
    Image(Vec<f32>),
    /// Class of each pixel of the input, `[H, W]`; [`IGNORE`] for pixels without one.
    Classes(Vec<u8>),
    /// The next token at each step.
    Tokens(Vec<Token>),
    /// Class of each step; [`super::UNLABELLED`] for those without one.
    Steps(Vec<u32>),
    /// The vectors of all inputs, among them its own.
    Vectors(Arc<Vectors>),
}

/// What is known of inputs, where answers to a task are compared with several kinds of truths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The classes of texts, or of their words.
    Labels,
    /// Of each the embedding of its partner.
    Partners,
    /// Of each the embedding that a reference gives.
    Vectors,
}

/// Where the truths of inputs are read from, and their kind.
#[derive(Clone, Debug)]
pub enum TruthSource {
    /// Clean images.
    Images(PathBuf),
    /// Images whose pixel values are classes.
    Classes(PathBuf),
}

impl TruthSource {
    /// The kind of truth, as the recorded options name it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Images(_) => "images",
            Self::Classes(_) => "classes",
        }
    }

    /// The truth of the input read from `path`, an image of `h` x `w`; `object` as in [`of_object`].
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none; [`Error::Shape`] if its size differs; those of decoding.
    pub(super) fn load(
        &self,
        path: &Path,
        [h, w]: [usize; 2],
        preprocess: &Preprocess,
        object: Option<u8>,
    ) -> Result<Truth> {
        let (name, bytes) = self.read(path)?;
        let other = |got: [usize; 2]| {
            let detail = format!("is {}x{}, its image {} is {h}x{w}", got[0], got[1], path.display());
            Error::shape(&name, detail)
        };
        match self {
            Self::Images(_) => {
                let image = decode(&name, &bytes)?;
                if [image.h, image.w] != [h, w] {
                    return Err(other([image.h, image.w]));
                }
                Ok(Truth::Image(preprocess.apply(&name, image)?.cropped()))
            }
            Self::Classes(_) => {
                let (size, mut classes) = decode_classes(&name, &bytes)?;
                if size != [h, w] {
                    return Err(other(size));
                }
                object.map_or(Ok(()), |object| of_object(&name, &mut classes, object))?;
                Ok(Truth::Classes(preprocess.apply_to_classes(classes, size, IGNORE)))
            }
        }
    }

    /// The class map of the input read from `path`.
    pub(super) fn mask(&self, path: &Path) -> Result<Vec<u8>> {
        let (name, bytes) = self.read(path)?;
        Ok(decode_classes(&name, &bytes)?.1)
    }

    /// Name and bytes of the truth of the input read from `path`.
    fn read(&self, path: &Path) -> Result<(String, Vec<u8>)> {
        let (Self::Images(folder) | Self::Classes(folder)) = self;
        let file = find(folder, path)?;
        let bytes = std::fs::read(&file).map_err(|source| Error::io(&file, source))?;
        Ok((file.display().to_string(), bytes))
    }
}

/// The value of the object in the masks of a network with one object class: 255 if some masks hold 255 and none holds 1, as
/// drawing programs write them; else 1, and pixels of 255 are ignored.
pub(super) fn object_value(masks: impl Iterator<Item = Vec<u8>>) -> u8 {
    let mut value = 1;
    for mask in masks {
        if mask.contains(&1) {
            return 1;
        }
        if mask.contains(&IGNORE) {
            value = IGNORE;
        }
    }
    value
}

/// Maps `classes`, a mask in which the object has the value `object`, to the classes 0 and 1.
///
/// # Errors
/// [`Error::Malformed`] naming the mask if it has other values.
pub(super) fn of_object(name: &str, classes: &mut [u8], object: u8) -> Result<()> {
    classes.iter_mut().filter(|class| **class == object).for_each(|class| *class = 1);
    match classes.iter().find(|class| !matches!(**class, 0 | 1 | IGNORE)) {
        Some(class) => {
            let detail =
                format!("holds class {class}; the network distinguishes an object (1, or 255) from background (0)");
            Err(Error::malformed(name, detail))
        }
        None => Ok(()),
    }
}

/// The file of `folder` that belongs to `path`: the same name, the same stem with another extension, or the stem followed by
/// `_mask`.
fn find(folder: &Path, path: &Path) -> Result<PathBuf> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let same = path.file_name().map(|name| folder.join(name));
    let names = [format!("{stem}.png"), format!("{stem}_mask.png"), format!("{stem}.bmp"), format!("{stem}.jpg")];
    // In a folder with both images and masks, an image is not its own truth.
    let mut candidates = same.into_iter().chain(names.iter().map(|name| folder.join(name)));
    let is_itself = |file: &Path| match (file.canonicalize(), path.canonicalize()) {
        (Ok(file), Ok(path)) => file == path,
        _ => false,
    };
    candidates.find(|file| file.is_file() && !is_itself(file)).ok_or_else(|| {
        let hint = format!("it must be named after its image: {}", names.join(", "));
        Error::NotFound { what: format!("the truth of {} in {}", path.display(), folder.display()), hint }
    })
}

/// Size and classes of a class map: palette indices, or grey levels.
fn decode_classes(name: &str, bytes: &[u8]) -> Result<([usize; 2], Vec<u8>)> {
    let broken = |detail: String| Error::malformed(name, format!("is no class map: {detail}"));
    let plain = || -> Result<GrayImage> {
        let (image, _) = decode::read(bytes).map_err(broken)?;
        if image.color().has_color() {
            return Err(broken("it has colours, and no palette whose indices were classes".into()));
        }
        Ok(image.into_luma8())
    };
    let image = if bytes.starts_with(b"\x89PNG") { indices(bytes).map_err(broken)? } else { plain()? };
    Ok(([image.height() as usize, image.width() as usize], image.into_raw()))
}

/// The palette indices of a PNG, or its grey levels, upright.
fn indices(bytes: &[u8]) -> Result<GrayImage, String> {
    decode::check_whole(Some(ImageFormat::Png), bytes)?;
    // The image decoder expands palettes to colours; here the indices are needed.
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::IDENTITY);
    decoder.set_limits(png::Limits { bytes: 400 << 20 });
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let info = reader.info();
    let [h, w] = [info.height as usize, info.width as usize];
    let bits = info.bit_depth as usize;
    if !matches!(info.color_type, png::ColorType::Indexed | png::ColorType::Grayscale) || bits > 8 {
        return Err(format!("its pixels are {:?} of {bits} bits, not classes", info.color_type));
    }
    let orientation = info.exif_metadata.as_ref().map_or(Orientation::NoTransforms, |exif| decode::orientation(exif));
    let size = reader.output_buffer_size().filter(|&size| size <= 400 << 20);
    let mut data = vec![0; size.ok_or("it is too large")?];
    let frame = reader.next_frame(&mut data).map_err(|error| error.to_string())?;
    let classes = data.chunks(frame.line_size).take(h).flat_map(|row| {
        let at = move |x: usize| row[x * bits / 8] >> (8 - bits - x * bits % 8) & (0xff >> (8 - bits));
        (0..w).map(at)
    });
    let image = GrayImage::from_raw(w as u32, h as u32, classes.collect()).ok_or("it lacks rows")?;
    let mut image = DynamicImage::ImageLuma8(image);
    image.apply_orientation(orientation);
    Ok(image.into_luma8())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(color: png::ColorType, depth: png::BitDepth, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 3, 2);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == png::ColorType::Indexed {
            encoder.set_palette(vec![7; 30]);
        }
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        bytes
    }

    #[test]
    fn indices_and_grey_levels_are_classes() {
        let eight = png(png::ColorType::Indexed, png::BitDepth::Eight, &[0, 1, 2, 9, 255, 3]);
        assert_eq!(decode_classes("x", &eight).unwrap(), ([2, 3], vec![0, 1, 2, 9, 255, 3]));
        let four = png(png::ColorType::Indexed, png::BitDepth::Four, &[0x12, 0x30, 0x45, 0x60]);
        assert_eq!(decode_classes("x", &four).unwrap().1, [1, 2, 3, 4, 5, 6]);
        let grey = png(png::ColorType::Grayscale, png::BitDepth::Eight, &[5; 6]);
        assert_eq!(decode_classes("x", &grey).unwrap().1, [5; 6]);
        let colours = png(png::ColorType::Rgb, png::BitDepth::Eight, &[5; 18]);
        assert!(decode_classes("x.png", &colours).unwrap_err().to_string().contains("x.png: is no class map"));
        for cut in 0..eight.len() {
            assert!(decode_classes("x", &eight[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn images_and_masks_are_turned_upright_by_their_tags() {
        // As Pillow's exif_transpose turns [[0, 1, 2], [3, 4, 5]].
        let upright: [(usize, [u8; 6]); 8] = [
            (2, [0, 1, 2, 3, 4, 5]),
            (2, [2, 1, 0, 5, 4, 3]),
            (2, [5, 4, 3, 2, 1, 0]),
            (2, [3, 4, 5, 0, 1, 2]),
            (3, [0, 3, 1, 4, 2, 5]),
            (3, [3, 0, 4, 1, 5, 2]),
            (3, [5, 2, 4, 1, 3, 0]),
            (3, [2, 5, 1, 4, 0, 3]),
        ];
        for ((h, want), tag) in upright.into_iter().zip(1u8..) {
            let exif = [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", &[tag][..], &[0; 6]].concat();
            for exif in [exif.clone(), [b"Exif\0\0", &exif[..]].concat()] {
                let mut bytes = Vec::new();
                let mut encoder = png::Encoder::new(&mut bytes, 3, 2);
                encoder.set_color(png::ColorType::Grayscale);
                let mut writer = encoder.write_header().unwrap();
                writer.write_chunk(png::chunk::eXIf, &exif).unwrap();
                writer.write_image_data(&[0, 1, 2, 3, 4, 5]).unwrap();
                writer.finish().unwrap();
                let (pixels, turned) = decode::decode_upright("x", &bytes).unwrap();
                assert_eq!((pixels.h, pixels.data.as_slice(), turned), (h, &want[..], tag > 1), "{tag}");
                assert_eq!(decode_classes("x", &bytes).unwrap(), ([h, 6 / h], want.to_vec()), "{tag}");
            }
        }
    }

    #[test]
    fn an_object_is_1_or_255_by_all_masks() {
        let value = |masks: &[&[u8]]| object_value(masks.iter().map(|mask| mask.to_vec()));
        assert_eq!([value(&[&[0, 0]]), value(&[&[0, 255], &[0, 1]]), value(&[&[0, 0], &[255, 0]])], [1, 1, 255]);
        let mut mask = [0, 255, 1];
        of_object("x", &mut mask, 1).unwrap();
        assert_eq!(mask, [0, 255, 1]);
        let mut mask = [0, 255];
        of_object("x", &mut mask, 255).unwrap();
        assert_eq!(mask, [0, 1]);
        assert!(of_object("m.png", &mut [0, 7], 1).unwrap_err().to_string().starts_with("m.png: holds class 7"));
    }

    #[test]
    fn truths_are_found_by_name_and_an_image_is_not_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a.png"), b"x").unwrap();
        assert!(find(folder.path(), &path("a.png")).is_err());
        std::fs::write(path("a_mask.png"), b"x").unwrap();
        assert_eq!(find(folder.path(), &path("a.png")).unwrap(), path("a_mask.png"));
        assert_eq!(find(folder.path(), Path::new("elsewhere/a.jpg")).unwrap(), path("a.png"));
        let error = find(folder.path(), Path::new("b.jpg")).unwrap_err();
        assert!(error.to_string().contains("b.jpg") && error.hint().unwrap().contains("b_mask.png"), "{error}");
    }
}
