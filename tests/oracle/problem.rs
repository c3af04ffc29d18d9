//! Random layers, their inputs, and how these are counted.

use std::sync::Arc;

use deadweight::format::{Coding, Formats, NumberFormat, WeightScale};
use deadweight::graph::{Params, Scope};
use deadweight::kernels::count::{CodeMap, Counter, Detail, Encoder, Range, Sums};
use deadweight::kernels::{FLOAT_TYPES, Geometry, Halo, Isa};
use deadweight::layers::{Conv, ConvTranspose, Shape};
use deadweight::metrics::{self, Cells, Options, Subject};
use deadweight::tally::{ActivationSums, LayerShape, LayerTally, WeightSums};
use proptest::prelude::*;

/// A layer, its inputs and how they are counted.
#[derive(Clone, Debug)]
pub struct Problem {
    pub shape: LayerShape,
    pub images: usize,
    pub format: Formats,
    pub encoder: Encoder,
    pub min_one: bool,
    /// How many of a hundred values are zero.
    pub zeros: u32,
    pub signed: bool,
    pub seed: u32,
}

impl Problem {
    fn value(&self, i: usize, salt: u32, signed: bool) -> f32 {
        let mixed = (i as u32).wrapping_add(salt).wrapping_mul(2_654_435_761) ^ self.seed.wrapping_mul(0x9e37_79b9);
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x85eb_ca6b);
        let unit = (mixed >> 8) as f32 / (1 << 23) as f32 - 1.0;
        if mixed % 100 < self.zeros {
            return 0.0;
        }
        let small = unit * 2f32.powi(-((mixed >> 3 & 7) as i32));
        if signed { small } else { small.abs() }
    }

    pub fn inputs(&self) -> Vec<f32> {
        let count = self.images * self.shape.input.iter().product::<usize>();
        (0..count).map(|i| self.value(i, 1, self.signed)).collect()
    }

    pub fn weights(&self) -> Vec<f32> {
        (0..self.shape.weight.iter().product()).map(|i| self.value(i, 1 << 20, true)).collect()
    }

    pub fn codings(&self) -> [Coding; 2] {
        // Calibrated on half of the inputs, so that some saturate.
        let inputs = self.inputs();
        let ranges = [Range::of(&inputs[..inputs.len().div_ceil(2)]), Range::of(&self.weights())];
        let [activations, weights] = self.format.both();
        let mut codings = [activations.coding(ranges[0], None), weights.coding(ranges[1], None)];
        codings[1].per_filter = self.format.weight_scale() == Some(WeightScale::Filter) && self.shape.weight[0] > 1;
        codings
    }

    pub fn map(&self) -> CodeMap {
        self.codings()[0].map
    }

    pub fn tally(&self, layout: Layout) -> LayerTally {
        self.counted(&self.inputs(), layout)
    }

    /// The tally of `inputs`, in the formats of the problem's own.
    pub fn counted(&self, inputs: &[f32], layout: Layout) -> LayerTally {
        let activations = self.map();
        let [c, h, w] = self.shape.input;
        let classes = Arc::new(self.shape.classes());
        let mut counter = Counter::new(
            activations,
            Detail::Codes(self.encoder),
            self.shape.grouping(),
            classes,
            self.shape.channels(),
        );
        let geometry = match layout {
            Layout::Planar => Geometry::planar(self.images, c, h, w),
            Layout::Blocked => Geometry::blocked(self.images, c, h, w),
        };
        let mut x = vec![0.0; geometry.len()];
        geometry.pack(inputs, &mut x);
        for image in 0..self.images {
            assert!(counter.count(Isa::best(), &x, &geometry, image, geometry.rows(0..h), 0));
        }
        self.tally_of(&counter.into_sums(), self.images as u64)
    }

    /// The tally of `images` images that added up to `sums`.
    pub fn tally_of(&self, sums: &Sums, images: u64) -> LayerTally {
        let (codings, weights) = (self.codings(), self.weights());
        let maps = self.format.weights.weight_maps(&codings[1], &weights, self.shape.weight[0]);
        let mut tally = LayerTally {
            images: 0,
            lowest: codings.map(|coding| coding.map.lo),
            activations: ActivationSums::new(&self.shape, codings[0].map.codes()),
            weights: WeightSums::count(Isa::best(), &self.shape, &weights, &maps, self.encoder),
            outputs: None,
            recurrent: None,
            pairs: None,
            designs: Vec::new(),
            shape: self.shape.clone(),
        };
        tally.add(&self.shape, images, sums);
        tally
    }

    /// All metrics of `tally`.
    pub fn metrics(&self, tally: &LayerTally, min_one: bool) -> Cells {
        let codings = self.codings();
        let subject = Subject::layer(tally, &codings, Options { encoder: self.encoder, min_one });
        Cells::of(&subject, &metrics::all().collect::<Vec<_>>(), self.images as u64)
    }
}

/// How the engine lays out what is counted.
#[derive(Clone, Copy, Debug)]
pub enum Layout {
    Planar,
    Blocked,
}

fn formats() -> impl Strategy<Value = Formats> {
    let fixed = || (2u32..17).prop_map(NumberFormat::Fixed);
    let floats = || prop::sample::select(FLOAT_TYPES.map(NumberFormat::Float).to_vec());
    let one = || prop_oneof![2 => Just(NumberFormat::Int8), 2 => fixed(), 3 => floats()];
    // The same for both, or each its own; weights that have scales have them by default, or the other way.
    (one(), prop::option::of(one()), any::<bool>()).prop_map(|(activations, weights, swapped)| {
        let formats = Formats::new(activations, weights.unwrap_or(activations));
        let other = match formats.weight_scale() {
            Some(WeightScale::Tensor) => WeightScale::Filter,
            _ => WeightScale::Tensor,
        };
        if swapped { formats.with_weight_scale(other).unwrap_or(formats) } else { formats }
    })
}

fn counting() -> impl Strategy<Value = (Formats, Encoder, bool, u32, bool, u32)> {
    let encoders = prop::sample::select(Encoder::ALL.to_vec());
    (formats(), encoders, any::<bool>(), prop::sample::select(vec![0, 30, 70, 100]), any::<bool>(), any::<u32>())
}

pub fn convolutions() -> impl Strategy<Value = Problem> {
    let extents = (1usize..20, 1usize..6, 1usize..4, 1usize..4, 0usize..4);
    let steps = (1usize..4, 1usize..4, 1usize..4, 1usize..4);
    let padding = (0usize..3, 0usize..3, 0usize..3, 0usize..3);
    (extents, steps, padding, (1usize..8, 1usize..20, 1usize..3), counting()).prop_filter_map(
        "the padded input holds a window",
        |((c, k, r, s, grouping), (sh, sw, dh, dw), (top, bottom, left, right), (h, w, images), counting)| {
            let (c, k, groups) = match grouping {
                0 => (c, c, c),
                1 => (2 * c, 2 * k, 2),
                _ => (c, k, 1),
            };
            let conv = Conv { kernel: (r, s), stride: (sh, sw), dilation: (dh, dw), ..Conv::new(k, 1).groups(groups) };
            let net = Scope::new(Params::Declared);
            let x = net.input(c);
            let y = net.at("conv").conv(x, conv.pad(Halo { top, bottom, left, right }.into()));
            let (graph, _) = net.finish(y).unwrap();
            let output = graph.shapes(Shape::new(c, h, w)).ok()?[1];
            let shape = LayerShape {
                input: [c, h, w],
                output: [k, output.h, output.w],
                weight: [k, c / groups, r, s],
                stride: [sh, sw],
                padding: [top, bottom, left, right],
                dilation: [dh, dw],
                groups,
                features: false,
                channels_last: false,
                transposed: false,
            };
            let (format, encoder, min_one, zeros, signed, seed) = counting;
            Some(Problem { shape, images, format, encoder, min_one, zeros, signed, seed })
        },
    )
}

pub fn transposed() -> impl Strategy<Value = Problem> {
    let extents = (1usize..20, 1usize..6, 1usize..4, 1usize..4, 1usize..4);
    (extents, (1usize..4, 1usize..4, 0usize..2), (1usize..8, 1usize..20, 1usize..3), counting()).prop_filter_map(
        "an output is left",
        |((c, k, r, s, groups), (stride, dilation, cut), (h, w, images), counting)| {
            let (c, k) = (c * groups, k * groups);
            let cut = Halo { top: cut, bottom: cut, left: cut, right: cut };
            let conv = ConvTranspose {
                kernel: (r, s),
                dilation: (dilation, dilation),
                padding: cut,
                groups,
                ..ConvTranspose::new(k, 1, stride)
            };
            let net = Scope::new(Params::Declared);
            let x = net.input(c);
            let y = net.at("up").conv_transpose(x, conv);
            let (graph, _) = net.finish(y).unwrap();
            let output = graph.shapes(Shape::new(c, h, w)).ok()?[1];
            let shape = LayerShape {
                input: [c, h, w],
                output: [k, output.h, output.w],
                weight: [k, c / groups, r, s],
                stride: [stride; 2],
                padding: [cut.top; 4],
                dilation: [dilation; 2],
                groups,
                features: false,
                channels_last: false,
                transposed: true,
            };
            // The graph's own count is the dense one.
            assert_eq!(graph.macs(Shape::new(c, h, w)).unwrap(), (c * h * w * k / groups * r * s) as u64);
            let (format, encoder, min_one, zeros, signed, seed) = counting;
            Some(Problem { shape, images, format, encoder, min_one, zeros, signed, seed })
        },
    )
}

pub fn linears() -> impl Strategy<Value = Problem> {
    ((1usize..9, 1usize..5, 1usize..12), 1usize..9, 1usize..4, any::<bool>(), counting()).prop_map(
        |((c, h, w), out, images, channels_last, counting)| {
            let (format, encoder, min_one, zeros, signed, seed) = counting;
            let shape = LayerShape { channels_last, ..LayerShape::linear([c, h, w], out) };
            Problem { shape, images, format, encoder, min_one, zeros, signed, seed }
        },
    )
}

/// The products of a recurrent layer, of its inputs and of its hidden values, over all steps of sequences.
pub fn sequences() -> impl Strategy<Value = Problem> {
    let gates = prop::sample::select(vec![1, 3, 4]);
    (1usize..300, 1usize..6, gates, 1usize..9, 1usize..3, counting()).prop_map(
        |(features, steps, gates, out, images, (format, encoder, min_one, zeros, signed, seed))| {
            let shape = LayerShape::steps(features, steps, gates * out);
            Problem { shape, images, format, encoder, min_one, zeros, signed, seed }
        },
    )
}
