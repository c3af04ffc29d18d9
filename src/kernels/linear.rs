//! Fully connected layers: a tile is some images times some blocks of outputs; features are summed in one fixed order.

use std::sync::Arc;

use super::activation::Activation;
use super::buffer::Buffer;
use super::exec::Exec;
use super::geometry::{Geometry, LANES};
use super::isa::Kernel;
use super::shared::Shared;
use super::simd::Simd;
use super::tile::{Floats, Loop, Walk, unrolled};

/// Output blocks computed together: enough independent sums to hide the latency of multiply-add even for one image.
const SET: usize = 8;
/// Images computed together with all blocks of a set.
const IMAGES: usize = 3;
/// Images computed together with one block, if registers are few.
const FEW_REGISTERS: usize = 6;

/// A linear layer with its weights packed for the layout of its input.
pub struct PackedLinear {
    /// `[set][feature][blocks of the set][16]`, features in the order of the input buffer.
    weights: Arc<Buffer>,
    /// Bias, zero-padded to whole blocks.
    bias: Arc<Buffer>,
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
        let mut padded = Buffer::zeroed(out_features.next_multiple_of(LANES));
        if let Some(bias) = bias {
            padded[..out_features].copy_from_slice(bias);
        }
        // The features in memory order: block, row, then columns of lanes without a gap.
        let mut order = Vec::new();
        for block in 0..x.blocks() {
            for row in 0..x.h {
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
        let (weights, bias) = (Arc::new(weights.into()), Arc::new(padded));
        Self { weights, bias, features: order.len(), out_features, x: *x }
    }

    /// The same layer, of the same packed weights, for inputs laid out as `x`; none if the layout is another.
    pub fn resized(&self, x: &Geometry) -> Option<Self> {
        let (weights, bias) = (Arc::clone(&self.weights), Arc::clone(&self.bias));
        (Geometry { n: self.x.n, ..*x } == self.x).then(|| Self { weights, bias, x: *x, ..*self })
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
        let whole = S::REGISTERS >= 32 && blocks == SET;
        let mut image = 0;
        while image < self.images {
            let left = self.images - image;
            let mut block = 0;
            let mut done = 1;
            while block < blocks {
                (done, block) = match (whole, left) {
                    (true, IMAGES..) => self.tile::<S, IMAGES, SET>(s, image, block, blocks),
                    (true, 2) => self.tile::<S, 2, SET>(s, image, block, blocks),
                    (true, _) => self.tile::<S, 1, SET>(s, image, block, blocks),
                    (false, FEW_REGISTERS..) => self.tile::<S, FEW_REGISTERS, 1>(s, image, block, blocks),
                    (false, _) if blocks - block >= 4 => self.tile::<S, 1, 4>(s, image, block, blocks),
                    (false, _) => self.tile::<S, 1, 1>(s, image, block, blocks),
                };
            }
            image += done;
        }
        self.finish(s, blocks);
    }
}

impl Set<'_> {
    /// Sums of `P` images from `image` on and `B` blocks from `block` on, of the set's `blocks`. Returns the number of images
    /// done and the next block.
    #[inline(always)]
    fn tile<S: Simd, const P: usize, const B: usize>(
        &self,
        s: S,
        image: usize,
        block: usize,
        blocks: usize,
    ) -> (usize, usize) {
        let Self { linear, x, .. } = self;
        let (xg, width) = (&linear.x, blocks * LANES);
        let mut sums = [[s.splat(0.0); P]; B];
        for b in 0..B {
            sums[b] = [s.load(&linear.bias[(self.first + block + b) * LANES..]); P];
        }
        let run = xg.w * xg.lanes;
        let row = Loop { count: xg.h, input: xg.row_len(), weights: run * width };
        let plane = Loop { count: xg.blocks(), input: xg.plane_len(), weights: xg.h * row.weights };
        let once = Loop { count: 1, input: 0, weights: 0 };
        let walk = Walk { outer: [plane, row, once], run, pixel: xg.image_len(), width, ahead: 0 };
        let from = &x[xg.at(image, 0, 0, 0)..];
        let weights = &linear.weights[self.first * LANES * linear.features + block * LANES..];
        debug_assert!(walk.fits(P, B, from.len(), weights.len()));
        // SAFETY: the walk goes over the features of `P` images, which `x` holds (asserted by `run`), and over the
        // weights of the set, which were packed in that order.
        let sums = unsafe { walk.accumulate::<S, Floats, P, B>(s, from.as_ptr(), weights.as_ptr(), sums) };
        unrolled!(b < B, {
            unrolled!(p < P, {
                // SAFETY: each block of each image belongs to one task.
                let lanes = unsafe { self.y.slice(self.yg.at(image + p, self.first + block + b, 0, 0), LANES) };
                s.store(lanes, sums[b][p]);
            });
        });
        (P, block + B)
    }

    /// Applies the activation to the stored sums and zeroes the padding lanes.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, blocks: usize) {
        for image in 0..self.images {
            for block in self.first..self.first + blocks {
                // SAFETY: each block of each image belongs to one task.
                let lanes = unsafe { self.y.slice(self.yg.at(image, block, 0, 0), LANES) };
                let value = self.activation.apply(s, s.load(lanes));
                s.store(lanes, value);
                lanes[(self.linear.out_features - block * LANES).min(LANES)..].fill(0.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::geometry::Halo;
    use crate::kernels::{Isa, Pool};

    #[test]
    fn another_batch_shares_the_weights_and_another_layout_does_not() {
        let geometry = |n: usize, w: usize| Geometry::blocked(n, 20, 1, w);
        let packed = PackedLinear::new(&[0.5; 20 * 6], None, &geometry(1, 2), 3);
        let more = packed.resized(&geometry(4, 2)).unwrap();
        assert!(Arc::ptr_eq(&more.weights, &packed.weights) && more.x.n == 4);
        assert!(packed.resized(&geometry(1, 3)).is_none());
        assert!(packed.resized(&geometry(1, 2).with_halo(Halo { left: 1, ..Halo::default() })).is_none());
    }

    proptest! {
        #[test]
        fn equals_the_sum_in_f64_and_has_one_set_of_bits(
            (c, h, w, out) in (1usize..40, 1usize..4, 1usize..4, 1usize..300),
            images in 1usize..9,
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
