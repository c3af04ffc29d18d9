//! Notes on layers of integers whose sums left 32 bits: they wrapped, as they do in the runtimes, so that outputs are the same.

use crate::graph::NodeDef;
use crate::kernels::conv::Wrapped;
use crate::layers::Layer;
use crate::measurement::WRAPPED;
use crate::model::Model;

/// The layers of `model` with sums of integers.
fn layers(model: &Model) -> impl Iterator<Item = (&NodeDef, &Wrapped)> {
    model.graph.nodes.iter().filter_map(|def| {
        let integer = match &def.layer {
            Layer::Conv(conv) => conv.integer.as_ref(),
            Layer::Linear(linear) => linear.integer.as_ref(),
            _ => None,
        };
        Some((def, &integer?.requantize.wrapped))
    })
}

fn note(def: &NodeDef) -> String {
    format!("layer {}{WRAPPED}", def.name)
}

/// A note for each layer of `model` of which a sum has wrapped since it was loaded.
pub fn wrapped_notes(model: &Model) -> Vec<String> {
    layers(model).filter(|(_, wrapped)| wrapped.get()).map(|(def, _)| note(def)).collect()
}

/// Lets the layers that `notes` are about be such, as they were before a checkpoint.
pub(super) fn remember(model: &Model, notes: &[String]) {
    layers(model).filter(|(def, _)| notes.contains(&note(def))).for_each(|(_, wrapped)| wrapped.set());
}
