//! Words of YAML.

use super::names::steers;

/// `text` as a quoted scalar: JSON's strings are such, if what YAML takes for the end of a line is escaped too.
pub(super) fn quoted(text: &str) -> String {
    let json = serde_json::to_string(text).expect("a text has no keys");
    let escaped = |c: char| if steers(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    json.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_is_one_line_of_plain_characters() {
        assert_eq!(quoted("größe/0 \"x\" \\"), r#""größe/0 \"x\" \\""#);
        assert_eq!(quoted("a\nb\u{7f}\u{85}\u{2028}"), r#""a\nb\u007f\u0085\u2028""#);
    }
}
