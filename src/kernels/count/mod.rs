//! Counting: what an operand's values cost, added up while its rows are in cache.

mod adder;
mod classes;
mod code;
mod coder;
mod counter;
pub mod extra;
mod gather;
mod groups;
mod heads;
mod histogram;
mod inputs;
mod lanes;
mod lines;
mod part;
mod places;
mod positions;
mod range;
mod reduction;
mod reference;
pub mod sequence;
mod source;
mod sums;
mod terms;
#[cfg(test)]
mod tests;
mod totals;
mod weights;

pub use classes::{Classes, Run};
pub use code::{CodeMap, Detail, Encoder, MAX_WIDTH, bits, booth4, naf, ones_twos_complement, popcount, runs, width};
pub use counter::Counter;
pub use heads::{SequenceValues, Steps};
pub use inputs::{InputSums, OneInput, ReadSums, Reader};
pub use part::Grouping;
pub use positions::{Met, PositionSums, meet};
pub use range::Range;
pub use reduction::{Counted, Line, LineCodes, LineCoding, count_lines};
pub use reference::count_reference;
pub use sums::{
    GROUP_SIZES, GroupSums, LANE_SUMS, NONZERO, NONZERO_G16, Sums, TERMS, Totals, ValueSums, WIDTH, WidthHistogram,
    key, unkey,
};
pub use weights::FilterSums;
