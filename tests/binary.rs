//! The program as the tests start it: offline, and independent of the environment.

use std::path::Path;
use std::process::{Command, Stdio};

/// The program, without arguments.
pub fn deadweight() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deadweight"));
    for variable in ["RUST_LOG", "COLUMNS", "NO_COLOR", "CLICOLOR_FORCE", "DEADWEIGHT_CONFIG"] {
        command.env_remove(variable);
    }
    command.env("HF_HUB_OFFLINE", "1").env("HF_HUB_CACHE", "/nonexistent").stdin(Stdio::null());
    command
}

/// Standard output of a run that must succeed.
pub fn succeed(args: &[&str]) -> Vec<u8> {
    let output = deadweight().args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Exit code and message of a run that must fail.
pub fn fail(args: &[&str]) -> (i32, String) {
    let output = deadweight().args(args).output().unwrap();
    assert!(!output.status.success(), "{args:?} did not fail");
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// `path` as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
