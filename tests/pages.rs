//! What pages show is what the program prints: `UPDATE_DOCS=1 cargo test docs_are_current` writes it anew.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::binary;
use crate::docs::assert_current;

/// Pages whose blocks of text show commands, by their path from `docs/`, and how many commands.
const PAGES: [(&str, usize); 5] = [
    ("../README.md", 1),
    ("examples.md", 5),
    ("tutorials/student.md", 4),
    ("tutorials/architect.md", 6),
    ("tutorials/pruner.md", 6),
];

/// What `command` prints, run in `folder`.
fn printed(command: &str, folder: &Path) -> String {
    let args = match command.strip_prefix("deadweight ") {
        Some(args) => args.split(' ').collect(),
        None => Vec::new(),
    };
    assert!(!args.is_empty() || command == "cargo run --release", "{command}");
    let output = binary::deadweight().current_dir(folder).args(args).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// `page` with what its commands print now, and how many there are. The commands of a page run in order in one folder.
fn rendered(page: &str, folder: &Path) -> (String, usize) {
    let (mut text, mut commands) = (String::new(), 0);
    let mut lines = page.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        text.push_str(line);
        if line != "```text\n" || !lines.peek().is_some_and(|first| first.starts_with("$ ")) {
            continue;
        }
        for line in lines.by_ref().take_while(|line| *line != "```\n") {
            if let Some(command) = line.strip_prefix("$ ") {
                write!(text, "{line}{}", printed(command.trim_end(), folder)).unwrap();
                commands += 1;
            }
        }
        text.push_str("```\n");
    }
    (text, commands)
}

#[test]
fn tables_of_docs_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, count) in PAGES {
        let page = std::fs::read_to_string(root.join("docs").join(name)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        ["docs", "models"].iter().for_each(|part| symlink(root.join(part), folder.path().join(part)).unwrap());
        let (text, commands) = rendered(&page, folder.path());
        assert_eq!(commands, count, "commands of {name}");
        assert_current(name, &text);
    }
}
