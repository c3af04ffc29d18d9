//! Bit Fusion: multipliers of 2 bits are fused to the widths that a layer needs, powers of two.
//!
//! ```text
//! 32 rows: channels, 16 columns: filters          a unit: 16 lanes, each multiplies 2 bits by 2 bits
//! ┌────┬────┐                                      16 products of 2 × 2 bits a cycle, or 4 of 4 × 4, 2 of 8 × 4, 1 of 8 × 8
//! │unit│unit│ ...                                  words of 16 bits take 2 cycles for each operand that is so wide
//! ```

use super::layer::Input;
use super::{Counts, Design, Parameter, Setup};

const ROWS: Parameter =
    Parameter { name: "rows", default: 32, range: 1..=1024, meaning: "units of a column, of channels" };
const COLUMNS: Parameter =
    Parameter { name: "columns", default: 16, range: 1..=1024, meaning: "units of a row, of filters" };

/// Lanes of a unit.
const UNIT: usize = 16;

/// The design.
pub static BIT_FUSION: Design = Design {
    name: "bit-fusion",
    definition: "multiplies words of 2, 4, 8 or 16 bits, as the number formats of the layer need (codes of 8 bits less a zero point in 8, which the potential of B = 9 shows as a gain)",
    waits: "nothing waits: each step takes as long",
    source: "Bit Fusion, ISCA 2018 (512 units)",
    potential: None,
    parameters: &[ROWS, COLUMNS],
    lanes: |setup| setup.get(ROWS.name) * setup.get(COLUMNS.name) * UNIT,
    bits: |_| 4,
    run,
    windows: None,
    precisions: None,
};

/// The width that a word of `bits` bits is multiplied at. Codes of 9 bits are those of 8 less their zero point, which is subtracted later.
fn fused(bits: u32) -> usize {
    if bits == 9 { 8 } else { bits.next_power_of_two().clamp(2, 16) as usize }
}

fn run(setup: &Setup, input: &Input<'_>) -> Counts {
    let (layer, [rows, columns]) = (input.layer, [&ROWS, &COLUMNS].map(|of| setup.get(of.name)));
    let widths = layer.words.map(fused);
    let [a, w] = widths.map(|width| width.min(8));
    // Products of a unit, and cycles of each.
    let (products, cycles) = (64 / (a * w), widths.iter().map(|&width| width.div_ceil(8)).product::<usize>());
    let steps = (layer.channels * layer.taps).div_ceil(rows * products) * layer.filters.div_ceil(columns);
    let cycles = (layer.groups * layer.windows * steps * cycles) as u64;
    let work = layer.macs() * widths.map(|width| width as u64 / 2).iter().product::<u64>();
    Counts { cycles, work, shape: cycles * setup.lanes() - work, ..Counts::default() }
}
