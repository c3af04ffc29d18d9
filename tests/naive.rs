//! A third implementation of the layers: plain loops in NCHW order, with sums in f64, which hold integer sums exactly.

mod transformer;

use deadweight::graph::Graph;
use deadweight::kernels::{Activation, Integer, Requantize, Rounding, count::CodeMap, pool::PoolShape};
use deadweight::layers::{
    BatchNorm, Cell, Conv, ConvTranspose, Layer, Linear, Lstm, MatMul, Pool, PoolKind, Recurrent, Resize, Shape,
    Shuffle, Subsample,
};

/// The output of `graph` for one image `x` of shape `input`.
pub fn run(graph: &Graph, input: Shape, x: &[f32]) -> Vec<f32> {
    let shapes = graph.shapes(input).expect("the network takes this input");
    let mut values: Vec<Vec<f64>> = Vec::new();
    for node in graph.handles() {
        let def = graph.def(node);
        let read = |i: usize| (&values[def.inputs[i].index()][..], shapes[def.inputs[i].index()]);
        let y = shapes[node.index()];
        values.push(match &def.layer {
            Layer::Input => x.iter().map(|&v| f64::from(v)).collect(),
            Layer::Conv(layer) => conv(layer, read(0), y),
            Layer::Linear(layer) if layer.steps => {
                let (x, shape) = read(0);
                let step = |t: usize| (0..shape.c).map(|c| x[c * shape.w + t]).collect::<Vec<f64>>();
                let columns: Vec<Vec<f64>> = (0..shape.w).map(|t| linear(layer, &step(t))).collect();
                indices(y).map(|(c, _, t)| columns[t][c]).collect()
            }
            Layer::Linear(layer) => linear(layer, read(0).0),
            Layer::Embedding(layer) => {
                let ids = read(0).0;
                indices(y).map(|(c, _, t)| f64::from(layer.table.data[ids[t] as usize * y.c + c])).collect()
            }
            Layer::Lstm(layer) => lstm(layer, read(0), y),
            Layer::Recurrent(layer) => recurrent(layer, read(0), y),
            Layer::MatMul(layer) => matmul(layer, read(0), read(1), y),
            Layer::Attention(layer) => {
                let inputs: Vec<_> = (0..def.inputs.len()).map(read).collect();
                transformer::attention(layer, &inputs, y)
            }
            Layer::Norm(layer) => transformer::norm(layer, read(0)),
            Layer::Rotary(layer) => transformer::rotary(&layer.turns, read(0)),
            Layer::Positions(layer) => transformer::positions(layer, read(0).0, y.w),
            Layer::Tokens(layer) => transformer::tokens(layer, read(0), y),
            Layer::Step(layer) => transformer::step(*layer, read(0)),
            Layer::BatchNorm(layer) => batch_norm(layer, read(0)),
            Layer::Activation(function) => read(0).0.iter().map(|&v| activation(*function, v)).collect(),
            Layer::Pool(layer) => pool(layer, read(0), y),
            Layer::GlobalAvgPool => {
                let (x, shape) = read(0);
                let pixels = shape.h * shape.w;
                x.chunks(pixels).map(|plane| plane.iter().sum::<f64>() / pixels as f64).collect()
            }
            Layer::Sub => read(0).0.iter().zip(read(1).0).map(|(a, b)| a - b).collect(),
            Layer::Add => read(0).0.iter().zip(read(1).0).map(|(a, b)| a + b).collect(),
            Layer::Mul => {
                let ((x, shape), (gate, gates)) = (read(0), read(1));
                let each = shape.elements() / gates.elements();
                x.iter().enumerate().map(|(i, v)| v * gate[i / each]).collect()
            }
            Layer::Subsample(layer) => subsample(layer, read(0), y),
            Layer::Operand(_) => unreachable!("an operand of an ONNX file"),
            Layer::Concat => (0..def.inputs.len()).flat_map(|i| read(i).0.iter().copied()).collect(),
            Layer::ConvTranspose(layer) => conv_transpose(layer, read(0), y),
            Layer::Resize(layer) => resize(layer, read(0), y),
            Layer::Shuffle(layer) => shuffle(*layer, read(0), y),
            Layer::Slice(layer) => {
                let (x, shape) = read(0);
                let at = |c: usize, h: usize, w: usize| {
                    x[((layer.start + c) * shape.h + h + layer.cut.top) * shape.w + w + layer.cut.left]
                };
                indices(y).map(|(c, h, w)| at(c, h, w)).collect()
            }
            Layer::WeightedMean => {
                let ((x, shape), (scores, _)) = (read(0), read(1));
                let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let shares: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
                let total: f64 = shares.iter().sum();
                let mean = |row: &[f64]| row.iter().zip(&shares).map(|(x, share)| x * share / total).sum();
                x.chunks(shape.w).map(mean).collect()
            }
            Layer::Rows => {
                let (x, shape) = read(0);
                indices(y).map(|(c, _, t)| x[t * shape.w + c]).collect()
            }
            Layer::Softmax(beta) => {
                let (x, shape) = read(0);
                let pixels = shape.h * shape.w;
                let of = |pixel: usize| (0..shape.c).map(move |c| (x[c * pixels + pixel] * f64::from(*beta)).exp());
                let totals: Vec<f64> = (0..pixels).map(|pixel| of(pixel).sum()).collect();
                x.iter().enumerate().map(|(i, v)| (v * f64::from(*beta)).exp() / totals[i % pixels]).collect()
            }
            Layer::Integer(layer) => {
                let inputs: Vec<_> = (0..def.inputs.len()).map(read).collect();
                integer(layer, &inputs, y)
            }
            Layer::Fill(value) => vec![f64::from(*value); y.elements()],
        });
    }
    values[graph.output().index()].iter().map(|&v| v as f32).collect()
}

fn conv(layer: &Conv, (x, shape): (&[f64], Shape), y: Shape) -> Vec<f64> {
    let halo = layer.halo(shape.h, shape.w);
    let (r, s) = layer.kernel;
    let (inputs, outputs) = (shape.c / layer.groups, y.c / layer.groups);
    let mut out = vec![0.0; y.elements()];
    for k in 0..y.c {
        let plane = &mut out[k * y.h * y.w..][..y.h * y.w];
        plane.fill(layer.bias_values.as_ref().map_or(0.0, |bias| f64::from(bias.data[k])));
        for tap in 0..inputs * r * s {
            let (c, i, j) = (tap / (r * s), tap / s % r, tap % s);
            let weight = f64::from(layer.weight.data[k * inputs * r * s + tap]);
            let source = &x[(k / outputs * inputs + c) * shape.h * shape.w..][..shape.h * shape.w];
            for (p, row) in plane.chunks_mut(y.w).enumerate() {
                let Some(h) = inside(p, layer.stride.0, i * layer.dilation.0, halo.top, shape.h) else { continue };
                let source = &source[h * shape.w..][..shape.w];
                for (q, cell) in row.iter_mut().enumerate() {
                    if let Some(w) = inside(q, layer.stride.1, j * layer.dilation.1, halo.left, shape.w) {
                        *cell += weight * source[w];
                    }
                }
            }
        }
    }
    if let Some(integer) = &layer.integer {
        for (k, plane) in out.chunks_mut(y.h * y.w).enumerate() {
            plane.iter_mut().for_each(|sum| *sum = requantized(*sum, k, &integer.requantize));
        }
    }
    out
}

/// The requantised code of filter `k` for an integer sum: in f32, ties to even.
fn requantized(sum: f64, k: usize, by: &Requantize) -> f64 {
    assert!(by.rounding == Rounding::Float32 && by.offset.is_empty(), "what quantising makes");
    let float = (sum + f64::from(by.bias[k])) as f32 * by.multipliers[k] as f32;
    even(float, (by.low, by.high))
}

/// The nearest integer within bounds, ties to even.
fn even(x: f32, (low, high): (i32, i32)) -> f64 {
    // Adding zero turns -0 into +0.
    f64::from(x.round_ties_even()).clamp(low.into(), high.into()) + 0.0
}

/// An integer layer without weights, as ONNX defines it.
fn integer(layer: &Integer, inputs: &[(&[f64], Shape)], y: Shape) -> Vec<f64> {
    let (x, shape) = inputs[0];
    let floats = x.iter().map(|&v| v as f32);
    match layer {
        Integer::Quantize(codes, Rounding::Float32) => floats.map(|x| even(x / codes.scale, codes.bounds())).collect(),
        Integer::Dequantize(codes) => x.iter().map(|v| v * f64::from(codes.scale)).collect(),
        &Integer::Rescale { scales: (from, to), bounds, rounding: Rounding::Float32 } => {
            floats.map(|x| even(x * from / to, bounds)).collect()
        }
        &Integer::Add { scales: ([first, second], sum), bounds, rounding: Rounding::Float32 } => {
            let terms = floats.zip(inputs[1].0.iter().map(|&v| v as f32));
            terms.map(|(a, b)| even((a * first + b * second) / sum, bounds)).collect()
        }
        &Integer::Mean { scales: (from, to), bounds, rounding: Rounding::Float32 } => {
            let pixels = shape.h * shape.w;
            let multiplier = from / (to * pixels as f32);
            x.chunks(pixels).map(|plane| even(plane.iter().sum::<f64>() as f32 * multiplier, bounds)).collect()
        }
        &Integer::AveragePool { shape: PoolShape { kernel, stride, padding }, codes, bounds: (low, high) } => {
            let kind = PoolKind::Average { count_padding: false };
            let means = pool(&Pool { kind, kernel, stride, padding, ceil: false }, (x, shape), y);
            let zero = f64::from(codes.zero_point);
            // Over the codes themselves, ties away from zero.
            means.iter().map(|mean| ((mean + zero).round() - zero).clamp(low.into(), high.into())).collect()
        }
        other => panic!("{}: not made by quantising", other.name()),
    }
}

/// Every index of `shape` in order.
fn indices(shape: Shape) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..shape.elements()).map(move |i| (i / (shape.h * shape.w), i / shape.w % shape.h, i % shape.w))
}

fn conv_transpose(layer: &ConvTranspose, (x, shape): (&[f64], Shape), y: Shape) -> Vec<f64> {
    let mut out: Vec<f64> =
        indices(y).map(|(k, ..)| layer.bias_values.as_ref().map_or(0.0, |bias| f64::from(bias.data[k]))).collect();
    let (inputs, outputs) = (shape.c / layer.groups, y.c / layer.groups);
    let (r, s) = layer.kernel;
    for (i, (c, h, w)) in indices(shape).enumerate() {
        for tap in 0..outputs * r * s {
            let (k, a, b) = (tap / (r * s), tap / s % r, tap % s);
            let row = (h * layer.stride.0 + a * layer.dilation.0).checked_sub(layer.padding.top);
            let column = (w * layer.stride.1 + b * layer.dilation.1).checked_sub(layer.padding.left);
            if let (Some(p), Some(q)) = (row.filter(|&p| p < y.h), column.filter(|&q| q < y.w)) {
                let k = c / inputs * outputs + k;
                out[(k * y.h + p) * y.w + q] += x[i] * f64::from(layer.weight.data[c * outputs * r * s + tap]);
            }
        }
    }
    out
}

fn resize(layer: &Resize, (x, shape): (&[f64], Shape), y: Shape) -> Vec<f64> {
    // The two neighbours of an output pixel, and the weight of the second.
    let between = |i: usize, input: usize, output: usize| {
        let at = if layer.align_corners {
            if output > 1 { i as f64 * (input - 1) as f64 / (output - 1) as f64 } else { 0.0 }
        } else {
            ((i as f64 + 0.5) * input as f64 / output as f64 - 0.5).max(0.0)
        };
        let first = (at as usize).min(input - 1);
        (first, (first + 1).min(input - 1), at - first as f64)
    };
    let at = |(c, h, w): (usize, usize, usize)| {
        let (top, bottom, down) = between(h, shape.h, y.h);
        let (left, right, across) = between(w, shape.w, y.w);
        let cell = |h: usize, w: usize| x[(c * shape.h + h) * shape.w + w];
        let row = |h: usize| cell(h, left) * (1.0 - across) + cell(h, right) * across;
        row(top) * (1.0 - down) + row(bottom) * down
    };
    indices(y).map(at).collect()
}

fn shuffle(layer: Shuffle, (x, shape): (&[f64], Shape), y: Shape) -> Vec<f64> {
    let f = layer.factor;
    let (few, many) = if layer.up { (y, shape) } else { (shape, y) };
    let mut out = vec![0.0; y.elements()];
    // Pixel (h, w) of channel c on one side is a channel of its own on the other.
    for (pixel, (c, h, w)) in indices(few).enumerate() {
        let channel = ((c * f + h % f) * f + w % f) * many.h * many.w + h / f * many.w + w / f;
        if layer.up { out[pixel] = x[channel] } else { out[channel] = x[pixel] }
    }
    out
}

/// The row (or column) of the input that a tap of output `p` reads; `None` in the padding.
fn inside(p: usize, stride: usize, tap: usize, before: usize, size: usize) -> Option<usize> {
    (p * stride + tap).checked_sub(before).filter(|&h| h < size)
}

fn matmul(layer: &MatMul, (a, at): (&[f64], Shape), (b, bt): (&[f64], Shape), y: Shape) -> Vec<f64> {
    let value = |(c, _, m): (usize, usize, usize)| {
        let (head, n) = (c / bt.w, c % bt.w);
        let channels = head * layer.inner..(head + 1) * layer.inner;
        channels.map(|k| a[k * at.w + m] * b[k * bt.w + n]).sum()
    };
    indices(y).map(value).collect()
}

fn lstm(layer: &Lstm, (x, shape): (&[f64], Shape), y: Shape) -> Vec<f64> {
    let (hidden, outputs) = (layer.hidden(), y.c);
    let (mut h, mut c, mut out) = (vec![0.0; outputs], vec![0.0; hidden], vec![0.0; y.elements()]);
    let product = |row: &[f32], values: &[f64]| row.iter().zip(values).map(|(&w, v)| f64::from(w) * v).sum::<f64>();
    for step in 0..shape.w {
        let t = if layer.reverse { shape.w - 1 - step } else { step };
        let (mut middle, read) = (vec![0.0; hidden], nearest(&h, layer.rounding[0]));
        for unit in 0..hidden {
            let gate = |gate: usize| {
                let row = gate * hidden + unit;
                let bias = layer.bias.as_ref().map_or(0.0, |bias| f64::from(bias.data[row]));
                x[row * shape.w + t] + bias + product(&layer.weight.data[row * outputs..][..outputs], &read)
            };
            let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
            let cell = sigmoid(gate(1)) * c[unit] + sigmoid(gate(0)) * gate(2).tanh();
            c[unit] = layer.clip.map_or(cell, |clip| cell.clamp(-f64::from(clip), f64::from(clip)));
            middle[unit] = sigmoid(gate(3)) * c[unit].tanh();
        }
        h = match &layer.projection {
            Some(projection) => {
                let read = nearest(&middle, layer.rounding[1]);
                projection.data.chunks(hidden).map(|row| product(row, &read)).collect()
            }
            None => middle,
        };
        (0..outputs).for_each(|k| out[k * y.w + t] = h[k]);
    }
    out
}

/// What is multiplied of `values`, which a layer may round.
fn nearest(values: &[f64], rounding: Option<CodeMap>) -> Vec<f64> {
    values.iter().map(|&x| rounding.map_or(x, |map| f64::from(map.nearest(x as f32)))).collect()
}

fn recurrent(layer: &Recurrent, (x, shape): (&[f64], Shape), y: Shape) -> Vec<f64> {
    let hidden = y.c;
    let (mut h, mut out) = (vec![0.0; hidden], vec![0.0; y.elements()]);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    for step in 0..shape.w {
        let t = if layer.reverse { shape.w - 1 - step } else { step };
        let input = |row: usize| x[row * shape.w + t];
        let read = nearest(&h, layer.rounding);
        let product = |row: usize| {
            let weights = &layer.weight.data[row * hidden..][..hidden];
            let bias = layer.bias.as_ref().map_or(0.0, |bias| f64::from(bias.data[row]));
            weights.iter().zip(&read).map(|(&w, v)| f64::from(w) * v).sum::<f64>() + bias
        };
        let sum = |row: usize| input(row) + product(row);
        let value = |unit: usize| match layer.cell {
            Cell::Gru => {
                let (reset, update) = (sigmoid(sum(unit)), sigmoid(sum(hidden + unit)));
                let candidate = (input(2 * hidden + unit) + reset * product(2 * hidden + unit)).tanh();
                update * h[unit] + (1.0 - update) * candidate
            }
            Cell::Tanh => sum(unit).tanh(),
            Cell::Relu => sum(unit).max(0.0),
        };
        h = (0..hidden).map(value).collect();
        (0..hidden).for_each(|k| out[k * y.w + t] = h[k]);
    }
    out
}

fn linear(layer: &Linear, x: &[f64]) -> Vec<f64> {
    let row = |k: usize| &layer.weight.data[k * layer.in_features..][..layer.in_features];
    let bias = |k: usize| layer.bias.as_ref().map_or(0.0, |bias| f64::from(bias.data[k]));
    let dot = |k: usize| row(k).iter().zip(x).map(|(&w, v)| f64::from(w) * v).sum::<f64>() + bias(k);
    match &layer.integer {
        Some(integer) => (0..layer.out_features).map(|k| requantized(dot(k), k, &integer.requantize)).collect(),
        None => (0..layer.out_features).map(|k| activation(layer.activation, dot(k))).collect(),
    }
}

fn batch_norm(layer: &BatchNorm, (x, shape): (&[f64], Shape)) -> Vec<f64> {
    let [weight, bias, mean, variance] =
        [&layer.weight, &layer.bias, &layer.mean, &layer.variance].map(|param| |c: usize| f64::from(param.data[c]));
    let normed = |c: usize, v: f64| (v - mean(c)) / (variance(c) + layer.eps).sqrt() * weight(c) + bias(c);
    x.iter().enumerate().map(|(i, &v)| normed(i / (shape.h * shape.w), v)).collect()
}

fn activation(function: Activation, x: f64) -> f64 {
    let hard_sigmoid = (x + 3.0).clamp(0.0, 6.0) / 6.0;
    match function {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::LeakyRelu(slope) => {
            if x > 0.0 {
                x
            } else {
                f64::from(slope) * x
            }
        }
        Activation::HardSwish => x * hard_sigmoid,
        Activation::HardSigmoid => hard_sigmoid,
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        Activation::Sqrt => x.max(0.0).sqrt(),
        Activation::Gelu => x * (1.0 + transformer::erf(x * std::f64::consts::FRAC_1_SQRT_2)) / 2.0,
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            x * (1.0 + inner.tanh()) / 2.0
        }
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        Activation::Round(map) => f64::from(map.nearest(x as f32)),
        Activation::Threshold(threshold) => {
            if x.abs() > f64::from(threshold) {
                x
            } else {
                0.0
            }
        }
    }
}

fn pool(layer: &Pool, (x, shape): (&[f64], Shape), y: Shape) -> Vec<f64> {
    let p = layer.padding;
    let taps = || (0..layer.kernel * layer.kernel).map(|tap| (tap / layer.kernel, tap % layer.kernel));
    let window = |c: usize, h: usize, w: usize| -> Vec<f64> {
        let row = |i| inside(h, layer.stride, i, p.top, shape.h);
        let column = |j| inside(w, layer.stride, j, p.left, shape.w);
        taps().filter_map(|(i, j)| Some(x[(c * shape.h + row(i)?) * shape.w + column(j)?])).collect()
    };
    let reduce = |i: usize| {
        let (c, h, w) = (i / (y.h * y.w), i / y.w % y.h, i % y.w);
        let cells = window(c, h, w);
        let padded = |i: usize, j: usize| {
            h * layer.stride + i < p.top + shape.h + p.bottom && w * layer.stride + j < p.left + shape.w + p.right
        };
        match layer.kind {
            PoolKind::Max => cells.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            PoolKind::Average { count_padding: false } => cells.iter().sum::<f64>() / cells.len() as f64,
            PoolKind::Average { count_padding: true } => {
                cells.iter().sum::<f64>() / taps().filter(|&(i, j)| padded(i, j)).count() as f64
            }
        }
    };
    (0..y.elements()).map(reduce).collect()
}

fn subsample(layer: &Subsample, (x, shape): (&[f64], Shape), y: Shape) -> Vec<f64> {
    let at = |i: usize| {
        let (c, h, w) = (i / (y.h * y.w), i / y.w % y.h, i % y.w);
        match c.checked_sub(layer.before) {
            Some(c) if c < shape.c => x[(c * shape.h + h * layer.stride) * shape.w + w * layer.stride],
            _ => 0.0,
        }
    };
    (0..y.elements()).map(at).collect()
}
