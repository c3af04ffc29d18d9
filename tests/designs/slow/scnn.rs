//! SCNN, product by product.

use std::collections::BTreeMap;

use deadweight::designs::Setup;

use super::{LANES, Slow};

/// Rows and columns of operands.
type Places = Vec<(i64, i64)>;

impl Slow {
    pub(super) fn scnn(&self, setup: &Setup) -> u64 {
        let get = |name: &str| setup.get(name);
        let shape = &self.shape;
        let plain = shape.features || shape.transposed;
        let plane = if shape.transposed {
            [shape.input[1], shape.input[2]]
        } else if shape.features {
            [1, self.activations[0].len()]
        } else {
            [shape.input[1], shape.input[2]]
        };
        let outputs = if plain { plane } else { [shape.output[1], shape.output[2]] };
        let part = |extent: usize, parts: usize| extent.div_ceil(parts).max(1);
        let grid = [get("rows"), get("columns")];
        let held = part(outputs[0], grid[0]) * part(outputs[1], grid[1]);
        let together = (get("accumulators") / held).max(1);
        let (stride, dilation) = if plain { ([1; 2], [1; 2]) } else { (shape.stride, shape.dilation) };
        let padding = if plain { [0; 2] } else { [shape.padding[0], shape.padding[2]] };
        // `(place, code)` of each channel of each group.
        let [_, h, w] = shape.input;
        let inner = shape.weight[1];
        let taps = if plain { 1 } else { shape.weight[2] * shape.weight[3] };
        let columns = if plain { 1 } else { shape.weight[3] };
        let activation = |group: usize, channel: usize, row: usize, column: usize| match plain {
            true => self.activations[group][row * plane[1] + column][channel / LANES][channel % LANES].unwrap(),
            false => self.codes[0][((group * inner + channel) * h + row) * w + column],
        };
        let blocks = inner.div_ceil(LANES);
        let filters: Vec<(usize, usize)> = (0..self.weights.len())
            .flat_map(|group| (0..self.weights[group].len()).map(move |filter| (group, filter)))
            .collect();
        let mut cycles = 0;
        for (first, held) in filters.chunks(together).enumerate() {
            let mut elements = BTreeMap::new();
            for group in 0..self.weights.len() {
                for channel in 0..inner {
                    // By phase: weights in order, activations of each element in order.
                    let mut weights: BTreeMap<[usize; 2], Vec<(usize, i64, i64)>> = BTreeMap::new();
                    for (i, (_, filter)) in held.iter().enumerate().filter(|(_, (of, _))| *of == group) {
                        for tap in 0..taps {
                            let code =
                                self.weights[group][*filter][tap * blocks + channel / LANES][channel % LANES].unwrap();
                            let [r, s] = [tap / columns * dilation[0], tap % columns * dilation[1]];
                            if code != 0 {
                                let k = first * together + i;
                                weights
                                    .entry([r % stride[0], s % stride[1]])
                                    .or_default()
                                    .push((k, r as i64, s as i64));
                            }
                        }
                    }
                    let mut activations: BTreeMap<(usize, [usize; 2]), Places> = BTreeMap::new();
                    for row in 0..plane[0] {
                        for column in 0..plane[1] {
                            if activation(group, channel, row, column) == 0 {
                                continue;
                            }
                            let element = match self.is_serial {
                                true => 0,
                                false => row / part(plane[0], grid[0]) * grid[1] + column / part(plane[1], grid[1]),
                            };
                            let (y, x) = (row + padding[0], column + padding[1]);
                            activations
                                .entry((element, [y % stride[0], x % stride[1]]))
                                .or_default()
                                .push((y as i64, x as i64));
                        }
                    }
                    for ((element, phase), activations) in activations {
                        for some in activations.chunks(if self.is_serial { 1 } else { get("activations") }) {
                            for weights in weights.get(&phase).map_or(&[][..], Vec::as_slice).chunks(get("weights")) {
                                let mut banks = BTreeMap::new();
                                for (y, x) in some {
                                    for (k, r, s) in weights {
                                        let (row, column) = (
                                            (y - r).div_euclid(stride[0] as i64),
                                            (x - s).div_euclid(stride[1] as i64),
                                        );
                                        if row >= 0
                                            && column >= 0
                                            && (row as usize) < outputs[0]
                                            && (column as usize) < outputs[1]
                                        {
                                            let bit = |of: i64, bit: i64| of >> bit & 1;
                                            let k = *k as i64;
                                            let bank = (bit(k, 2) ^ bit(column, 1) ^ bit(row, 1)) * 16
                                                + bit(column, 0) * 8
                                                + bit(row, 0) * 4
                                                + k % 4;
                                            *banks.entry(bank % get("banks") as i64).or_insert(0_u64) += 1;
                                        }
                                    }
                                }
                                *elements.entry(element).or_insert(0) += banks.into_values().max().unwrap_or(1);
                            }
                        }
                    }
                }
            }
            cycles += elements.into_values().max().unwrap_or(0);
        }
        cycles
    }
}
