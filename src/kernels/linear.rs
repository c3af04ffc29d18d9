//! Fully connected layers: images a tile times blocks of outputs, the features in one fixed order.

use super::activation::Activation;
use super::exec::Exec;
use super::geometry::{Geometry, LANES};
use super::isa::Kernel;
use super::shared::Shared;
use super::simd::Simd;

/// Output blocks computed together: enough sums in flight to hide the latency of multiply-add with one image.
const SET: usize = 8;
/// Images computed together.
const IMAGES: usize = 3;

/// A linear layer with its weights packed for the layout of its input.
pub struct PackedLinear {
    /// `[set][feature][blocks of the set][16]`, features in the order in which they lie in the buffer.
    weights: Vec<f32>,
    /// Bias, filled up with zeros to whole blocks.
    bias: Vec<f32>,
    /// Start of each run of neighbouring features in an image's buffer, and its length.
    runs: Vec<(usize, usize)>,
    features: usize,
    out_features: usize,
    x: Geometry,
}

impl PackedLinear {
    /// Packs `weight` `[out, C·H·W]` and `bias` `[out]` for inputs laid out as `x`.
    ///
    /// # Panics
    /// If the sizes contradict one another.
    pub fn new(weight: &[f32], bias: Option<&[f32]>, x: &Geometry, out_features: usize) -> Self {
        let in_features = x.c * x.h * x.w;
        assert_eq!(weight.len(), out_features * in_features, "weights");
        let mut padded = vec![0.0; out_features.next_multiple_of(LANES)];
        if let Some(bias) = bias {
            padded[..out_features].copy_from_slice(bias);
        }
        // Walk the image as it lies in memory: block, row, then columns of lanes without a gap.
        let mut runs = Vec::new();
        let mut order = Vec::new();
        for block in 0..x.blocks() {
            for row in 0..x.h {
                runs.push((x.at(0, block, row, 0), x.w * x.lanes));
                for column in 0..x.w {
                    order.extend((0..x.lanes).map(|lane| {
                        let channel = block * x.lanes + lane;
                        (channel < x.c).then_some((channel * x.h + row) * x.w + column)
                    }));
                }
            }
        }
        let blocks = out_features.div_ceil(LANES);
        let mut weights = Vec::with_capacity(order.len() * blocks * LANES);
        for first in (0..blocks).step_by(SET) {
            let outputs = first * LANES..(first + SET).min(blocks) * LANES;
            for feature in &order {
                weights.extend(outputs.clone().map(|output| match feature {
                    Some(feature) if output < out_features => weight[output * in_features + feature],
                    _ => 0.0,
                }));
            }
        }
        Self { weights, bias: padded, runs, features: order.len(), out_features, x: *x }
    }

    /// Computes the first `images` images of `y`, which is blocked `[N, out, 1, 1]` as `yg` says.
    pub fn run(&self, exec: &Exec<'_>, images: usize, x: &[f32], y: &mut [f32], yg: &Geometry, activation: Activation) {
        assert!(x.len() >= self.x.len() && y.len() >= yg.len() && images <= self.x.n.min(yg.n), "buffers");
        assert_eq!((yg.c, yg.h, yg.w, yg.lanes), (self.out_features, 1, 1, LANES), "output of the layer's shape");
        let sets = yg.blocks().div_ceil(SET);
        let y = Shared::new(y);
        exec.for_each_task(sets, |_, set| {
            exec.isa.run(Set { linear: self, images, x, y, yg, activation, first: set * SET });
        });
    }
}

struct Set<'a> {
    linear: &'a PackedLinear,
    images: usize,
    x: &'a [f32],
    y: Shared<'a>,
    yg: &'a Geometry,
    activation: Activation,
    first: usize,
}

impl Kernel for Set<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let blocks = (self.yg.blocks() - self.first).min(SET);
        let mut image = 0;
        while image < self.images {
            let whole = S::REGISTERS >= 32 && blocks == SET;
            match (whole, self.images - image) {
                (true, IMAGES..) => image += self.tile::<S, IMAGES, SET>(s, image, 0, blocks),
                (true, _) => image += self.tile::<S, 1, SET>(s, image, 0, blocks),
                (false, _) => {
                    let mut block = 0;
                    while block < blocks {
                        if blocks - block >= 4 {
                            self.tile::<S, 1, 4>(s, image, block, blocks);
                            block += 4;
                        } else {
                            self.tile::<S, 1, 1>(s, image, block, blocks);
                            block += 1;
                        }
                    }
                    image += 1;
                }
            }
        }
    }
}

impl Set<'_> {
    /// `N` images from `image`, blocks `block..block + B` of the set's `blocks`. Returns `N`.
    #[inline(always)]
    fn tile<S: Simd, const N: usize, const B: usize>(&self, s: S, image: usize, block: usize, blocks: usize) -> usize {
        let linear = self.linear;
        let mut sums = [[s.splat(0.0); B]; N];
        for sums in &mut sums {
            for (b, sum) in sums.iter_mut().enumerate() {
                *sum = s.load(&linear.bias[(self.first + block + b) * LANES..]);
            }
        }
        let width = blocks * LANES;
        let start = self.first * LANES * linear.features;
        let weights = &linear.weights[start..start + linear.features * width];
        // SAFETY: the set's weights hold `width` floats for each feature (sliced just above), the runs lie in an image's
        // buffer (they were made from the geometry) and `x` holds the images (asserted by `run`).
        unsafe {
            let mut weight = weights.as_ptr().add(block * LANES);
            for &(from, len) in &linear.runs {
                let mut feature = self.x.as_ptr().add(image * linear.x.image_len() + from);
                for _ in 0..len {
                    let mut filters = [s.splat(0.0); B];
                    for (b, filters) in filters.iter_mut().enumerate() {
                        *filters = s.load_ptr(weight.add(b * LANES));
                    }
                    for (n, sums) in sums.iter_mut().enumerate() {
                        let value = s.splat(*feature.add(n * linear.x.image_len()));
                        for (sum, &filter) in sums.iter_mut().zip(&filters) {
                            *sum = s.fma(value, filter, *sum);
                        }
                    }
                    weight = weight.add(width);
                    feature = feature.add(1);
                }
            }
        }
        for (n, sums) in sums.iter().enumerate() {
            for (b, &sum) in sums.iter().enumerate() {
                let block = self.first + block + b;
                let mut lanes = [0.0; LANES];
                s.store(&mut lanes, self.activation.apply(s, sum));
                let used = (linear.out_features - block * LANES).min(LANES);
                lanes[used..].fill(0.0);
                // SAFETY: each block of each image belongs to one task.
                unsafe { self.y.slice(self.yg.at(image + n, block, 0, 0), LANES) }.copy_from_slice(&lanes);
            }
        }
        N
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::geometry::Halo;
    use crate::kernels::{Isa, Pool};

    proptest! {
        #[test]
        fn equals_the_sum_in_f64_and_has_one_set_of_bits(
            (c, h, w, out) in (1usize..40, 1usize..4, 1usize..4, 1usize..300),
            images in 1usize..6,
            seed in any::<u32>(),
        ) {
            let halo = Halo { top: 1, bottom: 0, left: 2, right: 1 };
            let xg = Geometry::blocked(images, c, h, w).with_halo(halo);
            let yg = Geometry::blocked(images, out, 1, 1);
            let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 9) as f32 / 4194304.0 - 1.0;
            let x: Vec<f32> = (0..xg.elements()).map(value).collect();
            let weight: Vec<f32> = (0..out * c * h * w).map(|i| value(i + 77)).collect();
            let bias: Vec<f32> = (0..out).map(value).collect();
            let mut buffer = vec![0.0; xg.len()];
            xg.pack(&x, &mut buffer);
            let packed = PackedLinear::new(&weight, Some(&bias), &xg, out);
            let mut results = Vec::new();
            for isa in Isa::available() {
                for threads in [1, 2] {
                    let pool = Pool::new(threads);
                    let mut y = vec![0.0; yg.len()];
                    packed.run(&Exec::new(&pool, isa), images, &buffer, &mut y, &yg, Activation::Sigmoid);
                    results.push(y);
                }
            }
            let features = c * h * w;
            for (i, got) in yg.unpack(&results[0]).into_iter().enumerate() {
                let (image, output) = (i / out, i % out);
                let dot: f64 = (0..features).map(|f| f64::from(x[image * features + f]) * f64::from(weight[output * features + f])).sum();
                let want = 1.0 / (1.0 + (-(dot + f64::from(bias[output]))).exp());
                prop_assert!((f64::from(got) - want).abs() < 1e-4, "{got} {want}");
            }
            let filling = results[0].iter().filter(|&&v| v == 0.0).count();
            prop_assert_eq!(filling, yg.len() - yg.elements());
            for other in &results[1..] {
                prop_assert!(other.iter().zip(&results[0]).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
        }
    }
}
