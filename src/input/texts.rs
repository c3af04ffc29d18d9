//! Texts in files: whole, by lines or paragraphs, or in records of JSON.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Error, Result};

/// The field of records that holds their text, if none is named.
const FIELD: &str = "text";

/// What of a file is one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Each line that is not empty.
    Line,
    /// Each run of lines that are not empty.
    Paragraph,
}

impl Split {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Paragraph => "paragraph",
        }
    }
}

/// A text, and where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text<'a> {
    /// Its first line in the file, from 1.
    pub line: usize,
    pub text: Cow<'a, str>,
}

/// Names and contents of the files of text `paths`.
///
/// # Errors
/// [`Error::NotFound`] for a path that does not exist, [`Error::Malformed`] for a file that is no text.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<(String, String)>> {
    let read = |path: &PathBuf| {
        let name = path.display().to_string();
        if !path.exists() {
            return Err(Error::NotFound { what: name, hint: "give files of text".into() });
        }
        let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
        let text = String::from_utf8(bytes).map_err(|_| Error::malformed(&name, "is not UTF-8 text"))?;
        Ok((name, text))
    };
    paths.iter().map(read).collect()
}

/// The texts of the file `name`: the field `field` of its records, if one is named or the file's name ends in `.jsonl`, else the
/// parts that `split` makes, or all of it.
///
/// # Errors
/// [`Error::Malformed`] naming the line that is no record with that field.
pub(super) fn texts<'a>(
    name: &str,
    content: &'a str,
    split: Option<Split>,
    field: Option<&str>,
) -> Result<Vec<Text<'a>>> {
    let lines = || (1..).zip(content.lines()).filter(|(_, line)| !line.trim().is_empty());
    if field.is_some() || Path::new(name).extension().is_some_and(|end| end == "jsonl") {
        let field = field.unwrap_or(FIELD);
        let record = |(line, record): (usize, &str)| {
            let wrong = |detail: String| Error::malformed(format!("{name}: line {line}"), detail);
            let mut record: Value = serde_json::from_str(record).map_err(|error| wrong(format!("no JSON: {error}")))?;
            match record.get_mut(field).map(Value::take) {
                Some(Value::String(text)) => Ok(Text { line, text: text.into() }),
                _ => Err(wrong(format!("has no text {field:?}; name the field with --field"))),
            }
        };
        return lines().map(record).collect();
    }
    Ok(match split {
        None => vec![Text { line: 1, text: content.into() }],
        Some(Split::Line) => lines().map(|(line, text)| Text { line, text: text.into() }).collect(),
        Some(Split::Paragraph) => paragraphs(content),
    })
}

fn paragraphs(content: &str) -> Vec<Text<'_>> {
    let mut texts = Vec::new();
    // First line, first byte and end of the paragraph that is being read.
    let mut open: Option<(usize, usize, usize)> = None;
    let mut at = 0;
    for (number, line) in (1..).zip(content.split_inclusive('\n')) {
        let end = at + line.trim_end_matches(['\n', '\r']).len();
        if line.trim().is_empty() {
            texts.extend(open.take());
        } else {
            let (first, start, _) = open.unwrap_or((number, at, end));
            open = Some((first, start, end));
        }
        at += line.len();
    }
    texts.extend(open);
    texts.into_iter().map(|(line, start, end)| Text { line, text: content[start..end].into() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(name: &str, content: &str, split: Option<Split>, field: Option<&str>) -> Vec<(usize, String)> {
        let texts = texts(name, content, split, field).unwrap();
        texts.into_iter().map(|text| (text.line, text.text.into_owned())).collect()
    }

    #[test]
    fn lines_paragraphs_and_records_are_texts_with_their_places() {
        let content = " one\r\ntwo\n \n\nthree\n";
        let want =
            |list: &[(usize, &str)]| list.iter().map(|(line, text)| (*line, (*text).to_owned())).collect::<Vec<_>>();
        assert_eq!(split("t.txt", content, None, None), want(&[(1, content)]));
        assert_eq!(split("t.txt", content, Some(Split::Line), None), want(&[(1, " one"), (2, "two"), (5, "three")]));
        assert_eq!(split("t.txt", content, Some(Split::Paragraph), None), want(&[(1, " one\r\ntwo"), (5, "three")]));
        assert_eq!(split("t.txt", "", Some(Split::Paragraph), None), want(&[]));
        let records = "{\"text\": \"a\\nb\", \"body\": \"c\"}\n\n{\"body\": \"d\", \"text\": \"\"}\n";
        assert_eq!(split("t.jsonl", records, Some(Split::Line), None), want(&[(1, "a\nb"), (3, "")]));
        assert_eq!(split("t.txt", records, None, Some("body")), want(&[(1, "c"), (3, "d")]));
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let error = |content: &str| texts("t.jsonl", content, None, None).unwrap_err().to_string();
        assert!(error("{\"text\": \"a\"}\n{").starts_with("t.jsonl: line 2: no JSON"), "{}", error("{"));
        assert_eq!(error("{\"text\": 3}"), "t.jsonl: line 1: has no text \"text\"; name the field with --field");
        assert!(error("[1]").contains("has no text"), "{}", error("[1]"));
    }
}
