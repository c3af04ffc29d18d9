//! A layer as simulators describe one: loops of a convolution, of which a fully connected layer is the case of one tap.

use crate::measurement::LayerCounts;
use crate::metrics::Which;
use crate::tally::VARIES;

/// Extents of a layer for one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loops {
    /// Groups.
    pub groups: usize,
    /// Filters of a group.
    pub filters: usize,
    /// Input channels of a group.
    pub channels: usize,
    /// Rows, columns of a filter.
    pub kernel: [usize; 2],
    /// Rows, columns of the output; of a transposed convolution those of the input, whose pixels meet each tap once.
    pub windows: [usize; 2],
    /// Rows, columns of the input.
    pub input: [usize; 2],
    /// Rows, columns.
    pub stride: [usize; 2],
    /// Rows, columns.
    pub dilation: [usize; 2],
    /// Top, bottom, left, right.
    pub padding: [usize; 4],
    /// Whether it is fully connected; its windows are the steps of a sequence, one below the other.
    pub linear: bool,
    /// Whether it is a transposed convolution.
    pub transposed: bool,
}

/// Some of a number of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub part: u64,
    pub of: u64,
}

impl Share {
    /// As a fraction: the double that is nearest.
    pub fn value(self) -> f64 {
        self.part as f64 / self.of as f64
    }

    /// In whole percents, the nearest.
    pub fn percent(self) -> u64 {
        // A count is at most 2^60.
        ((u128::from(self.part) * 200 + u128::from(self.of)) / (2 * u128::from(self.of.max(1)))) as u64
    }
}

impl Loops {
    /// Those of a layer.
    ///
    /// # Errors
    /// Why it has none.
    pub fn of(counts: &LayerCounts) -> Result<Self, String> {
        let shape = &counts.tally.shape;
        if counts.tally.pairs.is_some() {
            return Err("it multiplies two activations, and has no weights".into());
        }
        if matches!(counts.kind.as_str(), "lstm" | "gru" | "rnn") {
            return Err("it is recurrent: each step reads what the step before gives".into());
        }
        if counts.tally.images == 0 {
            return Err("no input was counted".into());
        }
        if [&shape.input[..], &shape.output, &shape.padding].concat().contains(&VARIES) {
            return Err("its inputs are of several sizes; measure inputs of one".into());
        }
        let [filters, channels, rows, columns] = shape.weight;
        let loops = Self {
            groups: shape.groups,
            filters: filters / shape.groups,
            channels,
            kernel: [rows, columns],
            windows: [shape.output[1], shape.output[2]],
            input: [shape.input[1], shape.input[2]],
            stride: shape.stride,
            dilation: shape.dilation,
            padding: shape.padding,
            linear: shape.features,
            transposed: shape.transposed,
        };
        Ok(match (shape.features, shape.transposed) {
            (true, _) => {
                let steps = if shape.is_stepwise() { shape.input[2] } else { 1 };
                Self { windows: [steps, 1], input: [steps, 1], padding: [0; 4], ..loops }
            }
            (false, true) => Self { windows: loops.input, ..loops },
            (false, false) => loops,
        })
    }

    /// Whether each filter reads one channel of its own.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.channels == 1
    }

    /// Rows, columns of the input that windows read, padding among them.
    pub fn read(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            (self.windows[axis] - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1
        })
    }

    /// Values that are multiplied and added for one output.
    pub fn reduction(&self) -> usize {
        self.channels * self.kernel[0] * self.kernel[1]
    }

    /// # Errors
    /// If it is a transposed convolution.
    pub fn not_transposed(self) -> Result<Self, String> {
        if self.transposed { Err("it is a transposed convolution".into()) } else { Ok(self) }
    }

    /// # Errors
    /// If it is dilated.
    pub fn not_dilated(self) -> Result<Self, String> {
        let [rows, columns] = self.dilation;
        if self.dilation == [1, 1] { Ok(self) } else { Err(format!("it is dilated, {rows}x{columns}")) }
    }

    /// # Errors
    /// If its stride is not the same in rows and columns.
    pub fn one_stride(self) -> Result<Self, String> {
        let [rows, columns] = self.stride;
        let same = rows == columns || self.windows.contains(&1);
        if same { Ok(self) } else { Err(format!("its strides differ, {rows}x{columns}")) }
    }

    /// # Errors
    /// If it has groups.
    pub fn not_grouped(self) -> Result<Self, String> {
        if self.groups == 1 { Ok(self) } else { Err(format!("it has {} groups", self.groups)) }
    }

    /// The stride where both are the same, or only one of them steps.
    pub fn stride_of_both(&self) -> usize {
        if self.windows[0] > 1 { self.stride[0] } else { self.stride[1] }
    }

    /// The layer in a few words, for comments.
    pub fn words(&self, counts: &LayerCounts) -> String {
        let [rows, columns] = self.kernel;
        let [p, q] = self.windows;
        format!(
            "layer {} ({}): {} filters of {}x{rows}x{columns}, {} groups, {p}x{q} windows",
            counts.name,
            counts.kind,
            self.filters * self.groups,
            self.channels,
            self.groups
        )
    }
}

/// The non-zero values of an operand; none of outputs that were not counted, and of an operand without values.
pub(super) fn nonzeros(counts: &LayerCounts, which: Which) -> Option<Share> {
    let tally = &counts.tally;
    let (nonzeros, values) = match which {
        Which::Activations => (&tally.activations.channel_nonzeros, &tally.activations.values),
        Which::Weights => (&tally.weights.filter_nonzeros, &tally.weights.values),
        Which::Outputs => tally.outputs.as_ref().map(|sums| (&sums.channel_nonzeros, &sums.values))?,
    };
    let share = Share { part: nonzeros.iter().sum(), of: values.elements };
    (share.of > 0).then_some(share)
}

/// Bits of an operand: those that a precision file states, else those that hold every value: of the largest magnitude, and one for
/// the sign if any is negative; at least 1. None of outputs that were not counted.
pub(super) fn width(counts: &LayerCounts, which: Which) -> Option<u32> {
    let (values, place) = match which {
        Which::Activations => (&counts.tally.activations.values, Some(0)),
        Which::Weights => (&counts.tally.weights.values, Some(1)),
        Which::Outputs => (&counts.tally.outputs.as_ref()?.values, None),
    };
    if let Some(stated) = place.and_then(|place| counts.codings[place].width) {
        return Some(stated);
    }
    let [least, most] = values.code_extremes;
    let magnitude = most.unsigned_abs().max(least.unsigned_abs());
    Some((u32::BITS - magnitude.leading_zeros() + u32::from(least < 0)).max(1))
}
