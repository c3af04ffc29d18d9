//! Suggestions for mistyped names: the known names that are most like what was given.

use std::path::Path;

/// Most names that are suggested.
const MOST: usize = 4;

/// The names among `known` that are most like `name`, nearest first: those within a few edits, then those that hold it, or begin as
/// it does in their last word.
pub fn near<S: AsRef<str>>(name: &str, known: impl IntoIterator<Item = S>) -> Vec<String> {
    let name = name.to_lowercase();
    let length = name.chars().count();
    let last = name.rsplit(['.', '-', '_']).next().unwrap_or_default();
    let start: String = last.chars().take(3).collect();
    let begins = |known: &str| start.len() > 1 && known.split(['.', '-', '_']).any(|word| word.starts_with(&start));
    let mut near: Vec<(bool, usize, String)> = known
        .into_iter()
        .filter_map(|known| {
            let lower = known.as_ref().to_lowercase();
            let edits = strsim::osa_distance(&name, &lower);
            let is_far = edits > 1 + length / 4;
            let is_part = length > 2 && lower.contains(&name) || begins(&lower);
            (!is_far || is_part).then(|| (is_far, edits, known.as_ref().to_owned()))
        })
        .collect();
    near.sort();
    near.dedup();
    near.truncate(MOST);
    near.into_iter().map(|(.., known)| known).collect()
}

/// `near are a, b`, or `otherwise` where nothing is like `name`.
pub fn near_or<S: AsRef<str>>(name: &str, known: impl IntoIterator<Item = S>, otherwise: &str) -> String {
    match near(name, known).as_slice() {
        [] => otherwise.to_owned(),
        near => format!("near are {}", near.join(", ")),
    }
}

/// [`near_or`] of the files beside `path`, which does not exist.
pub fn near_files(path: &Path, otherwise: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    near_or(&name, names, otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first() {
        let cards = ["resnet18", "resnet34", "resnet50", "vgg16", "wide_resnet50_2"];
        assert_eq!(near("resnet5O", cards)[0], "resnet50");
        assert_eq!(near("ResNet18", cards)[0], "resnet18");
        assert_eq!(near("wide-resnet50", cards)[0], "wide_resnet50_2");
        assert_eq!(near("zzzz", cards), [""; 0]);
        assert_eq!(near_or("zzzz", cards, "none"), "none");
        let metrics = ["a.zeros", "w.zeros", "kind", "a.width.g16", "potential.W+A"];
        assert_eq!(near("a.zeroes", metrics)[..2], ["a.zeros", "w.zeros"]);
        assert_eq!(near("widht", metrics), ["a.width.g16"]);
        assert_eq!(near("knid", metrics), ["kind"], "letters that changed places are one edit");
    }

    #[test]
    fn files_beside_a_missing_one_are_suggested() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("photo.jpg"), "").unwrap();
        assert_eq!(near_files(&folder.path().join("foto.jpg"), ""), "near are photo.jpg");
        assert_eq!(near_files(&folder.path().join("weights.bin"), "give one"), "give one");
        assert_eq!(near_files(Path::new("/nowhere/at/all"), "give one"), "give one");
    }
}
