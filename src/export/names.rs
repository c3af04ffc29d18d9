//! Names that files and simulators can have: those of layers hold slashes, dots and more.

use std::collections::BTreeSet;

/// Longest part of a layer's name that is kept.
const LONGEST: usize = 100;

/// Letters, digits and what `also` has of each name, anything else as `_`; each unlike the others even where case does not count.
pub(super) fn unique<'n>(names: impl IntoIterator<Item = &'n str>, also: &str) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let one = |name: &str| {
        let kept = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
        let plain: String = name.chars().take(LONGEST).map(|c| if kept(c) { c } else { '_' }).collect();
        // A name that begins with a dot or a hyphen is hidden, or taken for a flag.
        let plain = if plain.starts_with(|c: char| c.is_ascii_alphanumeric()) { plain } else { format!("L{plain}") };
        let mut numbered = (2..).map(|number| format!("{plain}_{number}"));
        let mut candidate = plain.clone();
        while !taken.insert(candidate.to_lowercase()) {
            candidate = numbered.next().expect("numbers do not end");
        }
        candidate
    };
    names.into_iter().map(one).collect()
}

/// Whether `c` is a control character, or ends a line as some are.
pub(super) fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// `text` with such characters escaped: a name that is read from a file must not leave its comment.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if steers(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// `index` of `count`, with as many digits as the last has, two at least.
pub(super) fn number(index: usize, count: usize) -> String {
    let digits = count.saturating_sub(1).to_string().len().max(2);
    format!("{index:0digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_each_is_its_own() {
        let names = ["a/b.c", "a_b.c", "A_b.c", "../x", "-v", "", "größe", "a_b.c_2"];
        let want = ["a_b.c", "a_b.c_2", "A_b.c_3", "L.._x", "L-v", "L", "gr__e", "a_b.c_2_2"];
        assert_eq!(unique(names, "._-"), want);
        assert_eq!(unique(["a.b-c", "1"], "_"), ["a_b_c", "1"]);
        assert_eq!(unique(["x".repeat(300).as_str()], "")[0].len(), LONGEST);
        assert_eq!(one_line("größe\n\u{85}\u{2028}b\t\"c\" \u{1b}"), "größe\\n\\u{85}\\u{2028}b\\t\"c\" \\u{1b}");
        assert_eq!([number(7, 8), number(7, 101), number(0, 0)], ["07", "007", "00"]);
    }
}
