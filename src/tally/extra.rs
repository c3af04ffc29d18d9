//! On-demand counts: they cost more than the others, and are made only if `--metrics` asks for them.

use std::collections::BTreeMap;

use super::{ActivationSums, LayerShape, WeightSums, shares};
use crate::kernels::count::extra::traffic::TRAFFIC;
use crate::kernels::count::extra::{Volume, changes, floats, groups, traffic};
use crate::kernels::count::{Classes, CodeMap, Encoder, GROUP_SIZES};

/// A kind of on-demand counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extra {
    /// Groups, runs and differences as schemes of compression code them.
    Traffic,
    /// Aligned blocks with few non-zeros.
    Blocks,
    /// Zero bits below the lowest set bit of groups.
    Trailing,
    /// Bit positions that the members of a group share.
    Planes,
    /// Distinct weights of a filter.
    Repetition,
    /// Differences along rows, by the taps that read them.
    Delta,
    /// MACs of outputs that are set to zero.
    Output,
    /// Values as floats of few bits.
    Float,
    /// Outputs of layers, as an operand.
    Outputs,
    /// How the probabilities of attention are shared out.
    Attention,
}

impl Extra {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Traffic,
        Self::Blocks,
        Self::Trailing,
        Self::Planes,
        Self::Repetition,
        Self::Delta,
        Self::Output,
        Self::Float,
        Self::Outputs,
        Self::Attention,
    ];

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Traffic => "traffic",
            Self::Blocks => "nm",
            Self::Trailing => "trailing",
            Self::Planes => "planes",
            Self::Repetition => "repetition",
            Self::Delta => "delta",
            Self::Output => "output",
            Self::Float => "float",
            Self::Outputs => "outputs",
            Self::Attention => "attention",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|extra| extra.name() == name)
    }

    /// Whether it is defined for codes of `map`. Most are not for floats: their codes are significands, which are only a part of
    /// the value and cannot be subtracted or compared.
    pub fn is_of_codes(self, map: CodeMap) -> bool {
        map.float.is_none()
            || matches!(self, Self::Blocks | Self::Output | Self::Float | Self::Outputs | Self::Attention)
    }

    /// Whether it is counted of activations (0), of weights (1) and of outputs (2).
    pub fn operands(self) -> [bool; 3] {
        match self {
            Self::Traffic => [true; 3],
            Self::Blocks | Self::Trailing | Self::Planes | Self::Float => [true, true, false],
            Self::Delta | Self::Output => [true, false, false],
            Self::Repetition => [false, true, false],
            // Of products of two activations.
            Self::Outputs | Self::Attention => [false; 3],
        }
    }

    /// Length of its array of counts for an operand of a layer of extents `shape`; 0 for an operand that it is not counted of.
    pub fn counts(self, shape: &LayerShape, operand: usize) -> usize {
        match self {
            _ if !self.operands()[operand] => 0,
            Self::Traffic => TRAFFIC,
            Self::Blocks => 4,
            Self::Trailing | Self::Output => 2,
            Self::Float => floats::float_counts(),
            Self::Planes => GROUP_SIZES[0] + 2,
            Self::Repetition | Self::Outputs => 1,
            Self::Attention => shares::COUNTS,
            Self::Delta => shape.channels() * shape.taps() * 2,
        }
    }
}

/// An operand of a layer as it is counted: its extents, codes, word length and encoder.
#[derive(Clone, Debug)]
pub struct OperandSpec {
    shape: LayerShape,
    map: CodeMap,
    word: u32,
    encoder: Encoder,
    classes: [Classes; 2],
}

impl OperandSpec {
    /// Of a layer of extents `shape` whose codes are made by `map`, are `word` bits in two's complement, and have terms of
    /// `encoder`.
    pub fn new(shape: LayerShape, map: CodeMap, word: u32, encoder: Encoder) -> Self {
        let classes = if shape.features { [Classes::single(), Classes::single()] } else { shape.classes() };
        Self { shape, map, word, encoder, classes }
    }

    /// What `x` is coded as.
    pub fn map(&self) -> CodeMap {
        self.map
    }

    /// `[C, H, W]` of an image.
    pub fn extents(&self) -> [usize; 3] {
        self.shape.input
    }
}

/// On-demand counts of one operand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraSums(BTreeMap<Extra, Vec<u64>>);

impl ExtraSums {
    /// Zeros, for `extras` of an operand of a layer of extents `shape`: activations (0), weights (1), or outputs (2), which are
    /// counted as the activations of a [`LayerShape::reader`].
    pub fn new(extras: &[Extra], shape: &LayerShape, operand: usize) -> Self {
        let of = extras.iter().filter(|extra| extra.operands()[operand]);
        Self(of.map(|&extra| (extra, vec![0; extra.counts(shape, operand)])).collect())
    }

    /// Zeros, for those of `extras` that are of a product of two activations as a whole.
    pub fn of_products(extras: &[Extra]) -> Self {
        let of = extras.iter().filter(|extra| **extra == Extra::Attention);
        Self(of.map(|&extra| (extra, vec![0; shares::COUNTS])).collect())
    }

    /// Zeros, for the same counts.
    pub fn empty(&self) -> Self {
        Self(self.0.iter().map(|(extra, counts)| (*extra, vec![0; counts.len()])).collect())
    }

    /// The counts of `extra`, if they are made of this operand.
    pub fn get(&self, extra: Extra) -> Option<&[u64]> {
        self.0.get(&extra).map(Vec::as_slice)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Extra, &[u64])> {
        self.0.iter().map(|(extra, counts)| (*extra, counts.as_slice()))
    }

    /// Adds `counts` to those of `extra`, if these are made.
    pub fn add_counts(&mut self, extra: Extra, counts: &[u64]) {
        let own = self.0.get_mut(&extra);
        own.into_iter().flatten().zip(counts).for_each(|(own, count)| *own += count);
    }

    /// Replaces the counts of `extra`.
    pub fn set(&mut self, extra: Extra, counts: Vec<u64>) {
        self.0.insert(extra, counts);
    }

    /// Adds the counts of other inputs.
    pub fn merge(&mut self, other: &Self) {
        for (extra, others) in &other.0 {
            let counts = self.0.entry(*extra).or_insert_with(|| vec![0; others.len()]);
            assert_eq!(counts.len(), others.len(), "counts of one layer");
            counts.iter_mut().zip(others).for_each(|(count, other)| *count += other);
        }
    }

    /// Counts the codes of one image of activations, `[C, H, W]`.
    ///
    /// # Panics
    /// If it is an image of other extents.
    pub fn add_image(&mut self, spec: &OperandSpec, codes: &[i32]) {
        let [c, h, w] = spec.shape.input;
        let parts = if spec.shape.features { 1 } else { spec.shape.groups };
        let shape = &spec.shape;
        if !shape.features {
            return self.add(spec, Volume::new(codes, shape.input), parts);
        }
        if shape.is_stepwise() {
            for step in 0..w {
                let features: Vec<i32> = codes.iter().skip(step).step_by(w).copied().collect();
                self.add(spec, Volume::new(&features, [c, 1, 1]), parts);
            }
            return;
        }
        let place = |i: usize| if shape.channels_last { i % c * h * w + i / c } else { i };
        let features: Vec<i32> = (0..codes.len()).map(|i| codes[place(i)]).collect();
        self.add(spec, Volume::new(&features, [codes.len(), 1, 1]), parts);
    }

    /// Counts the codes of all weights, `[K, C/groups, R, S]`.
    ///
    /// # Panics
    /// If they are of other extents.
    pub fn add_filters(&mut self, spec: &OperandSpec, codes: &[i32]) {
        let [_, channels, rows, columns] = spec.shape.weight;
        for filter in codes.chunks((channels * rows * columns).max(1)) {
            self.add(spec, Volume::new(filter, [channels, rows, columns]), 1);
        }
    }

    fn add(&mut self, spec: &OperandSpec, volume: Volume<'_>, parts: usize) {
        for (extra, counts) in &mut self.0 {
            match extra {
                Extra::Traffic => traffic::add_traffic(volume, fixed(counts)),
                Extra::Blocks => groups::add_blocks(volume, parts, fixed(counts)),
                Extra::Trailing => groups::add_trailing(volume, fixed(counts)),
                Extra::Planes => groups::add_planes(volume, spec.word, fixed(counts)),
                Extra::Repetition => groups::add_distinct(volume, fixed(counts)),
                // Counted from the outputs, and from float values.
                Extra::Output | Extra::Float | Extra::Outputs | Extra::Attention => {}
                Extra::Delta => {
                    let distance = if spec.shape.transposed { 1 } else { spec.shape.stride[1] };
                    let counts = counts.as_chunks_mut().0;
                    changes::add_changes(volume, distance, spec.encoder, &spec.classes, counts);
                }
            }
        }
    }
}

fn fixed<const N: usize>(counts: &mut [u64]) -> &mut [u64; N] {
    counts.try_into().expect("as many counts as there are of its kind")
}

/// Sums over MACs (a, w) of what the difference d of a to its left neighbour costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeProducts {
    /// nonzero(d).
    pub d: u128,
    /// terms(d).
    pub d_terms: u128,
    /// nonzero(d)·nonzero(w).
    pub both: u128,
    /// terms(d)·terms(w).
    pub terms: u128,
}

impl ChangeProducts {
    /// Of a layer of extents `shape`; none where differences were not counted.
    pub fn new(shape: &LayerShape, activations: &ActivationSums, weights: &WeightSums) -> Option<Self> {
        let counts = activations.extra.get(Extra::Delta)?.as_chunks::<2>().0;
        let filters = shape.filters() as u128;
        let mut sum = Self::default();
        for (counts, w) in counts.iter().zip(&weights.taps) {
            let [terms, nonzeros] = counts.map(u128::from);
            sum.d += nonzeros * filters;
            sum.d_terms += terms * filters;
            sum.both += nonzeros * u128::from(w.nonzero);
            sum.terms += terms * u128::from(w.terms);
        }
        Some(sum)
    }
}
