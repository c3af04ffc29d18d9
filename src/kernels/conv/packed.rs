//! The weights of a direct convolution, packed set by set of filters: maps of several sizes share them.

use std::ops::Range;
use std::sync::Arc;

use super::ConvShape;
use crate::kernels::buffer::Buffer;
use crate::kernels::coded::{self, CodedMatrix};
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::Isa;

/// Filter blocks that share an input's broadcast; weights `[input block][R][S][lane][blocks * 16]`.
#[derive(PartialEq)]
pub(super) struct Set {
    /// Its filter blocks.
    pub(super) blocks: Range<usize>,
    /// Input blocks that these filters read: all of them, unless the convolution is grouped.
    pub(super) inputs: Range<usize>,
    /// Start of its weights.
    pub(super) offset: usize,
}

/// The weights of all sets.
pub(super) enum Weights {
    Floats(Buffer),
    /// Of a convolution of single pixels: made floats set by set, or where they are multiplied.
    Coded(Arc<CodedMatrix>),
}

/// The sets and their weights, which maps of several sizes share.
pub(super) struct Packed {
    pub(super) sets: Vec<Set>,
    pub(super) weights: Weights,
    /// Channels of a block of the input.
    lanes: usize,
}

impl Packed {
    /// Packs `weight`, or shares what `before`, of the same layer for maps of another size, is, if the layout is the same.
    pub(super) fn new(
        shape: &ConvShape,
        weight: &[f32],
        (x, y): (&Geometry, &Geometry),
        before: Option<&Arc<Self>>,
    ) -> Arc<Self> {
        let sets = sets(shape, x, y);
        match before.filter(|before| before.lanes == x.lanes && before.sets == sets) {
            Some(before) => Arc::clone(before),
            None => Arc::new(Self { weights: floats(shape, weight, x.lanes, &sets), sets, lanes: x.lanes }),
        }
    }

    /// The rows of `matrix`, which are the filters of a convolution of single pixels.
    pub(super) fn coded(matrix: Arc<CodedMatrix>, x: &Geometry, y: &Geometry) -> Self {
        let wanted = if y.w < 3 { coded::SET } else { 2 };
        let set = |first: usize| first..y.blocks().min(first + wanted);
        let starts = (0..y.blocks()).step_by(wanted);
        let sets = starts.map(|first| Set { blocks: set(first), inputs: 0..x.blocks(), offset: 0 }).collect();
        Self { sets, weights: Weights::Coded(matrix), lanes: x.lanes }
    }
}

/// `weight` `[K, C/groups, R, S]` in the order of `sets`, with zeros where blocks are padded or groups do not meet.
fn floats(shape: &ConvShape, weight: &[f32], lanes: usize, sets: &[Set]) -> Weights {
    let (group_in, group_out) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let taps = shape.kernel.0 * shape.kernel.1;
    let mut weights = Vec::with_capacity(sets.last().map_or(0, |set| set.offset + set.cells(taps, lanes)));
    for Set { blocks, inputs, .. } in sets {
        for input in inputs.clone() {
            for (tap, lane) in (0..taps).flat_map(|tap| (0..lanes).map(move |lane| (tap, lane))) {
                let channel = input * lanes + lane;
                let (group, place) = (channel / group_in, channel % group_in);
                // The filters that read this block.
                let meeting =
                    if channel < shape.in_channels { group * group_out..(group + 1) * group_out } else { 0..0 };
                weights.extend((blocks.start * LANES..blocks.end * LANES).map(
                    |filter| match meeting.contains(&filter) {
                        true => weight[(filter * group_in + place) * taps + tap],
                        false => 0.0,
                    },
                ));
            }
        }
    }
    Weights::Floats(weights.into())
}

impl Set {
    /// Its weights, with those that pad blocks.
    fn cells(&self, taps: usize, lanes: usize) -> usize {
        self.inputs.len() * lanes * taps * self.blocks.len() * LANES
    }
}

/// How the filters of a convolution from `x` to `y` are divided.
fn sets(shape: &ConvShape, x: &Geometry, y: &Geometry) -> Vec<Set> {
    let (group_in, group_out) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let inputs = |block: usize| {
        let last = ((block + 1) * LANES).min(shape.out_channels) - 1;
        let channels = block * LANES / group_out * group_in..(last / group_out + 1) * group_in;
        channels.start / x.lanes..channels.end.div_ceil(x.lanes)
    };
    let (mut sets, mut first, mut offset) = (Vec::new(), 0, 0);
    while first < y.blocks() {
        let same = (first..y.blocks()).take_while(|&block| inputs(block) == inputs(first)).count();
        let set = Set { blocks: first..first + blocks_of_set(same, y.w), inputs: inputs(first), offset };
        first = set.blocks.end;
        offset += set.cells(shape.kernel.0 * shape.kernel.1, x.lanes);
        sets.push(set);
    }
    sets
}

/// Splits the sets into runs with the same number of blocks.
pub(super) fn equal_sets(sets: &[Set]) -> impl Iterator<Item = &[Set]> {
    sets.chunk_by(|a, b| a.blocks.len() == b.blocks.len())
}

/// All blocks of neighbouring sets.
pub(super) fn blocks_of(sets: &[Set]) -> Range<usize> {
    sets.first().map_or(0, |set| set.blocks.start)..sets.last().map_or(0, |set| set.blocks.end)
}

/// The `index`-th of `parts` nearly equal parts of `0..total`.
pub(super) fn part(total: usize, index: usize, parts: usize) -> Range<usize> {
    total * index / parts..total * (index + 1) / parts
}

/// Number of filter blocks per set, of `blocks` in all: the narrower the map, the fewer pixels fill the registers. Where these hold
/// the sums of one block alone, its weights lie together.
fn blocks_of_set(blocks: usize, width: usize) -> usize {
    let wanted: &[usize] = match width {
        _ if !Isa::best().has_many_registers() => &[1],
        ..3 => &[8, 4, 2, 1],
        3..7 => &[4, 2, 1],
        7 if blocks == 4 => &[2],
        7 => &[3, 2, 1],
        _ => &[2, 1],
    };
    wanted.iter().copied().find(|&n| n <= blocks).unwrap_or(1)
}
