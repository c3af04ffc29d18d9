//! How many MACs each output of a layer takes.

use super::LayerShape;

/// MACs by the row and the column of an output: all, and those whose activation is inside the tensor.
#[derive(Clone, Debug)]
pub struct OutputMacs {
    channels: u64,
    /// Of rows and columns, taps that an output there takes: all, and those inside.
    taps: [[Vec<u64>; 2]; 2],
}

impl OutputMacs {
    /// Of a layer of extents `shape`.
    pub fn new(shape: &LayerShape) -> Self {
        Self { channels: shape.weight[1] as u64, taps: [0, 1].map(|axis| taps(shape, axis)) }
    }

    /// Of an output in `row` and `column`.
    pub fn at(&self, row: usize, column: usize) -> [u64; 2] {
        [0, 1].map(|mode| self.channels * self.taps[0][mode][row] * self.taps[1][mode][column])
    }
}

fn taps(shape: &LayerShape, axis: usize) -> [Vec<u64>; 2] {
    let (outputs, inputs, taps) = (shape.output[1 + axis], shape.input[1 + axis], shape.weight[2 + axis]);
    let (stride, dilation, before) = (shape.stride[axis], shape.dilation[axis], shape.padding[2 * axis]);
    if shape.features {
        return [vec![1; outputs], vec![1; outputs]];
    }
    if shape.transposed {
        // Each input adds to the output that a tap puts it on.
        let mut of = vec![0; outputs];
        for (input, tap) in (0..inputs).flat_map(|input| (0..taps).map(move |tap| (input, tap))) {
            let output = (input * stride + tap * dilation).wrapping_sub(before);
            of.get_mut(output).into_iter().for_each(|of| *of += 1);
        }
        return [of.clone(), of];
    }
    let is_inside = |output: usize, tap: usize| (output * stride + tap * dilation).wrapping_sub(before) < inputs;
    let inside = |output: usize| (0..taps).filter(|&tap| is_inside(output, tap)).count() as u64;
    [vec![taps as u64; outputs], (0..outputs).map(inside).collect()]
}
