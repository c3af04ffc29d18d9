//! Unpickled values. They are in one list and refer to each other by index, so cycles and deep nesting cost nothing to drop.

use super::Id;

/// A value of a pickle. Nothing in it was ever executed.
#[derive(Debug)]
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    /// Text that had escapes.
    Unescaped(Box<str>),
    /// Bytes, a string that is no UTF-8, or an integer beyond 64 bits (little-endian).
    Bytes(&'a [u8]),
    /// List, tuple, set or frozenset.
    Seq(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// Module and name of a class or function.
    Global(Id, Id),
    /// A persistent id; in torch a storage.
    Persistent(Id),
    /// The result of a call, which was not made.
    Object(Box<Object>),
}

/// A recorded call.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) callable: Id,
    pub(super) args: Id,
    pub(super) state: Option<Id>,
    /// Items set or appended later, for a dict and for a list.
    pub(super) dict: Vec<(Id, Id)>,
    pub(super) list: Vec<Id>,
}

/// All values of one pickle.
#[derive(Default)]
pub(super) struct Arena<'a>(pub(super) Vec<Node<'a>>);

impl<'a> Arena<'a> {
    pub(super) fn get(&self, id: Id) -> &Node<'a> {
        &self.0[id as usize]
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Node::Text(text) => Some(text),
            Node::Unescaped(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn int(&self, id: Id) -> Option<i64> {
        match self.get(id) {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// A size, offset or stride.
    pub(super) fn size(&self, id: Id) -> Option<usize> {
        self.int(id)?.try_into().ok()
    }

    pub(super) fn seq(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Node::Seq(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn dict(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Node::Dict(items) => Some(items),
            _ => None,
        }
    }

    /// Module and name.
    pub(super) fn global(&self, id: Id) -> Option<(&str, &str)> {
        match self.get(id) {
            Node::Global(module, name) => Some((self.text(*module)?, self.text(*name)?)),
            _ => None,
        }
    }

    /// The callee and its arguments.
    pub(super) fn call(&self, id: Id) -> Option<((&str, &str), &[Id])> {
        match self.get(id) {
            Node::Object(object) => Some((self.global(object.callable)?, self.seq(object.args)?)),
            _ => None,
        }
    }

    /// The value under a string key.
    pub(super) fn entry(&self, dict: Id, key: &str) -> Option<Id> {
        self.dict(dict)?.iter().find(|(name, _)| self.text(*name) == Some(key)).map(|(_, value)| *value)
    }
}
