//! Where the hub and its cache are, whose name requests go in, and how long they may take: read from the environment, by the names
//! that the Python client has.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Error, Result};

const ENDPOINT: &str = "https://huggingface.co";

/// A secret that opens repositories. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(String);

impl Token {
    /// The value of the `Authorization` header.
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// How long requests may take, and how often they are repeated.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Limits {
    /// For an answer without content: `HF_HUB_ETAG_TIMEOUT`.
    pub answer: Duration,
    /// For a connection, and between two pieces of a file: `HF_HUB_DOWNLOAD_TIMEOUT`.
    pub stall: Duration,
    /// Slowest rate in bytes a second over a whole file, beyond [`Limits::grace`].
    pub slowest: u64,
    /// For a file whose length is not known, and what any file gets beside its length over [`Limits::slowest`].
    pub grace: Duration,
    /// Tries, from the last one on that brought anything.
    pub tries: u32,
    /// Wait before the second try; doubled for each further one.
    pub backoff: Duration,
    /// Longest wait that a server can ask for; beyond it the error says how long it asked for.
    pub patience: Duration,
}

impl Limits {
    /// Longest that a download may take of which `missing` bytes are missing, as far as that is known.
    pub fn whole(&self, missing: u64) -> Duration {
        self.grace + Duration::from_secs(missing / self.slowest)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(10),
            stall: Duration::from_secs(10),
            slowest: 20_000,
            grace: Duration::from_secs(600),
            tries: 5,
            backoff: Duration::from_secs(1),
            patience: Duration::from_secs(60),
        }
    }
}

/// Where the hub and its cache are.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub cache: PathBuf,
    /// Without a slash at its end.
    pub endpoint: String,
    pub token: Option<Token>,
    /// Whether there is a token that is not to be sent.
    pub token_disabled: bool,
    pub offline: bool,
    pub limits: Limits,
}

impl Settings {
    /// Those of environment variables; `variable` looks one up.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming a variable whose value cannot be used.
    pub fn new(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let user = variable("HOME").or_else(|| variable("USERPROFILE")).map(PathBuf::from);
        let path = |name: &str| {
            let text = variable(name)?;
            let inside = text.strip_prefix("~/").and_then(|inside| Some(user.as_ref()?.join(inside)));
            Some(inside.unwrap_or_else(|| PathBuf::from(text)))
        };
        let home = path("HF_HOME")
            .or_else(|| path("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
            .or_else(|| user.as_ref().map(|user| user.join(".cache/huggingface")));
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
        let cache = cache.or_else(|| home.as_ref().map(|home| home.join("hub"))).ok_or_else(|| {
            Error::invalid("HF_HOME", "not set, and neither is HOME: set one so that the cache of the hub has a place")
        })?;
        let is_set = |name: &str| {
            let value = variable(name).map(|value| value.trim().to_ascii_lowercase());
            value.is_some_and(|value| matches!(value.as_str(), "1" | "true" | "yes" | "on"))
        };
        let stored = || std::fs::read_to_string(path("HF_TOKEN_PATH").or_else(|| Some(home?.join("token")))?).ok();
        let token = token(variable("HF_TOKEN").or_else(stored))?;
        let token_disabled = token.is_some() && is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN");
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        let endpoint = endpoint.trim().trim_end_matches('/').to_owned();
        if !["https://", "http://"].iter().any(|scheme| endpoint.len() > scheme.len() && endpoint.starts_with(scheme)) {
            return Err(Error::invalid("HF_ENDPOINT", "is no address that starts with https:// or http://"));
        }
        let seconds = |name: &str, default: Duration| match variable(name) {
            None => Ok(default),
            Some(text) => {
                let seconds = text.trim().parse().ok().filter(|seconds| (0.001..=86_400.0).contains(seconds));
                let wrong = || Error::invalid(name, format!("is {text}, must be seconds, 0.001 to 86400"));
                seconds.map(Duration::from_secs_f64).ok_or_else(wrong)
            }
        };
        let default = Limits::default();
        let limits = Limits {
            answer: seconds("HF_HUB_ETAG_TIMEOUT", default.answer)?,
            stall: seconds("HF_HUB_DOWNLOAD_TIMEOUT", default.stall)?,
            ..default
        };
        let (token, offline) = (token.filter(|_| !token_disabled), is_set("HF_HUB_OFFLINE"));
        Ok(Self { cache, endpoint, token, token_disabled, offline, limits })
    }
}

/// The token in `text`, if there is one.
///
/// # Errors
/// [`Error::Invalid`] for what cannot be one; the text is not shown.
fn token(text: Option<String>) -> Result<Option<Token>> {
    let Some(text) = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Some(Token(text)));
    }
    Err(Error::invalid(
        "HF_TOKEN, or the stored token,",
        "holds characters that no token has: set it anew (hf auth login)",
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::Path;

    use super::*;

    fn settings(set: &[(&str, &str)]) -> Result<Settings> {
        let set: HashMap<String, String> = set.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Settings::new(|name| set.get(name).cloned())
    }

    fn header(settings: &Settings) -> Option<String> {
        settings.token.as_ref().map(Token::header)
    }

    #[test]
    fn places_come_from_the_environment_in_order() {
        let all = [
            ("HF_HUB_CACHE", "/a"),
            ("HUGGINGFACE_HUB_CACHE", "/b"),
            ("HF_HOME", "/c"),
            ("XDG_CACHE_HOME", "/d"),
            ("HOME", "/e"),
        ];
        let caches = ["/a", "/b", "/c/hub", "/d/huggingface/hub", "/e/.cache/huggingface/hub"];
        for (from, cache) in caches.iter().enumerate() {
            assert_eq!(settings(&all[from..]).unwrap().cache, Path::new(cache));
        }
        assert_eq!(settings(&[("HF_HOME", "~/x"), ("HOME", "/e")]).unwrap().cache, Path::new("/e/x/hub"));
        assert!(settings(&[]).is_err_and(|error| error.to_string().contains("HF_HOME")));
        assert_eq!(settings(&[("HOME", "/e"), ("HF_ENDPOINT", "http://h/")]).unwrap().endpoint, "http://h");
        for wrong in ["ftp://h", "h", "https://"] {
            let error = settings(&[("HOME", "/e"), ("HF_ENDPOINT", wrong)]).unwrap_err();
            assert_eq!(error.exit_code(), crate::error::exit::USAGE, "{wrong}");
        }
    }

    #[test]
    fn switches_and_times_are_read() {
        for (value, on) in [("1", true), ("TRUE", true), ("yes", true), ("on", true), ("0", false), ("no", false)] {
            assert_eq!(settings(&[("HOME", "/e"), ("HF_HUB_OFFLINE", value)]).unwrap().offline, on, "{value}");
        }
        let times = [("HOME", "/e"), ("HF_HUB_ETAG_TIMEOUT", "3"), ("HF_HUB_DOWNLOAD_TIMEOUT", "0.5")];
        let limits = settings(&times).unwrap().limits;
        assert_eq!((limits.answer, limits.stall), (Duration::from_secs(3), Duration::from_millis(500)));
        for wrong in ["0", "-1", "soon", "inf", "NaN"] {
            let error = settings(&[("HOME", "/e"), ("HF_HUB_ETAG_TIMEOUT", wrong)]).unwrap_err().to_string();
            assert!(error.starts_with("HF_HUB_ETAG_TIMEOUT: is "), "{error}");
        }
    }

    #[test]
    fn the_token_has_an_order_can_be_turned_off_and_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let (home, other) = (folder.path().to_str().unwrap(), folder.path().join("other"));
        std::fs::write(folder.path().join("token"), "stored\n").unwrap();
        std::fs::write(&other, "elsewhere").unwrap();
        let all = [("HF_TOKEN", " given\n"), ("HF_TOKEN_PATH", other.to_str().unwrap()), ("HF_HOME", home)];
        for (from, token) in ["given", "elsewhere", "stored"].iter().enumerate() {
            assert_eq!(header(&settings(&all[from..]).unwrap()), Some(format!("Bearer {token}")));
        }
        let off = settings(&[("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).unwrap();
        assert!(header(&off).is_none() && off.token_disabled);
        assert!(!format!("{:?}", settings(&all).unwrap()).contains("given"));
        let error = settings(&[("HF_HOME", home), ("HF_TOKEN", "se\ncret")]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("cret"), "{error}");
    }
}
