//! Watches a network while it runs: for each layer the largest activation, and where it was.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;

use deadweight::prelude::*;

/// By layer the largest value, the input that it was in, and its place `[channel, row, column]`.
#[derive(Default)]
struct Peaks(BTreeMap<String, (f32, usize, [usize; 3])>);

impl Peaks {
    fn keep(&mut self, layer: &str, peak: (f32, usize, [usize; 3])) {
        match self.0.get_mut(layer) {
            Some(known) if known.0 > peak.0 => {}
            // Of equal values the first, so that the answer does not depend on which thread saw which.
            Some(known) if known.0 == peak.0 => {
                *known = if (peak.1, peak.2) < (known.1, known.2) { peak } else { *known }
            }
            Some(known) => *known = peak,
            None => drop(self.0.insert(layer.to_owned(), peak)),
        }
    }
}

impl Probe for Peaks {
    type Local = Self;

    fn wants(&self, layer: &LayerInfo) -> Wants {
        if layer.is_mac() { Wants::INPUT } else { Wants::NOTHING }
    }

    fn see(&self, local: &mut Self, tile: Tile<'_>) {
        for (place, value) in tile.values() {
            local.keep(&tile.layer().name, (value, tile.image(), place));
        }
    }

    fn merge(&mut self, local: Self) {
        local.0.into_iter().for_each(|(layer, peak)| self.keep(&layer, peak));
    }
}

/// Runs the example.
pub fn main() -> Result<()> {
    let model = Model::load("digits").open()?;
    let mut session = model.session().threads(2).build()?;
    let mut peaks = Peaks::default();
    for input in model.inputs(Inputs::built_in())?.take(4) {
        session.run_with(&input?.values, &mut peaks)?;
    }
    for (layer, (value, _, [channel, row, column])) in &peaks.0 {
        println!("{layer:24} {value:8.3} in channel {channel} at {row}, {column}");
    }
    Ok(())
}
