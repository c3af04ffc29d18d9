//! Settings of fully pickled modules, besides their parameters.

use super::Id;
use super::arena::{Arena, Node};
use crate::weights::contents::{Module, Setting};

/// Attributes of PyTorch's modules that affect what they compute.
const SETTINGS: [&str; 10] = [
    "eps",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "padding_mode",
    "ceil_mode",
    "count_include_pad",
    "negative_slope",
];

/// The module of `class` with those `attributes`, if it has any of [`SETTINGS`] or is a PyTorch activation.
pub(super) fn module(arena: &Arena<'_>, class: Id, attributes: &[(Id, Id)]) -> Option<Module> {
    let (package, class) = arena.global(class)?;
    let setting = |name: &str| {
        let (_, value) = attributes.iter().find(|(key, _)| arena.text(*key) == Some(name))?;
        Some((name.to_owned(), read(arena, *value)?))
    };
    let settings: Vec<_> = SETTINGS.iter().filter_map(|name| setting(name)).collect();
    let activation = package == "torch.nn.modules.activation";
    (activation || !settings.is_empty()).then(|| Module { class: class.to_owned(), settings })
}

fn read(arena: &Arena<'_>, value: Id) -> Option<Setting> {
    let number = |value: Id| match arena.get(value) {
        Node::Int(number) => Some(*number as f64),
        Node::Float(number) => Some(*number),
        Node::Bool(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    };
    if let Some(word) = arena.text(value) {
        return Some(Setting::Word(word.to_owned()));
    }
    let numbers = match arena.seq(value) {
        Some(items) if items.len() <= 4 => items.iter().map(|item| number(*item)).collect::<Option<_>>()?,
        Some(_) => return None,
        None => vec![number(value)?],
    };
    Some(Setting::Numbers(numbers))
}
