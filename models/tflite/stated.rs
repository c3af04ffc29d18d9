//! Checks that what the file states of tensors is what the importer makes of them; float constants stored in fewer bits.

use half::f16;

use super::{Lowering, unsupported};
use crate::kernels::Halo;
use crate::layers::Shape;
use crate::models::imported::Value;
use crate::weights::tflite::{Element, Operator, TfliteTensor};
use crate::{Error, Result};

/// Whether `tensor` has the extents of `value`, channels last; open extents match any.
fn has_extents_of(tensor: &TfliteTensor, value: Value) -> bool {
    let (Shape { c, h, w }, Halo { top, bottom, left, right }) = (value.shape, value.pad);
    let (h, w) = (top + h + bottom, left + w + right);
    tensor.open
        || match *tensor.shape.as_slice() {
            [] => true,
            [channels] | [1, channels] => (channels, 1) == (c, h * w),
            [1, steps, features] => (features, 1, steps) == (c, h, w),
            [1, rows, columns, channels] => (channels, rows, columns) == (c, h, w),
            _ => false,
        }
}

impl Lowering<'_> {
    /// Input `index` of `operator` with the extents that the file states; a reshaped value no longer has them.
    pub(super) fn laid(&self, operator: &Operator, index: usize) -> Result<Value> {
        let index = self.tensor_index(operator, index)?;
        let (value, tensor) = (self.value(index)?, &self.file.tensors[index]);
        if !has_extents_of(tensor, value) {
            let detail =
                format!("of {} reshaped to {:?}: fully connected layers alone read that", value.shape, tensor.shape);
            return Err(self.refuse(operator, &detail));
        }
        Ok(value)
    }

    /// The output value.
    pub(super) fn output_of_all(&self, index: usize) -> Result<Value> {
        let (value, tensor) = (self.value(index)?, &self.file.tensors[index]);
        let largest = self.file.operators.iter().any(|last| last.name == "ARG_MAX" && last.outputs == [index]);
        match value.pad == Halo::default() && (largest || has_extents_of(tensor, value)) {
            true => Ok(value),
            false => {
                let what = format!("{}: an output {:?} of {}", tensor.name, tensor.shape, value.shape);
                Err(unsupported(
                    self.file,
                    what,
                    "only outputs that are neither reshaped nor padded last can be imported",
                ))
            }
        }
    }

    /// Checks `value`, the result of `operator`, against the extents and the scale that the file states.
    pub(super) fn check(&self, operator: &Operator, value: Value) -> Result<()> {
        let (_, tensor) = self.output(operator)?;
        let fits = match operator.name {
            "ARG_MAX" => return Ok(()),
            "RESHAPE" | "SQUEEZE" => true,
            // Compared element by element.
            "QUANTIZE" | "DEQUANTIZE" | "ADD" => {
                let input = &self.file.tensors[self.tensor_index(operator, 0)?];
                input.shape == tensor.shape || input.open || tensor.open
            }
            _ => has_extents_of(tensor, value),
        };
        if !fits {
            let detail = format!("is {:?} in the file, {} makes {}", tensor.shape, operator.name, value.shape);
            return Err(self.wrong(tensor, detail));
        }
        let (made, stated) = (self.draft.codes(value), self.codes_if_any(tensor)?);
        match made == stated {
            true => Ok(()),
            false => Err(self.refuse(operator, &format!("whose result is stated as {stated:?} and made as {made:?}"))),
        }
    }

    /// The value whose argmax over channels is the output.
    pub(super) fn largest(&self, operator: &Operator) -> Result<Value> {
        let value = self.read(operator, 0)?;
        let rank = self.file.tensors[self.tensor_index(operator, 0)?].shape.len();
        let axis = self.integers(self.constant(operator, 1)?)?;
        match axis == [-1] || axis == [rank as i32 - 1] {
            true => Ok(value),
            false => Err(self.refuse(operator, &format!("along axis {axis:?}: only channels can be imported"))),
        }
    }

    /// Whether input `index` of `operator` is a constant.
    pub(super) fn is_constant(&self, operator: &Operator, index: usize) -> Result<bool> {
        Ok(!self.file.tensors[self.tensor_index(operator, index)?].data.is_empty())
    }

    /// Stores the dequantised constant that `operator` reads, under the constant's name.
    pub(super) fn dequantise_constant(&mut self, operator: &Operator) -> Result<()> {
        let (stored, (output, _)) = (self.constant(operator, 0)?, self.output(operator)?);
        let inner: usize = stored.shape.iter().skip(stored.axis + 1).product();
        let several = stored.scales.len() > 1;
        if several && stored.shape.get(stored.axis) != Some(&stored.scales.len()) {
            return Err(self.wrong(stored, format!("{} scales along dimension {}", stored.scales.len(), stored.axis)));
        }
        let place = |i: usize| if several { i / inner.max(1) % stored.scales.len() } else { 0 };
        let float = |(i, code): (usize, i32)| {
            let place = place(i);
            (i64::from(code) - stored.zero_points[place]) as f32 * stored.scales[place]
        };
        let floats: Vec<f32> = match stored.element {
            Element::F16 => stored.data.as_chunks().0.iter().map(|&half| f16::from_le_bytes(half).to_f32()).collect(),
            Element::I8 if !stored.scales.is_empty() => {
                stored.data.iter().map(|&code| i32::from(code as i8)).enumerate().map(float).collect()
            }
            Element::U8 if !stored.scales.is_empty() => {
                stored.data.iter().map(|&code| i32::from(code)).enumerate().map(float).collect()
            }
            other => return Err(self.refuse(operator, &format!("of {}, a constant of {other:?}", stored.name))),
        };
        let data = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
        let (scales, zero_points) = (Vec::new(), Vec::new());
        let tensor = TfliteTensor { element: Element::F32, data, scales, zero_points, ..stored.clone() };
        self.constants.insert(output, tensor);
        Ok(())
    }

    /// The float values of a constant that is multiplied with or added to floats.
    pub(super) fn floats(&self, operator: &Operator, tensor: &TfliteTensor) -> Result<Vec<f32>> {
        let floats: Vec<f32> = match tensor.element {
            Element::F32 => tensor.data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
            other => {
                let what =
                    format!("{} of floats with weights of {other:?} (dynamic range, {})", operator.name, tensor.name);
                let hint = "convert with a representative data set (integers throughout), with float16 weights or without \
                            optimisation";
                return Err(unsupported(self.file, what, hint));
            }
        };
        match floats.iter().all(|float| float.is_finite()) {
            true => Ok(floats),
            false => {
                let place = format!("{}: {}", self.file.source, tensor.name);
                Err(Error::NotFinite { place, detail: String::new() })
            }
        }
    }
}
