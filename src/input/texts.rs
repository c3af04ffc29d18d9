//! Texts in files: whole, by lines or paragraphs, in records of JSON, or in tables with their labels.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::labels::{LabelOf, LabelReader, Labels};
use crate::error::near_files;
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

/// What a text is given as.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    Whole(Cow<'a, str>),
    Words(Vec<String>),
}

/// A text, and where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text<'a> {
    /// Its first line in the file, from 1.
    pub line: usize,
    pub content: Content<'a>,
    /// Its class, or that of each of its words; `None` where it has no labels.
    pub labels: Option<Vec<u32>>,
}

impl<'a> Text<'a> {
    fn unlabelled(line: usize, text: impl Into<Cow<'a, str>>) -> Self {
        Self { line, content: Content::Whole(text.into()), labels: None }
    }
}

/// Names and contents of the files of text `paths`.
///
/// # Errors
/// [`Error::NotFound`] for a path that does not exist, [`Error::Malformed`] for a file that is no text.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<(String, String)>> {
    let read = |path: &PathBuf| {
        let name = path.display().to_string();
        if !path.exists() {
            return Err(Error::NotFound { what: name, hint: near_files(path, "give files of text") });
        }
        let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
        let text = String::from_utf8(bytes).map_err(|_| Error::malformed(&name, "is not UTF-8 text"))?;
        Ok((name, text))
    };
    paths.iter().map(read).collect()
}

/// The texts of the file `name`: the field `field` of its records, if one is named or the file's name ends in `.jsonl`; a column of
/// its table, if that ends in `.tsv` and texts have labels; else the parts that `split` makes, or all of it.
///
/// # Errors
/// [`Error::Malformed`] naming the line that is no record with that field, or whose label is no class.
pub(super) fn texts<'a>(
    name: &str,
    content: &'a str,
    split: Option<Split>,
    (field, labels): (Option<&str>, Option<&Labels>),
) -> Result<Vec<Text<'a>>> {
    let labels = labels.map(LabelReader::new);
    let ends = |known: &str| Path::new(name).extension().is_some_and(|end| end == known);
    if let Some(labels) = labels.as_ref().filter(|labels| ends("tsv") && labels.of() == LabelOf::Text) {
        return table(name, content, field, labels);
    }
    if field.is_some() || ends("jsonl") {
        return records(name, content, field.unwrap_or(FIELD), labels.as_ref());
    }
    Ok(match split {
        None => vec![Text::unlabelled(1, content)],
        Some(Split::Line) => lines(content).map(|(line, text)| Text::unlabelled(line, text)).collect(),
        Some(Split::Paragraph) => paragraphs(content),
    })
}

/// Lines with their numbers, those that are empty left out.
fn lines(content: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(content.lines()).filter(|(_, line)| !line.trim().is_empty())
}

/// The first line of `content` that is empty, with others behind it.
pub(super) fn gap(content: &str) -> Option<usize> {
    let mut full = lines(content).map(|(line, _)| line);
    (1..).zip(&mut full).find(|(want, line)| want != line).map(|(want, _)| want)
}

/// The texts of records of JSON, one a line.
fn records<'a>(name: &str, content: &str, field: &str, labels: Option<&LabelReader<'_>>) -> Result<Vec<Text<'a>>> {
    let record = |(line, record): (usize, &str)| {
        let place = format!("{name}: line {line}");
        let wrong = |detail: String| Error::malformed(&place, detail);
        let mut record: Value = serde_json::from_str(record).map_err(|error| wrong(format!("no JSON: {error}")))?;
        let content = content_of(record.get_mut(field).map(Value::take), labels);
        let content = content.ok_or_else(|| wrong(format!("has no text {field:?}; name the field with --field")))?;
        let label = labels.and_then(|labels| record.get(labels.field()).map(|label| (labels, label)));
        let labels = label.map(|(labels, label)| match (&content, labels.of()) {
            (Content::Whole(_), LabelOf::Text) => labels.class(&place, label).map(|class| vec![class]),
            (Content::Words(words), _) => labels.of_words(&place, label, words.len()),
            (Content::Whole(_), LabelOf::Word) => {
                let detail = format!("has labels of words, and {field:?} is no array of words; name it with --field");
                Err(wrong(detail))
            }
        });
        Ok(Text { line, content, labels: labels.transpose()? })
    };
    let texts = lines(content).map(record).collect::<Result<Vec<_>>>()?;
    let lacks = texts.iter().find(|text| text.labels.is_none());
    if let (Some(labels), Some(Text { line, .. })) = (labels, lacks)
        && (labels.is_named() || texts.iter().any(|text| text.labels.is_some()))
    {
        let detail = format!("has no label {:?}; name the field with --label-field", labels.field());
        return Err(Error::malformed(format!("{name}: line {line}"), detail));
    }
    Ok(texts)
}

/// What `value` holds, if it is a text, or words that can have `labels`.
fn content_of<'a>(value: Option<Value>, labels: Option<&LabelReader<'_>>) -> Option<Content<'a>> {
    match value? {
        Value::String(text) => Some(Content::Whole(text.into())),
        Value::Array(words) if labels.is_some_and(|labels| labels.of() == LabelOf::Word) => {
            let word = |word: Value| if let Value::String(word) = word { Some(word) } else { None };
            words.into_iter().map(word).collect::<Option<_>>().map(Content::Words)
        }
        _ => None,
    }
}

/// The texts of a table with their labels: columns are separated by tabs, and named in the first line, or a text and its label.
fn table<'a>(name: &str, content: &'a str, field: Option<&str>, labels: &LabelReader<'_>) -> Result<Vec<Text<'a>>> {
    let wrong = |line: usize, detail: String| Error::malformed(format!("{name}: line {line}"), detail);
    let mut lines = lines(content).peekable();
    let Some(&(first, header)) = lines.peek() else { return Ok(Vec::new()) };
    let header: Vec<&str> = header.trim_start_matches('\u{feff}').split('\t').map(str::trim).collect();
    let names = [field.unwrap_or(FIELD), labels.field()];
    let named = names.map(|name| header.iter().position(|column| *column == name));
    let (columns, [text, label]) = match named {
        [Some(text), Some(label)] => {
            lines.next();
            (header.len(), [text, label])
        }
        _ if field.is_some() || labels.is_named() => {
            let detail = format!(
                "names the columns {}, among which {:?} and {:?} must be; name them with --field and --label-field",
                header.join(", "),
                names[0],
                names[1]
            );
            return Err(wrong(first, detail));
        }
        _ => (2, [0, 1]),
    };
    let row = |(line, row): (usize, &'a str)| {
        let cells: Vec<&str> = row.split('\t').collect();
        if cells.len() != columns {
            let of = if columns == 2 { "a text, a tab and its label" } else { "as many as the first line names" };
            return Err(wrong(line, format!("has {} columns, must have {columns}: {of}", cells.len())));
        }
        let class = labels.class(&format!("{name}: line {line}"), &Value::String(cells[label].to_owned()))?;
        Ok(Text { labels: Some(vec![class]), ..Text::unlabelled(line, cells[text]) })
    };
    lines.map(row).collect()
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
    texts.into_iter().map(|(line, start, end)| Text::unlabelled(line, &content[start..end])).collect()
}

#[cfg(test)]
mod tests {
    use super::super::folders::Classes;
    use super::*;

    fn split(name: &str, content: &str, split: Option<Split>, field: Option<&str>) -> Vec<(usize, String)> {
        let text = |text: Text<'_>| match text.content {
            Content::Whole(whole) => (text.line, whole.into_owned()),
            Content::Words(words) => panic!("{words:?} were not asked for"),
        };
        texts(name, content, split, (field, None)).unwrap().into_iter().map(text).collect()
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
    fn empty_lines_among_others_are_found() {
        assert_eq!(["", "a\nb\n", "a\nb\n\n"].map(gap), [None; 3]);
        assert_eq!(["\na", "a\n \n\nb"].map(gap), [Some(1), Some(2)]);
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let error = |content: &str| texts("t.jsonl", content, None, (None, None)).unwrap_err().to_string();
        assert!(error("{\"text\": \"a\"}\n{").starts_with("t.jsonl: line 2: no JSON"), "{}", error("{"));
        assert_eq!(error("{\"text\": 3}"), "t.jsonl: line 1: has no text \"text\"; name the field with --field");
        assert!(error("[1]").contains("has no text"), "{}", error("[1]"));
    }

    fn labels(of: LabelOf, field: Option<&str>) -> Labels {
        let names = ["bad", "good"].map(|name| vec![name.to_owned()]).to_vec();
        Labels { of, field: field.map(str::to_owned), classes: Classes { count: 2, names } }
    }

    /// Lines, texts (words between bars) and classes.
    fn labelled(name: &str, content: &str, field: Option<&str>, labels: &Labels) -> Result<Vec<String>, String> {
        let shown = |text: Text<'_>| {
            let content = match text.content {
                Content::Whole(text) => text.into_owned(),
                Content::Words(words) => words.join("|"),
            };
            format!("{} {content} {:?}", text.line, text.labels.unwrap_or_default())
        };
        let read = texts(name, content, Some(Split::Line), (field, Some(labels)));
        read.map(|texts| texts.into_iter().map(shown).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn tables_have_texts_and_labels_in_their_columns() {
        let of_texts = labels(LabelOf::Text, None);
        let read = |content: &str| labelled("t.tsv", content, None, &of_texts);
        let want = Ok(vec!["1 so so [0]".to_owned(), "3 fine [1]".to_owned()]);
        assert_eq!(read("so so\tbad\r\n\r\nfine\t1\r\n"), want);
        assert_eq!(read("label\tid\ttext\n1\t7\tfine\n"), Ok(vec!["2 fine [1]".to_owned()]));
        let error = |content: &str| read(content).unwrap_err();
        assert_eq!(error("fine\t1\n\nbad\n"), "t.tsv: line 3: has 1 columns, must have 2: a text, a tab and its label");
        assert!(error("a\tb\t1").starts_with("t.tsv: line 1: has 3 columns, must have 2"), "{}", error("a\tb\t1"));
        assert!(error("sentence\tlabel\nfine\t1").contains("label \"label\" is no class"));
        assert!(error("text\tlabel\nfine\t2").starts_with("t.tsv: line 2: label \"2\" is no class"));
        let named = labels(LabelOf::Text, Some("gold"));
        let read = |content: &str, field| labelled("t.tsv", content, field, &named);
        assert_eq!(read("gold\tbody\n0\tno\n", Some("body")), Ok(vec!["2 no [0]".to_owned()]));
        let error = read("gold\tbody\n0\tno\n", None).unwrap_err();
        assert!(error.contains("line 1: names the columns gold, body, among which \"text\" and \"gold\""), "{error}");
        assert_eq!(read("", None), Ok(vec![]));
    }

    #[test]
    fn records_have_labels_of_texts_or_of_words() {
        let [of_texts, of_words] = [LabelOf::Text, LabelOf::Word].map(|of| labels(of, None));
        let read = |content: &str, labels: &Labels| labelled("t.jsonl", content, None, labels);
        let some = "{\"text\": \"a\", \"label\": 1}\n{\"text\": \"b\", \"label\": null}\n";
        assert_eq!(read(some, &of_texts).unwrap(), ["1 a [1]", "2 b [4294967295]"]);
        assert_eq!(read("{\"text\": \"a\"}", &of_texts).unwrap(), ["1 a []"]);
        let error = read("{\"text\": \"a\", \"label\": 1}\n{\"text\": \"b\"}", &of_texts).unwrap_err();
        assert_eq!(error, "t.jsonl: line 2: has no label \"label\"; name the field with --label-field");
        let error = labelled("t.jsonl", some, None, &labels(LabelOf::Text, Some("gold"))).unwrap_err();
        assert!(error.contains("line 1: has no label \"gold\""), "{error}");
        let words = "{\"text\": [\"a\", \"b\"], \"label\": [\"good\", -100]}";
        assert_eq!(read(words, &of_words).unwrap(), ["1 a|b [1, 4294967295]"]);
        assert!(read(words, &of_texts).unwrap_err().contains("line 1: has no text \"text\""));
        assert!(read(some, &of_words).unwrap_err().contains("line 1: has labels of words, and \"text\" is no array"));
        assert!(read("{\"text\": [3]}", &of_words).unwrap_err().contains("has no text"));
    }
}
