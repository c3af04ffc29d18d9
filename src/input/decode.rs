//! Decodes image files to 8-bit pixels.

use std::io::Cursor;
use std::ops::Range;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::jpeg;
use crate::{Error, Result};

/// Most memory that a decoded image may take: a photograph of 100 megapixels.
pub(super) const LARGEST: u64 = 400 << 20;

/// An 8-bit image, `[H, W, C]` in one slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels: 3 (red, green, blue) or 1 (grey).
    pub c: usize,
    /// The values.
    pub data: Vec<u8>,
}

impl Pixels {
    /// The first `h` rows and `w` columns.
    pub fn cut(&self, h: usize, w: usize) -> Self {
        self.part([0..h, 0..w])
    }

    /// The part of these `rows` and `columns`.
    pub(super) fn part(&self, [rows, columns]: [Range<usize>; 2]) -> Self {
        let [from, to] = [columns.start, columns.end].map(|column| column * self.c);
        let mut data = Vec::with_capacity(rows.len() * (to - from));
        for line in self.data.chunks(self.w * self.c).skip(rows.start).take(rows.len()) {
            data.extend_from_slice(&line[from..to]);
        }
        Self { h: rows.len(), w: columns.len(), c: self.c, data }
    }

    /// The image padded below and to the right by repeating its last row and column.
    pub(super) fn framed(&self, [h, w]: [usize; 2]) -> Self {
        let at = |y: usize, x: usize| (y.min(self.h - 1) * self.w + x.min(self.w - 1)) * self.c;
        let places = (0..h).flat_map(|y| (0..w).map(move |x| at(y, x)));
        Self { h, w, c: self.c, data: places.flat_map(|at| &self.data[at..at + self.c]).copied().collect() }
    }

    /// Grey by the ITU-R 601 weights with black at 16 and white at 235, as MATLAB's `rgb2ycbcr`.
    pub(super) fn studio_luma(&self) -> Self {
        let luma = |p: &[u8]| {
            let [r, g, b] = [0, 1, 2].map(|i| f64::from(p[i.min(p.len() - 1)]));
            (16.0 + (65.481 * r + 128.553 * g + 24.966 * b) / 255.0).round() as u8
        };
        Self { c: 1, data: self.data.chunks(self.c).map(luma).collect(), ..*self }
    }

    /// The image with `c` channels: colour to grey by the ITU-R 601 weights with Pillow's rounding, grey to colour by
    /// repetition.
    pub fn with_channels(self, c: usize) -> Self {
        let data = match (self.c, c) {
            (3, 1) => {
                let luma = |p: &[u8]| u32::from(p[0]) * 19595 + u32::from(p[1]) * 38470 + u32::from(p[2]) * 7471;
                self.data.chunks_exact(3).map(|p| ((luma(p) + 0x8000) >> 16) as u8).collect()
            }
            (1, 3) => self.data.iter().flat_map(|&v| [v; 3]).collect(),
            _ => return self,
        };
        Self { c, data, ..self }
    }
}

/// Limits for the decoder.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(LARGEST);
    limits
}

/// Decodes a JPEG, PNG, WebP or BMP, recognised by content, and rotates it upright by its orientation tag. Transparency is
/// dropped (as Pillow does by default).
///
/// # Errors
/// [`Error::Malformed`] naming `file`, also if a part of the image is missing.
pub fn decode(file: &str, bytes: &[u8]) -> Result<Pixels> {
    decode_upright(file, bytes).map(|(pixels, _)| pixels)
}

/// The result of [`decode`], and whether an orientation tag rotated it.
pub(super) fn decode_upright(file: &str, bytes: &[u8]) -> Result<(Pixels, bool)> {
    let (image, turned) = read(bytes).map_err(|detail| Error::malformed(file, detail))?;
    let (h, w) = (image.height() as usize, image.width() as usize);
    if h == 0 || w == 0 {
        return Err(Error::malformed(file, "is an image without pixels"));
    }
    let grey = !image.color().has_color();
    let (c, data) = if grey { (1, image.into_luma8().into_raw()) } else { (3, image.into_rgb8().into_raw()) };
    Ok((Pixels { h, w, c, data }, turned))
}

/// The image in `bytes`, complete and upright, and whether it was rotated for that.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<(DynamicImage, bool), String> {
    let broken = |error: image::ImageError| format!("is no image that can be read: {error}");
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| broken(error.into()))?;
    reader.limits(limits());
    check_whole(reader.format(), bytes)?;
    let mut decoder = reader.into_decoder().map_err(broken)?;
    limits().reserve(decoder.total_bytes()).map_err(broken)?;
    // Metadata that cannot be read rotates nothing.
    let orientation =
        decoder.exif_metadata().ok().flatten().map_or(Orientation::NoTransforms, |exif| orientation(&exif));
    let mut image = DynamicImage::from_decoder(decoder).map_err(broken)?;
    image.apply_orientation(orientation);
    Ok((image, orientation != Orientation::NoTransforms))
}

/// The orientation in the metadata `exif`.
pub(super) fn orientation(exif: &[u8]) -> Orientation {
    // Some writers put the prefix of a JPEG segment in front.
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms)
}

/// Checks that no part of a file is missing, for formats whose decoder does not report it.
///
/// # Errors
/// What is missing.
pub(super) fn check_whole(format: Option<ImageFormat>, bytes: &[u8]) -> Result<(), String> {
    let whole = match format {
        Some(ImageFormat::Jpeg) => return jpeg::check(bytes).map_err(str::to_owned),
        Some(ImageFormat::Png) => png_ends(bytes),
        Some(ImageFormat::WebP) => riff_ends(bytes),
        _ => true,
    };
    if whole { Ok(()) } else { Err("ends before the end of its image: it was cut off".into()) }
}

/// Whether the chunks of a PNG reach the final one.
fn png_ends(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some((&[a, b, c, d, ref name @ ..], after)) = rest.split_first_chunk::<8>() {
        // Each chunk ends with a checksum of four bytes.
        let Some(next) = after.get(u32::from_be_bytes([a, b, c, d]) as usize + 4..) else { return false };
        if name == b"IEND" {
            return true;
        }
        rest = next;
    }
    false
}

/// Whether a WebP is as long as its header says.
fn riff_ends(bytes: &[u8]) -> bool {
    bytes.get(4..8).is_some_and(|size| {
        let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]);
        bytes.len() as u64 >= 8 + u64::from(size)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn png() -> Vec<u8> {
        let mut bytes = Vec::new();
        let image = image::RgbImage::from_fn(5, 3, |x, y| image::Rgb([x as u8 * 40, y as u8 * 70, 9]));
        image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
        bytes
    }

    #[test]
    fn decodes_by_content() {
        let pixels = decode("x", &png()).unwrap();
        assert_eq!((pixels.h, pixels.w, pixels.c), (3, 5, 3));
        assert_eq!(pixels.data[3..6], [40, 0, 9]);
        let grey = pixels.with_channels(1);
        // Pillow: (40 * 19595 + 9 * 7471 + 0x8000) >> 16.
        assert_eq!(grey.data[1], 13);
        assert_eq!(grey.with_channels(3).data[3..6], [13, 13, 13]);
    }

    #[test]
    fn images_cut_at_any_length_are_errors() {
        let image = image::RgbImage::from_fn(19, 13, |x, y| image::Rgb([(x * y) as u8, (x * 9) as u8, (y * 11) as u8]));
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Bmp] {
            let mut whole = Vec::new();
            image.write_to(&mut Cursor::new(&mut whole), format).unwrap();
            let pixels = decode("whole", &whole).unwrap();
            assert_eq!((pixels.h, pixels.w, pixels.c), (13, 19, 3), "{format:?}");
            let plain = image::load_from_memory(&whole).unwrap().into_rgb8().into_raw();
            assert_eq!(pixels.data, plain, "{format:?}");
            for cut in 0..whole.len() {
                let error = decode("cut", &whole[..cut]).expect_err(&format!("{format:?} cut at {cut}"));
                assert!(error.to_string().starts_with("cut: ") && error.exit_code() == 1, "{format:?} {cut}: {error}");
            }
            whole.extend(b"what follows");
            assert_eq!(decode("longer", &whole).unwrap(), pixels, "{format:?}");
        }
    }

    proptest! {
        #[test]
        fn broken_images_are_errors_that_name_the_file(cut in 0usize..60, flip in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let whole = png();
            let cut = &whole[..cut.min(whole.len() - 1)];
            prop_assert!(decode("cut.png", cut).unwrap_err().to_string().starts_with("cut.png: "));
            let mut flipped = whole.clone();
            flipped[flip.index(whole.len())] ^= 0x55;
            let _ = decode("flipped.png", &flipped);
            let _ = decode("noise", &bytes);
        }
    }
}
