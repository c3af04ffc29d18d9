//! What a token costs while a prompt is read, and while tokens are generated one at a time.

use serde::{Deserialize, Serialize};

use crate::measurement::{LayerCounts, Measurement};
use crate::tally::{Padding, Products};

/// Both phases of generating text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phases {
    /// Prompts, each read in one pass.
    pub prefill: Phase,
    /// Tokens behind them, each a pass of its own.
    pub decode: Phase,
}

/// One phase, over all inputs. Bits are those of words of the chosen number formats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Tokens read.
    pub tokens: u64,
    /// MACs a token, without masked ones.
    pub macs: f64,
    /// Bits of weights a token: each weight once a pass.
    pub weights: f64,
    /// Bits of activations a token: what enters layers of weights.
    pub activations: f64,
    /// Bits a token of keys and values that are written to the cache, and of those of earlier passes that are read from it.
    pub cache: f64,
}

/// Sums of a phase.
#[derive(Default)]
struct Sums {
    macs: u128,
    weights: u128,
    activations: u128,
    cache: u128,
}

impl Sums {
    fn phase(&self, tokens: u64) -> Phase {
        let of = |sum: u128| sum as f64 / tokens as f64;
        let Self { macs, weights, activations, cache } = *self;
        Phase { tokens, macs: of(macs), weights: of(weights), activations: of(activations), cache: of(cache) }
    }
}

impl Phases {
    /// Those of `measurement`, if tokens of it were taken as generated and all layers were measured.
    pub(super) fn of(measurement: &Measurement) -> Option<Self> {
        if measurement.provenance.options.contains_key("layers") {
            return None;
        }
        let find = |name: &str| measurement.layers.iter().find(|layer| layer.name == name);
        let rows: Vec<(&LayerCounts, &LayerCounts, [&str; 2])> = measurement
            .layers
            .iter()
            .filter_map(|decode| {
                let name = decode.name.strip_suffix(".decode")?;
                Some((find(name)?, decode, name.rsplit_once('.')?.into()))
            })
            .collect();
        // Queries of both phases: each is a row of as many values as a token has.
        let queries = |row: &LayerCounts| u128::from(row.tally.activations.values.elements);
        let (prefill, decode, _) = rows.iter().find(|(.., [_, product])| *product == "qk")?;
        let (of_decode, of_both) = (queries(decode), queries(prefill) + queries(decode));
        let [mut read, mut generated] = [Sums::default(), Sums::default()];
        let mut tokens = [0, 0];
        for layer in measurement.layers.iter().filter(|layer| layer.tally.pairs.is_none()) {
            let (shape, values) = (&layer.tally.shape, &layer.tally.activations.values);
            let all = u128::from(values.elements) / shape.channels().max(1) as u128;
            let last = (all * of_decode).checked_div(of_both)?;
            let first = all - last;
            tokens = [first as u64, last as u64];
            let [activation, weight] = layer.codings.map(|coding| u128::from(coding.bits));
            let weights = u128::from(layer.tally.weights.values.elements);
            for (sums, tokens, passes) in
                [(&mut read, first, u128::from(measurement.inputs)), (&mut generated, last, last)]
            {
                sums.macs += tokens * weights;
                sums.weights += passes * weights * weight;
                sums.activations += tokens * shape.channels() as u128 * activation;
            }
        }
        for (prefill, decode, [layer, _]) in rows {
            let scores = find(&format!("{layer}.qk.decode"))?;
            let stored = |row: &LayerCounts| u128::from(row.tally.weights.values.elements);
            let macs = |row: &LayerCounts| Products::of(&row.tally).dense.of(Padding::Without);
            let bits = u128::from(decode.codings[1].bits);
            read.macs += macs(prefill);
            read.cache += stored(prefill) * bits;
            generated.macs += macs(decode);
            // Heads that share keys read them once; the last key is the token's own.
            let shared = queries(scores).checked_div(stored(scores)).unwrap_or(1).max(1);
            generated.cache += macs(decode) / shared * bits;
        }
        let [first, last] = tokens;
        (first > 0 && last > 0).then(|| Self { prefill: read.phase(first), decode: generated.phase(last) })
    }
}
