//! SCNN: non-zero activations times non-zero weights of the same channel, all by all.
//!
//! ```text
//! ┌────┬────┬ ...  8 × 8 elements, each a part of the plane of pixels
//! │ PE │ PE │      PE: 4 non-zero activations × 4 non-zero weights a cycle, of one channel
//! ├────┼────┼ ...       16 products ─ crossbar ─ 32 banks of accumulators, one a bank and cycle
//! ```
//!
//! Products of a stride are sorted by phase, so that each has an output; those whose output lies outside the plane are lost. A fully
//! connected layer is a plane of one pixel, of which the paper runs none. Sums at the borders of parts go to the neighbour in no time.

use super::layer::{BRICK, Input, Layer};
use super::systolic::effectual;
use super::{Counts, Design, Parameter, Setup};

const ROWS: Parameter = Parameter { name: "rows", default: 8, range: 1..=64, meaning: "rows of elements" };
const COLUMNS: Parameter = Parameter { name: "columns", default: 8, range: 1..=64, meaning: "columns of elements" };
const ACTIVATIONS: Parameter =
    Parameter { name: "activations", default: 4, range: 1..=16, meaning: "activations of an element and cycle, I" };
const WEIGHTS: Parameter =
    Parameter { name: "weights", default: 4, range: 1..=16, meaning: "weights of an element and cycle, F" };
const BANKS: Parameter = Parameter { name: "banks", default: 32, range: 1..=32, meaning: "banks of accumulators" };
const ACCUMULATORS: Parameter = Parameter {
    name: "accumulators",
    default: 1024,
    range: 1..=1 << 20,
    meaning: "outputs that an element holds: 32 banks of 32",
};

/// The design.
pub static SCNN: Design = Design {
    name: "scnn",
    definition: "skips activations and weights that are zero",
    waits: "products for a bank, elements for the slowest after each group of filters that the accumulators hold",
    source: "SCNN, ISCA 2017; banks as in the public simulator of Bit-Tactical's authors",
    potential: Some("W+A"),
    parameters: &[ROWS, COLUMNS, ACTIVATIONS, WEIGHTS, BANKS, ACCUMULATORS],
    lanes: |setup| [ROWS, COLUMNS, ACTIVATIONS, WEIGHTS].iter().map(|of| setup.get(of.name)).product(),
    bits: |[a, w]| a * w,
    run,
    windows: None,
    precisions: None,
};

/// The convolution that a layer is, by rows and columns.
struct Plane {
    input: [usize; 2],
    output: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [usize; 2],
}

impl Plane {
    fn of(layer: &Layer) -> Self {
        let shape = &layer.shape;
        if layer.taps == 1 && (shape.features || shape.transposed) {
            let input = if shape.transposed { [shape.input[1], shape.input[2]] } else { [1, layer.pixels] };
            return Self { input, output: input, kernel: [1; 2], stride: [1; 2], dilation: [1; 2], padding: [0; 2] };
        }
        let rows_and_columns = |of: &[usize]| [of[0], of[1]];
        Self {
            input: rows_and_columns(&shape.input[1..]),
            output: rows_and_columns(&shape.output[1..]),
            kernel: rows_and_columns(&shape.weight[2..]),
            stride: shape.stride,
            dilation: shape.dilation,
            padding: [shape.padding[0], shape.padding[2]],
        }
    }
}

/// An operand by where it lies in units of outputs: the output of a product is that of the activation less that of the weight.
#[derive(Clone, Copy)]
struct Operand {
    place: [i32; 2],
    /// Of a weight, its share of the bank.
    bank: u8,
}

/// Operands of one channel that meet, `[phase]`.
type Phases = Vec<Vec<Operand>>;

fn run(setup: &Setup, input: &Input<'_>) -> Counts {
    let (layer, plane) = (input.layer, Plane::of(input.layer));
    let grid = [&ROWS, &COLUMNS].map(|of| setup.get(of.name));
    let elements = grid[0] * grid[1];
    let of_element = |axis: usize, of: &[usize; 2]| of[axis].div_ceil(grid[axis]).max(1);
    let held = of_element(0, &plane.output) * of_element(1, &plane.output);
    let together = (setup.get(ACCUMULATORS.name) / held).max(1);
    let activations: Vec<Vec<Phases>> = (0..layer.groups * layer.channels)
        .map(|channel| {
            activations(input, &plane, channel, elements, |row, column| {
                // A step of a recurrence begins when the one before it has ended.
                if layer.is_serial {
                    0
                } else {
                    row / of_element(0, &plane.input) * grid[1] + column / of_element(1, &plane.input)
                }
            })
        })
        .collect();
    let vectors = Vectors::new(setup, layer.is_serial, plane.output);
    let (mut cycles, all) = (0, layer.groups * layer.filters);
    for first in (0..all).step_by(together) {
        let filters = first..(first + together).min(all);
        let mut busy = vec![0; elements];
        for group in filters.start / layer.filters..=(filters.end - 1) / layer.filters {
            let own = filters.start.max(group * layer.filters)..filters.end.min((group + 1) * layer.filters);
            for channel in 0..layer.channels {
                let weights = weights(layer, &plane, own.clone(), channel);
                for (busy, activations) in busy.iter_mut().zip(&activations[group * layer.channels + channel]) {
                    *busy += activations.iter().zip(&weights).map(|(a, w)| vectors.cycles(a, w)).sum::<u64>();
                }
            }
        }
        cycles += busy.into_iter().max().unwrap_or_default();
    }
    let used = |axis: usize| plane.input[axis].div_ceil(of_element(axis, &plane.input)).min(grid[axis]);
    let used = if layer.is_serial { 1 } else { used(0) * used(1) };
    let shape = cycles * ((elements - used) as u64) * setup.lanes() / elements as u64;
    Counts { cycles, work: effectual(input), shape, ..Counts::default() }
}

/// The non-zero activations of a channel, by the element that holds them.
fn activations(
    input: &Input<'_>,
    plane: &Plane,
    channel: usize,
    elements: usize,
    element: impl Fn(usize, usize) -> usize,
) -> Vec<Phases> {
    let (layer, [rows, columns]) = (input.layer, plane.input);
    let (group, channel) = (channel / layer.channels, channel % layer.channels);
    let mut all = vec![vec![Vec::new(); plane.stride[0] * plane.stride[1]]; elements];
    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
        let brick = layer.activation(group, channel / BRICK, row * columns + column);
        if input.activations.nonzero[brick] >> (channel % BRICK) & 1 == 1 {
            let (phase, place) = plane.sorted([row + plane.padding[0], column + plane.padding[1]]);
            all[element(row, column)][phase].push(Operand { place, bank: 0 });
        }
    }
    all
}

/// The non-zero weights of a channel in `filters`.
fn weights(layer: &Layer, plane: &Plane, filters: std::ops::Range<usize>, channel: usize) -> Phases {
    let mut all = vec![Vec::new(); plane.stride[0] * plane.stride[1]];
    for filter in filters {
        for (row, column) in (0..plane.kernel[0]).flat_map(|row| (0..plane.kernel[1]).map(move |column| (row, column)))
        {
            let brick = layer.weight(filter, channel / BRICK, row * plane.kernel[1] + column);
            if layer.weights.nonzero[brick] >> (channel % BRICK) & 1 == 1 {
                let (phase, place) = plane.sorted([row * plane.dilation[0], column * plane.dilation[1]]);
                let bank = ((filter & 4) << 2 | filter & 3) as u8;
                all[phase].push(Operand { place, bank });
            }
        }
    }
    all
}

impl Plane {
    /// The phase of a place, and the place in units of outputs.
    fn sorted(&self, place: [usize; 2]) -> (usize, [i32; 2]) {
        let [row, column] = [0, 1].map(|axis| place[axis] % self.stride[axis]);
        (row * self.stride[1] + column, [0, 1].map(|axis| (place[axis] / self.stride[axis]) as i32))
    }
}

/// How operands are taken.
struct Vectors {
    activations: usize,
    weights: usize,
    output: [i32; 2],
    /// The bank of a product: `[share of the place][share of the weight]`, see [`Operand::quarter`].
    banks: Box<[[u8; BANK_SHARES]; PLACES]>,
}

/// Most banks, and so values of a weight's share of the bank.
const BANK_SHARES: usize = 32;
/// Values of two numbers modulo 4, three bits apart.
const PLACES: usize = 64;

impl Operand {
    /// Row and column modulo 4, three bits apart: differences modulo 4 need no carry between them.
    fn quarter(&self) -> u8 {
        (self.place[0] & 3) as u8 | ((self.place[1] & 3) as u8) << 3
    }
}

impl Vectors {
    fn new(setup: &Setup, is_serial: bool, output: [usize; 2]) -> Self {
        let banks = setup.get(BANKS.name) as u8;
        let bank = |place: usize, weight: usize| {
            let (row, column) = (place & 7, place >> 3);
            let of_place = (column & 2) << 3 ^ (row & 2) << 3 | (column & 1) << 3 | (row & 1) << 2;
            (weight ^ of_place) as u8 % banks
        };
        Self {
            activations: if is_serial { 1 } else { setup.get(ACTIVATIONS.name) },
            weights: setup.get(WEIGHTS.name),
            output: output.map(|extent| extent as i32),
            banks: Box::new(std::array::from_fn(|place| std::array::from_fn(|weight| bank(place, weight)))),
        }
    }

    /// Cycles of all products of `activations` and `weights`: of each pair of vectors as many as the fullest bank has products.
    fn cycles(&self, activations: &[Operand], weights: &[Operand]) -> u64 {
        let (mut cycles, of_weights) = (0, bounds(weights));
        for activations in activations.chunks(self.activations) {
            let of_activations = bounds(activations);
            // Most vectors have no product outside the plane.
            let inside = (0..2).all(|axis| {
                of_activations[axis][0] >= of_weights[axis][1]
                    && of_activations[axis][1] - of_weights[axis][0] < self.output[axis]
            });
            for weights in weights.chunks(self.weights) {
                cycles += match inside {
                    true => self.fullest(activations, weights, |_, _| true),
                    false => self.fullest(activations, weights, |a, w| {
                        (0..2).all(|axis| (0..self.output[axis]).contains(&(a.place[axis] - w.place[axis])))
                    }),
                };
            }
        }
        cycles
    }

    /// Products of the fullest bank, of those that are `kept`; at least the cycle in which they are read.
    fn fullest(&self, activations: &[Operand], weights: &[Operand], kept: impl Fn(&Operand, &Operand) -> bool) -> u64 {
        let mut loads = [0_i16; BANK_SHARES];
        for a in activations {
            // Not to borrow from a neighbour, each number is 4 larger.
            let of_activation = a.quarter() + 0o44;
            for w in weights {
                if kept(a, w) {
                    let place = (of_activation - w.quarter()) & 0o33;
                    loads[usize::from(self.banks[usize::from(place)][usize::from(w.bank)])] += 1;
                }
            }
        }
        loads.into_iter().fold(1, i16::max) as u64
    }
}

/// The least and largest row, and column, of some operands.
fn bounds(operands: &[Operand]) -> [[i32; 2]; 2] {
    let all = |axis: usize| operands.iter().map(move |operand| operand.place[axis]);
    [0, 1].map(|axis| [all(axis).min().unwrap_or_default(), all(axis).max().unwrap_or_default()])
}
