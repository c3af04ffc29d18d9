//! A hub on the loopback interface: it serves repositories as the real one does, and misbehaves where it is told to.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub const LATER: &str = "89abcdef0123456789abcdef0123456789abcdef";
pub const TOKEN: &str = "hf_secretsecret";

/// What the server does in place of a right answer.
#[derive(Clone)]
pub enum Fault {
    /// Answers with that status and those headers.
    Status(u16, Vec<(&'static str, String)>),
    /// Closes the connection after so many bytes of the content.
    Cut(usize),
    /// Sends nothing after so many bytes of the content.
    Stall(usize),
    /// Changes the content, not its length.
    Corrupt,
    /// Sends a byte less, and says so.
    Short,
    /// Leaves a header out.
    Without(&'static str),
    /// Sends another value of a header.
    Header(&'static str, String),
}

/// A fault, in which answers and how often.
struct Rule {
    /// `GET`, `HEAD`, or both if empty.
    method: &'static str,
    /// A part of the path.
    path: &'static str,
    times: usize,
    fault: Fault,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    headers: HashMap<String, String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Default)]
struct State {
    /// By `models/org/name` or `datasets/org/name` and path; true for those that are kept elsewhere (LFS).
    files: HashMap<(String, String), (Vec<u8>, bool)>,
    commit: String,
    /// Where large files are redirected to; by default to this server.
    elsewhere: String,
    ignores_ranges: bool,
    rules: Vec<Rule>,
    requests: Vec<Request>,
}

/// A server; it ends with the process.
#[derive(Clone)]
pub struct Server {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = State { commit: COMMIT.into(), ..State::default() };
        let server = Self { endpoint, state: Arc::new(Mutex::new(state)) };
        let of_thread = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let server = of_thread.clone();
                // A reader that goes away is no matter.
                std::thread::spawn(move || drop(server.answer(stream.unwrap())));
            }
        });
        server
    }

    /// The files of `org/net`; those called `model*` are large.
    pub fn model(files: &[(&str, Vec<u8>)]) -> Self {
        let server = Self::start();
        files.iter().for_each(|(name, bytes)| server.add("models/org/net", name, bytes));
        server
    }

    pub fn add(&self, repo: &str, name: &str, bytes: &[u8]) {
        let large = name.contains("model");
        self.state.lock().unwrap().files.insert((repo.into(), name.into()), (bytes.into(), large));
    }

    /// Moves the branches to `commit`.
    pub fn move_to(&self, commit: &str) {
        self.state.lock().unwrap().commit = commit.into();
    }

    /// Keeps large files at `endpoint`.
    pub fn keep_at(&self, endpoint: &str) {
        self.state.lock().unwrap().elsewhere = endpoint.into();
    }

    /// Sends whole files, whatever is asked.
    pub fn ignore_ranges(&self) {
        self.state.lock().unwrap().ignores_ranges = true;
    }

    /// Has the next `times` answers to `method` of paths with `path` in them be `fault`.
    pub fn fail(&self, method: &'static str, path: &'static str, times: usize, fault: Fault) -> &Self {
        self.state.lock().unwrap().rules.push(Rule { method, path, times, fault });
        self
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// How many requests had `path` in their path.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let is_one = |request: &Request| request.method == method && request.path.contains(path);
        self.requests().iter().filter(|request| is_one(request)).count()
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let headers = lines.map_while(|line| line.ok().filter(|line| !line.is_empty()));
        let pair =
            |line: String| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        let request = Request { method, path, headers: headers.filter_map(pair).collect() };
        let (reply, fault) = {
            let mut state = self.state.lock().unwrap();
            state.requests.push(request.clone());
            let reply = state.reply(&request);
            (reply, state.fault(&request))
        };
        reply.send(&mut stream, request.method == "HEAD", fault)
    }
}

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl State {
    fn fault(&mut self, request: &Request) -> Option<Fault> {
        let is_one = |rule: &&mut Rule| {
            rule.times > 0
                && request.path.contains(rule.path)
                && (rule.method.is_empty() || rule.method == request.method)
        };
        let rule = self.rules.iter_mut().find(is_one)?;
        rule.times -= 1;
        Some(rule.fault.clone())
    }

    fn reply(&self, request: &Request) -> Reply {
        let missing = |code: &str| Reply { status: 404, headers: vec![("X-Error-Code", code.into())], body: vec![] };
        let path = request.path.split('?').next().unwrap_or_default();
        if let Some(rest) = path.strip_prefix("/api/") {
            let (repo, _) = rest.split_once("/revision/").unwrap_or((rest, ""));
            let mut siblings: Vec<_> = self.files.iter().filter(|((of, _), _)| of == repo).collect();
            siblings.sort_unstable_by_key(|((_, name), _)| name.clone());
            if siblings.is_empty() {
                return missing("RepoNotFound");
            }
            let with_sizes = request.path.contains("blobs=true");
            let sibling = |((_, name), (bytes, _)): (&(String, String), &(Vec<u8>, bool))| match with_sizes {
                true => serde_json::json!({ "rfilename": name, "size": bytes.len() }),
                false => serde_json::json!({ "rfilename": name }),
            };
            let siblings: Vec<_> = siblings.into_iter().map(sibling).collect();
            let body = serde_json::json!({ "sha": self.commit, "siblings": siblings }).to_string();
            return Reply { status: 200, headers: vec![], body: body.into() };
        }
        if let Some(key) = path.strip_prefix("/stored/") {
            let found = self.files.iter().find(|((repo, name), _)| key == format!("{repo}/{name}"));
            let Some((_, (bytes, _))) = found else { return missing("EntryNotFound") };
            return self.content(bytes, vec![], request);
        }
        let place = path.strip_prefix('/').and_then(|path| path.split_once("/resolve/"));
        let Some((repo, (commit, name))) = place.and_then(|(repo, rest)| Some((repo, rest.split_once('/')?))) else {
            return missing("EntryNotFound");
        };
        let repo = if repo.starts_with("datasets/") { repo.to_owned() } else { format!("models/{repo}") };
        let Some((bytes, large)) = self.files.get(&(repo.clone(), name.to_owned())) else {
            return missing("EntryNotFound");
        };
        let commit = ("X-Repo-Commit", commit.to_owned());
        if !large {
            let hash = format!(
                "{:x}",
                Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize()
            );
            return self.content(bytes, vec![commit, ("ETag", format!("\"{hash}\""))], request);
        }
        let headers = vec![
            commit,
            ("Location", format!("{}/stored/{repo}/{name}", self.elsewhere)),
            ("X-Linked-ETag", format!("\"{:x}\"", Sha256::digest(bytes))),
            ("X-Linked-Size", bytes.len().to_string()),
        ];
        Reply { status: 302, headers, body: vec![] }
    }

    /// `bytes`, or what of them the request asks for.
    fn content(&self, bytes: &[u8], mut headers: Vec<(&'static str, String)>, request: &Request) -> Reply {
        let range = request.header("range").filter(|_| !self.ignores_ranges);
        let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let Some(from) = from.filter(|from: &usize| *from > 0) else {
            return Reply { status: 200, headers, body: bytes.to_vec() };
        };
        if from >= bytes.len() {
            return Reply { status: 416, headers, body: vec![] };
        }
        headers.push(("Content-Range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())));
        Reply { status: 206, headers, body: bytes[from..].to_vec() }
    }
}

impl Reply {
    fn send(mut self, stream: &mut TcpStream, is_head: bool, fault: Option<Fault>) -> std::io::Result<()> {
        let mut sent = self.body.len();
        let mut stalls = false;
        match fault {
            None => {}
            Some(Fault::Status(status, headers)) => self = Self { status, headers, body: vec![] },
            Some(Fault::Cut(bytes)) => sent = bytes.min(sent),
            Some(Fault::Stall(bytes)) => (sent, stalls) = (bytes.min(sent), true),
            Some(Fault::Corrupt) => self.body.iter_mut().for_each(|byte| *byte ^= 1),
            Some(Fault::Short) => drop(self.body.pop()),
            Some(Fault::Without(name)) => self.headers.retain(|(header, _)| *header != name),
            Some(Fault::Header(name, value)) => {
                self.headers.retain(|(header, _)| *header != name);
                self.headers.push((name, value));
            }
        }
        sent = sent.min(self.body.len());
        let mut head =
            format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\nConnection: close\r\n", self.status, self.body.len());
        self.headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        if !is_head {
            stream.write_all(&self.body[..sent])?;
        }
        stream.flush()?;
        if stalls {
            std::thread::sleep(Duration::from_secs(5));
        }
        Ok(())
    }
}

/// A safetensors file of one tensor.
pub fn safetensors(name: &str, values: &[f32]) -> Vec<u8> {
    let header =
        format!(r#"{{"{name}":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{}]}}}}"#, values.len(), 4 * values.len());
    let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &values].concat()
}
