//! ONNX operators without weights.

use super::{Lowering, Tensor, Value, layer_name};
use crate::Result;
use crate::kernels::{Activation, Halo, Integer};
use crate::layers::{Conv, Layer, Padding, Pool, PoolKind};
use crate::weights::onnx::{OnnxNode, OnnxTensor, Values};

impl<'a> Lowering<'a> {
    /// The bounds of a ReLU or Clip.
    pub(super) fn bounds(&self, node: &'a OnnxNode) -> Result<(f32, f32)> {
        if node.op == "Relu" {
            return Ok((0.0, f32::INFINITY));
        }
        // They were attributes before opset 11.
        let low = self.scalar(node, 1)?.or(node.float("min")).unwrap_or(f32::NEG_INFINITY);
        let high = self.scalar(node, 2)?.or(node.float("max")).unwrap_or(f32::INFINITY);
        let low = if low == f32::MIN { f32::NEG_INFINITY } else { low };
        Ok((low, if high == f32::MAX { f32::INFINITY } else { high }))
    }

    pub(super) fn activation(&mut self, node: &'a OnnxNode) -> Result<()> {
        let x = self.unpadded(node, 0)?;
        if let (Some(from), "Relu" | "Clip") = (self.draft.codes(x), node.op.as_str())
            && let Some(target) = self.target(&node.inputs[0])?
        {
            let (bounds, rounding) = (target.bounds, self.rounding);
            let layer = Integer::Rescale { scales: (from.scale, target.codes.scale), bounds, rounding };
            let y = self.push(&layer_name(node, None), Layer::Integer(layer), &[x], Some(target.codes))?;
            self.set_output(target, y);
            return Ok(());
        }
        let near = |name: &str, default: f32, want: f32| (node.float(name).unwrap_or(default) - want).abs() < 1e-6;
        let activation = match node.op.as_str() {
            "Relu" | "Clip" => match self.bounds(node)? {
                (0.0, f32::INFINITY) => Activation::Relu,
                (0.0, 6.0) => Activation::Relu6,
                (low, high) => return Err(self.refuse(node, format!("to {low}..{high}"))),
            },
            "LeakyRelu" => Activation::LeakyRelu(node.float("alpha").unwrap_or(0.01)),
            "HardSwish" => Activation::HardSwish,
            "HardSigmoid" if near("alpha", 0.2, 1.0 / 6.0) && near("beta", 0.5, 0.5) => Activation::HardSigmoid,
            "Sigmoid" => Activation::Sigmoid,
            "Tanh" => Activation::Tanh,
            _ => return Err(self.refuse(node, "of another slope than MobileNetV3's")),
        };
        let x = self.float_value(x);
        let y = self.push(&layer_name(node, None), Layer::Activation(activation), &[x], None)?;
        self.tensors.insert(&node.outputs[0], Tensor::Value(y));
        Ok(())
    }

    pub(super) fn arithmetic(&mut self, node: &'a OnnxNode) -> Result<()> {
        let constant = |tensor: &Tensor<'a>| !matches!(tensor, Tensor::Value(_));
        let (first, second) = (constant(self.required(node, 0)?), constant(self.required(node, 1)?));
        let y = match (first, second) {
            (true, true) => return Err(self.refuse(node, "of two constants")),
            (false, false) => return self.pairwise(node),
            _ => {
                let x = self.read(node, usize::from(first))?;
                self.affine(node, x, usize::from(second), first)?
            }
        };
        self.tensors.insert(&node.outputs[0], Tensor::Value(y));
        Ok(())
    }

    fn pairwise(&mut self, node: &'a OnnxNode) -> Result<()> {
        let (a, b) = (self.unpadded(node, 0)?, self.unpadded(node, 1)?);
        // Dimensions are aligned at the last one.
        if self.rank(node, 0) != self.rank(node, 1) {
            return Err(self.refuse(node, "of values of several ranks"));
        }
        if node.op == "Add"
            && self.draft.codes(a).is_some()
            && self.draft.codes(b).is_some()
            && let Some(target) = self.target(&node.outputs[0])?
        {
            let y = self.sum(node, [a, b], (target.codes, target.bounds))?;
            self.set_output(target, y);
            return Ok(());
        }
        let (mut a, mut b) = (self.float_value(a), self.float_value(b));
        let layer = match node.op.as_str() {
            "Add" => Layer::Add,
            "Sub" => Layer::Sub,
            "Mul" => {
                // The gate is the second input.
                if a.shape.h * a.shape.w < b.shape.h * b.shape.w {
                    (a, b) = (b, a);
                }
                Layer::Mul
            }
            _ => return Err(self.refuse(node, "of two values")),
        };
        let y = self.push(&layer_name(node, None), layer, &[a, b], None)?;
        self.tensors.insert(&node.outputs[0], Tensor::Value(y));
        Ok(())
    }

    pub(super) fn pool(&mut self, node: &'a OnnxNode) -> Result<Value> {
        let mut x = self.unpadded(node, 0)?;
        if node.ints("kernel_shape").is_none() {
            return Err(self.wrong(node, "has no kernel_shape"));
        }
        let (kernel, stride) = (self.pair(node, "kernel_shape")?, self.pair(node, "strides")?);
        if kernel.0 != kernel.1 || stride.0 != stride.1 || self.pair(node, "dilations")? != (1, 1) {
            return Err(self.refuse(
                node,
                format!("of windows {kernel:?}, steps {stride:?}: only square windows can be imported"),
            ));
        }
        let pads = self.pads(node)?;
        let padding = match node.text("auto_pad") {
            None | Some("NOTSET" | "VALID") => pads,
            Some("SAME_UPPER") => {
                Conv { stride, padding: Padding::Same, ..Conv::new(1, kernel.0) }.halo(x.shape.h, x.shape.w)
            }
            Some(other) => return Err(self.refuse(node, format!("with auto_pad {other}"))),
        };
        let kind = match node.op.as_str() {
            "MaxPool" => PoolKind::Max,
            _ => PoolKind::Average { count_padding: node.int("count_include_pad").unwrap_or(0) == 1 },
        };
        // The largest code is that of the largest value.
        if kind != PoolKind::Max {
            x = self.float_value(x);
        }
        let ceil = node.int("ceil_mode").unwrap_or(0) == 1;
        let pool = Pool { kind, kernel: kernel.0, stride: stride.0, padding, ceil };
        self.push(&layer_name(node, None), Layer::Pool(pool), &[x], self.draft.codes(x))
    }

    pub(super) fn mean(&mut self, node: &'a OnnxNode) -> Result<()> {
        let x = self.unpadded(node, 0)?;
        if node.op == "ReduceMean" {
            let axes = self.axes(node, self.rank(node, 0))?.unwrap_or_default();
            if axes != [2, 3] || self.rank(node, 0) != 4 {
                return Err(self.refuse(node, format!("over axes {axes:?}: only rows and columns can be imported")));
            }
        }
        if self.draft.codes(x).is_some()
            && let Some(target) = self.target(&node.outputs[0])?
        {
            let y = self.mean_of(node, x, (target.codes, target.bounds))?;
            self.set_output(target, y);
            return Ok(());
        }
        let x = self.float_value(x);
        let y = self.push(&layer_name(node, None), Layer::GlobalAvgPool, &[x], None)?;
        self.tensors.insert(&node.outputs[0], Tensor::Value(y));
        Ok(())
    }

    pub(super) fn concat(&mut self, node: &'a OnnxNode) -> Result<Value> {
        let axis = node.int("axis").ok_or_else(|| self.wrong(node, "has no axis"))?;
        if self.axis_of(node, axis) != 1 {
            return Err(self.refuse(node, "along another axis than channels"));
        }
        let parts: Vec<Value> = (0..node.inputs.len()).map(|i| self.unpadded(node, i)).collect::<Result<_>>()?;
        let codes = parts.first().and_then(|&part| self.draft.codes(part));
        let (parts, codes) = match parts.iter().all(|&part| self.draft.codes(part) == codes) {
            true => (parts, codes),
            false => (parts.into_iter().map(|part| self.float_value(part)).collect(), None),
        };
        self.push(&layer_name(node, None), Layer::Concat, &parts, codes)
    }

    pub(super) fn softmax(&mut self, node: &'a OnnxNode) -> Result<Value> {
        let x = self.read(node, 0)?;
        let old = self.file.opset < 13;
        let axis = self.axis_of(node, node.int("axis").unwrap_or(if old { 1 } else { -1 }));
        // Old versions normalise over all values from their axis on.
        let over_all = old || self.rank(node, 0) == 2;
        if axis != 1 || over_all && x.shape.h * x.shape.w != 1 {
            let detail =
                format!("along axis {axis} of {}, version {}: only channels can be imported", x.shape, self.file.opset);
            return Err(self.refuse(node, detail));
        }
        self.push(&layer_name(node, None), Layer::Softmax(1.0), &[x], None)
    }

    /// Zero padding of an image stays pending until the next window reads it.
    pub(super) fn pad(&mut self, node: &'a OnnxNode) -> Result<Value> {
        let x = self.unpadded(node, 0)?;
        match self.zeros(node)?.as_deref() {
            Some(&[0, 0, top, left, 0, 0, bottom, right]) => {
                Ok(Value { pad: self.halo(node, &[top, left, bottom, right])?, ..x })
            }
            pads => Err(self.refuse(node, format!("by {pads:?}: only zeros around rows and columns can be imported"))),
        }
    }

    /// Our values have no fixed order of channels and pixels: flattening all features keeps the value.
    pub(super) fn reshape(&mut self, node: &'a OnnxNode) -> Result<Value> {
        let x = self.unpadded(node, 0)?;
        let all = x.shape.elements();
        let rank = self.rank(node, 0);
        let same = match node.op.as_str() {
            "Flatten" => self.axis_of(node, node.int("axis").unwrap_or(1)) == 1,
            "Reshape" => match self.required(node, 1)? {
                // Zeros that are extents, not those of the operand.
                Tensor::Constant(OnnxTensor { values: Values::Integers(to), .. })
                    if node.int("allowzero").unwrap_or(0) != 0 && to.contains(&0) =>
                {
                    false
                }
                Tensor::Constant(OnnxTensor { values: Values::Integers(to), .. }) => match *to.as_slice() {
                    [first, -1] => self.is_batch(first),
                    [first, features] => (first == -1 || self.is_batch(first)) && features == all as i64,
                    [first, c, 1, 1] => {
                        let channels = c == x.shape.c as i64 && (first == -1 || self.is_batch(first));
                        all == x.shape.c && (channels || [-1, 0].contains(&c) && self.is_batch(first))
                    }
                    _ => false,
                },
                _ => return Err(self.refuse(node, "to a shape that the graph computes; simplify it first (onnxsim)")),
            },
            // A dimension of 1 after the channels is added or removed.
            _ => {
                let added = if node.op == "Unsqueeze" { self.axes(node, 0)?.map_or(0, |axes| axes.len()) } else { 0 };
                all == x.shape.c && self.axes(node, rank + added)?.is_none_or(|axes| axes.iter().all(|&axis| axis > 1))
            }
        };
        if same {
            Ok(x)
        } else {
            Err(self.refuse(node, format!("of {}: only vectors of all features can be imported", x.shape)))
        }
    }

    pub(super) fn transpose(&mut self, node: &'a OnnxNode) -> Result<Value> {
        let x = self.unpadded(node, 0)?;
        let input = self.file.inputs.first().map(|(name, _)| name);
        match node.ints("perm") == Some(&[0, 3, 1, 2]) && node.inputs.first() == input && x.pad == Halo::default() {
            true => Ok(x),
            false => Err(self.refuse(node, "of anything but an input whose channels come last")),
        }
    }
}
