//! What a failure means, and what the user can do about it.

use std::time::{Duration, SystemTime};

use super::client::Failure;
use super::id::{Id, is_commit};
use super::settings::Settings;
use crate::Error;

/// How a download of another kind is used.
const ELSEWHERE: &str = "try again later, or download the repository by other means and name its directory";

/// The error for `failure` at `file` of `id`, or at the list of its files.
pub(super) fn explain(settings: &Settings, id: &Id, file: Option<&str>, failure: Failure) -> Error {
    let what = match file {
        Some(file) => format!("{id}: {file} from {}", settings.endpoint),
        None => format!("{id} from {}", settings.endpoint),
    };
    let unavailable = |detail: String, hint: &str| Error::Unavailable { what: what.clone(), detail, hint: hint.into() };
    match failure {
        Failure::Local(error) => error,
        Failure::Stopped => Error::Interrupted,
        Failure::Wrong(detail) => unavailable(detail, "check HF_ENDPOINT and the proxy"),
        Failure::Damaged(detail) => unavailable(format!("{detail}; it was removed"), ELSEWHERE),
        Failure::Broken(detail) => unavailable(
            detail,
            "check the network, HF_ENDPOINT and the proxy; what arrived is kept, and the same command goes on from there; with \
             --offline only the cache is used",
        ),
        Failure::Status { status, code, message, wait } => {
            let said = if message.is_empty() { String::new() } else { format!(": {message}") };
            refused(settings, id, file, &what, (status, &code, &said), wait)
        }
    }
}

fn refused(
    settings: &Settings,
    id: &Id,
    file: Option<&str>,
    what: &str,
    (status, code, said): (u16, &str, &str),
    wait: Option<Duration>,
) -> Error {
    let page = format!("{}/{}", settings.endpoint, id.name());
    let unavailable = |detail: String, hint: String| Error::Unavailable {
        what: what.to_owned(),
        detail: format!("{detail}{said}"),
        hint,
    };
    let missing = |what: String, hint: String| Error::NotFound { what, hint };
    let revision = || {
        let hint = match is_commit(&id.revision) {
            true => format!("{page} has no such commit; leave @{} out for the newest one", id.revision),
            false => format!("see the branches and tags at {page}, or leave @{} out for main", id.revision),
        };
        missing(format!("revision {} of {}", id.revision, id.name()), hint)
    };
    match (status, code) {
        (401 | 403, "GatedRepo") => {
            let hint = format!("accept its terms at {page} while logged in, {}", identify(settings));
            unavailable("is gated: its terms must be accepted first".into(), hint)
        }
        (_, "RevisionNotFound") => revision(),
        (404, _) if file.is_some() => missing(what.to_owned(), format!("see its files at {page}/tree/{}", id.revision)),
        // The hub answers so to those who may not know whether there is such a repository.
        (401, _) => {
            let hint = format!(
                "check the name; of a private or gated repository {} (and, if it is gated, accept its terms at {page})",
                identify(settings)
            );
            unavailable("there is no such repository, or it is not open to you (status 401)".into(), hint)
        }
        (403, _) => {
            let hint = format!("a token that may read it is needed: {}", identify(settings));
            unavailable("refused (status 403)".into(), hint)
        }
        (404, "RepoNotFound") => missing(what.to_owned(), nothing(settings, id)),
        (404, _) if id.revision != "main" => revision(),
        (404, _) => missing(what.to_owned(), nothing(settings, id)),
        (429, _) => {
            let when = match wait {
                Some(wait) => format!("try again in {} s ({})", wait.as_secs(), at(wait)),
                None => "try again in some minutes".into(),
            };
            let more = if settings.token.is_some() { "" } else { "; with a token (HF_TOKEN) the limit is higher" };
            unavailable("too many requests (status 429)".into(), format!("{when}{more}"))
        }
        (500.., _) => unavailable(format!("the hub has a problem (status {status})"), ELSEWHERE.into()),
        _ => unavailable(format!("refused (status {status})"), "check HF_ENDPOINT and the proxy".into()),
    }
}

/// What to do where there is no such repository.
fn nothing(settings: &Settings, id: &Id) -> String {
    let other = match id.is_dataset {
        true => format!("is it a model, {}?", id.repo),
        false => format!("is it a data set, datasets/{}?", id.repo),
    };
    format!("check the name; {other} A private repository needs a token: {}", identify(settings))
}

/// How a token is had, or why the one that is there does not do.
fn identify(settings: &Settings) -> &'static str {
    match (&settings.token, settings.token_disabled) {
        (Some(_), _) => "the token that was sent may not read it, or has expired: `hf auth login`, or another HF_TOKEN",
        (None, true) => "unset HF_HUB_DISABLE_IMPLICIT_TOKEN, by which your token was not sent",
        (None, false) => "`hf auth login`, or set HF_TOKEN to a token that may read it",
    }
}

/// The time after `wait`, to the second.
fn at(wait: Duration) -> String {
    httpdate::fmt_http_date(SystemTime::now() + wait)
}

/// The error for what the cache lacks, where nothing may be downloaded.
pub(super) fn not_cached(settings: &Settings, id: &Id, what: &str) -> Error {
    let online = if settings.offline { "go online (unset HF_HUB_OFFLINE, leave out --offline) and run" } else { "run" };
    Error::NotFound {
        what: format!("{id}: {what} in the cache {}", settings.cache.display()),
        hint: format!("{online} `deadweight pull {}`", id.to_pull()),
    }
}
