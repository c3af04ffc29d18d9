//! Import of TFLite files: their operators become our layers, float and 8-bit alike.

mod lstm;
mod stated;
mod weighted;
mod weightless;

use std::collections::HashMap;

use super::Task;
use super::imported::{Draft, ImportedNetwork, Value};
use crate::kernels::integer::Codes;
use crate::kernels::{Activation, Halo, Integer, Rounding};
use crate::layers::{Layer, Shape};
use crate::weights::tflite::{Element, Operator, Tflite, TfliteTensor};
use crate::{Error, Result};

struct Lowering<'a> {
    file: &'a Tflite,
    rounding: Rounding,
    draft: Draft,
    values: HashMap<usize, Value>,
    /// Float constants that the file stores as half floats or integers.
    constants: HashMap<usize, TfliteTensor>,
}

/// Builds the network of `file`; its integer convolutions and linear layers round as `rounding`.
///
/// # Errors
/// [`Error::Unsupported`] naming the operator that cannot be imported; [`Error::Malformed`] naming the tensor that does not
/// fit.
pub fn build(file: &Tflite, rounding: Rounding) -> Result<ImportedNetwork> {
    let mut lowering =
        Lowering { file, rounding, draft: Draft::default(), values: HashMap::new(), constants: HashMap::new() };
    let (input, input_codes) = lowering.input()?;
    for operator in &file.operators {
        lowering.operator(operator)?;
    }
    let &[output] = file.outputs.as_slice() else {
        return Err(unsupported(
            file,
            format!("{} outputs", file.outputs.len()),
            "only networks with one output can be imported",
        ));
    };
    let mut output = lowering.output_of_all(output)?;
    if let Some(codes) = lowering.draft.codes(output) {
        output = lowering.push("output", Layer::Integer(Integer::Dequantize(codes)), &[output], output.shape, None);
    }
    let task = if output.shape.h * output.shape.w > 1 { Task::Segment } else { Task::Classify };
    lowering.draft.graph.output = Some(output.node);
    Ok(ImportedNetwork { graph: lowering.draft.graph, input, input_codes, task })
}

fn unsupported(file: &Tflite, what: String, hint: &str) -> Error {
    Error::unsupported(format!("{}: {what}", file.source), hint)
}

impl Lowering<'_> {
    fn wrong(&self, tensor: &TfliteTensor, detail: impl Into<String>) -> Error {
        Error::malformed(format!("{}: {}", self.file.source, tensor.name), detail)
    }

    fn refuse(&self, operator: &Operator, detail: &str) -> Error {
        unsupported(self.file, format!("{} {detail}", operator.name), "see `deadweight models` for supported networks")
    }

    /// The input, and its quantisation parameters.
    fn input(&mut self) -> Result<(Shape, Option<Codes>)> {
        let file = self.file;
        let &[input] = file.inputs.as_slice() else {
            return Err(unsupported(
                file,
                format!("{} inputs", file.inputs.len()),
                "only networks with one input can be imported",
            ));
        };
        let tensor = &file.tensors[input];
        if tensor.open {
            let what = format!("{}: an input whose rows and columns the file leaves open", tensor.name);
            return Err(unsupported(file, what, "convert the network for inputs of one size"));
        }
        // If the first operator moves channels to the end, they come first.
        let channels_first = file.operators.first().is_some_and(|first| first.name == "TRANSPOSE");
        let sequence = tensor.shape.len() == 3;
        let shape = match (tensor.shape.as_slice(), channels_first) {
            (&[1, c, h, w], true) | (&[1, h, w, c], false) => Shape::new(c, h, w),
            // Steps of features, as the rows of an image.
            (&[1, steps, features], false) => Shape::new(1, steps, features),
            (shape, _) => {
                return Err(self.wrong(tensor, format!("an input of shape {shape:?}, images are [1, H, W, C]")));
            }
        };
        let codes = self.codes_if_any(tensor)?;
        let mut value = self.draft.input(shape);
        if let Some(codes) = codes {
            value = self.push(
                "quantize",
                Layer::Integer(Integer::Quantize(codes, Rounding::Fixed31)),
                &[value],
                shape,
                Some(codes),
            );
        }
        if sequence {
            value = self.push("rows", Layer::Rows, &[value], Shape::new(shape.w, 1, shape.h), codes);
        }
        self.values.insert(input, value);
        Ok((shape, codes))
    }

    fn push(&mut self, name: &str, layer: Layer, inputs: &[Value], shape: Shape, codes: Option<Codes>) -> Value {
        // Names of fused operators are joined; the first is the layer's own.
        self.draft.push(name.split(';').next().unwrap_or_default(), layer, inputs, shape, codes)
    }

    fn value(&self, tensor: usize) -> Result<Value> {
        let missing = || self.wrong(&self.file.tensors[tensor], "is read, and no operator before made it");
        self.values.get(&tensor).copied().ok_or_else(missing)
    }

    /// Input `index` of `operator`, without pending padding.
    fn read(&self, operator: &Operator, index: usize) -> Result<Value> {
        self.without_padding(operator, self.laid(operator, index)?)
    }

    /// The same with any extents in the file, for operators on single values or on all of them.
    fn read_all(&self, operator: &Operator, index: usize) -> Result<Value> {
        self.without_padding(operator, self.value(self.tensor_index(operator, index)?)?)
    }

    fn without_padding(&self, operator: &Operator, value: Value) -> Result<Value> {
        if value.pad == Halo::default() { Ok(value) } else { Err(self.refuse(operator, "of a padded value")) }
    }

    fn tensor_index(&self, operator: &Operator, index: usize) -> Result<usize> {
        let missing = || Error::malformed(&self.file.source, format!("{} has no input {index}", operator.name));
        operator.inputs.get(index).copied().flatten().ok_or_else(missing)
    }

    /// A constant input.
    fn constant(&self, operator: &Operator, index: usize) -> Result<&TfliteTensor> {
        let index = self.tensor_index(operator, index)?;
        let tensor = self.constants.get(&index).unwrap_or(&self.file.tensors[index]);
        if tensor.data.is_empty() {
            return Err(self.wrong(tensor, format!("{} needs a constant here", operator.name)));
        }
        Ok(tensor)
    }

    fn output(&self, operator: &Operator) -> Result<(usize, &TfliteTensor)> {
        let none = || Error::malformed(&self.file.source, format!("{} has no output", operator.name));
        let &index = operator.outputs.first().ok_or_else(none)?;
        Ok((index, &self.file.tensors[index]))
    }

    /// Quantisation parameters of the 8-bit tensor `tensor`.
    fn codes(&self, tensor: &TfliteTensor) -> Result<Codes> {
        self.codes_if_any(tensor)?.ok_or_else(|| self.wrong(tensor, "is no tensor of 8-bit integers"))
    }

    fn codes_if_any(&self, tensor: &TfliteTensor) -> Result<Option<Codes>> {
        let signed = match tensor.element {
            Element::F32 => return Ok(None),
            Element::I8 => true,
            Element::U8 => false,
            other => {
                let what = format!("{}: values of {other:?}", tensor.name);
                return Err(unsupported(self.file, what, "values are of f32 or 8-bit integers"));
            }
        };
        let (&[scale], &[zero_point]) = (tensor.scales.as_slice(), tensor.zero_points.as_slice()) else {
            return Err(self.wrong(tensor, format!("{} scales, a value has one", tensor.scales.len())));
        };
        let zero_point = i32::try_from(zero_point).unwrap_or(i32::MAX);
        let codes = Codes { scale, zero_point, signed };
        let (low, high) = codes.range();
        if scale <= 0.0 || !(low..=high).contains(&zero_point) {
            return Err(self.wrong(tensor, format!("scale {scale} and zero point {zero_point} of 8-bit integers")));
        }
        Ok(Some(codes))
    }

    fn activation(&self, operator: &Operator) -> Result<Activation> {
        Ok(match operator.options.activation {
            0 => Activation::Identity,
            1 => Activation::Relu,
            3 => Activation::Relu6,
            other => return Err(self.refuse(operator, &format!("with fused activation number {other}"))),
        })
    }

    /// The bounds of `codes`, cut by the fused activation.
    fn bounds(&self, operator: &Operator, codes: Codes) -> Result<(i32, i32)> {
        let (low, high) = codes.bounds();
        Ok(match self.activation(operator)? {
            Activation::Relu => (low.max(0), high),
            Activation::Relu6 => (low.max(0), high.min((6.0 / codes.scale).round() as i32)),
            _ => (low, high),
        })
    }

    fn operator(&mut self, operator: &Operator) -> Result<()> {
        let (output, tensor) = self.output(operator)?;
        let (name, codes) = (tensor.name.clone(), || self.codes_if_any(tensor));
        let value = match operator.name {
            "CONV_2D" | "DEPTHWISE_CONV_2D" => self.conv(operator)?,
            "FULLY_CONNECTED" => self.linear(operator)?,
            "UNIDIRECTIONAL_SEQUENCE_LSTM" => self.lstm(operator)?,
            "ADD" => self.add(operator)?,
            "AVERAGE_POOL_2D" | "MAX_POOL_2D" => self.pool(operator)?,
            "MEAN" => self.mean(operator)?,
            "SOFTMAX" => {
                let (x, beta) = (self.read(operator, 0)?, operator.options.beta);
                let layer = match (self.draft.codes(x), codes()?) {
                    (None, None) => Layer::Softmax(beta),
                    (Some(from), Some(to)) => Layer::Integer(Integer::Softmax { scale: from.scale * beta, to }),
                    _ => return Err(self.refuse(operator, "from floats to integers or back")),
                };
                let codes = codes()?;
                self.push(&name, layer, &[x], x.shape, codes)
            }
            "QUANTIZE" => {
                let (x, to) = (self.read_all(operator, 0)?, self.codes(tensor)?);
                let integer = match self.draft.codes(x) {
                    None => Integer::Quantize(to, Rounding::Fixed31),
                    Some(from) => Integer::Rescale {
                        scales: (from.scale, to.scale),
                        bounds: to.bounds(),
                        rounding: Rounding::Fixed31,
                    },
                };
                self.push(&name, Layer::Integer(integer), &[x], x.shape, Some(to))
            }
            "DEQUANTIZE" if self.is_constant(operator, 0)? => return self.dequantise_constant(operator),
            "DEQUANTIZE" => {
                let x = self.read_all(operator, 0)?;
                let codes = self.draft.codes(x).ok_or_else(|| self.refuse(operator, "of floats"))?;
                self.push(&name, Layer::Integer(Integer::Dequantize(codes)), &[x], x.shape, None)
            }
            "CONCATENATION" => self.concat(operator)?,
            "RESIZE_BILINEAR" => self.resize(operator)?,
            "PAD" => self.pad(operator)?,
            // Our values have no fixed order of channels and pixels: an operator that keeps the value adds no node.
            "RESHAPE" | "SQUEEZE" => {
                let x = self.read_all(operator, 0)?;
                if tensor.shape.iter().product::<usize>() != x.shape.elements() {
                    return Err(self.wrong(tensor, format!("is {:?}, {} comes in", tensor.shape, x.shape)));
                }
                if tensor.shape.iter().filter(|&&extent| extent > 1).count() > 1
                    && tensor.shape.last() != Some(&x.shape.c)
                {
                    return Err(self.refuse(
                        operator,
                        &format!("to {:?}: only vectors of all features can be imported", tensor.shape),
                    ));
                }
                x
            }
            "TRANSPOSE" => {
                let order = self.integers(self.constant(operator, 1)?)?;
                if order != [0, 2, 3, 1] || operator.inputs[0] != self.file.inputs.first().copied() {
                    return Err(self.refuse(operator, &format!("by {order:?}: an input's channels may be put last")));
                }
                self.read_all(operator, 0)?
            }
            // The task takes the maximum itself.
            "ARG_MAX" if self.file.outputs == operator.outputs => self.largest(operator)?,
            _ => return Err(self.refuse(operator, "as an operator")),
        };
        self.check(operator, value)?;
        self.values.insert(output, value);
        Ok(())
    }
}
