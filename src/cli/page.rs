//! The page for the browser: which output is one, and showing it.

use std::path::Path;

use clap::Args;

use super::out::{self, Out};
use crate::report::Format;
use crate::{Error, Result};

/// Whether the page is shown.
#[derive(Args, Clone, Copy, Debug)]
pub struct OpenArgs {
    /// Show the page in the browser as well: the one of `-o FILE.html`, else a temporary one
    #[arg(long)]
    pub open: bool,
}

/// The format that was chosen, or that `output` ends in: a page for `.html`.
pub(super) fn format(chosen: Option<Format>, output: Option<&Path>) -> Format {
    let ends_in_html = output.and_then(Path::extension).is_some_and(|end| end == "html");
    chosen.unwrap_or(if ends_in_html { Format::Html } else { Format::default() })
}

/// Shows the page that `output` holds, or else one that `page` makes, in a temporary file.
///
/// # Errors
/// Those of `page`; [`Error::Unavailable`] if no browser can be started: the page is there all the same.
pub(super) fn show(output: Option<&Path>, page: impl FnOnce() -> Result<Vec<u8>>) -> Result<()> {
    let path = match output.filter(|path| *path != Path::new("-")) {
        Some(path) => path.to_owned(),
        None => {
            // The browser reads it after this process has ended.
            let name = format!("deadweight-{}.html", std::process::id());
            let path = std::env::temp_dir().join(name);
            let mut out = Out::open(Some(&path))?;
            out.write_bytes(&page()?)?;
            out.finish()?;
            path
        }
    };
    tracing::info!("the page is {}", out::printable(&path.display().to_string()));
    open::that_detached(&path).map_err(|error| Error::Unavailable {
        what: "--open".into(),
        detail: format!("no browser can be started: {error}"),
        hint: format!("the page is {}; open it yourself", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_chosen_or_said_by_the_name() {
        let of = |chosen, output: Option<&str>| format(chosen, output.map(Path::new));
        assert_eq!(of(None, Some("run.html")), Format::Html);
        assert_eq!(of(Some(Format::Csv), Some("run.html")), Format::Csv);
        assert_eq!((of(None, Some("run.txt")), of(None, None)), (Format::Table, Format::Table));
    }
}
