//! Quantised layers against loops over all their MACs: zero is the zero point, outputs are rounded one by one.

use deadweight::engine::{Backend, EngineOptions, Session};
use deadweight::format::NumberFormat;
use deadweight::input::Dataset;
use deadweight::layers::Layer;
use deadweight::measure::{Quiet, Settings, calibrate, measure};
use deadweight::model::Model;
use deadweight::report::{Report, document};
use deadweight::tally::Statistics;
use proptest::prelude::*;

use super::build::{File, I8, I32, Number, Operator, Tensor, U8};

/// A convolution of 8-bit integers with zero points, padded as TensorFlow's "same".
#[derive(Clone, Debug)]
struct Problem {
    depthwise: bool,
    signed: bool,
    /// Channels, rows, columns of the input; filters.
    c: usize,
    h: usize,
    w: usize,
    k: usize,
    /// Side of a filter, stride, dilation.
    side: usize,
    stride: usize,
    dilation: usize,
    zero_points: [i32; 2],
    seed: u32,
}

impl Problem {
    fn filters(&self) -> usize {
        if self.depthwise { self.c } else { self.k }
    }

    /// Few different values, so that many are zero: codes of images and weights.
    fn byte(&self, i: usize, zero: i32) -> i32 {
        let mixed = (i as u32 ^ self.seed).wrapping_mul(2_654_435_761);
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x846c_a68b) >> 8;
        let (low, high) = if self.signed { (-128, 127) } else { (0, 255) };
        match mixed % 3 {
            0 => zero,
            1 => (zero + (mixed >> 8) as i32 % 4).min(high),
            _ => low + (mixed >> 8) as i32 % 256,
        }
    }

    /// Code of the input at `(c, y, x)`, of the weight of filter `k` at `(c, r, s)`.
    fn code(&self, c: usize, y: usize, x: usize) -> i32 {
        self.byte((y * self.w + x) * self.c + c, self.zero_points[0])
    }

    fn weight(&self, k: usize, c: usize, r: usize, s: usize) -> i32 {
        self.byte(((k * self.c + c) * self.side + r) * self.side + s + 7919, self.zero_points[1])
    }

    fn bias(&self, k: usize) -> i32 {
        self.byte(k + 104_729, 0) * 50
    }

    /// Number of channels that a filter reads.
    fn inner(&self) -> usize {
        if self.depthwise { 1 } else { self.c }
    }

    fn file(&self) -> File {
        let (element, inner, k) = (if self.signed { I8 } else { U8 }, self.inner(), self.filters());
        let outputs = |size: usize| size.div_ceil(self.stride) as i32;
        let [side, c] = [self.side as i32, self.c as i32];
        let mut weights = Vec::new();
        if self.depthwise {
            let places = (0..self.side * self.side).flat_map(|tap| (0..k).map(move |k| (tap, k)));
            weights.extend(places.map(|(tap, k)| self.weight(k, 0, tap / self.side, tap % self.side) as u8));
        } else {
            let places = (0..k).flat_map(|k| (0..self.side * self.side).map(move |tap| (k, tap)));
            weights.extend(places.flat_map(|(k, tap)| {
                (0..inner).map(move |c| self.weight(k, c, tap / self.side, tap % self.side) as u8)
            }));
        }
        let value = |name: &str, shape: Vec<i32>, scale: f32, zero_point: i32, data: Vec<u8>| Tensor {
            name: name.into(),
            shape,
            element,
            data,
            scales: vec![scale],
            zero_points: vec![zero_point.into()],
            ..Tensor::default()
        };
        let shape = if self.depthwise { vec![1, side, side, c] } else { vec![k as i32, side, side, c] };
        let zero = if self.signed { 0 } else { 128 };
        let bias: Vec<u8> = (0..k).flat_map(|k| self.bias(k).to_le_bytes()).collect();
        let bias = Tensor { name: "bias".into(), shape: vec![k as i32], element: I32, data: bias, ..Tensor::default() };
        let number = |n: usize| Number::I32(n as i32);
        let [stride, dilation] = [self.stride, self.dilation].map(number);
        let (code, options) = match self.depthwise {
            true => (4, vec![(1, stride), (2, stride), (3, Number::I32(1)), (5, dilation), (6, dilation)]),
            false => (3, vec![(1, stride), (2, stride), (4, dilation), (5, dilation)]),
        };
        File {
            tensors: vec![
                value("image", vec![1, self.h as i32, self.w as i32, c], 1.0 / 255.0, self.zero_points[0], vec![]),
                value("layer", shape, 0.01, self.zero_points[1], weights),
                bias,
                value("out", vec![1, outputs(self.h), outputs(self.w), k as i32], 0.05, zero, vec![]),
            ],
            operators: vec![Operator { code, inputs: vec![0, 1, 2], outputs: vec![3], options }],
            inputs: vec![0],
            outputs: vec![3],
            ..File::default()
        }
    }

    /// Every MAC: its window and filter, and the two codes minus their zero points; `None` for padding.
    fn macs(&self) -> Vec<(usize, usize, Option<i32>, i32)> {
        let pad = |size: usize| {
            let reach = self.dilation * (self.side - 1) + 1;
            ((size.div_ceil(self.stride) - 1) * self.stride + reach).saturating_sub(size) / 2
        };
        let (top, left) = (pad(self.h), pad(self.w));
        let (p, q) = (self.h.div_ceil(self.stride), self.w.div_ceil(self.stride));
        let mut macs = Vec::new();
        for (window, k) in (0..p * q).flat_map(|window| (0..self.filters()).map(move |k| (window, k))) {
            for (c, r, s) in
                (0..self.inner()).flat_map(|c| (0..self.side).flat_map(move |r| (0..self.side).map(move |s| (c, r, s))))
            {
                let y = (window / q * self.stride + r * self.dilation).wrapping_sub(top);
                let x = (window % q * self.stride + s * self.dilation).wrapping_sub(left);
                let channel = if self.depthwise { k } else { c };
                let inside = y < self.h && x < self.w;
                let a = inside.then(|| self.code(channel, y, x) - self.zero_points[0]);
                macs.push((window, k, a, self.weight(k, c, r, s) - self.zero_points[1]));
            }
        }
        macs
    }
}

fn problems() -> impl Strategy<Value = Problem> {
    let extents = (prop::sample::select(vec![1usize, 3]), 1usize..9, 1usize..20, 1usize..20);
    let attributes = (1usize..5, 1usize..4, 1usize..4, any::<bool>(), any::<bool>());
    (extents, attributes, 0i32..256, 0i32..256, any::<u32>()).prop_map(
        |((c, h, w, k), (side, stride, dilation, depthwise, signed), a, b, seed)| Problem {
            // With one channel it is not depthwise but ordinary.
            depthwise: depthwise && c > 1,
            signed,
            c,
            h,
            w,
            k,
            side,
            stride,
            dilation,
            // Filters of signed codes have zero point 0.
            zero_points: if signed { [a - 128, 0] } else { [a, b] },
            seed,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn integers_are_counted_and_computed_as_by_loops_over_all_macs(problem in problems()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.tflite");
        std::fs::write(&path, problem.file().bytes()).unwrap();
        let model = Model::load(path.to_str().unwrap(), &Default::default()).unwrap();
        // The pixels are the codes, as in a file.
        let low = if problem.signed { -128 } else { 0 };
        let places = (0..problem.h * problem.w).flat_map(|pixel| (0..problem.c).map(move |c| (pixel, c)));
        let pixels: Vec<u8> =
            places.map(|(pixel, c)| (problem.code(c, pixel / problem.w, pixel % problem.w) - low) as u8).collect();
        let shape = vec![1, problem.h, problem.w, problem.c];
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::U8, shape, &pixels).unwrap();
        let images = folder.path().join("images.safetensors");
        std::fs::write(&images, safetensors::serialize([("images", view)], None).unwrap()).unwrap();
        let data = Dataset::open(&[images], &model.preprocess).unwrap();
        let options = EngineOptions::new(2);
        let backend = Backend::Native(options.clone());
        let settings = Settings { format: NumberFormat::Stored.into(), statistics: Statistics::Full, ..Settings::default() };
        let calibration = calibrate(&model, &backend, &data, &settings, &Quiet).unwrap();
        let measurement = measure(&model, &backend, &data, &calibration, &Quiet).unwrap();
        let document = document(&Report::new(&measurement));
        let layer = &document["layers"][0];
        let share = |metric: &str| layer["metrics"][metric]["with_padding"]["numerator"].as_u64().unwrap();
        let all = problem.macs();
        let count = |class: &dyn Fn(Option<i32>, i32) -> bool| all.iter().filter(|mac| class(mac.2, mac.3)).count() as u64;
        prop_assert_eq!(layer["metrics"]["macs"]["value"].as_u64(), Some(all.len() as u64));
        prop_assert_eq!(share("macs.padding"), count(&|a, _| a.is_none()));
        prop_assert_eq!(share("macs.zero_both"), count(&|a, w| a == Some(0) && w == 0));
        prop_assert_eq!(share("macs.zero_activation"), count(&|a, w| a == Some(0) && w != 0));
        prop_assert_eq!(share("macs.zero_weight"), count(&|a, w| a.is_some_and(|a| a != 0) && w == 0));
        prop_assert_eq!(share("macs.effectual"), count(&|a, w| a.is_some_and(|a| a != 0) && w != 0));
        // Width of the activation times the stored width of a weight.
        let width = |v: i32| u128::from(32 - v.unsigned_abs().leading_zeros()) + u128::from(v < 0);
        let weight_bits = layer["weights"]["bits"]["value"].as_f64().unwrap() as u128;
        let work: u128 = all.iter().map(|mac| mac.2.map_or(0, width) * weight_bits).sum();
        let potential = &layer["metrics"]["potential.Ap.value"]["with_padding"];
        prop_assert_eq!(potential["denominator"].as_u64(), Some(work as u64));
        let codes = || (0..problem.h * problem.w * problem.c).map(|i| problem.byte(i, problem.zero_points[0]));
        let raw = |metric: &str, part: &str| layer["activations"][metric][part].as_u64().unwrap();
        prop_assert_eq!(raw("raw.zeros", "numerator"), codes().filter(|code| *code == 0).count() as u64);
        let ones: u64 = codes().map(|code| u64::from((code as u8).count_ones())).sum();
        prop_assert_eq!(raw("raw.zero_bits", "numerator"), raw("raw.zero_bits", "denominator") - ones);
        // The output: summed over all MACs and rounded once.
        let mut session = Session::new(model.graph.clone(), model.input_shape(), 1, options).unwrap();
        let output = session.run(&data.load(0).unwrap().values, None).unwrap();
        let windows = all.iter().map(|mac| mac.0).max().unwrap() + 1;
        let mut sums: Vec<i64> =
            (0..problem.filters() * windows).map(|i| i64::from(problem.bias(i / windows))).collect();
        all.iter().for_each(|&(window, k, a, w)| sums[k * windows + window] += i64::from(a.unwrap_or(0) * w));
        let requantize = model.graph.nodes.iter().find_map(|def| match &def.layer {
            Layer::Conv(conv) => conv.integer.as_ref().map(|integer| integer.requantize.clone()),
            _ => None,
        });
        let requantize = requantize.unwrap();
        for (i, (&got, &sum)) in output.iter().zip(&sums).enumerate() {
            let exact = sum as f64 * requantize.multipliers[i / windows];
            let exact = exact.clamp(f64::from(requantize.low), f64::from(requantize.high));
            // With two roundings, a code is at most three quarters off.
            prop_assert!((f64::from(got) / 0.05f32 as f64 - exact).abs() < 0.7501, "{i}: {got}, {exact}");
        }
    }
}
