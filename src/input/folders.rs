//! Directories of inputs, and their classes: folders named by class numbers, by class names, or in class order.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The classes that labels number.
#[derive(Clone, Debug, Default)]
pub struct Classes {
    /// How many there are.
    pub count: usize,
    /// Names of each class, label 0 first; empty if unknown.
    pub names: Vec<Vec<String>>,
}

/// The inputs of a directory.
pub(super) struct Listing {
    /// Files with their labels.
    pub(super) files: Vec<(PathBuf, Option<u32>)>,
    /// How labels were read, a sentence each.
    pub(super) notes: Vec<String>,
}

/// A sub-directory with its files.
struct Folder {
    name: String,
    path: PathBuf,
    files: Vec<PathBuf>,
}

/// Lists the files of `path` that end in one of `endings`, and those of its sub-directories, which are classes.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] for an invalid `labels.tsv`, and for folders whose numbers are not among `classes`.
pub(super) fn list(path: &Path, endings: &[&str], classes: Option<&Classes>) -> Result<Listing> {
    let entries = entries(path)?;
    let fits = |path: &PathBuf| {
        let end = path.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase);
        path.is_file() && end.is_some_and(|end| endings.contains(&end.as_str()))
    };
    let mut listing = Listing { files: Vec::new(), notes: Vec::new() };
    let table = path.join("labels.tsv");
    let mut labels = read_table(&table, classes)?;
    for file in entries.iter().filter(|path| fits(path)) {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        listing.files.push((file.clone(), labels.remove(name)));
    }
    if let Some(name) = labels.keys().min() {
        listing.notes.push(format!("{}: {} of its names are of no file, as {name}", table.display(), labels.len()));
    }
    let folder = |path: &PathBuf| -> Result<Folder> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Folder { name, path: path.clone(), files: self::entries(path)?.into_iter().filter(&fits).collect() })
    };
    let hidden = |path: &&PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let folders = entries.iter().filter(|path| path.is_dir() && !hidden(path)).map(folder);
    let folders = folders.collect::<Result<Vec<_>>>()?;
    if folders.iter().any(|folder| !folder.files.is_empty()) {
        let (labels, how) = labels_of(&folders, classes)?;
        listing.notes.extend(classes.map(|_| format!("{}: {how}", path.display())));
        for (folder, label) in folders.into_iter().zip(labels) {
            listing.files.extend(folder.files.into_iter().map(|file| (file, label)));
        }
    }
    Ok(listing)
}

/// The entries of `path`, sorted by name.
fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path).map_err(|source| Error::io(path, source))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(|source| Error::io(path, source)))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// The label of each folder, and how it was determined.
fn labels_of(folders: &[Folder], classes: Option<&Classes>) -> Result<(Vec<Option<u32>>, String)> {
    let filled = || folders.iter().filter(|folder| !folder.files.is_empty());
    let named = classes.map(Names::new).unwrap_or_default();
    let labels: Vec<Option<u32>> = folders.iter().map(|folder| named.label(&folder.name)).collect();
    let unknown: Vec<&str> =
        filled().filter(|folder| named.label(&folder.name).is_none()).map(|folder| folder.name.as_str()).collect();
    if unknown.is_empty() {
        return Ok((labels, format!("its {} folders are named as classes", filled().count())));
    }
    let number = |folder: &Folder| {
        let digits = !folder.name.is_empty() && folder.name.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| folder.name.parse::<u32>().unwrap_or(u32::MAX))
    };
    if filled().all(|folder| number(folder).is_some()) {
        let mut seen = HashMap::new();
        for folder in filled() {
            let class = number(folder).unwrap_or_default();
            let place = folder.path.display().to_string();
            check(class, classes, &place)?;
            if let Some(other) = seen.insert(class, &folder.name) {
                return Err(Error::malformed(place, format!("is class {class}, which {other} is as well")));
            }
        }
        return Ok((folders.iter().map(number).collect(), "its folders are named by the numbers of classes".into()));
    }
    if unknown.len() < filled().count() {
        let how = format!(
            "{} of its {} folders are named as classes; images of the others, as {}, have no label",
            filled().count() - unknown.len(),
            filled().count(),
            unknown[0]
        );
        return Ok((labels, how));
    }
    let count = folders.len();
    let odds = match classes.filter(|classes| classes.count != count) {
        Some(classes) => format!(", but the network has {}: labels are probably not its classes", classes.count),
        None => String::new(),
    };
    let how = format!("its {count} folders are classes 0 to {} in the order of their names{odds}", count - 1);
    Ok(((0..count as u32).map(Some).collect(), how))
}

/// Checks that `class` exists.
fn check(class: u32, classes: Option<&Classes>, place: &str) -> Result<()> {
    match classes {
        Some(classes) if class as usize >= classes.count => Err(no_class(class, classes, place)),
        _ => Ok(()),
    }
}

/// The error for a label that is not among `classes`.
pub(super) fn no_class(class: u32, classes: &Classes, place: &str) -> Error {
    let detail = format!("is of class {class}, the network has classes 0 to {}", classes.count.max(1) - 1);
    Error::malformed(place, detail)
}

/// Labels by class name; `None` if two classes share the name.
#[derive(Default)]
pub(super) struct Names {
    exact: HashMap<String, Option<u32>>,
    /// In lower case, words separated by single spaces.
    plain: HashMap<String, Option<u32>>,
}

impl Names {
    pub(super) fn new(classes: &Classes) -> Self {
        let mut names = Self::default();
        for (all, label) in classes.names.iter().zip(0..) {
            for name in all {
                for (map, key) in [(&mut names.exact, name.clone()), (&mut names.plain, plain(name))] {
                    let entry = map.entry(key).or_insert(Some(label));
                    *entry = entry.filter(|known| *known == label);
                }
            }
        }
        names
    }

    pub(super) fn label(&self, name: &str) -> Option<u32> {
        self.exact.get(name).copied().or_else(|| self.plain.get(&plain(name)).copied()).flatten()
    }
}

fn plain(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// Labels by file name from a `labels.tsv`; empty if there is none.
fn read_table(path: &Path, classes: Option<&Classes>) -> Result<HashMap<String, u32>> {
    if !path.exists() {
        return Ok(HashMap::new());
    }
    let text = std::fs::read_to_string(path).map_err(|source| Error::io(path, source))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let fields =
                line.split_once('\t').and_then(|(name, class)| Some((name.to_owned(), class.trim().parse().ok()?)));
            let (name, class) = fields.ok_or_else(|| {
                let detail = format!("line {}: needs a file name, a tab and a class number", number + 1);
                Error::malformed(path.display().to_string(), detail)
            })?;
            check(class, classes, &format!("{}: line {}", path.display(), number + 1))?;
            Ok((name, class))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels of folders with one file each, and how they were determined.
    fn read(names: &[&str], classes: Option<&Classes>) -> Result<(Vec<Option<u32>>, String)> {
        let folder = |name: &&str| Folder {
            name: (*name).to_owned(),
            path: Path::new("data").join(name),
            files: vec!["x.png".into()],
        };
        labels_of(&names.iter().map(folder).collect::<Vec<_>>(), classes)
    }

    fn classes(names: &[&[&str]]) -> Classes {
        let names = names.iter().map(|all| all.iter().map(|&name| name.to_owned()).collect()).collect::<Vec<_>>();
        Classes { count: names.len(), names }
    }

    #[test]
    fn folders_that_are_numbers_are_classes() {
        let twelve = Classes { count: 12, names: vec![] };
        let labels = |names: &[&str]| read(names, Some(&twelve)).map(|(labels, _)| labels);
        assert_eq!(labels(&["0", "1", "10", "11", "2"]).unwrap(), [0, 1, 10, 11, 2].map(Some));
        assert_eq!(labels(&["00", "07", "11"]).unwrap(), [0, 7, 11].map(Some));
        assert_eq!(labels(&["2", "5", "7"]).unwrap(), [2, 5, 7].map(Some));
        let error = labels(&["11", "12"]).unwrap_err().to_string();
        assert_eq!(error, "data/12: is of class 12, the network has classes 0 to 11");
        let error = labels(&["1", "01"]).unwrap_err().to_string();
        assert_eq!(error, "data/01: is class 1, which 1 is as well");
        assert!(labels(&["99999999999999999999"]).is_err());
        // Class names that are numbers take precedence over class numbers.
        let odd = classes(&[&["7"], &["3"]]);
        assert_eq!(read(&["3", "7"], Some(&odd)).unwrap().0, [Some(1), Some(0)]);
        assert_eq!(read(&["12", "3"], None).unwrap().0, [Some(12), Some(3)]);
    }

    #[test]
    fn folders_that_are_names_are_classes() {
        let animals = classes(&[&["tench", "n01440764"], &["great white shark", "n01484850"], &["cat"], &["Cat"]]);
        let labels = |names: &[&str]| read(names, Some(&animals)).unwrap();
        assert_eq!(labels(&["Great_White-Shark", "tench"]).0, [Some(1), Some(0)]);
        assert_eq!(labels(&["n01484850"]).0, [Some(1)]);
        // Two classes differ by letter case alone.
        assert_eq!(labels(&["cat", "Cat"]).0, [Some(2), Some(3)]);
        let (some, how) = labels(&["CAT", "dog", "tench"]);
        assert_eq!(some, [None, None, Some(0)]);
        assert!(how.starts_with("1 of its 3 folders are named as classes; images of the others, as CAT"), "{how}");
    }

    #[test]
    fn other_folders_are_classes_in_their_order_and_doubts_are_noted() {
        let (labels, how) = read(&["a", "b"], Some(&classes(&[&["x"], &["y"]]))).unwrap();
        assert_eq!(labels, [Some(0), Some(1)]);
        assert_eq!(how, "its 2 folders are classes 0 to 1 in the order of their names");
        let (_, how) = read(&["a", "b"], Some(&Classes { count: 12, names: vec![] })).unwrap();
        assert!(how.ends_with("but the network has 12: labels are probably not its classes"), "{how}");
    }
}
