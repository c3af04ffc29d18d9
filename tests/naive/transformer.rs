//! Layers of transformers in plain loops.

use deadweight::kernels::norm::NormKind;
use deadweight::kernels::rotary::Turns;
use deadweight::layers::{Attention, Norm, Positions, Shape, Step, Tokens};

use super::{indices, nearest};

/// The probability of each key for each query, `[head][query][key]`.
pub fn probabilities(layer: &Attention, inputs: &[(&[f64], Shape)]) -> Vec<Vec<Vec<f64>>> {
    let shape = layer.shape;
    let ([q, k], steps) = ([inputs[0].0, inputs[1].0], inputs[0].1.w);
    let is_key = |key: usize| match layer.pad {
        Some(pad) => {
            let kept = |t: usize| inputs[3].0[t] != f64::from(pad);
            (0..=key).any(kept) && (key..steps).any(kept)
        }
        None => true,
    };
    let sees = |query: usize, key: usize| {
        let recent = shape.mask.window.is_none_or(|window| query < key + window);
        is_key(key) && (!shape.mask.causal || (key <= query && recent))
    };
    let of_query = |head: usize, query: usize| {
        let kv_head = head / shape.group();
        let product = |key: usize, i: usize| {
            q[(head * shape.inner + i) * steps + query] * k[(kv_head * shape.inner + i) * steps + key]
        };
        let score = |key: usize| (0..shape.inner).map(|i| product(key, i)).sum::<f64>() * f64::from(shape.scale);
        let power = |key: usize| if sees(query, key) { score(key).exp() } else { 0.0 };
        let powers: Vec<f64> = (0..steps).map(power).collect();
        let total: f64 = powers.iter().sum();
        powers.into_iter().map(|power| if total > 0.0 { power / total } else { 0.0 }).collect()
    };
    (0..shape.heads).map(|head| (0..steps).map(|query| of_query(head, query)).collect()).collect()
}

pub fn attention(layer: &Attention, inputs: &[(&[f64], Shape)], y: Shape) -> Vec<f64> {
    let shape = layer.shape;
    let (values, steps) = (inputs[2].0, y.w);
    let shares = probabilities(layer, inputs);
    let value = |(c, _, t): (usize, usize, usize)| {
        let (head, n) = (c / shape.outer, c % shape.outer);
        let row = &values[(head / shape.group() * shape.outer + n) * steps..][..steps];
        nearest(&shares[head][t], layer.rounding).iter().zip(row).map(|(share, value)| share * value).sum()
    };
    indices(y).map(value).collect()
}

pub fn norm(layer: &Norm, (x, shape): (&[f64], Shape)) -> Vec<f64> {
    let (pixels, channels) = (shape.h * shape.w, shape.c / layer.groups);
    let param = |param: &Option<deadweight::layers::Param>, c: usize, default: f64| {
        param.as_ref().map_or(default, |param| f64::from(param.data[c % channels]))
    };
    let value = |(place, &value): (usize, &f64)| {
        let (c, pixel) = (place / pixels, place % pixels);
        let first = c / channels * channels;
        let group = || (first..first + channels).map(|c| x[c * pixels + pixel]);
        let mean = if layer.kind == NormKind::Layer { group().sum::<f64>() / channels as f64 } else { 0.0 };
        let squares: f64 = group().map(|x| (x - mean).powi(2)).sum();
        let divisor = match layer.kind {
            NormKind::Length => squares.sqrt().max(f64::from(layer.eps)),
            _ => (squares / channels as f64 + f64::from(layer.eps)).sqrt(),
        };
        (value - mean) / divisor * param(&layer.weight, c, 1.0) + param(&layer.bias, c, 0.0)
    };
    x.iter().enumerate().map(value).collect()
}

pub fn rotary(turns: &Turns, (x, shape): (&[f64], Shape)) -> Vec<f64> {
    let half = turns.frequencies.len();
    let mut y = x.to_vec();
    for (head, t, i) in
        (0..shape.c / turns.channels).flat_map(|h| (0..shape.w).flat_map(move |t| (0..half).map(move |i| (h, t, i))))
    {
        let (a, b) = if turns.interleaved { (2 * i, 2 * i + 1) } else { (i, i + half) };
        let at = |c: usize| (head * turns.channels + c) * shape.w + t;
        let (sine, cosine) = f64::from(t as f32 * turns.frequencies[i]).sin_cos();
        y[at(a)] = (x[at(a)] * cosine - x[at(b)] * sine) * f64::from(turns.scale);
        y[at(b)] = (x[at(b)] * cosine + x[at(a)] * sine) * f64::from(turns.scale);
    }
    y
}

pub fn positions(layer: &Positions, x: &[f64], steps: usize) -> Vec<f64> {
    let counted = |t: usize| layer.skip.is_none_or(|skip| x[t] != f64::from(skip));
    let number = |t: usize| match counted(t) {
        true => layer.first + (0..t).filter(|&t| counted(t)).count(),
        false => layer.first - 1,
    };
    (0..steps).map(|t| number(t) as f64).collect()
}

pub fn tokens(layer: &Tokens, (x, shape): (&[f64], Shape), y: Shape) -> Vec<f64> {
    let (count, pixels) = (layer.before.shape[0], shape.h * shape.w);
    let value = |(c, _, t): (usize, usize, usize)| match t.checked_sub(count) {
        None => f64::from(layer.before.data[t * y.c + c]),
        Some(pixel) => x[c * pixels + pixel],
    };
    indices(y).map(value).collect()
}

pub fn step(layer: Step, (x, shape): (&[f64], Shape)) -> Vec<f64> {
    (0..shape.c).map(|c| x[c * shape.w + layer.column(shape.w)]).collect()
}

/// The error function, by its series.
pub fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let mut term = x;
    let mut sum = x;
    for n in 1..200 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}
