//! The recurrence of an 8-bit LSTM with 16-bit gates and cell, bit-exact with TFLite.

use super::exec::Exec;
use super::fixed_point::{logistic, tanh};
use super::geometry::Geometry;
use super::requantize::Fixed31;
use super::shared::Shared;

/// Scales of a recurrence with gates i, f, g, o.
#[derive(Clone, Debug)]
pub struct IntegerLstm {
    /// For each gate, from sums of products of hidden values and weights to the gate's 16 bits (3 of them integer).
    pub gates: [f64; 4],
    /// From the product of two 15-bit fractions to codes of the output.
    pub hidden: f64,
    /// Bound of the cell's magnitude, in units of 2^-12; 32767 for none.
    pub clip: i16,
}

/// Recurrent weights, and their scales.
pub struct PackedIntegerLstm {
    hidden: usize,
    /// `[4·H, H]`.
    weights: Vec<i32>,
    gates: [Fixed31; 4],
    output: Fixed31,
    clip: i16,
}

fn saturated(x: i32) -> i16 {
    x.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// The product of two 16-bit numbers, divided by a power of two, ties away from zero.
fn product(a: i16, b: i16, right: u32) -> i16 {
    let product = i32::from(a) * i32::from(b);
    let mask = (1i32 << right) - 1;
    let threshold = (mask >> 1) + i32::from(product < 0);
    saturated((product >> right) + i32::from((product & mask) > threshold))
}

impl PackedIntegerLstm {
    /// `weight` `[4·H, H]` are integers.
    pub fn new(lstm: &IntegerLstm, weight: &[f32], hidden: usize) -> Self {
        assert_eq!(weight.len(), 4 * hidden * hidden, "weights");
        Self {
            hidden,
            weights: weight.iter().map(|&w| w as i32).collect(),
            gates: lstm.gates.map(Fixed31::new),
            output: Fixed31::new(lstm.hidden),
            clip: lstm.clip,
        }
    }

    /// Floats of the state of one sequence: hidden values, then cells.
    pub fn state_len(&self) -> usize {
        2 * self.hidden
    }

    /// The values of a state that the first step reads.
    pub fn read_of(&self, state: &[f32]) -> Vec<f32> {
        state[..self.hidden].to_vec()
    }

    /// Computes the first `images` sequences of `y` `[N, H, 1, T]` from the gates' inputs `x` `[N, 4·H, 1, T]` and `states`.
    pub fn run(
        &self,
        exec: &Exec<'_>,
        images: usize,
        (x, xg): (&[f32], &Geometry),
        (y, yg): (&mut [f32], &Geometry),
        states: &mut [f32],
    ) {
        let hidden = self.hidden;
        assert!((xg.c, yg.c, xg.w) == (4 * hidden, hidden, yg.w) && images <= xg.n.min(yg.n), "gates of a sequence");
        let (y, states) = (Shared::new(y), Shared::new(states));
        exec.for_each_task(images, |_, image| {
            // SAFETY: each sequence belongs to one task.
            let state = unsafe { states.slice(image * self.state_len(), self.state_len()) };
            let (before, cells) = state.split_at_mut(hidden);
            let mut gates = vec![0i16; 4 * hidden];
            for step in 0..xg.w {
                for (row, gate) in gates.iter_mut().enumerate() {
                    let weights = &self.weights[row * hidden..][..hidden];
                    let products = weights.iter().zip(&*before).map(|(&w, &h)| w * h as i32);
                    let sum = products.fold(0i32, i32::wrapping_add);
                    let given = x[xg.index(image, row, 0, step)] as i32;
                    let sum = saturated(self.gates[row / hidden].apply(sum).saturating_add(given));
                    *gate = if row / hidden == 2 { tanh(sum) } else { logistic(sum) };
                }
                for unit in 0..hidden {
                    let [i, f, g, o] = [0, 1, 2, 3].map(|gate| gates[gate * hidden + unit]);
                    let kept = product(f, cells[unit] as i16, 15);
                    // The product of two 15-bit fractions, of which 12 bits are kept.
                    let cell = kept.saturating_add(product(g, i, 18)).clamp(-self.clip, self.clip);
                    let value = self.output.apply(i32::from(o) * i32::from(tanh(cell))).clamp(-128, 127);
                    (cells[unit], before[unit]) = (f32::from(cell), value as f32);
                    // SAFETY: as above.
                    unsafe { y.slice(yg.index(image, unit, 0, step), 1)[0] = value as f32 };
                }
            }
        });
    }
}
