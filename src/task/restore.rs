//! Restoration: distance of an image from the clean one.

use serde::{Deserialize, Serialize};

/// Sums over images of PSNR and SSIM, in integers so that the order of addition does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fidelity {
    /// Images with a truth.
    pub images: u64,
    /// PSNR of the outputs, in millionths of a dB.
    pub psnr: i64,
    /// PSNR of the inputs, in millionths of a dB.
    pub input_psnr: i64,
    /// Images at least as large as an SSIM window.
    pub ssim_images: u64,
    /// SSIM of the outputs, in units of 1e-9.
    pub ssim: i64,
}

impl Fidelity {
    /// Adds one output, by its PSNR, that of its input, and its SSIM.
    pub fn add(&mut self, psnr: f64, input_psnr: f64, ssim: Option<f64>) {
        self.images += 1;
        self.psnr += (psnr * 1e6).round() as i64;
        self.input_psnr += (input_psnr * 1e6).round() as i64;
        if let Some(ssim) = ssim {
            self.ssim_images += 1;
            self.ssim += (ssim * 1e9).round() as i64;
        }
    }

    /// Adds another part of the data.
    pub fn merge(&mut self, other: &Self) {
        self.images += other.images;
        self.psnr += other.psnr;
        self.input_psnr += other.input_psnr;
        self.ssim_images += other.ssim_images;
        self.ssim += other.ssim;
    }

    /// Mean PSNR of outputs and of inputs, in dB.
    pub fn mean_psnr(&self) -> [f64; 2] {
        [self.psnr, self.input_psnr].map(|sum| sum as f64 / 1e6 / self.images as f64)
    }

    /// Mean SSIM; `None` if no image was large enough.
    pub fn mean_ssim(&self) -> Option<f64> {
        (self.ssim_images > 0).then(|| self.ssim as f64 / 1e9 / self.ssim_images as f64)
    }
}

/// Mean squared error below which images count as equal: 200 dB.
const SAME: f64 = 1e-20;

/// Peak signal-to-noise ratio, `10·log10(1 / mean((a - b)²))` in dB, of values clipped to 0..1.
///
/// # Panics
/// If the two differ in length.
pub fn psnr(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "two images of one size");
    let clip = |v: f32| f64::from(v.clamp(0.0, 1.0));
    let error: f64 = a.iter().zip(b).map(|(&a, &b)| (clip(a) - clip(b)).powi(2)).sum();
    -10.0 * (error / a.len() as f64).max(SAME).log10()
}

/// Taps of the window: 11 of a Gaussian of deviation 1.5.
const TAPS: usize = 11;

/// Structural similarity (Wang 2004) of values clipped to 0..1, `[C, H, W]`: Gaussian windows of 11x11 that lie inside,
/// constants 0.01² and 0.03², mean over windows and channels. None for images smaller than a window.
///
/// # Panics
/// If the two are not of that shape.
pub fn ssim(a: &[f32], b: &[f32], [c, h, w]: [usize; 3]) -> Option<f64> {
    assert!(a.len() == c * h * w && b.len() == a.len(), "two images of one shape");
    if h < TAPS || w < TAPS {
        return None;
    }
    let mut window: [f64; TAPS] = std::array::from_fn(|i| (-(i as f64 - 5.0).powi(2) / (2.0 * 1.5 * 1.5)).exp());
    let total: f64 = window.iter().sum();
    window.iter_mut().for_each(|tap| *tap /= total);
    // Row by row of five moments, filtered along columns; the last eleven rows give a row of windows.
    let (rows, columns) = (h - TAPS + 1, w - TAPS + 1);
    let mut sum = 0.0;
    for (a, b) in a.chunks(h * w).zip(b.chunks(h * w)) {
        let filtered: Vec<[f64; 5]> = (0..h)
            .flat_map(|y| {
                let pair = |x: usize| [a, b].map(|plane| f64::from(plane[y * w + x].clamp(0.0, 1.0)));
                let moments: Vec<[f64; 5]> = (0..w).map(pair).map(|[a, b]| [a, b, a * a, b * b, a * b]).collect();
                (0..columns).map(move |x| weighted(&window, |tap| &moments[x + tap])).collect::<Vec<_>>()
            })
            .collect();
        for y in 0..rows {
            for x in 0..columns {
                let [ma, mb, aa, bb, ab] = weighted(&window, |tap| &filtered[(y + tap) * columns + x]);
                let (c1, c2) = (0.01 * 0.01, 0.03 * 0.03);
                let similar = (2.0 * ma * mb + c1) * (2.0 * (ab - ma * mb) + c2);
                sum += similar / ((ma * ma + mb * mb + c1) * (aa - ma * ma + bb - mb * mb + c2));
            }
        }
    }
    Some(sum / (c * rows * columns) as f64)
}

fn weighted<'a>(window: &[f64; TAPS], at: impl Fn(usize) -> &'a [f64; 5]) -> [f64; 5] {
    let mut sums = [0.0; 5];
    for (tap, weight) in window.iter().enumerate() {
        sums.iter_mut().zip(at(tap)).for_each(|(sum, value)| *sum += weight * value);
    }
    sums
}

/// The part of `image` `[C, H, W]` of `h` x `w` from row `top` and column `left` on.
pub fn part(image: &[f32], [c, rows, columns]: [usize; 3], [top, left]: [usize; 2], [h, w]: [usize; 2]) -> Vec<f32> {
    let row = |channel: usize, y: usize| &image[(channel * rows + top + y) * columns + left..][..w];
    (0..c).flat_map(|channel| (0..h).flat_map(move |y| row(channel, y))).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psnr_follows_its_formula_and_clips() {
        assert!((psnr(&[0.5, 0.5], &[0.6, 0.4]) - 20.0).abs() < 1e-5);
        assert_eq!(psnr(&[2.0, -1.0], &[1.0, 0.0]), 200.0);
    }

    #[test]
    fn an_image_is_similar_to_itself_and_not_to_its_negative() {
        let image: Vec<f32> = (0..2 * 13 * 17).map(|i| (i * 37 % 101) as f32 / 101.0).collect();
        let negative: Vec<f32> = image.iter().map(|v| 1.0 - v).collect();
        assert!((ssim(&image, &image, [2, 13, 17]).unwrap() - 1.0).abs() < 1e-12);
        assert!(ssim(&image, &negative, [2, 13, 17]).unwrap() < -0.5);
        assert_eq!(ssim(&image[..60], &image[..60], [1, 10, 6]), None);
    }

    #[test]
    fn sums_of_parts_are_the_sum_of_all() {
        let mut all = Fidelity::default();
        let mut parts = [Fidelity::default(); 2];
        for (i, (psnr, ssim)) in [(30.1, Some(0.9)), (20.0, None), (25.5, Some(0.5))].into_iter().enumerate() {
            all.add(psnr, 10.0, ssim);
            parts[i % 2].add(psnr, 10.0, ssim);
        }
        let [mut first, second] = parts;
        first.merge(&second);
        assert_eq!(first, all);
        assert_eq!((all.mean_psnr(), all.mean_ssim()), ([25.2, 10.0], Some(0.7)));
    }

    #[test]
    fn parts_are_cut_out() {
        let image: Vec<f32> = (0..12).map(|v| v as f32).collect();
        assert_eq!(part(&image, [1, 3, 4], [1, 1], [1, 2]), [5.0, 6.0]);
    }
}
