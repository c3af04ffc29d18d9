//! The measurement: exact counts of every layer and where they come from. It is what a file holds ([`Measurement::to_bytes`]) and
//! what everything that is printed is made of.

mod arrays;
mod checkpoint;
mod file;
mod header;
mod provenance;
mod sampled;
mod stored;

pub use checkpoint::{Checkpoint, Stream};
pub use header::SCHEMA;
pub use provenance::{Design, File, Format, Model, Provenance, Tool, WRAPPED};

use crate::format::Coding;
use crate::input::InputDigest;
use crate::tally::{LayerTally, Spread};
use crate::task::Quality;
use crate::{Error, Result};

/// Counts of all layers over some inputs. Measurements of one calibration merge in any order and split.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// Where it comes from.
    pub provenance: Provenance,
    /// The layers, in the order of the network.
    pub layers: Vec<LayerCounts>,
    /// Inputs counted.
    pub inputs: u64,
    /// Inputs left out because they could not be decoded.
    pub skipped: u64,
    /// Images that were turned upright as their orientation tags say.
    pub turned: u64,
    /// Digest of the inputs.
    pub digest: InputDigest,
    /// A number for each input, made of its content and its name, in rising order: what shows that two parts have one in common.
    pub keys: Vec<u64>,
    /// How good the answers were.
    pub quality: Quality,
    /// How ratios spread over the inputs.
    pub spread: Spread,
}

/// Counts of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerCounts {
    /// Where its weights live in the checkpoint.
    pub name: String,
    /// `conv`, `depthwise`, `conv_transpose`, `linear`, `lstm`.
    pub kind: String,
    /// The numbers of activations and of weights.
    pub codings: [Coding; 2],
    /// The numbers of its outputs, where these were counted.
    pub output: Option<Coding>,
    /// What was counted.
    pub tally: LayerTally,
}

impl Measurement {
    /// Adds what was counted over other inputs, in `file`.
    ///
    /// # Errors
    /// [`Error::Invalid`] saying in what the two differ, if they are not parts of one run.
    pub fn add(&mut self, other: &Self, file: &str) -> Result<()> {
        if let Some(difference) = self.difference(other) {
            return Err(Error::invalid(file, format!("is no part of the same run: {difference}")));
        }
        let common = self.keys.iter().filter(|key| other.keys.binary_search(key).is_ok()).count();
        if common > 0 {
            let detail = format!("has {common} inputs that were counted already; each may be in one part only");
            return Err(Error::invalid(file, detail));
        }
        self.keys.extend(&other.keys);
        self.keys.sort_unstable();
        self.layers.iter_mut().zip(&other.layers).for_each(|(own, other)| own.tally.merge(&other.tally));
        self.inputs += other.inputs;
        self.skipped += other.skipped;
        self.turned += other.turned;
        self.digest.merge(&other.digest);
        self.quality.merge(&other.quality);
        self.spread.merge(&other.spread);
        self.provenance.add_wrapped(other.provenance.notes.iter().cloned());
        self.provenance.model.classes.extend(other.provenance.model.classes.clone());
        Ok(())
    }

    /// In what `other` differs from a part of the same run, if it does.
    fn difference(&self, other: &Self) -> Option<String> {
        if let Some(difference) = self.provenance.difference(&other.provenance) {
            return Some(difference);
        }
        let names = |measurement: &Self| {
            measurement.layers.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let (own, others) = (names(self), names(other));
        if own != others {
            return Some(format!("layers are {others}, not {own}"));
        }
        if self.spread.ratios != other.spread.ratios {
            return Some("its per-input ratios are others".into());
        }
        let layers = self.layers.iter().zip(&other.layers);
        let differs = layers.into_iter().find(|(own, other)| {
            (own.codings, own.output) != (other.codings, other.output)
                || own.tally.pairs.is_none() && own.tally.weights != other.tally.weights
                || !own.tally.is_of_layer(&other.tally)
        });
        differs.map(|(own, _)| format!("{} has other weights, extents or codes", own.name))
    }
}
