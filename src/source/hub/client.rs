//! Requests to the hub: deadlines, redirects, whom the token is shown to, and which failures are worth another try.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body, Timeout};

use super::settings::{Limits, Settings, Token};
use crate::Error;
use crate::source::DownloadMonitor;

/// Redirects that are followed.
const REDIRECTS: usize = 6;
/// Largest document that is read whole: the list of a repository's files.
const LARGEST_DOCUMENT: u64 = 64 << 20;
/// Between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(50);
/// The header of a file's hash where the file itself is elsewhere.
pub(super) const LINKED_ETAG: &str = "x-linked-etag";

/// Why a request brought nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// An answer that is a refusal.
    Status {
        status: u16,
        /// The hub's own word for it, as `GatedRepo`.
        code: String,
        message: String,
        /// When to try again.
        wait: Option<Duration>,
    },
    /// No answer, or half of one.
    Broken(String),
    /// An answer that no hub gives.
    Wrong(String),
    /// What was got is not what it should be.
    Damaged(String),
    /// The disk, or what it holds.
    Local(Error),
    /// The user asked to stop.
    Stopped,
}

/// Sends requests.
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<Token>,
    pub limits: Limits,
    pub monitor: Option<Arc<dyn DownloadMonitor>>,
}

impl Client {
    pub fn new(settings: &Settings, monitor: Option<Arc<dyn DownloadMonitor>>) -> Self {
        let Settings { endpoint, token, limits, .. } = settings.clone();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are followed below, where the token is known.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(limits.stall))
            .timeout_per_read(Some(limits.stall))
            .timeout_per_write(Some(limits.stall))
            .timeout_recv_response(Some(limits.answer.max(limits.stall)))
            .user_agent(concat!("deadweight/", env!("CARGO_PKG_VERSION")))
            // Ranges and lengths are of the file as it is.
            .accept_encoding("identity");
        Self { agent: config.build().into(), endpoint, token, limits, monitor }
    }

    /// The file or document at `url`, from byte `from` on if that is not 0.
    pub fn get(&self, url: &str, from: u64, limit: Duration) -> Result<Response<Body>, Failure> {
        self.send(false, url, from, limit)
    }

    /// The headers of the file at `url`: its own, or those with which the hub says where it is.
    pub fn head(&self, url: &str) -> Result<HeaderMap, Failure> {
        Ok(self.send(true, url, 0, self.limits.answer)?.into_parts().0.headers)
    }

    /// A JSON document, with further tries.
    pub fn json(&self, url: &str) -> Result<serde_json::Value, Failure> {
        self.persistently(|| {
            let body = self.get(url, 0, self.limits.grace)?.into_body();
            let bytes = body.into_with_config().limit(LARGEST_DOCUMENT).read_to_vec().map_err(|e| broken(&e))?;
            serde_json::from_slice(&bytes).map_err(|_| Failure::Wrong("answers with what is no JSON".into()))
        })
    }

    /// What `attempt` gives, tried again as long as that helps.
    pub fn persistently<T>(&self, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        let mut tries = Tries::new(self);
        loop {
            match attempt() {
                Err(failure) => tries.again(failure)?,
                done => return done,
            }
        }
    }

    /// Whether the user asked to stop.
    pub fn stops(&self) -> bool {
        self.monitor.as_ref().is_some_and(|monitor| monitor.stop())
    }

    /// Waits, unless the user asks to stop.
    pub fn pause(&self, wait: Duration) -> Result<(), Failure> {
        let end = Instant::now() + wait;
        loop {
            if self.stops() {
                return Err(Failure::Stopped);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    fn send(&self, head: bool, url: &str, from: u64, limit: Duration) -> Result<Response<Body>, Failure> {
        let end = Instant::now() + limit;
        let mut url = url.to_owned();
        let mut trusted = true;
        for _ in 0..=REDIRECTS {
            // Once a redirect has left the hub, nothing behind it is shown the token.
            trusted &= origin(&url).is_some_and(|place| Some(place) == origin(&self.endpoint));
            let request = if head { self.agent.head(&url) } else { self.agent.get(&url) };
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let mut request = request.config().timeout_global(Some(left)).build();
            if let Some(token) = self.token.as_ref().filter(|_| trusted) {
                request = request.header("authorization", token.header());
            }
            if from > 0 {
                request = request.header("range", format!("bytes={from}-"));
            }
            let response = request.call().map_err(|error| broken(&error))?;
            let status = response.status();
            let linked = head && response.headers().contains_key(LINKED_ETAG);
            if status.is_success() || (status.is_redirection() && linked) {
                return Ok(response);
            }
            let location = if status.is_redirection() { header(response.headers(), "location") } else { None };
            match location {
                Some(location) => {
                    let target = resolved(&url, &location);
                    url = target.ok_or_else(|| Failure::Wrong("redirects to what is no address".into()))?;
                }
                None => return Err(self.refusal(status.as_u16(), response.headers())),
            }
        }
        Err(Failure::Wrong(format!("redirects more than {REDIRECTS} times")))
    }

    fn refusal(&self, status: u16, headers: &HeaderMap) -> Failure {
        let text = |name: &str| header(headers, name).unwrap_or_default();
        let mut message = text("x-error-message");
        if let Some(token) = &self.token {
            let secret = token.header();
            message = message.replace(secret.trim_start_matches("Bearer "), "***");
        }
        let wait = header(headers, "retry-after").and_then(|text| retry_after(&text, SystemTime::now()));
        Failure::Status { status, code: text("x-error-code"), message, wait }
    }
}

/// Tries of one thing.
pub(super) struct Tries<'a> {
    client: &'a Client,
    made: u32,
}

impl<'a> Tries<'a> {
    pub fn new(client: &'a Client) -> Self {
        Self { client, made: 1 }
    }

    /// Counts from the start: the last try brought something.
    pub fn restart(&mut self) {
        self.made = 0;
    }

    /// Waits for the next try.
    ///
    /// # Errors
    /// `failure`, if another try does not help or there were enough.
    pub fn again(&mut self, failure: Failure) -> Result<(), Failure> {
        let limits = &self.client.limits;
        let backoff = limits.backoff * 2u32.saturating_pow(self.made.saturating_sub(1));
        let wait = match &failure {
            Failure::Broken(_) => backoff,
            Failure::Status { status: 408 | 429 | 500 | 502 | 503 | 504, wait, .. } => wait.unwrap_or(backoff),
            _ => return Err(failure),
        };
        if self.made >= limits.tries || wait > limits.patience {
            return Err(failure);
        }
        self.made += 1;
        tracing::info!("trying again in {:.1} s: {failure:?}", wait.as_secs_f64());
        self.client.pause(wait)
    }
}

/// A header's text.
pub(super) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// What a failed connection is: addresses are left out, since those of redirects open files.
pub(super) fn broken(error: &ureq::Error) -> Failure {
    Failure::Broken(match error {
        ureq::Error::Timeout(Timeout::PerRead | Timeout::PerWrite | Timeout::RecvResponse) => {
            "no byte came in time (HF_HUB_DOWNLOAD_TIMEOUT)".into()
        }
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => "no connection in time".into(),
        ureq::Error::Timeout(_) => "was not done in time".into(),
        ureq::Error::BadUri(_) => "the address is none".into(),
        other => other.to_string(),
    })
}

/// How long `Retry-After` asks to wait at `now`: seconds, or a date.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default())
}

/// Scheme, host and port of `url`.
fn origin(url: &str) -> Option<(String, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}

/// The address that `location` is, at `base`.
fn resolved(base: &str, location: &str) -> Option<String> {
    let location = location.split('#').next()?;
    let (scheme, rest) = base.split_once("://")?;
    let target = if location.starts_with("https://") || location.starts_with("http://") {
        location.to_owned()
    } else if let Some(elsewhere) = location.strip_prefix("//") {
        format!("{scheme}://{elsewhere}")
    } else if location.starts_with('/') {
        format!("{scheme}://{}{location}", rest.split('/').next()?)
    } else {
        let path = base.split('?').next()?;
        format!("{}/{location}", path.rsplit_once('/')?.0)
    };
    origin(&target).map(|_| target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved() {
        let base = "https://hub.co:8443/org/net/resolve/main/a.bin?x=1";
        for (location, want) in [
            ("https://cdn.co/b?y", Some("https://cdn.co/b?y")),
            ("//cdn.co/b", Some("https://cdn.co/b")),
            ("/api/b#part", Some("https://hub.co:8443/api/b")),
            ("c.bin", Some("https://hub.co:8443/org/net/resolve/main/c.bin")),
            ("https://", None),
            ("http://a b/", None),
        ] {
            assert_eq!(resolved(base, location).as_deref(), want, "{location}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| origin(a) == origin(b);
        assert!(same("https://Hub.co/a", "https://hub.co:443/b"));
        for other in ["http://hub.co/", "https://hub.co:8443/", "https://hub.co.evil.com/", "https://cdn.hub.co/"] {
            assert!(!same("https://hub.co", other), "{other}");
        }
    }

    #[test]
    fn waits_are_seconds_or_dates() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let wait = |text: &str| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(wait(" 120 "), Some(120));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(wait("soon"), None);
    }
}
