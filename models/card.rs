//! Cards: the description of one checkpoint or architecture, as a table of a TOML file.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::labels::Labels;
use super::naming::Naming;
use crate::kernels::Rounding;
use crate::{Error, Result};

/// What an output means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Logits, one a class.
    Classify,
    /// Logits of each pixel, one a class.
    Segment,
    /// An image.
    Restore,
    /// Logits of the next token at each step of a sequence.
    Language,
    /// Logits of each step, one a class.
    Tag,
    /// A probability for each chunk of a recording: whether speech (or another sound) is present.
    Detect,
    /// A vector of features: the network has no classifier.
    Features,
}

impl Task {
    /// As spelt in cards.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Segment => "segment",
            Self::Restore => "restore",
            Self::Language => "language",
            Self::Tag => "tag",
            Self::Detect => "detect",
            Self::Features => "features",
        }
    }
}

/// One network: its family and shape, its checkpoint, and the preprocessing of its input.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Name on the command line.
    pub name: String,
    /// One of the families below, which say how networks are built. A card of ONNX and TFLite files has none: they hold their
    /// network.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub family: String,
    /// What the output means.
    pub task: Task,
    /// One line of description.
    pub description: String,
    /// Hub id `org/name` of its weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Revision of the repository; the main branch if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Where the weights or the definition come from.
    #[serde(default)]
    pub source: String,
    /// Licence of the weights, as their source states it.
    #[serde(default)]
    pub licence: String,
    /// Learned values that the network must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// Multiply-accumulates of one image at the input's size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs: Option<u64>,
    /// Names of the classes: an array of names, class 0 first, or one of the lists `imagenet1k`, `imagenet1001` (the same behind a
    /// background class) and `cifar10`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// Whose parameter names the checkpoint uses; needed only for networks without a checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub naming: Option<Naming>,
    /// The preprocessing: the fields of `[input]` below.
    pub input: toml::Table,
    /// Architecture: the fields of the family, below. Cards of ONNX and TFLite files have at most `requant`: `float32` or `fixed31`,
    /// how sums of 8-bit integers are rounded, where it is not as in the runtime of such files.
    pub arch: toml::Table,
    /// Whether the card leaves the task to the file that holds the network.
    #[serde(skip)]
    pub of_any_task: bool,
    /// Whether it was derived from a `config.json`; the preprocessing is then read from the files next to it.
    #[serde(skip)]
    pub from_config: bool,
    /// For a card from a `config.json`: the number of classes in that file.
    #[serde(skip)]
    pub config_classes: Option<usize>,
    /// For a card from a `config.json`: the choices made where the file leaves one, a sentence each.
    #[serde(skip)]
    pub notes: Vec<String>,
}

impl Card {
    /// A card without preprocessing and architecture fields.
    pub(super) fn new(name: &str, family: &str, task: Task) -> Self {
        Self {
            name: name.to_owned(),
            family: family.to_owned(),
            task,
            description: String::new(),
            repo: None,
            revision: None,
            source: String::new(),
            licence: String::new(),
            parameters: None,
            macs: None,
            labels: None,
            naming: None,
            input: toml::Table::new(),
            arch: toml::Table::new(),
            of_any_task: false,
            from_config: false,
            config_classes: None,
            notes: vec![],
        }
    }

    /// Parses a card from `text`; `file` is its name in messages. A card without a family is of ONNX and TFLite files: its input
    /// suffices.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the file, the line and the field.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let is_of_file = |table: toml::Table| {
            let arch = table.get("arch").and_then(toml::Value::as_table);
            !table.contains_key("family") && arch.is_none_or(|arch| arch.keys().all(|field| field == "requant"))
        };
        if text.parse().is_ok_and(is_of_file) {
            let card: FileCard = toml::from_str(text).map_err(|error| malformed(file, text, &error))?;
            return Ok(card.named(file));
        }
        toml::from_str(text).map_err(|error| malformed(file, text, &error))
    }

    /// The card as the text of a card file, which [`Card::parse`] reads.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("tables of strings and numbers have a text")
    }

    /// Reads a card file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Malformed`] if it is no card.
    pub fn from_file(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
        let file = path.display().to_string();
        let text = String::from_utf8(bytes).map_err(|_| Error::malformed(&file, "is not UTF-8 text"))?;
        Self::parse(&file, &text)
    }

    /// `org/name[@revision]`, if the card names a repository.
    pub fn hub_id(&self) -> Option<String> {
        let repo = self.repo.as_ref()?;
        Some(self.revision.as_ref().map_or_else(|| repo.clone(), |revision| format!("{repo}@{revision}")))
    }

    /// The architecture fields, deserialised for a family.
    pub(super) fn arch<T: DeserializeOwned>(&self) -> Result<T> {
        self.arch.clone().try_into().map_err(|error: toml::de::Error| self.wrong(one_line(&error)))
    }

    /// How integers are rounded, if the card says so: `requant = "float32"` or `"fixed31"`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for any other value.
    pub fn rounding(&self) -> Result<Option<Rounding>> {
        match self.arch.get("requant").map(|word| word.as_str()) {
            None => Ok(None),
            Some(Some("float32")) => Ok(Some(Rounding::Float32)),
            Some(Some("fixed31")) => Ok(Some(Rounding::Fixed31)),
            Some(_) => Err(self.wrong("requant must be float32 or fixed31")),
        }
    }

    /// An error about the architecture fields.
    pub(super) fn wrong(&self, detail: impl Into<String>) -> Error {
        Error::malformed(format!("card {}: [arch]", self.name), detail)
    }

    /// Checks that an architecture field is in a range that can be built.
    pub(super) fn within<T: PartialOrd + Display>(&self, field: &str, got: T, want: RangeInclusive<T>) -> Result<()> {
        if want.contains(&got) {
            return Ok(());
        }
        Err(self.wrong(format!("{field} is {got}, must be {} to {}", want.start(), want.end())))
    }

    /// Checks class, channel and block counts, which every family has.
    pub(super) fn check_sizes(&self, field: &str, sizes: &[usize]) -> Result<()> {
        let limit = if field == "depths" { 1000 } else { 1 << 16 };
        sizes.iter().try_for_each(|&size| self.within(field, size, 1..=limit))
    }
}

/// A card of files that hold their network.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCard {
    name: Option<String>,
    task: Option<Task>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    licence: String,
    labels: Option<Labels>,
    input: toml::Table,
    #[serde(default)]
    arch: toml::Table,
}

impl FileCard {
    /// The card, by default with the name of its `file`.
    fn named(self, file: &str) -> Card {
        let Self { name, task, description, source, licence, labels, input, arch } = self;
        let stem = || Path::new(file).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let card = Card::new(&name.unwrap_or_else(stem), "", task.unwrap_or(Task::Classify));
        Card { of_any_task: task.is_none(), description, source, licence, labels, input, arch, ..card }
    }
}

/// The cards of one embedded file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CardFile {
    card: Vec<Card>,
}

/// Reads a file of many `[[card]]` tables.
pub(super) fn parse_many(file: &str, text: &str) -> Result<Vec<Card>> {
    toml::from_str(text).map(|shelf: CardFile| shelf.card).map_err(|error| malformed(file, text, &error))
}

fn malformed(file: &str, text: &str, error: &toml::de::Error) -> Error {
    let line = error.span().map(|span| text.as_bytes()[..span.start.min(text.len())].split(|&b| b == b'\n').count());
    match line {
        Some(line) => {
            let field = text.lines().nth(line - 1).unwrap_or_default().trim();
            let field: String = field.chars().take(60).collect();
            Error::malformed(format!("{file}:{line}"), format!("{} (at `{field}`)", error.message()))
        }
        None => Error::malformed(file, one_line(error)),
    }
}

fn one_line(error: &toml::de::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CARD: &str = r#"name = "mine"
family = "resnet"
task = "classify"
description = "a small one"
repo = "org/mine"
labels = ["cat", "dog"]

[input]
channels = 3
size = [32, 32]

[arch]
block = "basic"
depths = [1, 1]
widths = [8, 16]
stem = "cifar"
classes = 2
"#;

    fn error(text: &str) -> String {
        Card::parse("mine.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn a_card_is_read() {
        let card = Card::parse("mine.toml", CARD).unwrap();
        assert_eq!(card.hub_id().as_deref(), Some("org/mine"));
        assert_eq!(card.labels.unwrap().get(1), Some("dog"));
    }

    #[test]
    fn a_pinned_revision_is_a_whole_commit() {
        let pinned: Vec<&Card> = crate::models::cards().iter().filter(|card| card.revision.is_some()).collect();
        assert!(pinned.len() >= 16, "{}", pinned.len());
        for card in pinned {
            let revision = card.revision.as_deref().unwrap();
            let is_commit = revision.len() == 40 && revision.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            assert!(is_commit && card.repo.is_some(), "{}: {revision}", card.name);
            assert_eq!(card.hub_id(), Some(format!("{}@{revision}", card.repo.as_deref().unwrap())));
        }
    }

    #[test]
    fn every_card_is_printed_as_the_text_that_it_is_read_from() {
        for card in crate::models::cards() {
            let text = card.to_toml();
            let read =
                Card::parse("printed.toml", &text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", card.name));
            // Tables are equal in any order of their fields.
            let rest = |card: &Card| {
                let (input, arch) = (toml::Table::new(), toml::Table::new());
                format!("{:?}", Card { input, arch, ..card.clone() })
            };
            assert_eq!((&read.input, &read.arch), (&card.input, &card.arch), "{text}");
            assert_eq!(rest(&read), rest(card), "{text}");
        }
    }

    #[test]
    fn a_card_of_a_file_needs_its_input_only() {
        let card = Card::parse("nets/mine.toml", "labels = [\"a\", \"b\"]\n[input]\nchannels = 3\n").unwrap();
        let Card { name, family, of_any_task, .. } = &card;
        assert_eq!((name.as_str(), family.as_str(), *of_any_task), ("mine", "", true));
        let stated = Card::parse("x.toml", "task = \"segment\"\n[input]\n[arch]\nrequant = \"fixed31\"").unwrap();
        assert!(stated.task == Task::Segment && !stated.of_any_task && stated.rounding().unwrap().is_some());
        let built = crate::models::build(&card, crate::graph::Params::Declared).err().unwrap().to_string();
        assert!(built.starts_with("card mine: names no family"), "{built}");
        let typo = Card::parse("x.toml", "label = []\n[input]").unwrap_err().to_string();
        assert!(typo.starts_with("x.toml:1: unknown field `label`"), "{typo}");
        let forgotten = error(&CARD.replace("family = \"resnet\"\n", ""));
        assert!(forgotten.contains("missing field `family`"), "{forgotten}");
    }

    #[test]
    fn errors_name_file_line_and_field() {
        let unknown = error(&CARD.replace("repo =", "repository ="));
        assert!(unknown.starts_with("mine.toml:5: unknown field `repository`"), "{unknown}");
        let missing = error(&CARD.replace("task = \"classify\"\n", ""));
        assert!(missing.contains("mine.toml") && missing.contains("missing field `task`"), "{missing}");
        let kind = error(&CARD.replace("\"classify\"", "\"sing\""));
        assert!(kind.contains("mine.toml:3") && kind.contains("sing"), "{kind}");
        let labels = error(&CARD.replace("[\"cat\", \"dog\"]", "7"));
        assert!(labels.contains("mine.toml:6") && labels.contains("names of classes"), "{labels}");
    }

    #[test]
    fn errors_in_the_architecture_name_card_and_field() {
        let build = |text: &str| {
            let card = Card::parse("mine.toml", text).unwrap();
            crate::models::build(&card, crate::graph::Params::Declared).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(build(CARD), Ok(()));
        let cases = [
            ("depths = [1, 1]", "depth = [1, 1]", "unknown field `depth`"),
            ("depths = [1, 1]", "depths = [0, 1]", "depths is 0, must be 1 to 1000"),
            ("depths = [1, 1]", "depths = [1]", "1 depths for 2 widths"),
            ("classes = 2", "classes = 0", "classes is 0"),
            ("classes = 2", "classes = -1", "classes"),
            ("\"cifar\"", "\"tall\"", "unknown variant `tall`"),
            ("[8, 16]", "[8, 99999999999]", "widths is 99999999999"),
        ];
        for (from, to, want) in cases {
            let got = build(&CARD.replace(from, to)).unwrap_err();
            assert!(got.starts_with("card mine: [arch]: ") && got.contains(want), "{to}: {got}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = Card::parse("fuzz", &text);
        }

        #[test]
        fn no_damaged_card_makes_it_panic(
            at in 0..CARD.len(), cut in 0usize..20, put in prop::collection::vec(any::<u8>(), 0..8),
        ) {
            let mut bytes = CARD.as_bytes().to_vec();
            bytes.splice(at..(at + cut).min(CARD.len()), put);
            if let Ok(card) = Card::parse("fuzz", &String::from_utf8_lossy(&bytes)) {
                let _ = crate::models::build(&card, crate::graph::Params::Declared);
            }
        }
    }
}
