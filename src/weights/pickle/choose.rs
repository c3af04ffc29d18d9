//! Which dictionary of a checkpoint is the network's: the averaged weights if there are any, as the programs that write both
//! prefer them.

use std::collections::{HashMap, HashSet};

use super::Id;
use super::collect::{Walk, is_other};
use crate::Result;
use crate::weights::contents::FileContents;
use crate::weights::names::{Cleaned, is_averaged};

/// Keys that training programs put the parameters under.
const WRAPPERS: [&str; 6] = ["state_dict", "model_state_dict", "params", "model", "net", "network"];
/// Keys of fully averaged networks, whatever their parameter names.
const WHOLE: [&str; 3] = ["params_ema", "state_dict_ema", "model_ema"];
/// The update counter of batch norms, which averages may leave out.
const COUNTER: &str = "num_batches_tracked";

const MAX_DEPTH: usize = 128;
/// Number of averaged dictionaries that are considered.
const MAX_AVERAGED: usize = 8;

/// The path from the root to the parameters.
struct Descent {
    id: Id,
    /// The last key on it.
    key: String,
    /// Averaged entries passed on the way: key and value.
    averaged: Vec<(String, Id)>,
    notes: Vec<String>,
}

/// Every tensor of the network below `root`.
pub(super) fn network(walk: &mut Walk<'_>, root: Id) -> Result<FileContents> {
    let descent = descend(walk, root)?;
    let mut trained = walk.gather(descent.id)?;
    trained.notes.extend(descent.notes);
    let mut unlike = Vec::new();
    for (key, id) in descent.averaged.into_iter().take(MAX_AVERAGED) {
        let inner = descend(walk, id)?;
        let averaged = walk.gather(inner.id)?;
        let whole = WHOLE.contains(&key.as_str()).then_some(Merge::Whole);
        match merged(&trained, &averaged).or(whole) {
            None => unlike.push(key),
            Some(Merge::Whole) => {
                let note = format!("the averaged weights under {key:?} are read, not those under {:?}", descent.key);
                return Ok(FileContents { notes: vec![note], ..averaged });
            }
            Some(Merge::Over(places)) => {
                let note = format!(
                    "the averaged weights under {key:?} are read, and {} tensors that they lack from {:?}",
                    trained.tensors.len() - places.len(),
                    descent.key
                );
                for (place, (_, tensor)) in places.into_iter().zip(averaged.tensors) {
                    trained.tensors[place].1 = tensor;
                }
                trained.notes.push(note);
                return Ok(trained);
            }
        }
    }
    if !unlike.is_empty() {
        let keys = unlike.join(", ");
        trained
            .notes
            .push(format!("the weights under {:?} are read: what is averaged ({keys}) has other names", descent.key));
    }
    Ok(trained)
}

/// How averaged weights relate to the trained ones.
enum Merge {
    /// They are the whole network.
    Whole,
    /// They are a part of it; for each, its index among the trained ones.
    Over(Vec<usize>),
}

/// `None` if they do not belong to the same network.
fn merged(trained: &FileContents, averaged: &FileContents) -> Option<Merge> {
    let names = |contents: &FileContents| Cleaned::new(contents.tensors.iter().map(|(name, _)| name.as_str())).names;
    let (trained, averaged) = (names(trained), names(averaged));
    let place: HashMap<&str, usize> =
        trained.iter().enumerate().filter_map(|(i, name)| Some((name.as_deref()?, i))).collect();
    let held: HashSet<&str> = averaged.iter().flatten().map(String::as_str).collect();
    if held.is_empty() {
        return None;
    }
    if place.keys().all(|name| held.contains(name) || name.ends_with(COUNTER)) {
        return Some(Merge::Whole);
    }
    averaged.iter().map(|name| place.get(name.as_deref()?).copied()).collect::<Option<_>>().map(Merge::Over)
}

/// Descends through the dicts that wrap the parameters.
fn descend(walk: &mut Walk<'_>, root: Id) -> Result<Descent> {
    let source = walk.source;
    let mut descent = Descent { id: root, key: String::new(), averaged: vec![], notes: vec![] };
    for _ in 0..MAX_DEPTH {
        let Some(items) = source.arena.dict(descent.id) else { break };
        walk.spend(items.len() * (WRAPPERS.len() + 1))?;
        let named = items.iter().filter_map(|(key, value)| Some((source.arena.text(*key)?, *value)));
        let mut averaged = Vec::new();
        for (key, value) in named.clone().filter(|(key, _)| is_averaged_weights(key)) {
            if walk.holds(value)? {
                averaged.push((key.to_owned(), value));
            }
        }
        let mut inner = None;
        for (key, value) in WRAPPERS.iter().filter_map(|key| Some((*key, source.arena.entry(descent.id, key)?))) {
            if walk.holds(value)? {
                inner = Some((key.to_owned(), value));
                break;
            }
        }
        if inner.is_none() && !items.iter().any(|(_, value)| source.is_tensor(*value)) {
            inner = match only_holder(walk, items)? {
                None if !averaged.is_empty() => Some(averaged.remove(0)),
                only => only,
            };
        }
        let Some((key, id)) = inner else { break };
        if key == "state_dict" && swapped(walk, descent.id, &mut descent.notes) {
            averaged.clear();
        }
        descent.averaged.append(&mut averaged);
        (descent.key, descent.id) = (key, id);
    }
    Ok(descent)
}

/// Whether `state_dict` itself holds the averaged weights, with the trained ones next to it.
fn swapped(walk: &Walk<'_>, dict: Id, notes: &mut Vec<String>) -> bool {
    let arena = walk.source.arena;
    let mmengine = arena.entry(dict, "meta").and_then(|meta| arena.entry(meta, "mmengine_version")).is_some();
    let trained = if mmengine { "ema_state_dict" } else { "current_model_state" };
    let beside = arena.entry(dict, trained).is_some();
    if beside {
        let by = if mmengine { "MMEngine" } else { "Lightning" };
        notes.push(format!("the averaged weights, under \"state_dict\" as {by} has them, are read, not {trained:?}"));
    }
    beside
}

fn is_averaged_weights(key: &str) -> bool {
    is_averaged(key) && !is_other(key)
}

/// The value that holds tensors, if exactly one value that is not averaged does.
fn only_holder(walk: &mut Walk<'_>, items: &[(Id, Id)]) -> Result<Option<(String, Id)>> {
    let mut only = None;
    for (key, value) in items {
        let name = walk.source.arena.text(*key);
        if name.is_some_and(|name| is_other(name) || is_averaged(name)) || !walk.holds(*value)? {
            continue;
        }
        if only.is_some() {
            return Ok(None);
        }
        only = Some((name.unwrap_or_default().to_owned(), *value));
    }
    Ok(only)
}
