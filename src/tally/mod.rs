//! Exact integers that add: all that a measurement keeps of one layer. No floating point here.

mod activations;
mod attention;
mod extra;
mod head_values;
mod inputs;
mod meeting;
mod moments;
mod outputs;
mod pairs;
mod products;
mod recurrent;
mod rows;
mod shares;
mod statistics;
mod weights;

use crate::kernels::count::sequence::StepSums;
use crate::kernels::count::{Classes, Grouping, Sums};

pub use activations::ActivationSums;
pub use attention::{AttentionSpec, Codes, Phase};
pub use extra::{ChangeProducts, Extra, ExtraSums, OperandSpec};
pub use inputs::{INPUT_INTEGERS, InputCounts};
pub use moments::{Moments, Spread};
pub use outputs::OutputMacs;
pub use pairs::{PairSpec, PairSums};
pub use products::{Modes, Padding, Products};
pub use recurrent::{GATES, RecurrentSums, gate_names};
pub use rows::RowSums;
pub use statistics::Statistics;
pub use weights::{FilterCodes, TapSums, WeightSums, code_counts};

/// Stands for an extent that is not the same for all inputs.
pub const VARIES: usize = usize::MAX;

/// Extents and attributes of a MAC layer, as METRICS section 1 counts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// `[C, H, W]` of one image.
    pub input: [usize; 3],
    /// `[K, P, Q]` of one image.
    pub output: [usize; 3],
    /// `[K, C/groups, R, S]`; a fully connected layer has `[out, in, 1, 1]`.
    pub weight: [usize; 4],
    /// Rows, columns.
    pub stride: [usize; 2],
    /// Top, bottom, left, right.
    pub padding: [usize; 4],
    /// Rows, columns.
    pub dilation: [usize; 2],
    /// Groups.
    pub groups: usize,
    /// Whether it is fully connected: its operands are vectors of features.
    pub features: bool,
    /// Whether its features are in the order row, column, channel, not channel, row, column.
    pub channels_last: bool,
    /// Whether it is a transposed convolution: each pixel of its input meets every tap once, what is cut from the output
    /// included, so there is no padding.
    pub transposed: bool,
}

impl LayerShape {
    /// A fully connected layer over an input `[C, H, W]`.
    pub fn linear(input: [usize; 3], out: usize) -> Self {
        Self {
            input,
            output: [out, 1, 1],
            weight: [out, input.iter().product(), 1, 1],
            stride: [1, 1],
            padding: [0; 4],
            dilation: [1, 1],
            groups: 1,
            features: true,
            channels_last: false,
            transposed: false,
        }
    }

    /// A fully connected layer over each of `steps` steps of a sequence of `features` features.
    pub fn steps(features: usize, steps: usize, out: usize) -> Self {
        Self { input: [features, 1, steps], output: [out, 1, steps], ..Self::linear([features, 1, 1], out) }
    }

    /// Whether it is fully connected and reads a sequence, step by step.
    pub fn is_stepwise(&self) -> bool {
        self.features && self.weight[1] == self.input[0]
    }

    /// A layer of one output channel that reads every value of `[C, H, W]` once: outputs are counted as its operand. The values
    /// are `features`, those of each step by themselves, or pixels.
    pub fn reader([channels, rows, columns]: [usize; 3], features: bool) -> Self {
        let of_steps = Self::steps(channels, columns, 1);
        if features {
            return of_steps;
        }
        Self { input: [channels, rows, columns], output: [1, rows, columns], features, ..of_steps }
    }

    /// How the input's values are grouped.
    pub fn grouping(&self) -> Grouping {
        match (self.features, self.is_stepwise()) {
            (false, _) => Grouping::Channels,
            (_, true) => Grouping::Steps,
            (_, false) if self.channels_last => Grouping::FeaturesOfPixels,
            (_, false) => Grouping::Features,
        }
    }

    /// Channels of the operand: of the input, or its features.
    pub fn channels(&self) -> usize {
        if self.features { self.weight[1] } else { self.input[0] }
    }

    /// Windows of one image: pixels of the output, or of the input where each of these is scattered.
    pub fn windows(&self) -> usize {
        let [_, h, w] = if self.transposed { self.input } else { self.output };
        h * w
    }

    /// Taps of a filter.
    pub fn taps(&self) -> usize {
        self.weight[2] * self.weight[3]
    }

    /// What does not depend on the size of the input.
    fn filters_of(&self) -> ([usize; 4], [usize; 2], [usize; 2], usize, bool, bool) {
        (self.weight, self.stride, self.dilation, self.groups, self.features, self.transposed)
    }

    /// The same layer over images of other sizes as well: what differs becomes [`VARIES`].
    ///
    /// # Panics
    /// If it is another layer.
    fn widen(&mut self, other: &Self) {
        assert_eq!(self.filters_of(), other.filters_of(), "shapes of one layer");
        let extents = self.input.iter_mut().chain(&mut self.output).chain(&mut self.padding);
        for (extent, other) in extents.zip(other.input.iter().chain(&other.output).chain(&other.padding)) {
            if extent != other {
                *extent = VARIES;
            }
        }
    }

    /// Filters that each input channel meets.
    pub fn filters(&self) -> usize {
        self.weight[0] / self.groups
    }

    /// Classes of the input's rows and columns.
    pub fn classes(&self) -> [Classes; 2] {
        if self.is_stepwise() {
            return [Classes::single(), Classes::every(self.input[2], 1)];
        }
        if self.features {
            return [Classes::single(), Classes::single()];
        }
        if self.transposed {
            return [0, 1].map(|axis| Classes::every(self.input[1 + axis], self.weight[2 + axis]));
        }
        [0, 1].map(|axis| {
            let (size, outputs, taps) = (self.input[1 + axis], self.output[1 + axis], self.weight[2 + axis]);
            Classes::new(size, outputs, self.stride[axis], self.dilation[axis], self.padding[2 * axis], taps)
        })
    }
}

/// All counts of one layer over some inputs.
///
/// Tallies of the same layer in the same formats merge by addition, in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerTally {
    /// The layer; extents in which its inputs differ are [`VARIES`].
    pub shape: LayerShape,
    /// Inputs counted.
    pub images: u64,
    /// Smallest code of the activations and of the weights.
    pub lowest: [i32; 2],
    /// Counts of its activations.
    pub activations: ActivationSums,
    /// Counts of its weights.
    pub weights: WeightSums,
    /// Counts of its outputs, where `--metrics` asks for them: those of a [`LayerShape::reader`] whose activations they are.
    pub outputs: Option<ActivationSums>,
    /// Of a product of a recurrent layer, the counts of its gates and steps.
    pub recurrent: Option<RecurrentSums>,
    /// Of a product of two activations, its sums over MACs. Its shape is that of one head, and its weights are the second operand
    /// of all inputs.
    pub pairs: Option<Products>,
    /// What the layer costs on each of the designs that were run, as these count it; of a layer that designs do not run, nothing.
    pub designs: Vec<DesignCounts>,
}

/// Counts of a layer on a design, which add.
pub type DesignCounts = [u64; 5];

impl LayerTally {
    /// Adds the sums of one pass over the activations of `images` inputs, in a layer of extents `shape`.
    ///
    /// # Panics
    /// If it is of another layer.
    pub fn add(&mut self, shape: &LayerShape, images: u64, sums: &Sums) {
        self.meet(shape, images);
        self.activations.add(shape, images, sums);
    }

    /// Adds the sums of one pass over its outputs for `images` inputs, as activations of a layer of extents `reader`, and the
    /// on-demand counts of these outputs.
    ///
    /// # Panics
    /// If it is of another layer, or if its outputs are not counted.
    pub fn add_outputs(&mut self, reader: &LayerShape, images: u64, sums: &Sums, extra: &ExtraSums) {
        let outputs = self.outputs.as_mut().expect("outputs are counted");
        outputs.add(reader, images, sums);
        outputs.extra.merge(extra);
    }

    /// Adds the counts of `images` inputs of a product of two activations.
    ///
    /// # Panics
    /// If it is another layer.
    pub fn add_pairs(&mut self, shape: &LayerShape, images: u64, sums: &PairSums) {
        self.meet(shape, images);
        self.activations.merge(&sums.activations);
        self.weights.merge(&sums.weights);
        *self.pairs.as_mut().expect("a product of two activations") += &sums.products;
    }

    /// Adds what other inputs cost on each of the designs.
    ///
    /// # Panics
    /// If they are other designs.
    pub fn add_designs(&mut self, designs: &[DesignCounts]) {
        assert_eq!(self.designs.len(), designs.len(), "tallies of the same designs");
        for (own, other) in self.designs.iter_mut().zip(designs) {
            own.iter_mut().zip(other).for_each(|(own, count)| *own += count);
        }
    }

    fn meet(&mut self, shape: &LayerShape, images: u64) {
        match (self.images, images) {
            (_, 0) => {}
            (0, _) => self.shape = shape.clone(),
            _ => self.shape.widen(shape),
        }
        self.images += images;
    }

    /// Whether `other` is of the same layer: the same but for extents that inputs may differ in, and what is counted of them.
    pub fn is_of_layer(&self, other: &Self) -> bool {
        let recurrent = |tally: &Self| tally.recurrent.clone().map(|recurrent| (recurrent.gates, recurrent.buckets));
        let outputs = |tally: &Self| tally.outputs.as_ref().map(|outputs| outputs.channels);
        self.shape.filters_of() == other.shape.filters_of()
            && recurrent(self) == recurrent(other)
            && outputs(self) == outputs(other)
            && self.pairs.is_some() == other.pairs.is_some()
    }

    /// Adds the counts of other inputs of the same layer.
    ///
    /// # Panics
    /// If the layers, formats or weights differ.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.lowest, other.lowest, "tallies of one format");
        match (&mut self.pairs, &other.pairs) {
            (Some(own), Some(other_pairs)) => {
                *own += other_pairs;
                self.weights.merge(&other.weights);
            }
            _ => assert_eq!(self.weights, other.weights, "tallies of one set of weights"),
        }
        self.meet(&other.shape, other.images);
        self.activations.merge(&other.activations);
        self.add_designs(&other.designs);
        assert_eq!(self.outputs.is_some(), other.outputs.is_some(), "tallies of one request");
        self.outputs.iter_mut().zip(&other.outputs).for_each(|(own, other)| own.merge(other));
        assert_eq!(self.recurrent.is_some(), other.recurrent.is_some(), "tallies of one layer");
        if let (Some(own), Some(other)) = (&mut self.recurrent, &other.recurrent) {
            own.merge(other);
        }
    }

    /// Adds what was counted along sequences.
    ///
    /// # Panics
    /// If the layer is no product of a recurrent layer.
    pub fn add_sequences<'a>(&mut self, sequences: impl IntoIterator<Item = &'a [StepSums]>) {
        let recurrent = self.recurrent.as_mut().expect("a product of a recurrent layer");
        sequences.into_iter().for_each(|steps| recurrent.add(steps));
    }
}
