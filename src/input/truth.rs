//! What the answer to an input should be: a clean image or a map of classes, found by the input's file name.

use std::path::{Path, PathBuf};

use image::ImageReader;

use super::decode::{decode, limits};
use super::preprocess::Preprocess;
use super::vocabulary::Token;
use crate::{Error, Result};

/// Pixels of this class count for nothing.
pub const IGNORE: u8 = 255;

/// What the answer should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// The clean image, `[C, H, W]`, preprocessed as the input.
    Image(Vec<f32>),
    /// Class of each pixel of the input, `[H, W]`; [`IGNORE`] for none.
    Classes(Vec<u8>),
    /// The next token at each step.
    Tokens(Vec<Token>),
}

/// Where the truths of inputs are, and what they are.
#[derive(Clone, Debug)]
pub enum TruthSource {
    /// Clean images.
    Images(PathBuf),
    /// Images whose pixels are classes.
    Classes(PathBuf),
}

impl TruthSource {
    /// The truth of the input read from `path`, an image of `h` x `w`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none; [`Error::Shape`] if it is of another size; those of decoding.
    pub(super) fn load(&self, path: &Path, [h, w]: [usize; 2], preprocess: &Preprocess) -> Result<Truth> {
        let (Self::Images(folder) | Self::Classes(folder)) = self;
        let file = find(folder, path)?;
        let name = file.display().to_string();
        let bytes = std::fs::read(&file).map_err(|source| Error::io(&file, source))?;
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
                let (size, classes) = decode_classes(&name, &bytes)?;
                if size != [h, w] {
                    return Err(other(size));
                }
                Ok(Truth::Classes(preprocess.apply_to_classes(classes, size, IGNORE)))
            }
        }
    }
}

/// The file of `folder` that is named as `path` is: the same name, the same stem with another extension, or the stem
/// followed by `_mask`.
fn find(folder: &Path, path: &Path) -> Result<PathBuf> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let same = path.file_name().map(|name| folder.join(name));
    let names = [format!("{stem}.png"), format!("{stem}_mask.png"), format!("{stem}.bmp"), format!("{stem}.jpg")];
    // A folder of both images and masks: the image is not its own truth.
    let mut candidates = same.into_iter().chain(names.iter().map(|name| folder.join(name)));
    let is_itself = |file: &Path| match (file.canonicalize(), path.canonicalize()) {
        (Ok(file), Ok(path)) => file == path,
        _ => false,
    };
    candidates.find(|file| file.is_file() && !is_itself(file)).ok_or_else(|| {
        let hint = format!("it must be named as its image is: {}", names.join(", "));
        Error::NotFound { what: format!("the truth of {} in {}", path.display(), folder.display()), hint }
    })
}

/// Size and classes of an image of classes: indices of a palette, or grey levels.
fn decode_classes(name: &str, bytes: &[u8]) -> Result<([usize; 2], Vec<u8>)> {
    let broken = |detail: String| Error::malformed(name, format!("is no image of classes: {detail}"));
    if !bytes.starts_with(b"\x89PNG") {
        let mut reader = ImageReader::new(std::io::Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|error| broken(error.to_string()))?;
        reader.limits(limits());
        let image = reader.decode().map_err(|error| broken(error.to_string()))?;
        if image.color().has_color() {
            return Err(broken("it has colours, and no palette whose indices were classes".into()));
        }
        let image = image.into_luma8();
        return Ok(([image.height() as usize, image.width() as usize], image.into_raw()));
    }
    // The decoder of images expands palettes to colours; here the indices are wanted.
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::IDENTITY);
    decoder.set_limits(png::Limits { bytes: 400 << 20 });
    let mut reader = decoder.read_info().map_err(|error| broken(error.to_string()))?;
    let info = reader.info();
    let [h, w] = [info.height as usize, info.width as usize];
    let bits = info.bit_depth as usize;
    if !matches!(info.color_type, png::ColorType::Indexed | png::ColorType::Grayscale) || bits > 8 {
        return Err(broken(format!("its pixels are {:?} of {bits} bits, not classes", info.color_type)));
    }
    let size = reader.output_buffer_size().filter(|&size| size <= 400 << 20);
    let mut data = vec![0; size.ok_or_else(|| broken("it is too large".into()))?];
    let frame = reader.next_frame(&mut data).map_err(|error| broken(error.to_string()))?;
    let classes = data.chunks(frame.line_size).take(h).flat_map(|row| {
        let at = move |x: usize| row[x * bits / 8] >> (8 - bits - x * bits % 8) & (0xff >> (8 - bits));
        (0..w).map(at)
    });
    Ok(([h, w], classes.collect()))
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
        assert!(decode_classes("x.png", &colours).unwrap_err().to_string().contains("x.png: is no image of classes"));
        for cut in 0..eight.len() - 12 {
            assert!(decode_classes("x", &eight[..cut]).is_err(), "{cut}");
        }
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
