//! Each fault of a hub, a network or a disk, one by one.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// The error of a fetch, with its hint, and with how it is shown to developers.
fn failure(cache: &Path, server: &Server, id: &str) -> (u8, String) {
    let error = fetch(cache, server, id).unwrap_err();
    let text = format!("{error}; {}; {error:?}", error.hint().unwrap_or_default());
    assert!(!text.contains(TOKEN), "{text}");
    (error.exit_code(), text)
}

/// What is wrong, by `want`, with a fetch from a server of `files()` with one `fault`, which must leave nothing under a final name.
fn expect(method: &'static str, path: &'static str, fault: Fault, wants: &[&str]) {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    server.fail(method, path, usize::MAX, fault);
    let (code, text) = failure(cache.path(), &server, "org/net@v1");
    assert_eq!(code, exit::UNAVAILABLE, "{text}");
    for want in wants {
        assert!(text.contains(want), "{text} lacks {want}");
    }
    assert_eq!(ending(cache.path(), "model.safetensors"), [""; 0].map(PathBuf::from));
    assert!(!cache.path().join("hub/models--org--net/refs/v1").exists());
}

fn status(status: u16, code: &str) -> Fault {
    let headers = if code.is_empty() { vec![] } else { vec![("X-Error-Code", code.to_owned())] };
    Fault::Status(status, headers)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_download_cut_at_any_byte_goes_on_from_there(at in 0..40_000_usize, large in any::<bool>()) {
        let cache = tempfile::tempdir().unwrap();
        let (name, stored) = if large { ("model.safetensors", "/stored/") } else { ("weights.safetensors", "/resolve/") };
        let server = Server::model(&[(name, weights())]);
        server.fail("GET", stored, 1, Fault::Cut(at));
        let snapshot = fetch(cache.path(), &server, "org/net").unwrap();
        prop_assert_eq!(std::fs::read(snapshot.path.join(name)).unwrap(), weights());
        let asked: Vec<_> = server.requests().iter().filter(|request| request.method == "GET" && request.path.contains(stored))
            .map(|request| request.header("range").map(str::to_owned)).collect();
        prop_assert_eq!(asked, [None, (at > 0).then(|| format!("bytes={at}-"))]);
    }
}

#[test]
fn a_later_process_goes_on_where_an_earlier_one_gave_up() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    // Each try brings nothing new, but the first.
    server.fail("GET", "/stored/", 1, Fault::Cut(1000)).fail("GET", "/stored/", 4, Fault::Cut(0));
    let (code, text) = failure(cache.path(), &server, "org/net");
    assert!(
        code == exit::UNAVAILABLE && text.contains("after 1000 of 40070 bytes") && text.contains("goes on from there"),
        "{text}"
    );
    let left = ending(cache.path(), ".incomplete");
    assert_eq!(std::fs::metadata(&left[0]).unwrap().len(), 1000);
    let snapshot = fetch(cache.path(), &server, "org/net").unwrap();
    assert_eq!(std::fs::read(snapshot.path.join("model.safetensors")).unwrap(), weights());
    assert_eq!(server.requests().last().unwrap().header("range"), Some("bytes=1000-"));
    assert_eq!(ending(cache.path(), ".incomplete"), [""; 0].map(PathBuf::from));
}

#[test]
fn what_was_left_damaged_is_downloaded_from_the_start() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    server.fail("GET", "/stored/", 1, Fault::Cut(1000)).fail("GET", "/stored/", 4, Fault::Cut(0));
    failure(cache.path(), &server, "org/net");
    std::fs::write(&ending(cache.path(), ".incomplete")[0], [7; 500]).unwrap();
    let snapshot = fetch(cache.path(), &server, "org/net").unwrap();
    assert_eq!(std::fs::read(snapshot.path.join("model.safetensors")).unwrap(), weights());
    assert_eq!(server.requests().last().unwrap().header("range"), None);
}

#[test]
fn a_wrong_hash_is_refused_and_removed() {
    expect("GET", "/stored/", Fault::Corrupt, &["model.safetensors", "its SHA-256 is", "it was removed"]);
    expect("GET", "config.json", Fault::Corrupt, &["config.json", "its git SHA-1 is", "it was removed"]);
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    server.fail("GET", "/stored/", 1, Fault::Corrupt);
    failure(cache.path(), &server, "org/net");
    assert_eq!(ending(cache.path(), ".incomplete"), [""; 0].map(PathBuf::from));
    fetch(cache.path(), &server, "org/net").unwrap();
}

#[test]
fn a_wrong_length_is_refused() {
    expect("GET", "/stored/", Fault::Short, &["is sent with 40069 bytes, but has 40070", "removed"]);
}

#[test]
fn refusals_say_what_to_do() {
    for (method, path, fault, wants) in [
        ("", "", status(401, ""), &["not open to you", "hf auth login"][..]),
        ("", "", status(401, "RepoNotFound"), &["there is no such repository", "check the name"]),
        ("", "/resolve/", status(403, "GatedRepo"), &["is gated", "accept its terms at http://127.0.0.1:", "/org/net"]),
        ("", "", status(401, "GatedRepo"), &["is gated", "the token that was sent"]),
        ("", "/resolve/", status(403, ""), &["status 403", "a token that may read it"]),
        ("", "/api/", status(404, "RepoNotFound"), &["org/net@v1", "not found", "datasets/org/net"]),
        ("", "/api/", status(404, "RevisionNotFound"), &["revision v1 of org/net: not found", "branches and tags"]),
        ("HEAD", "/resolve/", status(404, "EntryNotFound"), &["config.json", "not found", "/org/net/tree/v1"]),
        ("", "/api/", status(418, ""), &["status 418"]),
        ("GET", "/stored/", status(403, ""), &["model.safetensors", "status 403"]),
    ] {
        expect(method, path, fault, wants);
    }
    let without = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    server.fail("", "", 9, status(401, ""));
    let mut settings = settings(without.path(), &server.endpoint, false);
    (settings.token, settings.token_disabled) = (None, true);
    let error = Hub::new(settings, &FetchOptions::default()).fetch("org/net").unwrap_err();
    assert!(error.hint().unwrap().contains("HF_HUB_DISABLE_IMPLICIT_TOKEN"), "{error:?}");
    assert!(server.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn too_many_requests_are_waited_for_or_say_when() {
    let date = |seconds: u64| httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(seconds));
    for after in ["0".to_owned(), date(0)] {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::model(&files());
        server.fail("", "/api/", 2, Fault::Status(429, vec![("Retry-After", after)]));
        fetch(cache.path(), &server, "org/net").unwrap();
        assert_eq!(server.count("GET", "/api/"), 3);
    }
    expect("", "", Fault::Status(429, vec![("Retry-After", "300".into())]), &["429", "try again in 300 s (", " GMT)"]);
    expect("", "", Fault::Status(429, vec![("Retry-After", date(3600))]), &["429", "try again in 3"]);
    expect("", "", status(429, ""), &["try again in some minutes"]);
}

#[test]
fn a_problem_of_the_hub_is_tried_again() {
    for code in [408, 500, 502, 503, 504] {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::model(&files());
        server.fail("", "/api/", 1, status(code, "")).fail("GET", "/stored/", 2, status(code, ""));
        server.fail("HEAD", "/resolve/", 1, status(code, ""));
        fetch(cache.path(), &server, "org/net").unwrap_or_else(|error| panic!("{code}: {error}"));
    }
    expect("", "", status(500, ""), &["the hub has a problem (status 500)", "later"]);
}

#[test]
fn a_stall_ends_in_time_and_is_tried_again() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    server.fail("GET", "/stored/", 1, Fault::Stall(500));
    fetch(cache.path(), &server, "org/net").unwrap();
    assert_eq!(server.requests().last().unwrap().header("range"), Some("bytes=500-"));
    let start = std::time::Instant::now();
    expect("GET", "/stored/", Fault::Stall(0), &["no byte came in time (HF_HUB_DOWNLOAD_TIMEOUT)"]);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn a_trickle_ends_in_time() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    server.fail("GET", "/stored/", usize::MAX, Fault::Stall(10));
    let mut settings = settings(cache.path(), &server.endpoint, false);
    (settings.limits.grace, settings.limits.slowest) = (Duration::from_millis(400), u64::MAX);
    let start = std::time::Instant::now();
    let error = Hub::new(settings, &FetchOptions::default()).fetch("org/net").unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_download_of_another_process_is_waited_for_but_not_for_ever() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    fetch(cache.path(), &server, "org/net").unwrap();
    std::fs::remove_dir_all(cache.path().join("hub/models--org--net")).unwrap();
    let locks = ending(&cache.path().join("hub/.locks"), ".lock").into_iter().map(|path| {
        let lock = std::fs::File::open(path).unwrap();
        lock.lock().unwrap();
        lock
    });
    let locks: Vec<_> = locks.collect();
    let mut settings = settings(cache.path(), &server.endpoint, false);
    (settings.limits.grace, settings.limits.slowest) = (Duration::from_millis(200), u64::MAX);
    let error = Hub::new(settings, &FetchOptions::default()).fetch("org/net").unwrap_err();
    assert!(error.to_string().contains("another process") && error.exit_code() == exit::UNAVAILABLE, "{error}");
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(locks);
    });
    let snapshot = fetch(cache.path(), &server, "org/net").unwrap();
    assert_eq!(std::fs::read(snapshot.path.join("model.safetensors")).unwrap(), weights());
    other.join().unwrap();
}

#[test]
fn answers_that_no_hub_gives_are_refused() {
    expect("HEAD", "config.json", Fault::Without("ETag"), &["config.json", "without an ETag", "HF_ENDPOINT"]);
    expect("HEAD", "config.json", Fault::Header("ETag", "\"../../escaped\"".into()), &["unusable ETag"]);
    expect("HEAD", "/resolve/", Fault::Header("X-Repo-Commit", LATER.into()), &["another commit"]);
    expect("", "/resolve/", Fault::Header("Location", "http://a b".into()), &["no address"]);
    expect("GET", "/stored/", Fault::Status(302, vec![("Location", "/stored/".into())]), &["redirects more than"]);
    expect("", "/api/", Fault::Corrupt, &["no JSON"]);
    let server = Server::model(&files());
    server.move_to("main");
    let cache = tempfile::tempdir().unwrap();
    assert!(failure(cache.path(), &server, "org/net").1.contains("names no commit"));
    server.move_to(LATER);
    assert!(failure(cache.path(), &server, &format!("org/net@{COMMIT}")).1.contains("another commit"));
}

#[test]
fn a_server_without_ranges_is_asked_for_everything() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    server.fail("GET", "/stored/", 1, Fault::Cut(1000));
    server.fail("GET", "/stored/", 1, Fault::Status(416, vec![]));
    let snapshot = fetch(cache.path(), &server, "org/net").unwrap();
    assert_eq!(std::fs::read(snapshot.path.join("model.safetensors")).unwrap(), weights());
    // A server that sends all of it whatever is asked.
    let (cache, plain) = (tempfile::tempdir().unwrap(), Server::model(&files()));
    plain.ignore_ranges();
    plain.fail("GET", "/stored/", 1, Fault::Cut(1000));
    let snapshot = fetch(cache.path(), &plain, "org/net").unwrap();
    assert_eq!(std::fs::read(snapshot.path.join("model.safetensors")).unwrap(), weights());
    assert_eq!(plain.requests().last().unwrap().header("range"), Some("bytes=1000-"));
}

#[test]
fn a_token_follows_to_the_same_host_and_to_no_other() {
    let secret = format!("Bearer {TOKEN}");
    let (cache, server) = (tempfile::tempdir().unwrap(), Server::model(&files()));
    // Renamed repositories: a relative address, then an absolute one of the same server.
    server.fail("GET", "/api/", 1, Fault::Status(307, vec![("Location", "/api/models/org/net/revision/new".into())]));
    let same = format!("{}/org/net/resolve/{COMMIT}/config.json?again", server.endpoint);
    server.fail("", "config.json", 1, Fault::Status(307, vec![("Location", same)]));
    fetch(cache.path(), &server, "org/net").unwrap();
    assert_eq!(server.count("HEAD", "?again"), 1);
    assert!(server.requests().iter().all(|request| request.header("authorization") == Some(&secret)));

    // Another port, and another name of the same machine, are other hosts; so is what they redirect back to.
    let other = Server::model(&files());
    let by_name = other.endpoint.replace("127.0.0.1", "localhost");
    for endpoint in [&other.endpoint, &by_name] {
        let (cache, server) = (tempfile::tempdir().unwrap(), Server::model(&files()));
        server.keep_at(endpoint);
        let back = format!("{}/stored/models/org/net/model.safetensors?back", server.endpoint);
        other.fail("GET", "/stored/", 1, Fault::Status(302, vec![("Location", back)]));
        fetch(cache.path(), &server, "org/net").unwrap();
        let behind = server.requests().pop().unwrap();
        assert!(behind.path.ends_with("?back") && behind.header("authorization").is_none(), "{behind:?}");
    }
    assert_eq!(other.count("GET", "/stored/"), 2);
    assert!(other.requests().iter().all(|request| request.header("authorization").is_none()));
    // A list of files on another host, too.
    let (cache, server) = (tempfile::tempdir().unwrap(), Server::model(&files()));
    let there = format!("{}/api/models/org/net/revision/main", other.endpoint);
    server.fail("GET", "/api/", 1, Fault::Status(302, vec![("Location", there)]));
    fetch(cache.path(), &server, "org/net").unwrap();
    assert!(other.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn two_at_once_download_once() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    server.fail("GET", "/stored/", 1, Fault::Stall(500));
    std::thread::scope(|scope| {
        let run = || scope.spawn(|| fetch(cache.path(), &server, "org/net").unwrap());
        let both = [run(), run()].map(|thread| thread.join().unwrap());
        assert_eq!(both[0].path, both[1].path);
    });
    // One of them, cut once.
    assert_eq!(server.count("GET", "/stored/"), 2);
    assert_eq!(std::fs::read(ending(cache.path(), "model.safetensors").remove(0)).unwrap(), weights());
}

#[test]
fn an_unknown_length_is_what_comes() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    server.fail("HEAD", "/resolve/", usize::MAX, Fault::Without("X-Linked-Size"));
    server.fail("GET", "/stored/", 1, Fault::Cut(1000));
    let snapshot = fetch(cache.path(), &server, "org/net").unwrap();
    assert_eq!(std::fs::read(snapshot.path.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn what_the_cache_has_damaged_is_found_by_its_length_or_where_asked_by_its_hash() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    let snapshot = fetch(cache.path(), &server, "org/net").unwrap();
    let path = snapshot.path.join("model.safetensors");
    std::fs::write(&path, "short").unwrap();
    fetch(cache.path(), &server, "org/net").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), weights());
    let damaged: Vec<u8> = weights().iter().map(|byte| byte ^ 1).collect();
    std::fs::write(&path, &damaged).unwrap();
    fetch(cache.path(), &server, "org/net").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), damaged);
    let options = |offline| FetchOptions { verify: true, offline, monitor: None };
    let verifying =
        |offline| Hub::new(settings(cache.path(), &server.endpoint, offline), &options(offline)).fetch("org/net");
    let error = verifying(true).unwrap_err();
    assert!(error.exit_code() == exit::FAILED && error.to_string().contains("its SHA-256 is"), "{error}");
    assert!(verifying(false).unwrap().files[2].downloaded);
    assert_eq!(std::fs::read(&path).unwrap(), weights());
}

#[test]
fn a_miss_offline_names_what_is_missing_and_the_command() {
    let cache = tempfile::tempdir().unwrap();
    for (id, want) in [
        ("org/net", "org/net@main: the revision in the cache"),
        (&*format!("org/net@{COMMIT}"), "weights in the cache"),
    ] {
        let error = offline(cache.path()).fetch(id).unwrap_err();
        assert_eq!(error.exit_code(), exit::UNAVAILABLE);
        assert!(error.to_string().contains(want), "{error}");
        assert!(error.hint().unwrap().contains("HF_HUB_OFFLINE"), "{error:?}");
        assert!(error.hint().unwrap().ends_with(&format!("run `deadweight pull {id}`")), "{error:?}");
    }
    let folder = cache.path().join("hub/models--org--net");
    let snapshot = folder.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(folder.join("refs")).unwrap();
    std::fs::write(folder.join("refs/v2"), COMMIT).unwrap();
    assert!(offline(cache.path()).fetch("org/net@v2").unwrap_err().to_string().contains("weights in the cache"));
    std::fs::write(snapshot.join("model.safetensors"), weights()).unwrap();
    assert_eq!(offline(cache.path()).fetch("org/net@v2").unwrap().path, snapshot);
    std::fs::write(folder.join("refs/v2"), "../../../etc").unwrap();
    assert_eq!(offline(cache.path()).fetch("org/net@v2").unwrap_err().exit_code(), exit::UNAVAILABLE);
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    std::fs::write(cache.path().join("hub"), "no folder").unwrap();
    let (code, text) = failure(cache.path(), &server, "org/net");
    assert!(code == exit::FAILED && text.contains(cache.path().to_str().unwrap()), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_and_leaves_nothing_under_a_final_name() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    let snapshot = fetch(cache.path(), &server, "org/net").unwrap();
    let blob = std::fs::canonicalize(snapshot.path.join("model.safetensors")).unwrap();
    std::fs::remove_file(&blob).unwrap();
    // A device on which every write finds the disk full.
    std::os::unix::fs::symlink("/dev/full", blob.with_added_extension("incomplete")).unwrap();
    let (code, text) = failure(cache.path(), &server, "org/net");
    assert!(code == exit::FAILED && text.contains("the disk is full after 0 of 40070 bytes"), "{text}");
    assert!(!blob.exists());
}

#[test]
fn a_token_in_a_message_of_the_server_is_hidden() {
    let echo = HashMap::from([("X-Error-Message", format!("no rights for {TOKEN}"))]);
    expect("", "/api/", Fault::Status(403, echo.into_iter().collect()), &["no rights for ***"]);
}
