//! The card of a recurrent network of which there is nothing but its checkpoint.

use super::find::Extents;
use super::layout::{Head, Layout, Part};
use super::{Arch, Cell, FAMILY};
use crate::models::{Card, Task};

/// The names that a network of the family can be asked for by: of any kind, and of one.
pub const KINDS: [&str; 5] = ["rnn", "lstm", "gru", "rnn_tanh", "rnn_relu"];

/// The card of the network in a checkpoint with these tensors, of `kind` if that is given (one of [`KINDS`]).
///
/// # Errors
/// What is missing, or which of several things could be meant, in words.
pub fn card(extents: &Extents, kind: Option<&str>) -> Result<Card, String> {
    if let Some(kind) = kind.filter(|kind| !KINDS.contains(kind)) {
        return Err(format!("{kind} is no kind of recurrent network; they are {}", KINDS.join(", ")));
    }
    let cells = [Cell::Lstm, Cell::Gru, Cell::RnnTanh, Cell::RnnRelu];
    let asked = cells.into_iter().find(|cell| Some(cell.name()) == kind);
    let layout = Layout::find(extents, asked.unwrap_or_default().plain())?;
    let parts: Vec<&Part> = layout.layers.iter().flatten().collect();
    let cell = parts.first().map(|part| part.cell).unwrap_or_default();
    let outputs = |part: &Part| part.projection.as_ref().map(|(_, outputs)| *outputs);
    let projection = parts.first().and_then(|part| outputs(part));
    if parts.iter().any(|part| part.cell != cell || outputs(part) != projection) {
        return Err("its layers are of several kinds".into());
    }
    if let Some(asked) = asked.filter(|asked| *asked != cell) {
        return Err(format!("it is of {}, not of {}", cell.name(), asked.name()));
    }
    if kind.is_none() && cell == Cell::RnnTanh {
        return Err(
            "weights do not say whether a plain RNN has a tanh or a ReLU; give --arch rnn_tanh or --arch rnn_relu"
                .into(),
        );
    }
    let classes = match layout.head {
        Head::Linear { classes, .. } => classes,
        Head::Tagger(..) | Head::Attention(_) => return Err("it has a head of several layers; name its card".into()),
    };
    let both = layout.layers.iter().any(|layer| layer.len() > 1);
    if both || classes != layout.rows {
        let what = if both {
            "reads both directions".into()
        } else {
            format!("has {classes} classes for {} tokens", layout.rows)
        };
        return Err(format!("it {what}, so it is no language model; give --arch a card that says of which task it is"));
    }
    let hidden: Vec<usize> = layout.layers.iter().map(|layer| layer[0].hidden).collect();
    let arch = Arch::language(cell, [layout.rows, layout.features], hidden);
    let arch = Arch { projection, tied: layout.is_tied(), ..arch };
    let sizes: Vec<String> = arch.hidden.iter().map(usize::to_string).collect();
    let notes = (cell == Cell::RnnTanh && asked.is_none()).then(|| {
        "weights do not say whether a plain RNN has a tanh or a ReLU: a tanh is taken; --arch rnn_relu takes a ReLU"
            .into()
    });
    let layers = if sizes.len() == 1 { "one layer".into() } else { format!("{} layers", sizes.len()) };
    Ok(Card {
        description: format!("{layers} of {}, {} tokens", sizes.join(", "), layout.rows),
        naming: super::naming(extents),
        input: toml::Table::from_iter([("steps".to_owned(), toml::Value::Integer(STEPS))]),
        arch: toml::Table::try_from(&arch).map_err(|error| error.to_string())?,
        notes: notes.into_iter().collect(),
        ..Card::new(cell.name(), FAMILY.name, Task::Language)
    })
}

/// Steps of a segment where nothing is said.
const STEPS: i64 = 64;
