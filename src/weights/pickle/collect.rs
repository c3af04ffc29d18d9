//! Finds the network's parameters among the values of a pickle, with their names.

use std::collections::HashSet;

use super::Id;
use super::arena::Node;
use super::rebuild::{Fault, Source};
use super::{choose, modules};
use crate::weights::contents::FileContents;
use crate::{Error, Result};

/// Words in the keys of other tensors that training programs store.
const OTHERS: [&str; 4] = ["optim", "sched", "scaler", "rng_state"];

const MAX_DEPTH: usize = 128;
const MAX_TENSORS: usize = 1 << 17;
const MAX_NAMES: usize = 16 << 20;
const MAX_STEPS: usize = 1 << 21;

/// A walk through the values. Shared values are visited once for each name they have, so the steps are counted.
pub(super) struct Walk<'a> {
    pub(super) source: &'a Source<'a>,
    file: &'a str,
    path: Vec<Id>,
    steps: usize,
    name_bytes: usize,
    found: FileContents,
}

/// Every tensor of the checkpoint below `root` with its dotted name.
pub(super) fn collect(file: &str, source: &Source<'_>, root: Id) -> Result<FileContents> {
    let mut walk = Walk { source, file, path: Vec::new(), steps: 0, name_bytes: 0, found: FileContents::default() };
    choose::network(&mut walk, root)
}

pub(super) fn is_other(key: &str) -> bool {
    OTHERS.iter().any(|part| key.contains(part))
}

impl Walk<'_> {
    fn broken(&self, detail: impl Into<String>) -> Error {
        Error::malformed(self.file, detail)
    }

    pub(super) fn spend(&mut self, steps: usize) -> Result<()> {
        self.steps += steps;
        if self.steps > MAX_STEPS { Err(self.broken("the pickle's values are too entangled")) } else { Ok(()) }
    }

    /// Every tensor below `root` with its dotted name, and the modules that hold them.
    pub(super) fn gather(&mut self, root: Id) -> Result<FileContents> {
        match self.source.arena.dict(root) {
            Some(items) => {
                for (key, value) in items {
                    let name = self.key(*key);
                    if !name.as_deref().is_some_and(is_other) || self.source.is_tensor(*value) {
                        self.entry("", name, *value)?;
                    }
                }
            }
            None => self.visit(root, "")?,
        }
        Ok(std::mem::take(&mut self.found))
    }

    /// Whether a container holds tensors somewhere.
    pub(super) fn holds(&mut self, id: Id) -> Result<bool> {
        let source = self.source;
        let mut seen = HashSet::from([id]);
        let mut waiting = vec![id];
        while let Some(next) = waiting.pop() {
            self.spend(1)?;
            if source.is_tensor(next) {
                return Ok(next != id);
            }
            let mut children = Vec::new();
            match source.arena.get(next) {
                Node::Seq(items) => children.extend_from_slice(items),
                Node::Dict(items) => children.extend(items.iter().map(|(_, value)| *value)),
                Node::Object(object) => {
                    children.extend(object.state);
                    children.push(object.args);
                    children.extend_from_slice(&object.list);
                    children.extend(object.dict.iter().map(|(_, value)| *value));
                }
                _ => children.extend(self.module(next)),
            }
            self.spend(children.len())?;
            waiting.extend(children.into_iter().filter(|child| seen.insert(*child)));
        }
        Ok(false)
    }

    /// In legacy files a module's persistent id is `('module', module, file, source text)`.
    fn module(&self, id: Id) -> Option<Id> {
        let Node::Persistent(reference) = self.source.arena.get(id) else { return None };
        match self.source.arena.seq(*reference)? {
            [kind, module, ..] if self.source.arena.text(*kind) == Some("module") => Some(*module),
            _ => None,
        }
    }

    fn key(&self, id: Id) -> Option<String> {
        let arena = self.source.arena;
        arena.text(id).map(str::to_owned).or_else(|| arena.int(id).map(|index| index.to_string()))
    }

    /// Visits the entry `name` within `path`; a key that is neither string nor integer is skipped.
    fn entry(&mut self, path: &str, name: Option<String>, id: Id) -> Result<()> {
        let Some(name) = name else { return Ok(()) };
        let name = if path.is_empty() { name } else { format!("{path}.{name}") };
        self.visit(id, &name)
    }

    fn visit(&mut self, id: Id, path: &str) -> Result<()> {
        self.spend(1 + path.len() / 64)?;
        let source = self.source;
        if source.is_tensor(id) {
            return self.keep(id, path);
        }
        // A value within itself adds no new name.
        if self.path.contains(&id) {
            return Ok(());
        }
        if self.path.len() >= MAX_DEPTH {
            return Err(self.broken(format!("values nested deeper than {MAX_DEPTH}")));
        }
        self.path.push(id);
        match source.arena.get(id) {
            Node::Dict(items) => self.dict(items, path)?,
            Node::Seq(items) => self.seq(items, path)?,
            Node::Object(object) => {
                // With slots, the state is a pair whose first element is the dict of attributes.
                let state = object.state.map(|state| match source.arena.seq(state) {
                    Some([first, ..]) => *first,
                    _ => state,
                });
                match state.and_then(|state| source.arena.dict(state)) {
                    Some(attributes) => self.attributes(object.callable, attributes, path)?,
                    None => self.visit(object.args, path)?,
                }
                self.dict(&object.dict, path)?;
                self.seq(&object.list, path)?;
            }
            _ => {
                if let Some(module) = self.module(id) {
                    self.visit(module, path)?;
                }
            }
        }
        self.path.pop();
        Ok(())
    }

    fn dict(&mut self, items: &[(Id, Id)], path: &str) -> Result<()> {
        items.iter().try_for_each(|(key, value)| self.entry(path, self.key(*key), *value))
    }

    fn seq(&mut self, items: &[Id], path: &str) -> Result<()> {
        items.iter().enumerate().try_for_each(|(index, item)| self.entry(path, Some(index.to_string()), *item))
    }

    /// The attributes of an object; for a module, what its `state_dict()` would return.
    fn attributes(&mut self, class: Id, attributes: &[(Id, Id)], path: &str) -> Result<()> {
        let arena = self.source.arena;
        self.spend(attributes.len())?;
        let named = |key: &str| attributes.iter().find(|(name, _)| arena.text(*name) == Some(key)).map(|(_, id)| *id);
        let groups = [named("_parameters"), named("_buffers"), named("_modules")];
        if groups == [None; 3] {
            return self.dict(attributes, path);
        }
        if let Some(module) = modules::module(arena, class, attributes) {
            self.name_bytes += path.len();
            self.found.modules.push((path.to_owned(), module));
        }
        let transient = named("_non_persistent_buffers_set").and_then(|set| match arena.call(set) {
            Some((_, [items])) => arena.seq(*items),
            _ => arena.seq(set),
        });
        let transient = transient.unwrap_or_default();
        self.spend(transient.len())?;
        let transient: HashSet<&str> = transient.iter().filter_map(|name| arena.text(*name)).collect();
        for group in groups.into_iter().flatten() {
            for (key, value) in arena.dict(group).unwrap_or_default() {
                if arena.text(*key).is_none_or(|key| !transient.contains(key)) {
                    self.entry(path, self.key(*key), *value)?;
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, id: Id, path: &str) -> Result<()> {
        let name = if path.is_empty() { "tensor" } else { path };
        self.name_bytes += name.len();
        if self.found.tensors.len() >= MAX_TENSORS || self.name_bytes > MAX_NAMES {
            return Err(
                self.broken(format!("more than {MAX_TENSORS} tensors, or names of more than {MAX_NAMES} bytes"))
            );
        }
        let tensor = self.source.tensor(id).map_err(|fault| match fault {
            Fault::Broken(detail) => self.broken(format!("{name}: {detail}")),
            Fault::Unsupported(what) => {
                Error::unsupported(format!("{}: {name}: {what}", self.file), "store the weights as safetensors")
            }
        })?;
        self.found.tensors.push((name.to_owned(), tensor));
        Ok(())
    }
}
