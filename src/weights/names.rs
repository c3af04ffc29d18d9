//! Prefixes that wrappers put before every name.

/// `DataParallel`, a wrapper's attribute, and `torch.compile`.
const PREFIXES: [&str; 3] = ["module.", "model.", "_orig_mod."];

/// The longest sequence of [`PREFIXES`] that every name starts with, something being left of each name. A `model` whose
/// children are numbered is a sequence of layers and no wrapper.
pub(super) fn common_prefix<'a>(names: impl Iterator<Item = &'a str> + Clone) -> String {
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
    use super::common_prefix;

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
}
