//! Layers of transformers with candle's operations.

use std::ops::Range;

use candle_core::{D, DType, Tensor};

use super::CandleResult;
use super::round::rounded;
use crate::kernels::attention::Probabilities;
use crate::kernels::norm::NormKind;
use crate::kernels::rotary::Turns;
use crate::kernels::{Geometry, Pool};
use crate::layers::{Attention, Norm, Positions, Step};
use crate::probe::WatchRows;

/// `[N, heads·outer, 1, T]` of queries, keys, values and, with padding, token ids.
pub(super) fn attention(layer: &Attention, inputs: &[&Tensor]) -> CandleResult {
    let shape = layer.shape;
    let (n, _, _, steps) = inputs[0].dims4()?;
    let values = shared(layer, inputs[2], shape.outer)?.transpose(2, 3)?.contiguous()?;
    let y = probabilities(layer, inputs)?.matmul(&values)?;
    y.transpose(2, 3)?.contiguous()?.reshape((n, shape.heads * shape.outer, 1, steps))
}

/// `[N, heads, T, T]` of the same inputs.
fn probabilities(layer: &Attention, inputs: &[&Tensor]) -> CandleResult {
    let shape = layer.shape;
    let (n, _, _, steps) = inputs[0].dims4()?;
    let queries = inputs[0].reshape((n, shape.heads, shape.inner, steps))?.transpose(2, 3)?.contiguous()?;
    let scores = (queries.matmul(&shared(layer, inputs[1], shape.inner)?)? * f64::from(shape.scale))?;
    let scores = scores.broadcast_add(&mask(layer, inputs, (n, steps))?)?;
    let powers = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    let shares = powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?;
    layer.rounding.map_or(Ok(shares.clone()), |map| rounded(&shares, map))
}

/// `[N, heads, each, T]`: a head of `x` once for each head of queries that shares it.
fn shared(layer: &Attention, x: &Tensor, each: usize) -> CandleResult {
    let (shape, (n, _, _, steps)) = (layer.shape, x.dims4()?);
    let heads = x.reshape((n, shape.kv_heads, 1, each, steps))?;
    heads.broadcast_as((n, shape.kv_heads, shape.group(), each, steps))?.reshape((n, shape.heads, each, steps))
}

/// Shows the probabilities to `rows`, row by row, and then queries, keys and values.
pub(super) fn show_rows(layer: &Attention, inputs: &[&Tensor], rows: &dyn WatchRows) -> candle_core::Result<()> {
    let (n, _, _, steps) = inputs[0].dims4()?;
    let seen = seen(layer, inputs, (n, steps))?;
    let all: Vec<f32> = probabilities(layer, inputs)?.flatten_all()?.to_vec1()?;
    for (i, row) in all.chunks_exact(steps).enumerate() {
        let (image, head, query) = (i / steps / layer.shape.heads, i / steps % layer.shape.heads, i % steps);
        let keys = seen[image * steps + query].clone();
        let values = &row[keys.clone()];
        rows.look_at_rows(&[Probabilities { worker: 0, image, head, steps, query, keys, values }]);
    }
    let [q, k, v] = [on_host(inputs[0])?, on_host(inputs[1])?, on_host(inputs[2])?];
    rows.end(&Pool::new(1), n, [&q, &k, &v].map(|(x, geometry)| (&x[..], geometry)));
    Ok(())
}

/// The values of `x` and their layout.
fn on_host(x: &Tensor) -> candle_core::Result<(Vec<f32>, Geometry)> {
    let (n, c, h, w) = x.dims4()?;
    Ok((x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?, Geometry::planar(n, c, h, w)))
}

/// The keys that each query of each sequence sees.
fn seen(layer: &Attention, inputs: &[&Tensor], (n, steps): (usize, usize)) -> candle_core::Result<Vec<Range<usize>>> {
    let ids: Option<Vec<Vec<f32>>> = match layer.pad {
        Some(_) => Some(inputs[3].reshape((n, steps))?.to_vec2()?),
        None => None,
    };
    let of_image = |image: usize| {
        let keys = match (&ids, layer.pad) {
            (Some(ids), Some(pad)) => {
                let kept = |id: &f32| *id != pad as f32;
                let end = ids[image].iter().rposition(kept).map_or(0, |last| last + 1);
                ids[image].iter().position(kept).unwrap_or(0)..end
            }
            _ => 0..steps,
        };
        (0..steps).map(move |query| layer.shape.mask.visible(query, keys.clone()))
    };
    Ok((0..n).flat_map(of_image).collect())
}

/// `[N, 1, T, T]`: 0 where a query sees a key, else minus infinity.
fn mask(layer: &Attention, inputs: &[&Tensor], (n, steps): (usize, usize)) -> CandleResult {
    let mut mask = vec![f32::NEG_INFINITY; n * steps * steps];
    for (mask, keys) in mask.chunks_exact_mut(steps).zip(seen(layer, inputs, (n, steps))?) {
        mask[keys].fill(0.0);
    }
    Tensor::from_vec(mask, (n, 1, steps, steps), inputs[0].device())
}

/// Over the channels of each group.
pub(super) fn norm(layer: &Norm, x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>) -> CandleResult {
    let (n, c, h, w) = x.dims4()?;
    let channels = c / layer.groups;
    let mut y = x.reshape((n, layer.groups, channels, h * w))?;
    if layer.kind == NormKind::Layer {
        y = y.broadcast_sub(&y.mean_keepdim(2)?)?;
    }
    let divisor = match layer.kind {
        NormKind::Length => y.sqr()?.sum_keepdim(2)?.sqrt()?.maximum(f64::from(layer.eps))?,
        _ => (y.sqr()?.mean_keepdim(2)? + f64::from(layer.eps))?.sqrt()?,
    };
    y = y.broadcast_div(&divisor)?;
    if let Some(weight) = weight {
        y = y.broadcast_mul(&weight.reshape((1, 1, channels, 1))?)?;
    }
    if let Some(bias) = bias {
        y = y.broadcast_add(&bias.reshape((1, 1, channels, 1))?)?;
    }
    y.reshape((n, c, h, w))
}

/// `[N, heads·d, 1, T]` from position 0 on.
pub(super) fn rotary(turns: &Turns, x: &Tensor) -> CandleResult {
    let (n, c, _, steps) = x.dims4()?;
    let half = turns.frequencies.len();
    let heads = c / turns.channels;
    let x = x.reshape((n, heads, turns.channels, steps))?;
    let frequencies = Tensor::from_slice(&turns.frequencies, (half, 1), x.device())?;
    let angles = frequencies.broadcast_mul(&Tensor::arange(0f32, steps as f32, x.device())?.reshape((1, steps))?)?;
    let scale = f64::from(turns.scale);
    let (cosines, sines) = ((angles.cos()? * scale)?, (angles.sin()? * scale)?);
    let turned = x.narrow(2, 0, 2 * half)?;
    let (first, second) = if turns.interleaved {
        let pairs = turned.reshape((n, heads, half, 2, steps))?;
        (pairs.narrow(3, 0, 1)?.squeeze(3)?, pairs.narrow(3, 1, 1)?.squeeze(3)?)
    } else {
        (turned.narrow(2, 0, half)?, turned.narrow(2, half, half)?)
    };
    let (first, second) = (
        (first.broadcast_mul(&cosines)? - second.broadcast_mul(&sines)?)?,
        (second.broadcast_mul(&cosines)? + first.broadcast_mul(&sines)?)?,
    );
    let turned = if turns.interleaved {
        Tensor::stack(&[first, second], 3)?.reshape((n, heads, 2 * half, steps))?
    } else {
        Tensor::cat(&[first, second], 2)?
    };
    let rest = turns.channels - 2 * half;
    let y = if rest == 0 { turned } else { Tensor::cat(&[turned, x.narrow(2, 2 * half, rest)?], 2)? };
    y.reshape((n, c, 1, steps))
}

/// `[N, 1, 1, T]`.
pub(super) fn positions(layer: &Positions, x: &Tensor) -> CandleResult {
    let (n, _, _, steps) = x.dims4()?;
    let ids: Vec<Vec<f32>> = x.narrow(1, 0, 1)?.reshape((n, steps))?.to_vec2()?;
    let numbers = ids.into_iter().flat_map(|ids| {
        let mut next = layer.first;
        ids.into_iter().map(move |id| {
            let counted = layer.skip.is_none_or(|skip| id != skip as f32);
            next += usize::from(counted);
            (if counted { next - 1 } else { layer.first - 1 }) as f32
        })
    });
    Tensor::from_vec(numbers.collect(), (n, 1, 1, steps), x.device())
}

/// `before` `[n, C]`, then the pixels of `x`.
pub(super) fn tokens(before: &Tensor, x: &Tensor) -> CandleResult {
    let (n, c, h, w) = x.dims4()?;
    let count = before.dim(0)?;
    let before = before.t()?.reshape((1, c, count))?.broadcast_as((n, c, count))?;
    Tensor::cat(&[before, x.reshape((n, c, h * w))?], 2)?.unsqueeze(2)
}

/// One step of a sequence.
pub(super) fn step(step: Step, x: &Tensor) -> CandleResult {
    x.narrow(3, step.column(x.dim(3)?), 1)?.contiguous()
}
