//! The error type of the library: one variant per kind of remedy, each with its hint and its exit code.

mod near;

use std::path::PathBuf;

pub use near::{near, near_files, near_or};

/// Shorthand used throughout the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Exit codes of the binary. They are part of its interface and never change their meaning.
pub mod exit {
    /// The work was done.
    pub const DONE: u8 = 0;
    /// The run failed: an input or output could not be read, decoded or written.
    pub const FAILED: u8 = 1;
    /// The command line was wrong (clap's own code).
    pub const USAGE: u8 = 2;
    /// A model or data is not available: no such file, not in the cache while offline, refused by the hub.
    pub const UNAVAILABLE: u8 = 3;
    /// The network, layer, format or device is not supported.
    pub const UNSUPPORTED: u8 = 4;
    /// A figure is not as `--assert` or `--baseline` demand; the document is written all the same.
    pub const GATE: u8 = 5;
    /// NaN or infinity was met in weights or activations.
    pub const NOT_FINITE: u8 = 6;
    /// Interrupted by the user.
    pub const INTERRUPTED: u8 = 130;
}

/// What went wrong: the thing, what was found, and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something asked for does not exist where it was looked for.
    #[error("{what}: not found")]
    NotFound {
        /// The file, card or hub id.
        what: String,
        /// How to get it.
        hint: String,
    },
    /// Something that exists elsewhere cannot be had now: no connection, no permission.
    #[error("{what}: {detail}")]
    Unavailable {
        /// The hub id and file.
        what: String,
        /// The obstacle.
        detail: String,
        /// What to do about it.
        hint: String,
    },
    /// A file's content is not what its format demands.
    #[error("{file}: {detail}")]
    Malformed {
        /// The file (and, after a colon, the tensor or field).
        file: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A file is well-formed but does not fit the network; every problem is listed.
    #[error("{file}: does not fit the network\n  {}", .problems.join("\n  "))]
    Mismatch {
        /// The weights file.
        file: String,
        /// One line per parameter: missing, left over, or of the wrong shape.
        problems: Vec<String>,
    },
    /// Shapes or attributes that cannot be run, with found and expected.
    #[error("{what}: {detail}")]
    Shape {
        /// The layer or input.
        what: String,
        /// What it got and what it needs.
        detail: String,
    },
    /// A value the user gave is out of its range or names nothing.
    #[error("{what}: {detail}")]
    Invalid {
        /// The flag, field or name.
        what: String,
        /// Why it cannot be used, and what can.
        detail: String,
    },
    /// Understood, but not something this program does.
    #[error("{what} is not supported")]
    Unsupported {
        /// The network, layer, dtype or device.
        what: String,
        /// The nearest thing that is.
        hint: String,
    },
    /// The work was done, and figures are not as the user demands; each of them is listed.
    #[error("figures are not as demanded\n  {}", .failed.join("\n  "))]
    Gate {
        /// One line per figure: what it is, what was expected, and how far it is off.
        failed: Vec<String>,
    },
    /// NaN or infinity.
    #[error("{place}: holds NaN or infinity{detail}")]
    NotFinite {
        /// The tensor or the layer.
        place: String,
        /// The input that led to it, if any.
        detail: String,
    },
    /// The operating system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Something that was checked is not well; what, is printed.
    #[error("{failed} of {checks} checks failed")]
    Unwell {
        /// Checks that failed.
        failed: usize,
        /// Checks in all.
        checks: usize,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Wraps an operating-system error with the path it belongs to.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    /// A file whose content is broken.
    pub fn malformed(file: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Malformed { file: file.into(), detail: detail.into() }
    }

    /// A file of `text` that is no TOML, or not what is wanted, as `error` says: with `what`, and the line.
    pub(crate) fn toml(file: impl Into<String>, what: &str, text: &str, error: &toml::de::Error) -> Self {
        let line = |start: usize| text.as_bytes()[..start.min(text.len())].split(|&byte| byte == b'\n').count();
        let place = error.span().map(|span| format!("line {}: ", line(span.start))).unwrap_or_default();
        Self::malformed(file, format!("{what}{place}{}", error.message()))
    }

    /// The same error, if it is one of a shape, with the input that caused it.
    pub fn of_input(self, id: &str) -> Self {
        match self {
            Self::Shape { what, detail } => Self::shape(id, format!("{what}: {detail}")),
            other => other,
        }
    }

    /// A shape that cannot be run.
    pub fn shape(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Shape { what: what.into(), detail: detail.into() }
    }

    /// A user's value that cannot be used.
    pub fn invalid(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), detail: detail.into() }
    }

    /// Something this program does not support, and the nearest thing it does.
    pub fn unsupported(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), hint: hint.into() }
    }

    /// How the user can fix it, if there is more to say than the message does.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::NotFound { hint, .. } | Self::Unavailable { hint, .. } | Self::Unsupported { hint, .. }
                if !hint.is_empty() =>
            {
                Some(hint)
            }
            Self::NotFinite { .. } => {
                Some("check the weights and the preprocessing; statistics of NaN or infinity are meaningless")
            }
            _ => None,
        }
    }

    /// The exit code of the binary for this error; see [`exit`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } | Self::Unavailable { .. } => exit::UNAVAILABLE,
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => exit::UNAVAILABLE,
            Self::Malformed { .. } | Self::Mismatch { .. } | Self::Io { .. } | Self::Unwell { .. } => exit::FAILED,
            Self::Invalid { .. } => exit::USAGE,
            Self::Shape { .. } | Self::Unsupported { .. } => exit::UNSUPPORTED,
            Self::Gate { .. } => exit::GATE,
            Self::NotFinite { .. } => exit::NOT_FINITE,
            Self::Interrupted => exit::INTERRUPTED,
        }
    }
}
