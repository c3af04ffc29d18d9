//! What a precision search found: the precision file, and the table of it.

use std::fmt::Write;

use super::figure::Figure;
use super::operands::{Numbers, Operand};
use super::search::Found;
use crate::format::Precision;
use crate::input::InputDigest;

/// The outcome of a search.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The network's card.
    pub model: String,
    /// SHA-256 of the files of its weights.
    pub weights: Vec<String>,
    /// The operands, of each layer activations and weights.
    pub operands: Vec<Operand>,
    /// In which numbers they are.
    pub numbers: Numbers,
    /// What was judged by.
    pub figure: Figure,
    /// The figure of full precision.
    pub full: f64,
    /// The figure in the bits that were found.
    pub got: f64,
    /// The loss that is still within.
    pub tolerance: f64,
    /// How many inputs there were.
    pub inputs: u64,
    /// Their digest.
    pub digest: InputDigest,
    /// Inputs that ranges were learned from.
    pub calibrated: u64,
    /// How many networks the search asked for the figures of, known before or not.
    pub asked: usize,
    /// The bits.
    pub found: Found,
}

impl Outcome {
    /// Bits of all operands, and those of as many in full width.
    pub fn bits(&self) -> [u32; 2] {
        let [_, most] = self.numbers.bits();
        [self.found.bits.iter().sum(), most * self.operands.len() as u32]
    }

    /// Mean bits of activations and of weights over the layers.
    pub fn means(&self) -> [f64; 2] {
        [0, 1].map(|which| {
            let of = |(operand, bits): (&Operand, &u32)| (operand.which == which).then_some(f64::from(*bits));
            let bits: Vec<f64> = self.operands.iter().zip(&self.found.bits).filter_map(of).collect();
            bits.iter().sum::<f64>() / bits.len() as f64
        })
    }

    /// The precision file.
    pub fn to_toml(&self) -> String {
        let Self { numbers, figure, found, .. } = self;
        let [used, all] = self.bits();
        let words = match numbers {
            Numbers::Fixed => {
                "# Integer bits hold the sign; q = round(x * 2^fraction), within integer + fraction bits. No value of the inputs that\n\
                 # ranges were learned from saturates in 16 bits.\n"
            }
            Numbers::Float => "# Bits of the significand, the hidden one among them; exponents are those of f32.\n",
        };
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let weights = self.weights.iter().map(|sha256| quoted(sha256)).collect::<Vec<_>>().join(", ");
        let mut text = format!(
            "# Precisions of {}, found by `deadweight precision`, to be read by `deadweight measure --precision FILE`.\n{words}\
             # `next` is the loss with one bit less of an operand, which rules it out; an operand without one has the fewest bits.\n\n\
             model = {}\nweights = [{weights}]\n\n[search]\nnumbers = {}\nfigure = {}\nfull = {:?}\nfound = {:?}\n\
             # (full - found) / full, of perplexity (found - full) / full; and what was still within.\nloss = {:?}\ntolerance = {:?}\n\
             inputs = {}\ninputs_sha256 = {}\ncalibration_inputs = {}\n# Networks that were run.\nnetworks = {}\n# Of {all}.\nbits = {used}\n",
            self.model.replace(char::is_control, " "),
            quoted(&self.model),
            quoted(numbers.name()),
            quoted(figure.name()),
            self.full,
            self.got,
            found.loss,
            self.tolerance,
            self.inputs,
            quoted(&self.digest.to_string()),
            self.calibrated,
            self.asked,
        );
        let precision = |operand: &Operand, bits: u32| match operand.precision(*numbers, bits) {
            Precision::Fixed { integer, fraction } => {
                format!("{{ integer = {integer}, fraction = {fraction} }} # {bits} bits")
            }
            Precision::Float { significand } => format!("{{ significand = {significand} }}"),
        };
        for (i, operand) in self.operands.iter().enumerate().step_by(2) {
            let both = [i, i + 1].map(|i| precision(&self.operands[i], found.bits[i]));
            let next = [i, i + 1].map(|i| found.next[i].map(|loss| format!("{} = {loss:?}", self.operands[i].name())));
            let next = next.into_iter().flatten().collect::<Vec<_>>().join(", ");
            let layer = quoted(&operand.layer);
            let _ = write!(
                text,
                "\n[layers.{layer}]\nactivations = {}\nweights = {}\nnext = {{ {next} }}\n",
                both[0], both[1]
            );
        }
        text
    }
}
