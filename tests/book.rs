//! The book: its table of contents has every page, every link leads to a page and a heading that are there, and what pages repeat of
//! the code is the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use deadweight::metrics;
use regex::Regex;

/// Pages outside `docs/` whose links are checked too.
const OUTSIDE: [&str; 5] =
    ["README.md", ".github/CONTRIBUTING.md", "CHANGELOG.md", "models/demo/README.md", "benches/RESULTS.md"];

/// Pages to which the README leads at least; the book's contents lead on.
const FRONT: [&str; 10] = [
    "commands.md",
    "report.md",
    "compare.md",
    "hub.md",
    "library.md",
    "python.md",
    "metrics.md",
    "networks.md",
    "speed.md",
    "trust.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages under `docs/`, by their path in the project.
fn pages() -> BTreeSet<PathBuf> {
    let (mut pending, mut pages) = (vec![root().join("docs")], BTreeSet::new());
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => pending.push(path),
                false if path.extension().is_some_and(|end| end == "md") => {
                    pages.insert(path.strip_prefix(root()).unwrap().to_owned());
                }
                false => {}
            }
        }
    }
    pages
}

fn read(page: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(page)).unwrap()
}

/// `text` without its blocks of code.
fn prose(text: &str) -> String {
    let mut code = false;
    let outside = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    });
    outside.collect::<Vec<_>>().join("\n")
}

/// Where the links and pictures of `text` lead.
fn links(text: &str) -> Vec<String> {
    let text = Regex::new("`[^`\n]*`").unwrap().replace_all(&prose(text), "").into_owned();
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    link.captures_iter(&text).map(|found| found[1].to_owned()).collect()
}

/// The anchors of the headings of `text`, by the rule that GitHub and mdBook share.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let text = prose(text);
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || ['-', '_', ' '].contains(c));
        let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase();
        let count = seen.entry(slug.clone()).or_default();
        *count += 1;
        if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
    };
    headings.map(anchor).collect()
}

/// `path` with its `..` resolved.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
        plain
    })
}

/// What is wrong with `link` on `page`, if anything is.
fn wrong(page: &Path, link: &str) -> Option<String> {
    if link.starts_with("https://") || link.starts_with("http://") {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = match path {
        "" => page.to_owned(),
        path => plain(&page.parent().unwrap().join(path)),
    };
    if !root().join(&target).exists() {
        return Some("leads nowhere".into());
    }
    if page.starts_with("docs") && !target.starts_with("docs") {
        return Some("leaves the book: name the file in its place".into());
    }
    let found = anchor.is_none_or(|anchor| anchors(&read(&target)).contains(anchor));
    (!found).then(|| "has no such heading".into())
}

#[test]
fn every_link_leads_somewhere() {
    let all = pages().into_iter().chain(OUTSIDE.map(PathBuf::from));
    let mut count = 0;
    let mut problems = Vec::new();
    for page in all {
        for link in links(&read(&page)) {
            count += 1;
            problems.extend(wrong(&page, &link).map(|what| format!("{}: ({link}) {what}", page.display())));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(count > 100, "only {count} links");
}

#[test]
fn the_contents_have_every_page() {
    let listed = links(&read("docs/SUMMARY.md"));
    let named: BTreeSet<PathBuf> = listed.iter().map(|link| Path::new("docs").join(link)).collect();
    assert_eq!(named.len(), listed.len(), "a page is listed twice: {listed:?}");
    let mut pages = pages();
    pages.remove(Path::new("docs/SUMMARY.md"));
    assert_eq!(named, pages);
    let readme = links(&read("README.md"));
    let missing: Vec<&str> = FRONT.into_iter().filter(|page| !readme.contains(&format!("docs/{page}"))).collect();
    assert!(missing.is_empty(), "the README has no link to {missing:?}");
}

#[test]
fn links_and_anchors_are_found() {
    let page =
        "# A `b.c`: d\n\n[x](y.md#z) `[no](no.md)` ![p](q.svg)\n\n```sh\n[no](no.md)\n# no\n```\n\n## A-é\n## A-é\n";
    assert_eq!(links(page), ["y.md#z", "q.svg"]);
    assert_eq!(anchors(page), ["a-bc-d", "a-é", "a-é-1"].map(String::from).into());
    assert!(wrong(Path::new("docs/cards.md"), "nowhere.md").is_some());
    assert!(wrong(Path::new("docs/cards.md"), "commands.md#no-such-heading").is_some());
    assert!(wrong(Path::new("docs/tutorials/student.md"), "../../README.md").is_some());
    assert_eq!(wrong(Path::new("docs/tutorials/student.md"), "../commands.md#exit-codes"), None);
}

#[test]
fn every_source_of_a_metric_is_listed() {
    let page = read("docs/sources.md");
    let listed: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    let unlisted: BTreeSet<&str> =
        metrics::all().flat_map(|metric| metric.source.split(", ")).filter(|source| !listed.contains(source)).collect();
    assert!(unlisted.is_empty(), "docs/sources.md has no row of {unlisted:?}");
}

/// Files that `docs/extending.md` shows whole.
#[test]
fn examples_of_extending_are_files_that_are_tested() {
    let page = read("docs/extending.md");
    for file in ["tests/fixtures/skip16.rs", "models/alexnet.rs", "models/alexnet.toml"] {
        assert!(
            page.contains(&format!(
                "```{}\n{}```\n",
                file.rsplit('.').next().unwrap().replace("rs", "rust"),
                read(file)
            )),
            "docs/extending.md does not show {file} as it is"
        );
    }
}
