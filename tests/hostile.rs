//! Damaged or malicious weight files: each is an error, in little time and memory, and never a panic.

pub mod build;
mod damage;
mod gguf;
mod pickle;
mod safetensors;

use std::time::{Duration, Instant};

use deadweight::error::exit;
use deadweight::weights::Weights;

/// What is wrong with a file, its content, and a part of the expected message.
type Case = (&'static str, Vec<u8>, &'static str);

/// Time limit per file.
const LIMIT: Duration = Duration::from_secs(1);

/// Opens a file and reads all its tensors; the message of the first error.
fn read_all(bytes: &[u8]) -> Result<(), String> {
    let weights = Weights::from_bytes("file", bytes.to_vec()).map_err(|error| {
        assert!([exit::FAILED, exit::UNSUPPORTED].contains(&error.exit_code()), "{error:?}");
        error.to_string()
    })?;
    for name in weights.names() {
        let shape = weights.shape(name).unwrap();
        let values = weights.read_f32(name).map_err(|error| error.to_string())?;
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
    }
    Ok(())
}

fn refused(cases: impl IntoIterator<Item = Case>) {
    let mut failures = Vec::new();
    for (what, bytes, message) in cases {
        let timed = || {
            let start = Instant::now();
            (read_all(&bytes), start.elapsed())
        };
        let (got, mut time) = timed();
        // On a busy machine one slow read means nothing, three do.
        for _ in 0..2 {
            if time > LIMIT {
                time = time.min(timed().1);
            }
        }
        if !got.as_ref().is_err_and(|error| error.contains(message) && error.starts_with("file: ")) {
            failures.push(format!("{what}: got {got:?}, want {message:?}"));
        }
        if time > LIMIT {
            failures.push(format!("{what}: took {time:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Runs the tests that open hostile files again in a process with little memory.
#[cfg(target_os = "linux")]
#[test]
fn hostile_files_take_little_memory() {
    // Limit of address space: the program with its libraries (three engines) takes most of it, the hostile files 50 MB.
    const LIMIT_KB: usize = 300_000;
    let command = format!("ulimit -v {LIMIT_KB} && exec \"$0\" --test-threads=1 refused::");
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", &command])
        .arg(program)
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("running 0 tests"), "{text}");
}
