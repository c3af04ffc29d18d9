//! Counting a layer of which only the operands are known.

use super::inputs::Inputs;
use super::measuring::Measuring;
use super::model::Model;
use super::net::{Conv, Net, Params};
use super::tensor::Tensor;
use crate::{Error, Result};

/// How a filter goes over its input: stride 1, no padding, no dilation and one group unless said otherwise.
///
/// ```
/// use deadweight::{Tensor, Window, count};
///
/// let (image, filter) = (Tensor::zeros([1, 2, 8, 8]), Tensor::zeros([4, 2, 3, 3]));
/// let strided = Window { stride: [2, 2], padding: [1, 1], ..Window::default() };
/// let macs = count(&image, &filter, strided)?.run()?.network().macs()?;
/// assert_eq!(macs.dense, 16 * 4 * 2 * 9);
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Zeros above and below, and at both sides.
    pub padding: [usize; 2],
    /// Rows and columns from one tap to the next.
    pub dilation: [usize; 2],
    /// Groups of channels.
    pub groups: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1 }
    }
}

/// Measures one layer, of any framework, by its operands: a convolution of activations `[N, C, H, W]` by weights `[K, C/groups, R, S]`,
/// or a product of `[N, C]` or `[N, T, C]` by `[K, C]`. Each of the N is an input.
///
/// ```
/// use deadweight::prelude::*;
///
/// let activations = Tensor::new([1, 1, 2, 2], vec![0.0, 1.0, 2.0, 0.0])?;
/// let weights = Tensor::new([1, 1, 2, 2], vec![1.0, 0.0, 3.0, 0.0])?;
/// let run = deadweight::count(&activations, &weights, Window::default())?.run()?;
/// let macs = run.network().macs()?;
/// assert_eq!((macs.dense, macs.effectual, macs.zero_both), (4, 1, 1));
/// # Ok::<(), deadweight::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] for extents that do not fit each other.
pub fn count(activations: &Tensor, weights: &Tensor, window: Window) -> Result<Measuring> {
    const NAME: &str = "layer";
    let wrong = |detail: String| Err(Error::shape(NAME, detail));
    let (a, w) = (activations.shape(), weights.shape());
    let (input, images): ([usize; 3], Vec<Tensor>) = match (a, w) {
        (&[_, c, h, width], [_, _, _, _]) => ([c, h, width], parts(activations, [c, h, width])?),
        (&[_, c], [_, of]) if c == *of => ([c, 1, 1], parts(activations, [c, 1, 1])?),
        (&[_, steps, c], [_, of]) if c == *of => {
            let turned = parts(activations, [1, steps, c])?.into_iter().map(|part| turned(&part, steps, c));
            ([c, 1, steps], turned.collect::<Result<_>>()?)
        }
        _ => {
            return wrong(format!(
                "activations {a:?} and weights {w:?}: give [N, C, H, W] and [K, C/groups, R, S], or [N, C] or [N, T, C] and \
                 [K, C]"
            ));
        }
    };
    if images.is_empty() {
        return wrong(format!("activations {a:?} hold no input"));
    }
    let params = Params::tensors([("layer.weight", weights.clone())])?;
    let net = Net::build(params, |n| {
        let x = n.input(input[0]);
        match *w {
            [filters, _, rows, columns] => {
                let conv = Conv::new(filters, 1).kernel([rows, columns]).groups(window.groups);
                n.conv(NAME, x, conv.strides(window.stride).paddings(window.padding).dilations(window.dilation))
            }
            _ => n.linear_steps(NAME, x, w[0]),
        }
    })?;
    let model = Model::from_net("count", net, input)?;
    let count = images.len();
    Ok(model.measure(Inputs::tensors(images)).calibrate(count))
}

/// The inputs of `x`, each of extents `shape`.
fn parts(x: &Tensor, shape: [usize; 3]) -> Result<Vec<Tensor>> {
    let each = shape.iter().product::<usize>().max(1);
    x.data().chunks(each).map(|part| Tensor::new(shape, part.to_vec())).collect()
}

/// `[C, 1, T]` of `[1, T, C]`.
fn turned(x: &Tensor, steps: usize, c: usize) -> Result<Tensor> {
    Tensor::new([c, 1, steps], (0..c * steps).map(|i| x.data()[i % steps * c + i / steps]).collect())
}
