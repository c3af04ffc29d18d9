//! Labels of texts and of words: numbers or names of classes, in records and in tables.

use serde_json::Value;

use super::folders::{Classes, Names};
use crate::{Error, Result};

/// The field of records, or column of tables, that holds labels if none is named.
const FIELD: &str = "label";

/// The prefix of the names that transformers gives to classes without one.
const UNNAMED: &str = "LABEL_";

/// The number that transformers gives to what has no label.
const IGNORED: i64 = -100;

/// Most names of classes in a message.
const SHOWN: usize = 8;

/// The class of what has no label.
pub const UNLABELLED: u32 = u32::MAX;

/// What has labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelOf {
    /// Each text.
    Text,
    /// Each word of a text, which is at its first token.
    Word,
}

/// Which labels are read with texts.
#[derive(Clone, Debug)]
pub struct Labels {
    /// What has them.
    pub of: LabelOf,
    /// The field or column that holds them, if one is named.
    pub field: Option<String>,
    /// What they number or name.
    pub classes: Classes,
}

/// Reads labels.
pub(super) struct LabelReader<'a> {
    labels: &'a Labels,
    names: Names,
}

impl<'a> LabelReader<'a> {
    pub fn new(labels: &'a Labels) -> Self {
        Self { labels, names: Names::new(&labels.classes) }
    }

    /// What has labels.
    pub fn of(&self) -> LabelOf {
        self.labels.of
    }

    /// The field or column that holds them.
    pub fn field(&self) -> &str {
        self.labels.field.as_deref().unwrap_or(FIELD)
    }

    /// Whether it was named, and so must be there.
    pub fn is_named(&self) -> bool {
        self.labels.field.is_some()
    }

    /// The class that `value` at `place` numbers or names; null is [`UNLABELLED`].
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the place, for what is no class of the network.
    pub fn class(&self, place: &str, value: &Value) -> Result<u32> {
        let class = match value {
            Value::Null => return Ok(UNLABELLED),
            Value::Number(number) if self.of() == LabelOf::Word && number.as_i64() == Some(IGNORED) => {
                return Ok(UNLABELLED);
            }
            Value::Number(number) => number.as_u64().and_then(|class| u32::try_from(class).ok()),
            Value::String(name) => self.named(name.trim()),
            _ => None,
        };
        class.filter(|class| (*class as usize) < self.labels.classes.count).ok_or_else(|| self.wrong(place, value))
    }

    /// The classes of the `words` words at `place`.
    ///
    /// # Errors
    /// As [`LabelReader::class`]; [`Error::Malformed`] for another number of labels than words.
    pub fn of_words(&self, place: &str, value: &Value, words: usize) -> Result<Vec<u32>> {
        let field = self.field();
        let Value::Array(labels) = value else {
            let detail = format!("{field:?} is no array of labels, one a word; name the field with --label-field");
            return Err(Error::malformed(place, detail));
        };
        if labels.len() != words {
            let detail = format!("has {words} words and {} labels in {field:?}; give one a word", labels.len());
            return Err(Error::malformed(place, detail));
        }
        labels.iter().map(|label| self.class(place, label)).collect()
    }

    fn named(&self, name: &str) -> Option<u32> {
        let digits = || name.strip_prefix(UNNAMED).unwrap_or(name).parse().ok();
        self.names.label(name).or_else(digits)
    }

    fn wrong(&self, place: &str, value: &Value) -> Error {
        let Classes { count, names } = &self.labels.classes;
        let known: Vec<&str> = names.iter().filter_map(|all| all.first()).map(String::as_str).take(SHOWN).collect();
        let more = if names.len() > SHOWN { ", ..." } else { "" };
        let known = if known.is_empty() { String::new() } else { format!(": {}{more}", known.join(", ")) };
        let detail = format!(
            "label {value} is no class of the network, which has 0 to {}{known}; --label-field names the labels",
            count.saturating_sub(1)
        );
        Error::malformed(place, detail)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn classes_are_named_or_numbered_or_refused() {
        let names = ["1 star", "O", "B-PER"].map(|name| vec![name.to_owned()]).to_vec();
        let named = Labels { of: LabelOf::Word, field: None, classes: Classes { count: 3, names } };
        let reader = LabelReader::new(&named);
        let class = |value: Value| reader.class("t.jsonl: line 3", &value).map_err(|error| error.to_string());
        let read = [json!(2), json!("b-per"), json!("1"), json!(" O "), json!("1 star"), json!(null), json!(-100)];
        assert_eq!(read.map(|value| class(value).unwrap()), [2, 2, 1, 1, 0, UNLABELLED, UNLABELLED]);
        let error = class(json!("I-PER")).unwrap_err();
        assert!(error.starts_with("t.jsonl: line 3: label \"I-PER\" is no class"), "{error}");
        assert!(error.contains("0 to 2: 1 star, O, B-PER; --label-field"), "{error}");
        for wrong in [json!(3), json!(-1), json!(0.0), json!(true), json!("3"), json!([0]), json!(1u64 << 33)] {
            assert!(class(wrong.clone()).is_err(), "{wrong}");
        }
        let unnamed = Labels { of: LabelOf::Text, field: None, classes: Classes { count: 2, names: vec![] } };
        let reader = LabelReader::new(&unnamed);
        assert_eq!(reader.class("t", &json!("LABEL_1")).unwrap(), 1);
        assert!(reader.class("t", &json!(-100)).unwrap_err().to_string().contains("0 to 1; --label-field"));
    }

    #[test]
    fn words_have_a_label_each() {
        let labels = Labels { of: LabelOf::Word, field: None, classes: Classes { count: 2, names: vec![] } };
        let reader = LabelReader::new(&labels);
        assert_eq!(reader.of_words("t", &json!([1, null, 0]), 3).unwrap(), [1, UNLABELLED, 0]);
        let error = |value: Value| reader.of_words("t: line 1", &value, 2).unwrap_err().to_string();
        assert_eq!(error(json!([1])), "t: line 1: has 2 words and 1 labels in \"label\"; give one a word");
        assert!(error(json!("1")).contains("is no array of labels"), "{}", error(json!("1")));
    }
}
