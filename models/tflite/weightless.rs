//! TFLite operators without weights.

use super::Lowering;
use crate::kernels::pool::PoolShape;
use crate::kernels::{Activation, Halo, Integer, Rounding};
use crate::layers::{Conv, Layer, Padding, Pool, Resize, Shape};
use crate::models::imported::Value;
use crate::weights::tflite::Operator;
use crate::{Error, Result};

impl Lowering<'_> {
    pub(super) fn add(&mut self, operator: &Operator) -> Result<Value> {
        let [a, b] = [self.read_all(operator, 0)?, self.read_all(operator, 1)?];
        let [first, second] = [self.tensor_index(operator, 0)?, self.tensor_index(operator, 1)?];
        if a.shape != b.shape || self.file.tensors[first].shape != self.file.tensors[second].shape {
            return Err(self.refuse(operator, &format!("of {} and {}", a.shape, b.shape)));
        }
        let name = self.output(operator)?.1.name.clone();
        let Some((from, to)) = self.draft.codes(a).zip(self.draft.codes(b)) else {
            let sum = self.push(&name, Layer::Add, &[a, b], a.shape, None);
            return Ok(match self.activation(operator)? {
                Activation::Identity => sum,
                activation => self.push(&name, Layer::Activation(activation), &[sum], a.shape, None),
            });
        };
        let codes = self.codes(self.output(operator)?.1)?;
        let bounds = self.bounds(operator, codes)?;
        let layer = Layer::Integer(Integer::Add {
            scales: ([from.scale, to.scale], codes.scale),
            bounds,
            rounding: Rounding::Fixed31,
        });
        Ok(self.push(&name, layer, &[a, b], a.shape, Some(codes)))
    }

    pub(super) fn pool(&mut self, operator: &Operator) -> Result<Value> {
        let x = self.read(operator, 0)?;
        let options = operator.options;
        let (kernel, stride) = (options.window.0, options.stride.0);
        if options.window != (kernel, kernel) || options.stride != (stride, stride) || kernel * stride == 0 {
            return Err(self.refuse(operator, &format!("of windows {:?}, steps {:?}", options.window, options.stride)));
        }
        let padding = match options.same {
            false => Halo::default(),
            true => Conv { stride: options.stride, padding: Padding::Same, ..Conv::new(1, kernel) }
                .halo(x.shape.h, x.shape.w),
        };
        let name = self.output(operator)?.1.name.clone();
        let (average, codes) = (operator.name == "AVERAGE_POOL_2D", self.draft.codes(x));
        let layer = match codes {
            Some(codes) if average => {
                let (shape, bounds) = (PoolShape { kernel, stride, padding }, self.bounds(operator, codes)?);
                Layer::Integer(Integer::AveragePool { shape, codes, bounds })
            }
            _ if options.activation != 0 => return Err(self.refuse(operator, "with an activation")),
            _ if average => Layer::Pool(Pool { padding, ..Pool::average(kernel, stride) }),
            _ => Layer::Pool(Pool { padding, ..Pool::max(kernel, stride) }),
        };
        let shape = layer.output(&[x.shape]).map_err(|detail| Error::shape(&name, detail))?;
        Ok(self.push(&name, layer, &[x], shape, codes))
    }

    pub(super) fn mean(&mut self, operator: &Operator) -> Result<Value> {
        let x = self.read(operator, 0)?;
        let mut axes = self.integers(self.constant(operator, 1)?)?;
        axes.sort_unstable();
        if axes != [1, 2] {
            return Err(self.refuse(operator, &format!("over axes {axes:?}: only rows and columns can be imported")));
        }
        let (_, output) = self.output(operator)?;
        let (name, shape) = (output.name.clone(), Shape::new(x.shape.c, 1, 1));
        let Some(from) = self.draft.codes(x) else {
            return Ok(self.push(&name, Layer::GlobalAvgPool, &[x], shape, None));
        };
        let to = self.codes(output)?;
        let layer = Layer::Integer(Integer::Mean {
            scales: (from.scale, to.scale),
            bounds: to.bounds(),
            rounding: Rounding::Fixed31,
        });
        Ok(self.push(&name, layer, &[x], shape, Some(to)))
    }

    pub(super) fn concat(&mut self, operator: &Operator) -> Result<Value> {
        let parts: Vec<Value> = (0..operator.inputs.len()).map(|i| self.read(operator, i)).collect::<Result<_>>()?;
        let (_, output) = self.output(operator)?;
        let (name, codes) = (output.name.clone(), self.codes_if_any(output)?);
        let last = output.shape.len() as i32 - 1;
        if ![last, -1].contains(&operator.options.axis) || operator.options.activation != 0 {
            return Err(
                self.refuse(operator, &format!("along axis {}: only channels can be imported", operator.options.axis))
            );
        }
        if parts.iter().any(|&part| self.draft.codes(part) != codes) {
            return Err(self.refuse(operator, "of integers of several scales"));
        }
        let shapes: Vec<Shape> = parts.iter().map(|part| part.shape).collect();
        let shape = Layer::Concat.output(&shapes).map_err(|detail| Error::shape(&name, detail))?;
        Ok(self.push(&name, Layer::Concat, &parts, shape, codes))
    }

    pub(super) fn resize(&mut self, operator: &Operator) -> Result<Value> {
        let x = self.read(operator, 0)?;
        let size = self.integers(self.constant(operator, 1)?)?;
        let options = operator.options;
        let name = self.output(operator)?.1.name.clone();
        // Resizing to the same size changes nothing.
        if size == [x.shape.h as i32, x.shape.w as i32] {
            return Ok(x);
        }
        if options.align_corners == options.half_pixel_centers {
            return Err(self.refuse(operator, "with neither or both of aligned corners and half-pixel centres"));
        }
        let fits = |value: &&Value| size == [value.shape.h as i32, value.shape.w as i32];
        let first = self.values.values().filter(fits).min_by_key(|value| value.node.index()).copied();
        let like = first.ok_or_else(|| self.refuse(operator, &format!("to {size:?}: no value is of that size")))?;
        let (shape, align_corners) = (Shape { c: x.shape.c, ..like.shape }, options.align_corners);
        let codes = self.draft.codes(x);
        let layer = match codes {
            Some(codes) => Layer::Integer(Integer::Resize { align_corners, codes }),
            None => Layer::Resize(Resize { align_corners }),
        };
        Ok(self.push(&name, layer, &[x, like], shape, codes))
    }

    pub(super) fn pad(&mut self, operator: &Operator) -> Result<Value> {
        let x = self.read(operator, 0)?;
        let pads = self.integers(self.constant(operator, 1)?)?;
        let pads: Option<Vec<usize>> =
            pads.iter().map(|&pad| usize::try_from(pad).ok().filter(|&pad| pad < 1 << 16)).collect();
        match pads.as_deref() {
            Some(&[0, 0, top, bottom, left, right, 0, 0]) => Ok(Value { pad: Halo { top, bottom, left, right }, ..x }),
            other => Err(self.refuse(operator, &format!("by {other:?}: rows and columns may be padded"))),
        }
    }
}
