//! Words of YAML.

/// `text` as a quoted scalar: JSON's strings are such.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text has no keys")
}
