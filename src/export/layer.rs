//! A layer as simulators describe one: loops of a convolution, of which a fully connected layer is the case of one tap.

use super::names::one_line;
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
    pub part: u128,
    pub of: u128,
}

impl Share {
    /// As a fraction: the double that is nearest.
    pub fn value(self) -> f64 {
        self.part as f64 / self.of as f64
    }

    /// In whole percents, the nearest.
    pub fn percent(self) -> u128 {
        // Values are at most 2^64 windows times 2^30 weights of a filter.
        (self.part * 200 + self.of) / (2 * self.of.max(1))
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
                if steps == 0 {
                    return Err("its inputs have no steps".into());
                }
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

    /// `share` of the values of whole inputs, without padding, as one of the values that [`Loops::read`] spans, all channels: padding
    /// is zeros, and of rows and columns beyond (a stride may leave some over) there are as many non-zeros as elsewhere. None if
    /// there are more than 2^128.
    pub fn of_what_is_read(&self, share: Share) -> Option<Share> {
        let read = self.read();
        let covered = [0, 1].map(|axis| read[axis].saturating_sub(self.padding[2 * axis]).min(self.input[axis]));
        let channels = (self.groups * self.channels) as u128;
        let [covered, read] = [covered, read].map(|[h, w]| (channels * h as u128).checked_mul(w as u128));
        // Where all is covered, what remains of the values is how many inputs there are.
        let common = gcd(covered?, share.of).max(1);
        let part = share.part.checked_mul(covered? / common)?;
        Some(Share { part, of: (share.of / common).checked_mul(read?)? })
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

    /// The layer in a few words, for a line of comments.
    pub fn words(&self, counts: &LayerCounts) -> String {
        let [rows, columns] = self.kernel;
        let [p, q] = self.windows;
        format!(
            "layer {} ({}): {} filters of {}x{rows}x{columns}, {} groups, {p}x{q} windows",
            one_line(&counts.name),
            one_line(&counts.kind),
            self.filters * self.groups,
            self.channels,
            self.groups
        )
    }
}

/// The largest that divides both.
fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The non-zero values of an operand; none of outputs that were not counted, and of an operand without values.
pub(super) fn nonzeros(counts: &LayerCounts, which: Which) -> Option<Share> {
    let tally = &counts.tally;
    let (nonzeros, values) = match which {
        Which::Activations => (&tally.activations.channel_nonzeros, &tally.activations.values),
        Which::Weights => (&tally.weights.filter_nonzeros, &tally.weights.values),
        Which::Outputs => tally.outputs.as_ref().map(|sums| (&sums.channel_nonzeros, &sums.values))?,
    };
    let share = Share { part: nonzeros.iter().map(|&count| u128::from(count)).sum(), of: values.elements.into() };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A convolution of 2 channels, whose stride is that of rows and columns.
    fn conv(input: [usize; 2], kernel: usize, stride: usize, padding: usize) -> Loops {
        Loops {
            groups: 1,
            filters: 3,
            channels: 2,
            kernel: [kernel; 2],
            windows: input.map(|size| (size + 2 * padding - kernel) / stride + 1),
            input,
            stride: [stride; 2],
            dilation: [1, 1],
            padding: [padding; 4],
            linear: false,
            transposed: false,
        }
    }

    #[test]
    fn a_share_of_the_tensor_becomes_one_of_what_windows_span() {
        let share = |part, of| Share { part, of };
        // 4x4 behind padding of 1 are 6x6: 2 inputs of 2 channels are 64 values, and 144 with their padding.
        let padded = conv([4, 4], 3, 1, 1);
        assert_eq!(padded.read(), [6, 6]);
        assert_eq!(padded.of_what_is_read(share(20, 64)), Some(share(20, 144)));
        // 2x3 windows of 2x2 read 4 of 5 rows, all of 6 columns: 40 of 60 values are non-zero, so 32 of the 48 that are read; what
        // divides both 48 and 60 is left out of (40 * 48) of (60 * 48).
        let uneven = conv([5, 6], 2, 2, 0);
        assert_eq!((uneven.windows, uneven.read()), ([2, 3], [4, 6]));
        assert_eq!(uneven.of_what_is_read(share(40, 60)), Some(share(40 * 4, 5 * 48)));
        // 6x7 behind padding of 1 are 8x9: windows of 3x3 with stride 2 read 7 rows, the last row of padding not, and 9 columns.
        let last = conv([6, 7], 3, 2, 1);
        assert_eq!((last.windows, last.read()), ([3, 4], [7, 9]));
        assert_eq!(last.of_what_is_read(share(84, 84)), Some(share(84, 2 * 7 * 9)));
        // Padding alone.
        assert_eq!(conv([1, 1], 1, 4, 3).of_what_is_read(share(2, 2)).map(Share::value), Some(2.0 / 50.0));
        let lost = Loops { windows: [1, 1], ..conv([1, 1], 1, 4, 3) };
        assert_eq!(lost.of_what_is_read(share(2, 2)), Some(share(0, 2)));
        // Extents that a file may state, and no layer has.
        let huge = 1 << 30;
        let huge = Loops { channels: huge, windows: [huge; 2], stride: [huge; 2], ..padded };
        assert_eq!(huge.of_what_is_read(share(1, 2)), None);
    }

    #[test]
    fn percents_are_the_nearest() {
        let percent = |part, of| Share { part, of }.percent();
        assert_eq!([percent(0, 0), percent(1, 3), percent(2, 3), percent(1, 200), percent(3, 3)], [0, 33, 67, 1, 100]);
    }
}
