//! Matrix products: Gemm, MatMul, Einsum. Each is a sum over the axes that both operands have and the result has not.

use rten_onnx::onnx::NodeProto;

use super::super::attributes::Attributes;
use super::weights::Held;
use super::{Finder, IntegerOperand, Refusal, checked};
use crate::Result;
use crate::kernels::Activation;
use crate::layers::{Conv, Layer, Linear, Param};
use crate::weights::onnx::operator as kind;

/// The axes of both operands and of the result, by labels.
pub(super) struct Labels {
    pub operands: [Vec<u32>; 2],
    pub result: Vec<u32>,
}

/// The labels of MatMul over operands of these ranks: leading axes go together from the last on; one of extent 1 goes with none.
fn matmul(dims: [&[usize]; 2]) -> Labels {
    const ROW: u32 = 1000;
    const COLUMN: u32 = 1001;
    const INNER: u32 = 1002;
    let ranks = dims.map(<[usize]>::len);
    let batch = |which: usize| ranks[which].saturating_sub(2);
    let most = batch(0).max(batch(1));
    let label = |which: usize, axis: usize| {
        let place = most - batch(which) + axis;
        let other = (place + batch(1 - which)).checked_sub(most).map(|axis| dims[1 - which][axis]);
        let alone = dims[which][axis] == 1 && other.is_some_and(|other| other != 1);
        if alone { 2000 + (which * 100 + place) as u32 } else { place as u32 }
    };
    let mut operands = [0, 1].map(|which| (0..batch(which)).map(|axis| label(which, axis)).collect::<Vec<_>>());
    operands[0].extend(if ranks[0] > 1 { &[ROW, INNER][..] } else { &[INNER] });
    operands[1].extend(if ranks[1] > 1 { &[INNER, COLUMN][..] } else { &[INNER] });
    let mut result: Vec<u32> = (0..most as u32).collect();
    result.extend((ranks[0] > 1).then_some(ROW));
    result.extend((ranks[1] > 1).then_some(COLUMN));
    Labels { operands, result }
}

/// The labels of a Gemm.
fn gemm(node: &NodeProto) -> Labels {
    let order = |flag: &str, [a, b]: [u32; 2]| if node.int(flag) == Some(1) { vec![b, a] } else { vec![a, b] };
    Labels { operands: [order("transA", [0, 2]), order("transB", [2, 1])], result: vec![0, 1] }
}

/// The labels of an Einsum of two operands.
fn einsum(equation: &str) -> Result<Labels, Refusal> {
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (terms, result) = match equation.split_once("->") {
        Some((terms, result)) => (terms, Some(result)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = terms.split(',').collect();
    let plain = |term: &&str| term.chars().all(|c| c.is_ascii_alphabetic());
    let [a, b] = terms[..] else { return Err(format!("is a product of {} operands", terms.len())) };
    if !terms.iter().chain(&result).all(plain) {
        return Err(format!("is {equation}"));
    }
    let result = result.map(str::to_owned).unwrap_or_else(|| {
        // Labels that occur once, in order.
        let both = format!("{a}{b}");
        let mut once: Vec<char> = both.chars().filter(|c| both.matches(*c).count() == 1).collect();
        once.sort_unstable();
        once.into_iter().collect()
    });
    let labels = |term: &str| term.chars().map(u32::from).collect::<Vec<_>>();
    Ok(Labels { operands: [labels(a), labels(b)], result: labels(&result) })
}

/// Axes of an operand by what the product does with them; axes of extent 1 are in no list.
pub(super) struct Axes {
    /// Both operands have them, and the result: products side by side.
    pub batch: Vec<u32>,
    /// Both have them: they are summed over.
    pub inner: Vec<u32>,
    /// The first operand alone has them, and the second.
    pub free: [Vec<u32>; 2],
}

impl Labels {
    /// The labels of `node`, whose operands have the extents `dims`.
    pub fn of(node: &NodeProto, dims: [&[usize]; 2]) -> Result<Self, Refusal> {
        let labels = match kind(node).as_str() {
            "Gemm" => gemm(node),
            "Einsum" => einsum(node.text("equation").unwrap_or_default())?,
            _ => matmul(dims),
        };
        let fits = (0..2).all(|which| labels.operands[which].len() == dims[which].len());
        if fits { Ok(labels) } else { Err(format!("is of operands {dims:?}")) }
    }

    /// Extent of a label.
    pub fn extent(&self, dims: [&[usize]; 2], label: u32) -> usize {
        let of = |which: usize| {
            let axis = self.operands[which].iter().position(|&known| known == label)?;
            Some(dims[which][axis])
        };
        of(0).or(of(1)).unwrap_or(1)
    }

    /// What is done with each axis.
    pub fn axes(&self, dims: [&[usize]; 2]) -> Result<Axes, Refusal> {
        let mut axes = Axes { batch: vec![], inner: vec![], free: [vec![], vec![]] };
        for which in 0..2 {
            let own = &self.operands[which];
            for (i, &label) in own.iter().enumerate() {
                if own[..i].contains(&label) {
                    return Err("takes a diagonal".into());
                }
                if dims[which][i] == 1 {
                    continue;
                }
                let (other, given) = (self.operands[1 - which].contains(&label), self.result.contains(&label));
                match (other, given) {
                    (true, true) if which == 0 => axes.batch.push(label),
                    (true, false) if which == 0 => axes.inner.push(label),
                    (true, _) => {}
                    (false, true) => axes.free[which].push(label),
                    (false, false) => return Err("sums over an axis of one operand".into()),
                }
            }
        }
        Ok(axes)
    }

    /// Multiply-accumulates: the product of all extents.
    pub fn macs(&self, dims: [&[usize]; 2]) -> u64 {
        let mut all: Vec<u32> = self.operands.concat();
        all.sort_unstable();
        all.dedup();
        all.iter().map(|&label| self.extent(dims, label) as u64).product()
    }
}

/// The axes of `labels` that `wanted` are.
pub(super) fn places(labels: &[u32], wanted: &[&[u32]]) -> Vec<usize> {
    let place = |label: &u32| labels.iter().position(|known| known == label);
    wanted.iter().copied().flatten().filter_map(place).collect()
}

impl<'a> Finder<'a> {
    pub(super) fn product(&mut self, node: &'a NodeProto) -> Result<Result<(), Refusal>> {
        let constants = [0, 1].map(|index| self.is_constant(node, index));
        let weight = match constants {
            [_, true] => 1,
            [true, false] => 0,
            [false, false] if node.input.len() > 1 => return Ok(self.pair(node)),
            // An Einsum of one operand multiplies nothing.
            _ => return Ok(Ok(())),
        };
        let held = self.held(&node.input[weight])?;
        let (held, integers) = match kind(node).as_str() {
            "MatMulInteger" if weight == 1 => match self.integers(node, held) {
                Ok((held, integers)) => (held, Some(integers)),
                Err(why) => return Ok(Err(why)),
            },
            "MatMulInteger" => return Ok(Err("has codes as its first operand that are constant".into())),
            _ => (held, None),
        };
        Ok(self.product_of(node, weight, held, integers))
    }

    fn product_of(
        &mut self,
        node: &'a NodeProto,
        weight: usize,
        held: Held,
        integers: Option<IntegerOperand>,
    ) -> Result<(), Refusal> {
        let name = self.input(node, 1 - weight)?;
        let own = self.dims(name)?;
        let held_dims = held.dims.clone();
        let dims = if weight == 1 { [own, &held_dims[..]] } else { [&held_dims[..], own] };
        let labels = Labels::of(node, dims)?;
        let Axes { batch, inner, free } = labels.axes(dims)?;
        let [of_x, of_w] = if weight == 1 { [&free[0], &free[1]] } else { [&free[1], &free[0]] };
        let (x, w) = (&labels.operands[1 - weight], &labels.operands[weight]);
        // Summed in the order of the operand's axes.
        let inner: Vec<u32> = x.iter().copied().filter(|label| inner.contains(label)).collect();
        let extent = |list: &[u32]| list.iter().map(|&label| labels.extent(dims, label)).product::<usize>();
        let (groups, sums, filters) = (extent(&batch), extent(&inner), extent(of_w));
        let lists = [places(x, &[&batch, &inner]), vec![], places(x, &[of_x])];
        let lists = [&lists[0][..], &lists[1], &lists[2]];
        let is_integer = integers.is_some();
        let (operand, source) = self.operand(name, lists, integers)?;
        let order = places(w, &[&batch, of_w, &inner]);
        // Axes of extent 1 may stand anywhere.
        let order: Vec<usize> =
            (0..w.len()).filter(|axis| !order.contains(axis)).chain(order.iter().copied()).collect();
        let behind = self.behind_bias(node);
        let (activation, output) = self.activated(behind);
        let out = groups * filters;
        let biased =
            behind != node.output[0] || kind(node) == "Gemm" && node.input.get(2).is_some_and(|bias| !bias.is_empty());
        let cut =
            if is_integer { node.input.get(6).is_some_and(|zero| self.lowest(zero)) } else { self.cut_at_zero(output) };
        let relu = activation == Activation::Relu || cut;
        let integer = held.integer(&places(w, &[of_w]), if biased { out } else { 0 }, relu);
        let is_float = held.codes.is_none();
        let held = if integer.is_some() { held } else { held.dequantised() };
        let bias = Some(Param { shape: vec![out], data: Default::default() });
        let bias = bias.filter(|_| biased && integer.is_none());
        let layer = if groups == 1 {
            Layer::Linear(Linear {
                weight: held.ordered(&order, vec![filters, sums]),
                bias,
                in_features: sums,
                out_features: filters,
                tied: false,
                steps: true,
                activation,
                integer,
                channels_last: None,
                low_bits: None,
            })
        } else {
            // Matrices side by side: groups of channels.
            Layer::Conv(Conv {
                in_channels: groups * sums,
                groups,
                weight: held.ordered(&order, vec![out, sums, 1, 1]),
                bias_values: bias,
                activation,
                integer,
                ..Conv::new(out, 1)
            })
        };
        let (layer, shape) = checked(layer, source.view.shape())?;
        let row = self.push(&self.row(node), layer, vec![operand], out, None);
        if is_float {
            self.share(row, &node.input[weight], &held.dims, &order);
        }
        self.show(row, source);
        if !is_integer {
            let lists = [places(&labels.result, &[&batch, of_w]), vec![], places(&labels.result, &[of_x])];
            self.show_output(row, node, output, [&lists[0], &lists[1], &lists[2]], shape);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_say_what_is_summed() {
        let of = |labels: &Labels, dims: [&[usize]; 2]| {
            let Axes { batch, inner, free } = labels.axes(dims).unwrap();
            [batch.len(), inner.len(), free[0].len(), free[1].len()]
        };
        let dims: [&[usize]; 2] = [&[2, 5, 3], &[3, 4]];
        assert_eq!((of(&matmul(dims), dims), matmul(dims).macs(dims)), ([0, 1, 2, 1], 120));
        let dims: [&[usize]; 2] = [&[2, 5, 3], &[2, 3, 4]];
        assert_eq!((of(&matmul(dims), dims), matmul(dims).macs(dims)), ([1, 1, 1, 1], 120));
        // A leading axis of 1 is repeated.
        let dims: [&[usize]; 2] = [&[1, 5, 3], &[2, 3, 4]];
        assert_eq!((of(&matmul(dims), dims), matmul(dims).macs(dims)), ([0, 1, 1, 2], 120));
        let dims: [&[usize]; 2] = [&[2, 5, 3], &[2, 4, 3]];
        let labels = einsum("bij, bkj -> bik").unwrap();
        assert_eq!((of(&labels, dims), labels.macs(dims)), ([1, 1, 1, 1], 120));
        assert_eq!(einsum("ij,jk").unwrap().result, ['i', 'k'].map(u32::from));
        assert!(einsum("...i,ij->...j").is_err() && einsum("i,j,k->ijk").is_err());
    }
}
