//! Recurrent layers with candle's operations, step by step.

use candle_core::Tensor;

use super::round::rounded;
use super::{CandleEngine, CandleResult, activate};
use crate::graph::{Node, NodeDef};
use crate::kernels::Activation;
use crate::layers::{Cell, Layer};

impl CandleEngine {
    /// From zeros, over `[N, G·H, 1, T]`: the outputs, and the hidden values before the projection.
    pub(super) fn recurrence(&self, node: Node, def: &NodeDef, x: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        let (n, _, _, steps) = x.dims4()?;
        let of = def.layer.recurrence().expect("a recurrent layer");
        let (weight, bias) =
            (self.param(node, "weight").expect("a recurrence has weights").t()?, self.param(node, "bias"));
        let hidden = of.hidden();
        let mut h = Tensor::zeros((n, of.outputs()), x.dtype(), x.device())?;
        let mut c = Tensor::zeros((n, hidden), x.dtype(), x.device())?;
        let (mut outputs, mut middles) = (vec![h.clone(); steps], vec![c.clone(); steps]);
        for step in 0..steps {
            let t = if of.reverse { steps - 1 - step } else { step };
            let read = of.rounding[0].map_or_else(|| Ok(h.clone()), |map| rounded(&h, map))?;
            let (x, product) = (x.narrow(3, t, 1)?.flatten_from(1)?, read.matmul(&weight)?);
            let biased = |sums: &Tensor| bias.map_or_else(|| Ok(sums.clone()), |bias| sums.broadcast_add(bias));
            let gates = (biased(&x)? + &product)?;
            let gate = |i: usize| gates.narrow(1, i * hidden, hidden);
            let sigmoid = |i: usize| activate(&gate(i)?, Activation::Sigmoid);
            middles[t] = match &def.layer {
                Layer::Lstm(lstm) => {
                    c = ((sigmoid(1)? * c)? + (sigmoid(0)? * gate(2)?.tanh()?)?)?;
                    if let Some(clip) = lstm.clip {
                        c = c.clamp(-clip, clip)?;
                    }
                    (sigmoid(3)? * c.tanh()?)?
                }
                Layer::Recurrent(layer) => match layer.cell {
                    Cell::Gru => {
                        let [input, product] = [x, biased(&product)?].map(|sums| sums.narrow(1, 2 * hidden, hidden));
                        let candidate = (input? + (sigmoid(0)? * product?)?)?.tanh()?;
                        (&candidate + (sigmoid(1)? * (&h - &candidate)?)?)?
                    }
                    Cell::Tanh => gate(0)?.tanh()?,
                    Cell::Relu => gate(0)?.relu()?,
                },
                other => candle_core::bail!("{} is no recurrent layer", other.kind()),
            };
            h = match self.param(node, "projection") {
                Some(projection) => {
                    let read =
                        of.rounding[1].map_or_else(|| Ok(middles[t].clone()), |map| rounded(&middles[t], map))?;
                    read.matmul(&projection.t()?)?
                }
                None => middles[t].clone(),
            };
            outputs[t] = h.clone();
        }
        let sequence = |steps: &[Tensor]| Tensor::stack(steps, 2)?.unsqueeze(2)?.contiguous();
        Ok((sequence(&outputs)?, sequence(&middles)?))
    }
}

/// The values of `[N, H, 1, T]` one step earlier; zeros at the first step.
pub(super) fn before(y: &Tensor, reverse: bool) -> CandleResult {
    let steps = y.dim(3)?;
    if reverse {
        return y.pad_with_zeros(3, 0, 1)?.narrow(3, 1, steps)?.contiguous();
    }
    y.pad_with_zeros(3, 1, 0)?.narrow(3, 0, steps)?.contiguous()
}
