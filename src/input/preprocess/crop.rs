//! Sizes and crops: which pixels of an image become the input.

use super::{CropRounding, Preprocess, Resize};
use crate::input::decode::Pixels;

impl Preprocess {
    /// The classes of an image's pixels, `[H, W]` of `size`, mapped as its input: resized to the nearest pixel, cropped, and
    /// `ignore` outside the image.
    pub(in crate::input) fn apply_to_classes(&self, mut classes: Vec<u8>, size: [usize; 2], ignore: u8) -> Vec<u8> {
        let [mut h, mut w] = size;
        if let Some([rows, columns]) = self.resized(size) {
            // The pixel that contains the centre of the new one.
            let from = |i: usize, new: usize, old: usize| ((2 * i + 1) * old / (2 * new)).min(old - 1);
            let row = |y: usize| (0..columns).map(move |x| (y, x));
            let places = (0..rows).flat_map(row).map(|(y, x)| from(y, rows, h) * w + from(x, columns, w));
            classes = places.map(|place| classes[place]).collect();
            [h, w] = [rows, columns];
        }
        match self.crop {
            Some([rows, columns]) => self.crop(&Pixels { h, w, c: 1, data: classes }, rows, columns, &[ignore]).data,
            None => classes,
        }
    }

    /// The size to which an image of `h` x `w` is resized.
    pub(super) fn resized(&self, [h, w]: [usize; 2]) -> Option<[usize; 2]> {
        let size = match self.resize? {
            Resize::Exact(size) => size,
            // int(edge * long / short), as in the libraries' Python.
            Resize::ShortestEdge(edge) if h <= w => [edge, edge * w / h],
            Resize::ShortestEdge(edge) => [edge * h / w, edge],
            Resize::Cover(size) => in_proportion([h, w], size, f64::min),
            Resize::Within(size) => in_proportion([h, w], size, f64::max),
        };
        Some(size.map(|side| side.max(1)))
    }

    /// The centre of `image`, padded with `outside` (a level per channel) if it is smaller than the crop.
    pub(super) fn crop(&self, image: &Pixels, h: usize, w: usize, outside: &[u8]) -> Pixels {
        let before = |size: usize, want: usize| -> i64 {
            let margin = size as i64 - want as i64;
            match self.crop_rounding {
                CropRounding::Floor => margin.div_euclid(2),
                // Padding is split evenly, an odd row goes after; margins are halved to even.
                CropRounding::RoundHalfEven if margin < 0 => -(-margin / 2),
                CropRounding::RoundHalfEven => margin / 2 + i64::from(margin % 4 == 3),
            }
        };
        let (top, left) = (before(image.h, h), before(image.w, w));
        let mut data = outside.repeat(h * w);
        for (y, row) in data.chunks_exact_mut(w * image.c).enumerate() {
            let Ok(from) = usize::try_from(y as i64 + top) else { continue };
            if from >= image.h {
                continue;
            }
            for (x, pixel) in row.chunks_exact_mut(image.c).enumerate() {
                let Ok(column) = usize::try_from(x as i64 + left) else { continue };
                if column < image.w {
                    pixel.copy_from_slice(&image.data[(from * image.w + column) * image.c..][..image.c]);
                }
            }
        }
        Pixels { h, w, c: image.c, data }
    }
}

/// The size of an image of `from` scaled by one of its two ratios to `to`, chosen by `choose`, in the arithmetic of timm's
/// `ResizeKeepRatio`.
fn in_proportion(from: [usize; 2], to: [usize; 2], choose: fn(f64, f64) -> f64) -> [usize; 2] {
    let ratio = choose(from[0] as f64 / to[0] as f64, from[1] as f64 / to[1] as f64);
    from.map(|side| (side as f64 / ratio).round_ties_even() as usize)
}
