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
    let pairs = Pairs::new(setup, layer.is_serial, plane.output);
    // A step of a recurrence begins when the one before it has ended.
    let element = |row: usize, column: usize| match layer.is_serial {
        true => 0,
        false => row / of_element(0, &plane.input) * grid[1] + column / of_element(1, &plane.input),
    };
    let of_channel = |channel| pairs.vectors(&activations(input, &plane, channel, elements, element));
    let activations: Vec<Vec<Vec<Vector>>> = (0..layer.groups * layer.channels).map(of_channel).collect();
    let (mut cycles, all) = (0, layer.groups * layer.filters);
    for first in (0..all).step_by(together) {
        let filters = first..(first + together).min(all);
        let mut busy = vec![0; elements];
        for group in filters.start / layer.filters..=(filters.end - 1) / layer.filters {
            let own = filters.start.max(group * layer.filters)..filters.end.min((group + 1) * layer.filters);
            for channel in 0..layer.channels {
                let weights = weights(layer, &plane, own.clone(), channel);
                for (weights, activations) in weights.iter().zip(&activations[group * layer.channels + channel]) {
                    pairs.add_cycles(activations, weights, &mut busy);
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

/// Least and largest row, and column.
type Bounds = [[i32; 2]; 2];

/// Activations that an element takes together.
struct Vector {
    element: usize,
    operands: Vec<Operand>,
    bounds: Bounds,
}

/// Most banks, and so values of a weight's share of the bank.
const MOST_BANKS: usize = 32;
/// Places modulo 4, rows and columns: what the bank depends on.
const QUARTERS: usize = 16;

/// Products by bank.
type Loads = [i16; MOST_BANKS];

impl Operand {
    /// Row and column modulo 4.
    fn quarter(&self) -> usize {
        ((self.place[0] & 3) | (self.place[1] & 3) << 2) as usize
    }
}

/// How vectors of operands are multiplied.
struct Pairs {
    activations: usize,
    weights: usize,
    banks: u8,
    output: [i32; 2],
}

impl Pairs {
    fn new(setup: &Setup, is_serial: bool, output: [usize; 2]) -> Self {
        Self {
            activations: if is_serial { 1 } else { setup.get(ACTIVATIONS.name) },
            weights: setup.get(WEIGHTS.name),
            banks: setup.get(BANKS.name) as u8,
            output: output.map(|extent| extent as i32),
        }
    }

    /// The activations of a channel, by phase, as the elements take them.
    fn vectors(&self, elements: &[Phases]) -> Vec<Vec<Vector>> {
        let mut all: Vec<Vec<Vector>> = elements[0].iter().map(|_| Vec::new()).collect();
        for (element, phases) in elements.iter().enumerate() {
            for (all, operands) in all.iter_mut().zip(phases) {
                let vectors = operands.chunks(self.activations);
                all.extend(vectors.map(|of| Vector { element, operands: of.to_vec(), bounds: bounds(of) }));
            }
        }
        all
    }

    /// Adds to each element the cycles of all products of its `activations` and `weights`: of each pair of vectors as many as the fullest
    /// bank has products, at least the one in which they are read.
    fn add_cycles(&self, activations: &[Vector], weights: &[Operand], busy: &mut [u64]) {
        for weights in weights.chunks(self.weights) {
            let (of_weights, loads) = (bounds(weights), self.loads(weights));
            for Vector { element, operands, bounds } in activations {
                // Most vectors have no product outside the plane.
                let inside = (0..2).all(|axis| {
                    let [[least, most], [from, to]] = [bounds[axis], of_weights[axis]];
                    least >= to && most - from < self.output[axis]
                });
                let banks = if inside { together(operands, &loads) } else { self.one_by_one(operands, weights) };
                busy[*element] += banks.into_iter().fold(1, i16::max) as u64;
            }
        }
    }

    /// The bank of the product of an activation in `quarter` and a weight.
    fn bank(&self, quarter: usize, weight: &Operand) -> usize {
        let [row, column] = [quarter as i32, quarter as i32 >> 2];
        let (row, column) = ((row - weight.place[0]) & 3, (column - weight.place[1]) & 3);
        let of_place = (column & 2) << 3 ^ (row & 2) << 3 | (column & 1) << 3 | (row & 1) << 2;
        usize::from((weight.bank ^ of_place as u8) % self.banks)
    }

    /// What an activation in each quarter adds to the banks.
    fn loads(&self, weights: &[Operand]) -> [Loads; QUARTERS] {
        std::array::from_fn(|quarter| {
            let mut loads = [0; MOST_BANKS];
            weights.iter().for_each(|weight| loads[self.bank(quarter, weight)] += 1);
            loads
        })
    }

    /// The products whose outputs are in the plane.
    fn one_by_one(&self, activations: &[Operand], weights: &[Operand]) -> Loads {
        let mut loads = [0; MOST_BANKS];
        for (a, w) in activations.iter().flat_map(|a| weights.iter().map(move |w| (a, w))) {
            let is_there = |axis: usize| (0..self.output[axis]).contains(&(a.place[axis] - w.place[axis]));
            if is_there(0) && is_there(1) {
                loads[self.bank(a.quarter(), w)] += 1;
            }
        }
        loads
    }
}

/// All products of activations and of the weights whose `loads` these are.
fn together(activations: &[Operand], loads: &[Loads; QUARTERS]) -> Loads {
    let mut all = [0_i16; MOST_BANKS];
    for a in activations {
        for (all, load) in all.iter_mut().zip(&loads[a.quarter()]) {
            // At most 16 times 16.
            *all = all.wrapping_add(*load);
        }
    }
    all
}

fn bounds(operands: &[Operand]) -> Bounds {
    let all = |axis: usize| operands.iter().map(move |operand| operand.place[axis]);
    [0, 1].map(|axis| [all(axis).min().unwrap_or_default(), all(axis).max().unwrap_or_default()])
}
