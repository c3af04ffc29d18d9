//! What the document tells of an LSTM's products beyond those of any layer.

use serde::Serialize;

use super::document::{Macs, Operand, Potentials};

/// A product of an LSTM by gates and steps.
#[derive(Clone, Debug, Serialize)]
pub struct Recurrent {
    /// i, f, g, o; all read the layer's activations.
    pub gates: Vec<Gate>,
    /// Over all steps.
    pub temporal: Temporal,
    /// Steps 0, 1, 2 and 3, 4 to 7, and so on, counted from where a sequence begins.
    pub steps: Vec<Step>,
}

/// A quarter of the filters of an LSTM's product.
#[derive(Clone, Debug, Serialize)]
pub struct Gate {
    /// `i`, `f`, `g` or `o`.
    pub gate: &'static str,
    /// MACs by class.
    pub macs: Macs,
    /// Its weights.
    pub weights: Operand,
    /// Potentials by name.
    pub potentials: Potentials,
}

/// What stays of an operand from one time step to the next (METRICS section 7).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Temporal {
    /// Values of all steps but the first of each sequence.
    pub compared: u64,
    /// Of these, those whose code is that of the step before.
    pub equal: u64,
    /// `equal / compared`.
    pub equal_share: Option<f64>,
    /// Terms of the differences of the codes, by the chosen encoder.
    pub change_terms: u64,
    /// `change_terms / compared`.
    pub change_terms_per_value: Option<f64>,
}

/// An operand over some steps of its sequences.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The first of these steps, from 0.
    pub first: u64,
    /// How many steps of all sequences.
    pub steps: u64,
    /// Values.
    pub values: u64,
    /// Zero codes.
    pub zeros: u64,
    /// `zeros / values`.
    pub zero_share: Option<f64>,
    /// Terms of the codes, by the chosen encoder.
    pub terms: u64,
    /// `terms / values`.
    pub terms_per_value: Option<f64>,
    /// Against the steps before.
    pub temporal: Temporal,
}
