//! What training programs and wrappers add to a network's parameter names: prefixes, counters, losses, a second copy.

/// Added by `DataParallel`, by a wrapper's attribute, and by `torch.compile`.
const PREFIXES: [&str; 3] = ["module.", "model.", "_orig_mod."];
/// The update counter of `torch.optim.swa_utils.AveragedModel`, next to the network under `module.`.
const AVERAGED: &str = "n_averaged";
/// Words in the names of averaged copies.
const AVERAGED_WORDS: [&str; 5] = ["ema", "swa", "averaged", "average", "avg"];
/// Words in the names of losses and metrics that have parameters or buffers.
const LOSS_WORDS: [&str; 6] = ["loss", "losses", "criterion", "criterions", "criteria", "metrics"];

/// Wrappers do not nest deeper in practice, and each takes a pass over all names.
const MAX_WRAPPERS: usize = 16;

/// The network's names among those of a file.
#[derive(Default)]
pub(super) struct Cleaned {
    /// For each name in the file its cleaned name; `None` if it does not belong to the network.
    pub names: Vec<Option<String>>,
    /// The prefix stripped from every remaining name.
    pub prefix: String,
    /// What was left out, a sentence each.
    pub notes: Vec<String>,
}

impl Cleaned {
    /// Strips the prefixes of wrappers, and leaves out what is not part of the network.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut cleaned = Self { names: names.map(|name| Some(name.to_owned())).collect(), ..Self::default() };
        for _ in 0..MAX_WRAPPERS {
            if !(cleaned.strip_prefix() || cleaned.drop_counter() || cleaned.drop_losses() || cleaned.drop_copied()) {
                break;
            }
        }
        cleaned.names.iter_mut().flatten().for_each(rename_norm);
        cleaned
    }

    fn left(&self) -> impl Iterator<Item = &str> + Clone {
        self.names.iter().flatten().map(String::as_str)
    }

    fn strip_prefix(&mut self) -> bool {
        let prefix = common_prefix(self.left());
        self.strip(&prefix)
    }

    fn strip(&mut self, prefix: &str) -> bool {
        self.names.iter_mut().flatten().for_each(|name| drop(name.drain(..prefix.len())));
        self.prefix += prefix;
        !prefix.is_empty()
    }

    /// Leaves out the names for which `unwanted` holds, unless it holds for all; returns them.
    fn drop_names(&mut self, unwanted: impl Fn(&str) -> bool) -> Vec<String> {
        let (out, kept): (Vec<&str>, Vec<&str>) = self.left().partition(|name| unwanted(name));
        if kept.is_empty() {
            return vec![];
        }
        let out: Vec<String> = out.into_iter().map(|name| format!("{}{name}", self.prefix)).collect();
        for name in &mut self.names {
            if name.as_deref().is_some_and(&unwanted) {
                *name = None;
            }
        }
        out
    }

    fn drop_counter(&mut self) -> bool {
        let counted = self.left().any(|name| name == AVERAGED);
        if !counted || !self.left().all(|name| name == AVERAGED || name.starts_with(PREFIXES[0])) {
            return false;
        }
        let dropped = !self.drop_names(|name| name == AVERAGED).is_empty();
        if dropped {
            self.notes.push(format!("an averaged model (next to {AVERAGED}): its averaged weights are read"));
        }
        dropped
    }

    fn drop_losses(&mut self) -> bool {
        let dropped = self.drop_names(|name| has_word(first(name), &LOSS_WORDS));
        if !dropped.is_empty() {
            self.notes.push(format!("of a loss or metric and left out: {}", list(&dropped)));
        }
        !dropped.is_empty()
    }

    /// Of two copies of one network, one of them averaged, leaves out the other.
    fn drop_copied(&mut self) -> bool {
        let mut groups: Vec<&str> = self.left().filter(|name| name.contains('.')).map(first).collect();
        groups.dedup();
        groups.sort_unstable();
        groups.dedup();
        let below = |group: &str| {
            let names = self.left().filter_map(|name| name.strip_prefix(group)?.strip_prefix('.'));
            let names: Vec<&str> = names.filter(|name| *name != AVERAGED).collect();
            let prefix = common_prefix(names.iter().copied()).len();
            let mut names: Vec<&str> = names.into_iter().map(|name| &name[prefix..]).collect();
            names.sort_unstable();
            names
        };
        let (averaged, plain): (Vec<&str>, Vec<&str>) = groups.iter().partition(|group| is_averaged(group));
        let pair = averaged.iter().filter(|_| !plain.is_empty()).find_map(|averaged| {
            let names = below(averaged);
            let plain = plain.iter().find(|group| names.len() > 1 && below(group) == names)?;
            Some((format!("{averaged}."), format!("{plain}.")))
        });
        let Some((averaged, plain)) = pair else { return false };
        // Counters and switches of the averaging are next to the two.
        self.drop_names(|name| name.starts_with(&plain) || !name.contains('.'));
        self.notes.push(format!("the averaged weights {}{averaged}* are read, not {plain}*", self.prefix));
        if self.left().all(|name| name.starts_with(&averaged)) {
            self.strip(&averaged);
        }
        true
    }
}

/// Gives the parameters of a layer norm that was converted from TensorFlow the names that PyTorch has, as transformers does: BERT's
/// own checkpoints have `LayerNorm.gamma` and `LayerNorm.beta`.
fn rename_norm(name: &mut String) {
    for (from, to) in [("gamma", "weight"), ("beta", "bias")] {
        if name.strip_suffix(from).is_some_and(|norm| norm.ends_with("LayerNorm.")) {
            name.replace_range(name.len() - from.len().., to);
        }
    }
}

/// Whether a key belongs to averaged weights.
pub(super) fn is_averaged(key: &str) -> bool {
    has_word(key, &AVERAGED_WORDS)
}

fn first(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

fn has_word(text: &str, words: &[&str]) -> bool {
    let mut parts = text.split(|c: char| !c.is_ascii_alphanumeric());
    parts.any(|part| words.iter().any(|word| part.eq_ignore_ascii_case(word)))
}

/// The first names, and the number of further ones.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 3;
    match names.len() {
        0..=SHOWN => names.join(", "),
        more => format!("{} and {} more", names[..SHOWN].join(", "), more - SHOWN),
    }
}

/// The longest sequence of [`PREFIXES`] that every name starts with, leaving something of each name. A `model` with numbered
/// children is a sequence of layers and no wrapper.
fn common_prefix<'a>(names: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut common = String::new();
    let Some(first) = names.clone().next() else { return common };
    while let Some(prefix) = PREFIXES.into_iter().find(|prefix| first[common.len()..].starts_with(prefix)) {
        let longer = format!("{common}{prefix}");
        let numbered =
            |name: &str| prefix == "model." && name[longer.len()..].starts_with(|c: char| c.is_ascii_digit());
        if !names.clone().all(|name| name.len() > longer.len() && name.starts_with(&longer) && !numbered(name)) {
            break;
        }
        common = longer;
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_prefix_of_all_names_counts() {
        let cases: [(&[&str], &str); 9] = [
            (&[], ""),
            (&["module.a", "module.b"], "module."),
            (&["module.model.module.a", "module.model.module.b"], "module.model.module."),
            (&["module.model.a", "module.b"], "module."),
            (&["model.a", "b"], ""),
            (&["model.", "model.a"], ""),
            (&["modules.a"], ""),
            (&["model.0.weight", "model.2.weight"], ""),
            (&["module.model.0.weight", "module.model.2.weight"], "module."),
        ];
        for (names, prefix) in cases {
            assert_eq!(common_prefix(names.iter().copied()), prefix, "{names:?}");
        }
    }

    #[test]
    fn what_is_not_of_the_network_is_left_out_and_noted() {
        let cases: [(&[&str], &[&str], &str); 9] = [
            (&["n_averaged", "module.a.w", "module.b.w"], &["a.w", "b.w"], "averaged model"),
            (&["module.n_averaged", "module.module.a.w"], &["a.w"], "averaged model"),
            // Without a wrapper it is an ordinary name.
            (&["n_averaged", "a.w"], &["n_averaged", "a.w"], ""),
            (&["model.a.w", "model.b.w", "criterion.weight"], &["a.w", "b.w"], "left out: criterion.weight"),
            (&["a.w", "train_loss.x.y", "loss_fn.z"], &["a.w"], "left out: train_loss.x.y, loss_fn.z"),
            (&["module.model.a.w", "module.criterion.w"], &["a.w"], "left out: module.criterion.w"),
            // A name that only resembles a loss, and a file with nothing but a loss.
            (&["a.w", "lossless.w"], &["a.w", "lossless.w"], ""),
            (&["loss.w"], &["loss.w"], ""),
            (&["a.w", "glossary.loss.w"], &["a.w", "glossary.loss.w"], ""),
        ];
        for (names, want, note) in cases {
            let cleaned = Cleaned::new(names.iter().copied());
            assert_eq!(cleaned.left().collect::<Vec<_>>(), want, "{names:?}");
            assert!(cleaned.notes.join("\n").contains(note), "{names:?}: {:?}", cleaned.notes);
            assert_eq!(cleaned.notes.is_empty(), note.is_empty(), "{names:?}: {:?}", cleaned.notes);
        }
    }

    #[test]
    fn of_two_copies_the_averaged_one_is_taken() {
        let cases: [(&[&str], &[&str], bool); 5] = [
            (&["model.a.w", "model.b.w", "ema_model.a.w", "ema_model.b.w"], &["a.w", "b.w"], true),
            (&["net.a.w", "net.b.w", "net_ema.module.a.w", "net_ema.module.b.w"], &["a.w", "b.w"], true),
            (
                &["initted", "step", "online_model.a.w", "online_model.b.w", "ema_model.a.w", "ema_model.b.w"],
                &["a.w", "b.w"],
                true,
            ),
            // Networks with different names are no copies.
            (
                &["model.a.w", "model.b.w", "ema.a.w", "ema.c.w"],
                &["model.a.w", "model.b.w", "ema.a.w", "ema.c.w"],
                false,
            ),
            (&["a.w", "b.w"], &["a.w", "b.w"], false),
        ];
        for (names, want, noted) in cases {
            let cleaned = Cleaned::new(names.iter().copied());
            assert_eq!(cleaned.left().collect::<Vec<_>>(), want, "{names:?}");
            assert_eq!(!cleaned.notes.is_empty(), noted, "{names:?}: {:?}", cleaned.notes);
        }
        let copies = Cleaned::new(["model.a.w", "model.b.w", "ema_model.a.w", "ema_model.b.w"].into_iter());
        assert_eq!(copies.notes, ["the averaged weights ema_model.* are read, not model.*"]);
        assert_eq!(copies.prefix, "ema_model.");
    }

    #[test]
    fn layer_norms_of_tensorflow_have_the_names_of_pytorch() {
        let names =
            ["bert.embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.beta", "bn.gamma", "LayerNorm.weight"];
        let cleaned = Cleaned::new(names.into_iter());
        let names: Vec<&str> = cleaned.names.iter().flatten().map(String::as_str).collect();
        let want =
            ["bert.embeddings.LayerNorm.weight", "bert.embeddings.LayerNorm.bias", "bn.gamma", "LayerNorm.weight"];
        assert_eq!(names, want);
    }
}
