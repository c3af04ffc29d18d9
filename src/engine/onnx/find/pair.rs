//! Matrix products of two activations: attention scores, and the values that they weigh.

use rten_onnx::onnx::NodeProto;

use super::product::{Axes, Labels, places};
use super::{Finder, Refusal, Role};
use crate::layers::{Layer, MatMul};
use crate::weights::onnx::operator as kind;

impl<'a> Finder<'a> {
    /// The product of two activations that `node` is: each of the axes that both operands and the result have makes heads.
    pub(super) fn pair(&mut self, node: &'a NodeProto) -> Result<(), Refusal> {
        let names = [self.input(node, 0)?, self.input(node, 1)?];
        let dims = [self.dims(names[0])?, self.dims(names[1])?];
        if dims.concat().contains(&0) {
            return Err("has operands without values".into());
        }
        let labels = Labels::of(node, dims)?;
        let Axes { batch, inner, free } = labels.axes(dims)?;
        let extent = |list: &[u32]| list.iter().map(|&label| labels.extent(dims, label)).product::<usize>();
        let is_integer = kind(node) == "MatMulInteger";
        let mut operands = Vec::with_capacity(2);
        for (which, name) in names.into_iter().enumerate() {
            let of = |list: &[&[u32]]| places(&labels.operands[which], list);
            let integers = if is_integer { Some(self.codes(node, [2 + which, 4 + which])?) } else { None };
            operands.push(self.operand(name, [&of(&[&batch, &inner]), &[], &of(&[&free[which]])], integers)?);
        }
        let layer = Layer::MatMul(MatMul { heads: extent(&batch), inner: extent(&inner) });
        let shape = layer.output(&[operands[0].1.view.shape(), operands[1].1.view.shape()])?;
        let row =
            self.push(&self.row(node), layer, operands.iter().map(|(operand, _)| *operand).collect(), shape.c, None);
        for (role, (_, source)) in [Role::First, Role::Second].into_iter().zip(operands) {
            self.shown.push(super::Shown { node: row, role, source });
        }
        if !is_integer {
            let of = |list: &[&[u32]]| places(&labels.result, list);
            let lists = [&of(&[&batch, &free[1]])[..], &[], &of(&[&free[0]])];
            self.show_output(row, node, &node.output[0], lists, shape);
        }
        Ok(())
    }
}
