//! The same graph with candle's operations: runs on every candle device, and is a second implementation of every layer.

mod recurrence;
mod round;
mod transformer;

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};

use crate::graph::{Graph, Node, NodeDef};
use crate::kernels::{Activation, Geometry, Halo};
use crate::layers::{Conv, ConvTranspose, Layer, MatMul, Param, Pool, PoolKind, Shape, Shuffle, Subsample};
use crate::probe::{Origin, Probe};
use crate::{Error, Result};

/// A graph with its parameters on a candle device.
pub struct CandleEngine {
    graph: Graph,
    device: Device,
    params: HashMap<(Node, &'static str), Tensor>,
}

type CandleResult = candle_core::Result<Tensor>;

impl CandleEngine {
    /// Copies the parameters of `graph` to `device`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what candle cannot compute; candle's own failures.
    pub fn new(graph: &Graph, device: Device) -> Result<Self> {
        let mut params = HashMap::new();
        for node in graph.handles() {
            let def = graph.def(node);
            if def.codes.is_some() {
                let what = format!("{}: 8-bit integers by the candle engine", def.name);
                return Err(Error::unsupported(what, "give --backend native"));
            }
            for (name, param) in learned(&def.layer) {
                let tensor = Tensor::from_slice(&param.data, param.shape.as_slice(), &device);
                params.insert((node, name), tensor.map_err(|error| failed(&def.name, error))?);
            }
            if let Layer::BatchNorm(norm) = &def.layer {
                let affine = norm.affine();
                for (name, values) in [
                    ("scale", affine.iter().map(|a| a.0 as f32).collect::<Vec<_>>()),
                    ("shift", affine.iter().map(|a| a.1 as f32).collect()),
                ] {
                    let tensor = Tensor::from_vec(values, (1, affine.len(), 1, 1), &device);
                    params.insert((node, name), tensor.map_err(|error| failed(&def.name, error))?);
                }
            }
        }
        Ok(Self { graph: graph.clone(), device, params })
    }

    /// Runs `images` images, `[N, C, H, W]` in one slice; returns the output `[N, ...]` flat.
    ///
    /// # Errors
    /// [`Error::Shape`] where a layer cannot take its input; candle's own failures, with the layer's name.
    pub fn run(&self, images: &[f32], input: Shape, probe: Option<&dyn Probe>) -> Result<Vec<f32>> {
        self.graph.shapes(input)?;
        let count = images.len() / input.elements();
        let shape = (count, input.c, input.h, input.w);
        let x = Tensor::from_slice(images, shape, &self.device).map_err(|error| failed("input", error))?;
        let last_read = last_reads(&self.graph);
        let mut values: Vec<Option<Tensor>> = vec![None; self.graph.nodes.len()];
        for node in self.graph.handles() {
            let def = self.graph.def(node);
            let value = if let Layer::Input = def.layer {
                x.clone()
            } else {
                let inputs: Vec<&Tensor> = def
                    .inputs
                    .iter()
                    .map(|input| values[input.index()].as_ref().expect("an input outlives its readers"))
                    .collect();
                let y = self.layer(node, def, &inputs).map_err(|error| failed(&def.name, error))?;
                if let Some(watch) = probe.and_then(|probe| probe.watch_inside(node)) {
                    let shown = self.recurrence(node, def, inputs[0]).and_then(|(_, middle)| show(&middle, watch));
                    shown.map_err(|error| failed(&def.name, error))?;
                }
                if let Some(watch) = probe.and_then(|probe| probe.watch(node)) {
                    let shown = match def.layer.recurrence() {
                        // A recurrence reads its own output of the step before.
                        Some(of) => recurrence::before(&y, of.reverse).and_then(|hidden| show(&hidden, watch)),
                        None => show(inputs[0], watch),
                    };
                    shown.map_err(|error| failed(&def.name, error))?;
                }
                let others = probe.map(|probe| [probe.watch_second(node), probe.watch_third(node)]);
                for (watch, input) in others.into_iter().flatten().zip(inputs.iter().skip(1)) {
                    let shown = watch.map_or(Ok(()), |watch| show(input, watch));
                    shown.map_err(|error| failed(&def.name, error))?;
                }
                if let (Layer::Attention(layer), Some(rows)) = (&def.layer, probe.and_then(|p| p.watch_rows(node))) {
                    transformer::show_rows(layer, &inputs, rows).map_err(|error| failed(&def.name, error))?;
                }
                if let Some(watch) = probe.and_then(|probe| probe.watch_output(node)) {
                    show(&y, watch).map_err(|error| failed(&def.name, error))?;
                }
                y
            };
            values[node.index()] = Some(value);
            for input in &def.inputs {
                if last_read[input.index()] == node.index() {
                    values[input.index()] = None;
                }
            }
        }
        let output = values[self.graph.output().index()].take().expect("the output is kept to the end");
        output.flatten_all().and_then(|flat| flat.to_vec1()).map_err(|error| failed("output", error))
    }

    fn param(&self, node: Node, name: &'static str) -> Option<&Tensor> {
        self.params.get(&(node, name))
    }

    fn layer(&self, node: Node, def: &NodeDef, inputs: &[&Tensor]) -> CandleResult {
        let x = inputs[0];
        let param = |name| self.param(node, name);
        let with_bias = |y: Tensor| match param("bias") {
            Some(bias) => y.broadcast_add(&bias.reshape((1, bias.elem_count(), 1, 1))?),
            None => Ok(y),
        };
        match &def.layer {
            Layer::Input => unreachable!("the input is not computed"),
            Layer::Conv(conv) => {
                let mut y = with_bias(conv2d(conv, x, param("weight").expect("a convolution has filters"))?)?;
                if let Some(residual) = inputs.get(1) {
                    y = (y + *residual)?;
                }
                activate(&y, conv.activation)
            }
            Layer::ConvTranspose(conv) => {
                let weight = param("weight").expect("a convolution has filters");
                activate(&with_bias(conv_transpose2d(conv, x, weight)?)?, conv.activation)
            }
            Layer::Linear(linear) => {
                let weight = param("weight").expect("a linear layer has a weight");
                if linear.steps {
                    let y = weight.broadcast_matmul(&x.squeeze(2)?.contiguous()?)?.unsqueeze(2)?;
                    return activate(&with_bias(y)?, linear.activation);
                }
                let y = x.flatten_from(1)?.matmul(&weight.t()?)?;
                let y = y.reshape((y.dim(0)?, linear.out_features, 1, 1))?;
                activate(&with_bias(y)?, linear.activation)
            }
            Layer::Embedding(embedding) => {
                let (n, _, _, steps) = x.dims4()?;
                let table = param("weight").expect("an embedding has a table");
                let rows = table.index_select(&x.flatten_all()?.to_dtype(DType::U32)?, 0)?;
                let rows = rows.reshape((n, steps, embedding.features()))?;
                rows.transpose(1, 2)?.unsqueeze(2)?.contiguous()
            }
            Layer::Lstm(_) | Layer::Recurrent(_) => self.recurrence(node, def, x).map(|(y, _)| y),
            Layer::MatMul(product) => matmul(product, x, inputs[1]),
            Layer::Attention(layer) => transformer::attention(layer, inputs),
            Layer::Norm(norm) => transformer::norm(norm, x, param("weight"), param("bias")),
            Layer::Rotary(rotary) => transformer::rotary(&rotary.turns, x),
            Layer::Positions(positions) => transformer::positions(positions, x),
            Layer::Tokens(_) => transformer::tokens(param("weight").expect("learned steps"), x),
            Layer::Step(step) => transformer::step(*step, x),
            Layer::BatchNorm(_) => {
                let [scale, shift] = ["scale", "shift"].map(|name| param(name).expect("a norm has both"));
                x.broadcast_mul(scale)?.broadcast_add(shift)
            }
            Layer::Activation(activation) => activate(x, *activation),
            Layer::Pool(pool) => pool2d(pool, x),
            Layer::GlobalAvgPool => x.mean_keepdim(3)?.mean_keepdim(2),
            Layer::Add => x + inputs[1],
            Layer::Sub => x - inputs[1],
            Layer::Mul => x.broadcast_mul(inputs[1]),
            Layer::Concat => Tensor::cat(inputs, 1),
            Layer::Resize(resize) => {
                let (_, _, h, w) = inputs[1].dims4()?;
                x.upsample_bilinear2d(h, w, resize.align_corners)
            }
            Layer::Shuffle(Shuffle { factor, up: true }) => pixel_shuffle(x, *factor),
            Layer::Shuffle(Shuffle { factor, .. }) => pixel_unshuffle(x, *factor),
            Layer::Slice(slice) => {
                let (_, _, h, w) = x.dims4()?;
                let Halo { top, bottom, left, right } = slice.cut;
                let rows = x.narrow(1, slice.start, slice.channels)?.narrow(2, top, h - top - bottom)?;
                rows.narrow(3, left, w - left - right)?.contiguous()
            }
            Layer::WeightedMean => {
                let scores = inputs[1];
                let shares = scores.broadcast_sub(&scores.max_keepdim(3)?)?.exp()?;
                let shares = shares.broadcast_div(&shares.sum_keepdim(3)?)?;
                x.broadcast_mul(&shares)?.sum_keepdim(3)
            }
            Layer::Softmax(beta) => {
                let x = (x * f64::from(*beta))?;
                let shares = x.broadcast_sub(&x.max_keepdim(1)?)?.exp()?;
                shares.broadcast_div(&shares.sum_keepdim(1)?)
            }
            Layer::Rows => x.permute((0, 3, 1, 2))?.contiguous(),
            Layer::Integer(_) => unreachable!("integer graphs are refused"),
            Layer::Operand(_) => candle_core::bail!("an operand of an ONNX file"),
            Layer::Fill(value) => {
                let (n, _, h, w) = x.dims4()?;
                Tensor::full(*value, (n, 1, h, w), x.device())
            }
            Layer::Subsample(Subsample { stride, before, after }) => {
                every(&every(x, 2, *stride)?, 3, *stride)?.pad_with_zeros(1, *before, *after)
            }
        }
    }
}

fn failed(layer: &str, error: candle_core::Error) -> Error {
    // candle appends a backtrace to its messages where one is enabled; the first line is what happened.
    let text = error.to_string();
    Error::shape(layer, format!("candle: {}", text.lines().next().unwrap_or_default()))
}

fn learned(layer: &Layer) -> Vec<(&'static str, &Param)> {
    let (weight, bias) = match layer {
        Layer::Conv(conv) => (&conv.weight, &conv.bias_values),
        Layer::ConvTranspose(conv) => (&conv.weight, &conv.bias_values),
        Layer::Linear(linear) => (&linear.weight, &linear.bias),
        Layer::Embedding(embedding) => (&embedding.table, &None),
        Layer::Tokens(tokens) => (&tokens.before, &None),
        Layer::Norm(norm) => {
            let params = [("weight", &norm.weight), ("bias", &norm.bias)];
            return params.into_iter().filter_map(|(name, param)| Some((name, param.as_ref()?))).collect();
        }
        _ => {
            let Some(of) = layer.recurrence() else { return vec![] };
            let more = [("weight", Some(of.weight)), ("bias", of.bias), ("projection", of.projection)];
            return more.into_iter().filter_map(|(name, param)| Some((name, param?))).collect();
        }
    };
    std::iter::once(("weight", weight)).chain(bias.as_ref().map(|bias| ("bias", bias))).collect()
}

/// For each node, the last node that reads it (one past the end for the output).
fn last_reads(graph: &Graph) -> Vec<usize> {
    let readers = graph.readers();
    let last = |node: Node| readers[node.index()].iter().map(|reader| reader.index()).max().unwrap_or(node.index());
    graph.handles().map(|node| if node == graph.output() { graph.nodes.len() } else { last(node) }).collect()
}

/// Copies an operand to the host, image by image, and calls the watcher with it.
fn show(x: &Tensor, watch: &dyn crate::probe::Watch) -> candle_core::Result<()> {
    let (n, c, h, w) = x.dims4()?;
    let geometry = Geometry::blocked(1, c, h, w);
    let mut buffer = vec![0.0; geometry.len()];
    for image in 0..n {
        let values: Vec<f32> = x.get(image)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        geometry.pack(&values, &mut buffer);
        watch.look(0, &buffer, &geometry, 0, geometry.rows(0..h), Origin { image, row: 0 });
    }
    Ok(())
}

/// `[N, heads·K, 1, M]` times `[N, heads·K, 1, columns]`.
fn matmul(product: &MatMul, a: &Tensor, b: &Tensor) -> CandleResult {
    let (n, _, _, rows) = a.dims4()?;
    let columns = b.dim(3)?;
    let a = a.reshape((n, product.heads, product.inner, rows))?;
    let b = b.reshape((n, product.heads, product.inner, columns))?.transpose(2, 3)?.contiguous()?;
    b.matmul(&a)?.reshape((n, product.heads * columns, 1, rows))
}

fn pad(x: &Tensor, halo: Halo) -> CandleResult {
    x.pad_with_zeros(2, halo.top, halo.bottom)?.pad_with_zeros(3, halo.left, halo.right)
}

/// Every `stride`-th slice of dimension `dim`.
fn every(x: &Tensor, dim: usize, stride: usize) -> CandleResult {
    if stride == 1 {
        return Ok(x.clone());
    }
    let index: Vec<u32> = (0..x.dim(dim)? as u32).step_by(stride).collect();
    x.contiguous()?.index_select(&Tensor::new(index, x.device())?, dim)
}

fn conv2d(conv: &Conv, x: &Tensor, weight: &Tensor) -> CandleResult {
    let (_, _, h, w) = x.dims4()?;
    let x = pad(x, conv.halo(h, w))?;
    if conv.dilation.0 != conv.dilation.1 {
        candle_core::bail!("a dilation that differs between rows and columns");
    }
    // candle has one stride for both directions: if they differ, compute all and drop.
    if conv.stride.0 == conv.stride.1 {
        return x.conv2d(weight, 0, conv.stride.0, conv.dilation.0, conv.groups);
    }
    let all = x.conv2d(weight, 0, 1, conv.dilation.0, conv.groups)?;
    every(&every(&all, 2, conv.stride.0)?, 3, conv.stride.1)
}

fn conv_transpose2d(conv: &ConvTranspose, x: &Tensor, weight: &Tensor) -> CandleResult {
    if conv.stride.0 != conv.stride.1 || conv.dilation.0 != conv.dilation.1 {
        candle_core::bail!("a stride or dilation that differs between rows and columns");
    }
    let parts = x.chunk(conv.groups, 1)?.into_iter().zip(weight.chunk(conv.groups, 0)?);
    let parts: candle_core::Result<Vec<Tensor>> = parts
        .map(|(x, w)| x.contiguous()?.conv_transpose2d(&w.contiguous()?, 0, 0, conv.stride.0, conv.dilation.0))
        .collect();
    let full = Tensor::cat(&parts?, 1)?;
    let (_, _, h, w) = full.dims4()?;
    let cut = conv.padding;
    full.narrow(2, cut.top, h - cut.top - cut.bottom)?.narrow(3, cut.left, w - cut.left - cut.right)?.contiguous()
}

/// Pooling as an elementwise reduction over the taps of the window, since candle's own has no padding.
fn pool2d(pool: &Pool, x: &Tensor) -> CandleResult {
    let (_, c, h, w) = x.dims4()?;
    let y = pool.output(Shape::new(c, h, w)).map_err(candle_core::Error::msg)?;
    // Taps may be beyond the padding if windows reach over the end (ceil).
    let reach = |size: usize, before: usize, outputs: usize| {
        ((outputs - 1) * pool.stride + pool.kernel).saturating_sub(size + before)
    };
    let halo =
        Halo { bottom: reach(h, pool.padding.top, y.h), right: reach(w, pool.padding.left, y.w), ..pool.padding };
    let framed = |fill: f64, halo: Halo, inner: &Tensor| -> CandleResult {
        // pad(x - fill) + fill pads x with any finite value; for infinity, mask instead.
        let mask = pad(&inner.ones_like()?, halo)?;
        let zero_framed = pad(inner, halo)?;
        let outside = (mask.ones_like()? * fill)?;
        mask.gt(0.5)?.where_cond(&zero_framed, &outside)
    };
    let taps = |framed: &Tensor| -> candle_core::Result<Vec<Tensor>> {
        let mut taps = Vec::new();
        for ky in 0..pool.kernel {
            for kx in 0..pool.kernel {
                let rows = framed.narrow(2, ky, (y.h - 1) * pool.stride + 1)?;
                let tap = rows.narrow(3, kx, (y.w - 1) * pool.stride + 1)?;
                taps.push(every(&every(&tap, 2, pool.stride)?, 3, pool.stride)?);
            }
        }
        Ok(taps)
    };
    let fold = |parts: Vec<Tensor>, f: &dyn Fn(&Tensor, &Tensor) -> CandleResult| -> CandleResult {
        let mut parts = parts.into_iter();
        let first = parts.next().expect("a window has a tap");
        parts.try_fold(first, |acc, part| f(&acc, &part))
    };
    match pool.kind {
        PoolKind::Max => fold(taps(&framed(f64::NEG_INFINITY, halo, x)?)?, &|a, b| a.maximum(b)),
        PoolKind::Average { count_padding } => {
            let sum = fold(taps(&pad(x, halo)?)?, &|a, b| a + b)?;
            // The divisor of each window: its pixels in the tensor, or in the tensor with its declared padding.
            let counted = if count_padding { pad(&x.ones_like()?, pool.padding)?.ones_like()? } else { x.ones_like()? };
            let rest = if count_padding {
                let over = |all: usize, declared: usize| all.saturating_sub(declared);
                Halo {
                    top: 0,
                    left: 0,
                    bottom: over(halo.bottom, pool.padding.bottom),
                    right: over(halo.right, pool.padding.right),
                }
            } else {
                halo
            };
            sum / fold(taps(&pad(&counted, rest)?)?, &|a, b| a + b)?
        }
    }
}

fn pixel_shuffle(x: &Tensor, f: usize) -> CandleResult {
    let (n, c, h, w) = x.dims4()?;
    let parts = x.reshape((n, c / (f * f), f, f, h, w))?.permute((0, 1, 4, 2, 5, 3))?;
    parts.contiguous()?.reshape((n, c / (f * f), h * f, w * f))
}

fn pixel_unshuffle(x: &Tensor, f: usize) -> CandleResult {
    let (n, c, h, w) = x.dims4()?;
    let parts = x.reshape((n, c, h / f, f, w / f, f))?.permute((0, 1, 3, 5, 2, 4))?;
    parts.contiguous()?.reshape((n, c * f * f, h / f, w / f))
}

fn activate(x: &Tensor, activation: Activation) -> CandleResult {
    let hard_sigmoid = |x: &Tensor| (x + 3.0)?.clamp(0f32, 6f32)? / 6.0;
    match activation {
        Activation::Identity => Ok(x.clone()),
        Activation::Relu => x.relu(),
        Activation::Relu6 => x.clamp(0f32, 6f32),
        Activation::LeakyRelu(slope) => x.relu()? - (x.neg()?.relu()? * f64::from(slope))?,
        Activation::HardSwish => x * hard_sigmoid(x)?,
        Activation::HardSigmoid => hard_sigmoid(x),
        Activation::Sigmoid => (x.neg()?.exp()? + 1.0)?.recip(),
        Activation::Silu => x.silu(),
        Activation::Tanh => x.tanh(),
        Activation::Sqrt => x.relu()?.sqrt(),
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::QuickGelu => x * ((x * -1.702)?.exp()? + 1.0)?.recip()?,
        Activation::Threshold(threshold) => {
            let kept = x.abs()?.gt(f64::from(threshold))?;
            kept.where_cond(x, &x.zeros_like()?)
        }
        Activation::Round(map) => round::rounded(x, map),
    }
}
