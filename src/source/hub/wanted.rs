//! Which files of a repository are used.

use std::collections::BTreeSet;

use super::id::{Id, is_inside};
use crate::source::directory::{choose, network_among, with_data};
use crate::{Error, Result};

/// What a model may have beside its weights.
const CONFIGS: [&str; 5] =
    ["config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", MODULES];
/// The modules of sentence-transformers, each with a folder that may hold a `config.json`.
pub(super) const MODULES: &str = "modules.json";
/// What a tokenizer is made of where there is no `tokenizer.json`.
const VOCABULARY: [&str; 5] = ["vocab.txt", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json"];

/// Extensions of images.
const IMAGES: [&str; 6] = ["jpg", "jpeg", "png", "webp", "bmp", "jpe"];
/// Names of folders that are parts of a data set, not classes.
const SPLITS: [&str; 6] = ["train", "test", "validation", "valid", "val", "dev"];

/// Files that may lie beside the weights of a model that has `names`, those first that there are.
pub(super) fn beside(has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let vocabulary = if has("tokenizer.json") { &[][..] } else { &VOCABULARY[..] };
    CONFIGS.iter().chain(vocabulary).copied().collect()
}

/// The file of the model `id` that is its weights (or their index), or that holds its network, among `names`, and what must lie
/// beside that file.
///
/// # Errors
/// [`Error::NotFound`] and [`Error::Invalid`] as [`choose`], and for a part that none or several are.
pub(super) fn model(id: &Id, names: &[String]) -> Result<(String, Vec<String>)> {
    let chosen = match &id.part {
        Some(part) => named(id, part, names)?,
        None => match choose(&id.to_string(), names) {
            Err(missing @ Error::NotFound { .. }) => match network_among(names) {
                Some(network) => network,
                None => return Err(missing),
            },
            Err(Error::Invalid { what, detail }) => {
                return Err(Error::invalid(what, format!("{detail} (as {}:FILE)", id.name())));
            }
            chosen => chosen?,
        },
    };
    let data = with_data(chosen, names).map(str::to_owned).collect();
    Ok((chosen.to_owned(), data))
}

/// The file of that name, or the only one whose name has `part` in it.
fn named<'a>(id: &Id, part: &str, names: &'a [String]) -> Result<&'a str> {
    if let Some(name) = names.iter().find(|name| *name == part) {
        return Ok(name);
    }
    let mark = part.to_ascii_lowercase();
    let holds = |name: &&String| {
        let name = name.to_ascii_lowercase();
        name.contains(&mark)
            && [".gguf", ".safetensors", ".onnx", ".tflite", ".bin"].iter().any(|end| name.ends_with(end))
    };
    let found: Vec<&String> = names.iter().filter(holds).collect();
    match found[..] {
        [only] => Ok(only),
        [] => Err(Error::NotFound { what: format!("{id}: {part}"), hint: format!("its files are {}", shown(names)) }),
        _ => {
            let several: Vec<String> = found.into_iter().cloned().collect();
            Err(Error::invalid(format!("{id}: {part}"), format!("is of several files, name one: {}", shown(&several))))
        }
    }
}

/// A file that is not among `names`, the shards of a data set that the cache has, as their own names say: `…-00001-of-00003.parquet`.
pub(super) fn missing_shard(names: &[String]) -> Option<String> {
    names.iter().find_map(|name| {
        let (before, rest) = name.rsplit_once("-of-")?;
        let (start, number) = before.rsplit_once('-')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (count, end) = rest.split_at(digits);
        let numbered = number.len() == count.len() && number.bytes().all(|byte| byte.is_ascii_digit());
        let count: usize = count.parse().ok().filter(|count| numbered && *count <= 100_000)?;
        let width = number.len();
        let mut shards = (0..count).map(|shard| format!("{start}-{shard:0width$}-of-{count:0width$}{end}"));
        shards.find(|shard| !names.contains(shard))
    })
}

/// The files of the data set `id` among `names`: its Parquet files, else its images.
///
/// # Errors
/// [`Error::NotFound`] if there are neither.
pub(super) fn data<'a>(id: &Id, names: &'a [String]) -> Result<Vec<&'a String>> {
    let chosen: Vec<&String> = names.iter().filter(|name| is_inside(name) && is_of(name, id.part.as_deref())).collect();
    let ends = |name: &str, ends: &[&str]| {
        let end = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).unwrap_or_default();
        ends.contains(&end.as_str())
    };
    let tables: Vec<&String> = chosen.iter().copied().filter(|name| ends(name, &["parquet"])).collect();
    if !tables.is_empty() {
        return Ok(tables);
    }
    let is_table = |name: &str| name.rsplit('/').next() == Some("labels.tsv");
    if chosen.iter().any(|name| ends(name, &IMAGES)) {
        return Ok(chosen.into_iter().filter(|name| ends(name, &IMAGES) || is_table(name)).collect());
    }
    let (what, among) = match &id.part {
        Some(part) => (format!("{id}: Parquet files or images in {part}"), names),
        None => (format!("{id}: Parquet files or images"), names),
    };
    let hint = format!(
        "its files are {}; archives have to be unpacked first, and data that a script makes has Parquet files at \
         {}@refs/convert/parquet",
        shown(among),
        id.name()
    );
    Err(Error::NotFound { what, hint })
}

/// What of a data set is one input: its Parquet files, or the folder of its images.
pub(super) enum Input {
    Tables(Vec<String>),
    /// Of the repository; empty for all of it.
    Folder(String),
}

/// The one input that the files `names` of the data set `id` are.
///
/// # Errors
/// [`Error::Invalid`] naming the parts if they are several.
pub(super) fn input(id: &Id, names: &[&String]) -> Result<Input> {
    let is_tables = names.iter().all(|name| name.to_ascii_lowercase().ends_with(".parquet"));
    let parts: BTreeSet<&str> = match is_tables {
        true => names.iter().map(|name| split(name)).collect(),
        false => image_folders(id.part.as_deref().unwrap_or_default(), names),
    };
    match (parts.len(), parts.first()) {
        (1, Some(_)) if is_tables => Ok(Input::Tables(names.iter().map(|name| (*name).clone()).collect())),
        (1, Some(folder)) => Ok(Input::Folder((*folder).to_owned())),
        _ => {
            let at = if id.revision == "main" { String::new() } else { format!("@{}", id.revision) };
            let list: Vec<String> = parts.iter().map(|part| format!("{}{at}/{part}", id.name())).collect();
            Err(Error::invalid(id.to_pull(), format!("has several parts, name one: {}", shown(&list))))
        }
    }
}

/// Whether `name` is `part`, in the folder `part`, or one of the files that `part` is split into.
fn is_of(name: &str, part: Option<&str>) -> bool {
    let Some(part) = part else { return true };
    name == part || name.strip_prefix(part).is_some_and(|rest| rest.starts_with('/')) || split(name) == part
}

/// The name of a Parquet file without the number of its piece, `-00000-of-00002.parquet`; of other folders of numbered pieces,
/// the folder.
fn split(name: &str) -> &str {
    let stem = name.strip_suffix(".parquet").unwrap_or(name);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((folder, number)) = stem.rsplit_once('/')
        && digits(number)
    {
        return folder;
    }
    let pieces: Vec<&str> = stem.rsplitn(4, '-').collect();
    match pieces[..] {
        [total, "of", number, rest] if digits(total) && digits(number) => rest,
        _ => stem,
    }
}

/// The folders whose sub-folders are classes, or that hold images themselves.
fn image_folders<'a>(root: &'a str, names: &[&'a String]) -> BTreeSet<&'a str> {
    let parent = |path: &'a str| path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let folders: BTreeSet<&str> = names.iter().map(|name| parent(name)).collect();
    let of = |folder: &'a str| {
        let name = folder.rsplit('/').next().unwrap_or_default();
        // A folder of images is a class of the folder around it, unless it is the one that was named or a split.
        if folder == root || SPLITS.contains(&name) { folder } else { parent(folder) }
    };
    folders.into_iter().map(of).collect()
}

/// The first names, and the number of further ones.
fn shown(names: &[String]) -> String {
    crate::source::directory::list(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn chosen(id: &str, of: &[&str]) -> Result<(String, Vec<String>), String> {
        model(&Id::parse(id).unwrap(), &names(of))
            .map_err(|error| format!("{error}; {}", error.hint().unwrap_or_default()))
    }

    #[test]
    fn weights_are_preferred_to_networks_and_a_file_can_be_named() {
        let both = ["config.json", "model.safetensors", "onnx/model.onnx", "pytorch_model.bin"];
        assert_eq!(chosen("org/net", &both).unwrap().0, "model.safetensors");
        assert_eq!(chosen("org/net:onnx/model.onnx", &both).unwrap().0, "onnx/model.onnx");
        let onnx = ["onnx/model.onnx", "onnx/model.onnx_data", "onnx/model_q4.onnx", "onnx/model_q4.onnx_data"];
        let (network, data) = chosen("org/net", &onnx).unwrap();
        assert_eq!((network.as_str(), data), ("onnx/model.onnx", names(&["onnx/model.onnx_data"])));
        assert_eq!(chosen("org/net", &["net.tflite", "README.md"]).unwrap().0, "net.tflite");
        let quants = ["net-Q4_K_M.gguf", "net-Q8_0.gguf", "README-Q8_0.md"];
        assert_eq!(chosen("org/net:q8_0", &quants).unwrap().0, "net-Q8_0.gguf");
        let error = chosen("org/net", &quants).unwrap_err();
        assert!(error.contains("several") && error.contains("org/net:FILE"), "{error}");
        assert!(chosen("org/net:Q", &quants).unwrap_err().contains("name one: net-Q4_K_M.gguf"));
        assert!(chosen("org/net:Q2", &quants).unwrap_err().contains("its files are net-Q4_K_M.gguf"));
        assert!(chosen("org/net", &["README.md"]).unwrap_err().contains("not found"));
    }

    #[test]
    fn a_data_set_is_one_input_or_says_which_it_has() {
        let of = |id: &str, all: &[&str]| {
            let (id, all) = (Id::parse(id).unwrap(), names(all));
            let files = data(&id, &all).map_err(|error| error.to_string())?;
            let input = input(&id, &files).map_err(|error| error.to_string())?;
            Ok(match input {
                Input::Tables(tables) => tables.join(" "),
                Input::Folder(folder) => format!("folder {folder:?}"),
            })
        };
        let tables = [
            "data/test-00000-of-00001.parquet",
            "data/train-00000-of-00002.parquet",
            "data/train-00001-of-00002.parquet",
        ];
        assert_eq!(of("datasets/o/d/data/train", &tables), Ok(tables[1..].join(" ")));
        assert_eq!(of("datasets/o/d/data/test-00000-of-00001.parquet", &tables), Ok(tables[0].into()));
        let error: String = of("datasets/o/d@v1", &tables).unwrap_err();
        assert!(error.contains("name one: datasets/o/d@v1/data/test, datasets/o/d@v1/data/train"), "{error}");
        let converted = ["default/test/0000.parquet", "default/test/0001.parquet", "default/train/0000.parquet"];
        assert_eq!(of("datasets/o/d/default/test", &converted), Ok(converted[..2].join(" ")));
        let images = ["train/cat/1.PNG", "train/dog/2.png", "test/cat/3.jpg", "README.md"];
        assert_eq!(of("datasets/o/d/train", &images), Ok("folder \"train\"".into()));
        assert!(of("datasets/o/d", &images).unwrap_err().contains("datasets/o/d/test, datasets/o/d/train"));
        assert_eq!(of("datasets/o/d", &["cat/1.png", "dog/2.png"]), Ok("folder \"\"".into()));
        assert_eq!(of("datasets/o/d", &["1.png", "labels.tsv"]), Ok("folder \"\"".into()));
        assert!(of("datasets/o/d", &["train/1.png", "test/2.png"]).is_err());
        assert!(of("datasets/o/d", &["data.zip"]).unwrap_err().contains("Parquet files or images"));
        assert!(of("datasets/o/d", &["../x.parquet"]).is_err());
    }
}
