//! The operands of a network whose bits are searched, and networks in which they are rounded.

use std::collections::BTreeMap;

use crate::format::Precision;
use crate::graph::Node;
use crate::graph::rounded::{Place, place, rounded};
use crate::measure::{Calibration, MeasuredLayer};
use crate::model::Model;

/// In which numbers operands are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Fixed point.
    Fixed,
    /// Floating point with f32's exponents.
    Float,
}

impl Numbers {
    /// Fewest and most bits.
    pub fn bits(self) -> [u32; 2] {
        match self {
            Self::Fixed => Precision::FIXED,
            Self::Float => Precision::FLOAT,
        }
    }

    /// Their name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Float => "float",
        }
    }
}

/// One operand of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The layer.
    pub layer: String,
    /// 0: activations, 1: weights.
    pub which: usize,
    /// Its bits before the point, of fixed point.
    pub integer: i32,
    node: Node,
    place: Place,
}

impl Operand {
    /// `activations` or `weights`.
    pub fn name(&self) -> &'static str {
        ["activations", "weights"][self.which]
    }

    /// Its precision with `bits` bits.
    pub fn precision(&self, numbers: Numbers, bits: u32) -> Precision {
        match numbers {
            Numbers::Fixed => Precision::Fixed { integer: self.integer, fraction: bits as i32 - self.integer },
            Numbers::Float => Precision::Float { significand: bits },
        }
    }
}

/// The operands of the layers of `model`, of each layer activations and weights, with the integer bits that no value saturates in:
/// those of `calibration` in fixed point of 16 bits.
pub fn operands(model: &Model, calibration: &Calibration) -> Vec<Operand> {
    let of = |layer: &MeasuredLayer, which: usize| {
        // A power of two.
        let fraction = layer.codings[which].map.scale.log2().round() as i32;
        Operand {
            layer: layer.name.clone(),
            which,
            integer: Precision::FIXED[1] as i32 - fraction,
            node: layer.node,
            place: place(&model.graph, layer.node, layer.inside, which),
        }
    };
    calibration.layers.iter().flat_map(|layer| [0, 1].map(|which| of(layer, which))).collect()
}

/// `model` with `operands` rounded to `precisions`, but for those without one.
pub fn round_operands(model: &Model, operands: &[Operand], precisions: &[Option<Precision>]) -> Model {
    let maps: BTreeMap<_, _> = operands
        .iter()
        .zip(precisions)
        .filter_map(|(operand, precision)| Some(((operand.node, operand.place), precision.as_ref()?.map())))
        .collect();
    model.with_graph(rounded(&model.graph, &maps))
}
