//! Norms over the channels of each step or pixel.

use super::{Param, Shape};
use crate::kernels::norm::NormKind;

/// `y = (x - m) / d · w + b` over the channels of each pixel, or over those of each of several groups: what is subtracted and
/// what divides, [`NormKind`] says.
#[derive(Clone, Debug)]
pub struct Norm {
    /// Layer norm, RMS norm, or the length.
    pub kind: NormKind,
    /// Keeps the divisor from zero.
    pub eps: f32,
    /// Groups of equally many channels, normalised each by itself; all have the same parameters.
    pub groups: usize,
    /// w, `[C / groups]`; ones without it.
    pub weight: Option<Param>,
    /// b, `[C / groups]`; zeros without it.
    pub bias: Option<Param>,
}

impl Norm {
    pub(super) fn output(&self, x: Shape) -> Result<Shape, String> {
        let groups = self.groups.max(1);
        let fits = |param: &Option<Param>| param.as_ref().is_none_or(|param| param.shape == [x.c / groups]);
        if x.c.is_multiple_of(groups) && fits(&self.weight) && fits(&self.bias) {
            return Ok(x);
        }
        let of = self.weight.as_ref().map_or(vec![], |weight| weight.shape.clone());
        Err(format!("input {x} has {} channels in {groups} groups, the norm is of {of:?}", x.c))
    }

    /// The kind's name in reports.
    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            NormKind::Layer => "layer_norm",
            NormKind::Rms => "rms_norm",
            NormKind::Length => "normalise",
        }
    }
}
