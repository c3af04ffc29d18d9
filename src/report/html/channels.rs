//! The channels of a run: how full each is, a letter a channel. They stand apart, to be read only when their figure is opened.

use serde_json::{Map, Value as Json, json};

use crate::metrics::{Value, Which};
use crate::report::{Report, Scope};

/// Letters by the share of values other than zero: the first of none at all, then equal steps up to all.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// By the letter of the operand a word a layer, a letter a channel; null where channels were not counted.
pub(super) fn channels(run: &Report) -> Json {
    let of = |which: Which| {
        let words: Vec<Option<String>> = run.layers().map(|layer| word(layer, which)).collect();
        words.iter().any(Option::is_some).then(|| (which.letter().to_string(), json!(words)))
    };
    Which::ALL.into_iter().filter_map(of).collect::<Map<_, _>>().into()
}

fn word(layer: &Scope, which: Which) -> Option<String> {
    let Value::PerChannel(nonzeros) = layer.cells.get("channel_nonzeros", Some(which))? else { return None };
    let Value::Count(values) = layer.cells.get("elements", Some(which))? else { return None };
    let each = values / (nonzeros.len() as u128).max(1);
    let letter = |&nonzeros: &u64| {
        let step = (u128::from(nonzeros) * 63).div_ceil(each.max(1)).min(63);
        char::from(LETTERS[step as usize])
    };
    Some(nonzeros.iter().map(letter).collect())
}
