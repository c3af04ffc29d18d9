//! Sizes and crops: which pixels of an image become the input.

use std::ops::Range;

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
        self.crop(Pixels { h, w, c: 1, data: classes }, &[ignore]).data
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

    /// The rows and columns of an image of `size` that a crop keeps: all without one.
    pub(super) fn kept(&self, size: [usize; 2]) -> [Range<usize>; 2] {
        [0, 1].map(|axis| {
            let want = self.crop.map_or(size[axis], |crop| crop[axis]);
            let first = self.before(size[axis], want).max(0) as usize;
            first..(first + want).min(size[axis])
        })
    }

    /// How many of `size` pixels are before the middle `want`; negative if these are more, padded on both sides.
    fn before(&self, size: usize, want: usize) -> i64 {
        let margin = size as i64 - want as i64;
        match self.crop_rounding {
            CropRounding::Floor => margin.div_euclid(2),
            // Padding is split evenly, an odd row goes after; margins are halved to even.
            CropRounding::RoundHalfEven if margin < 0 => -(-margin / 2),
            CropRounding::RoundHalfEven => margin / 2 + i64::from(margin % 4 == 3),
        }
    }

    /// What the crop makes of `image`: its centre, padded with `outside` (a level per channel) if it is smaller; without one
    /// the whole.
    pub(super) fn crop(&self, image: Pixels, outside: &[u8]) -> Pixels {
        let Some([h, w]) = self.crop.filter(|&crop| crop != [image.h, image.w]) else { return image };
        let inside = image.part(self.kept([image.h, image.w]));
        let [top, left] = [(inside.h, h), (inside.w, w)].map(|(size, want)| -self.before(size, want) as usize);
        let mut data = outside.repeat(h * w);
        let rows = data.chunks_exact_mut(w * inside.c).skip(top);
        for (row, inside_row) in rows.zip(inside.data.chunks_exact(inside.w * inside.c)) {
            row[left * inside.c..][..inside_row.len()].copy_from_slice(inside_row);
        }
        Pixels { h, w, data, ..inside }
    }
}

/// The size of an image of `from` scaled by one of its two ratios to `to`, chosen by `choose`, in the arithmetic of timm's
/// `ResizeKeepRatio`.
fn in_proportion(from: [usize; 2], to: [usize; 2], choose: fn(f64, f64) -> f64) -> [usize; 2] {
    let ratio = choose(from[0] as f64 / to[0] as f64, from[1] as f64 / to[1] as f64);
    from.map(|side| (side as f64 / ratio).round_ties_even() as usize)
}
