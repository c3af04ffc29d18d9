//! `deadweight doctor`: what this machine and installation have, and what to mend.

use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::args::{Common, Plain};
use super::out::{Out, printable};
use crate::kernels::Isa;
use crate::report::{to_json, units};
use crate::{Error, Result};

/// Least memory that is left, for networks of a usual size.
const LEAST_MEMORY: u64 = 512 << 20;
/// Least space for temporary files.
const LEAST_SPACE: u64 = 64 << 20;

/// How long the hub may take to answer.
#[cfg(feature = "hub")]
const SOON: std::time::Duration = std::time::Duration::from_secs(3);

/// Arguments of `doctor`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  deadweight doctor
  deadweight doctor --offline --format json")]
pub struct DoctorArgs {
    /// table or json
    #[arg(long, value_enum, default_value_t)]
    pub format: Plain,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    value: String,
    /// What to do, where it is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

/// All that was looked at.
#[derive(Serialize)]
struct Findings {
    schema: &'static str,
    ok: bool,
    checks: Vec<Check>,
}

/// Looks at everything and prints it.
///
/// # Errors
/// [`Error::Unwell`] if something is to be mended.
pub(super) fn run(args: &DoctorArgs, common: Common, file: Option<&Path>) -> Result<()> {
    let mut out = Out::open(None)?;
    let mut checks = vec![version(), cpu(), threads(), memory(), engines()];
    checks.extend(hub(common.offline));
    checks.push(temporary());
    checks.push(well("options", file.map_or("no deadweight.toml".into(), |file| file.display().to_string())));
    let failed = checks.iter().filter(|check| !check.ok).count();
    let findings = Findings { schema: "deadweight/doctor/1", ok: failed == 0, checks };
    out.write(&match args.format {
        Plain::Json => to_json(&findings),
        Plain::Table => table(&findings.checks),
    })?;
    out.finish()?;
    match failed {
        0 => Ok(()),
        failed => Err(Error::Unwell { failed, checks: findings.checks.len() }),
    }
}

fn table(checks: &[Check]) -> String {
    let mut text = String::new();
    for Check { name, ok, value, mend } in checks {
        text += &format!("{:<4}  {name:<8}  {}\n", if *ok { "ok" } else { "BAD" }, printable(value));
        if let Some(mend) = mend {
            text += &format!("{:<4}  {:<8}  {}\n", "", "", printable(mend));
        }
    }
    text
}

fn well(name: &'static str, value: String) -> Check {
    Check { name, ok: true, value, mend: None }
}

fn bad(name: &'static str, value: String, mend: impl Into<String>) -> Check {
    Check { name, ok: false, value, mend: Some(mend.into()) }
}

/// `well`, if it is so, else `bad` with the mend.
fn check(name: &'static str, ok: bool, value: String, mend: &str) -> Check {
    if ok { well(name, value) } else { bad(name, value, mend) }
}

fn version() -> Check {
    let (version, documents, counts) = (env!("CARGO_PKG_VERSION"), crate::report::SCHEMA, crate::measurement::SCHEMA);
    well("version", format!("deadweight {version}; writes {documents} and {counts}"))
}

fn cpu() -> Check {
    let has: Vec<&str> = Isa::available().into_iter().map(Isa::name).collect();
    let level = format!("{}, {} chosen of {}", std::env::consts::ARCH, Isa::best().name(), has.join(", "));
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    well("cpu", model.map_or(level.clone(), |(_, model)| format!("{}: {level}", model.trim())))
}

fn threads() -> Check {
    match std::thread::available_parallelism() {
        Ok(count) => well("threads", format!("{count} may be used")),
        Err(error) => bad("threads", format!("not known ({error}), so 1 is used"), "give --threads N"),
    }
}

fn memory() -> Check {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |name: &str| -> Option<u64> {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
    };
    let Some((left, all)) = bytes("MemAvailable").zip(bytes("MemTotal")) else {
        return well("memory", "not known on this system".into());
    };
    let value = format!("{}B left of {}B", units::count(left), units::count(all));
    check("memory", left >= LEAST_MEMORY, value, "end other programs, or give --memory 256 --batch-size 1 --threads 1")
}

fn engines() -> Check {
    let mut engines = vec!["native", "onnx (rten)", "candle on cpu"];
    let devices = [(cfg!(feature = "cuda"), "candle on cuda"), (cfg!(feature = "metal"), "candle on metal")];
    engines.extend(devices.into_iter().filter(|(built, _)| *built).map(|(_, name)| name));
    let others = [(cfg!(feature = "hub"), "hub"), (cfg!(feature = "parquet"), "parquet")];
    let without: Vec<&str> = others.into_iter().filter(|(built, _)| !built).map(|(_, name)| name).collect();
    let without = if without.is_empty() { String::new() } else { format!("; built without {}", without.join(", ")) };
    well("engines", format!("{}{without}", engines.join(", ")))
}

/// Whether a file can be made in `folder`, or in the nearest directory above it that is there.
fn writable(folder: &Path) -> Result<()> {
    let there = folder.ancestors().find(|above| above.is_dir()).unwrap_or(folder);
    tempfile::tempfile_in(there).map(|_| ()).map_err(|error| Error::io(there, error))
}

fn temporary() -> Check {
    let folder = std::env::temp_dir();
    let (place, mend) = (folder.display(), "set TMPDIR to a directory that can be written and has space");
    if let Err(error) = writable(&folder) {
        return bad("temp", error.to_string(), mend);
    }
    match free_space(&folder) {
        Some(left) => check("temp", left >= LEAST_SPACE, format!("{place}, {}B free", units::count(left)), mend),
        None => well("temp", format!("{place}, writable")),
    }
}

/// Bytes that may be written below `folder`, where the system tells.
#[cfg(unix)]
fn free_space(folder: &Path) -> Option<u64> {
    let about = rustix::fs::statvfs(folder).ok()?;
    about.f_bavail.checked_mul(about.f_frsize)
}

#[cfg(not(unix))]
fn free_space(_: &Path) -> Option<u64> {
    None
}

#[cfg(not(feature = "hub"))]
fn hub(_: bool) -> Vec<Check> {
    vec![well("hub", "not built in: only local files are read".into())]
}

/// The cache of the hub, the token, and whether the hub answers.
#[cfg(feature = "hub")]
fn hub(offline: bool) -> Vec<Check> {
    let place = match crate::source::hub_place() {
        Ok(place) => place,
        Err(error) => return vec![bad("cache", error.to_string(), "set HF_HOME to a directory")],
    };
    let cache = match writable(&place.cache) {
        Ok(()) if place.cache.is_dir() => {
            well("cache", format!("{}, {}B", place.cache.display(), units::count(size(&place.cache))))
        }
        Ok(()) => well("cache", format!("{}, made by the first download", place.cache.display())),
        Err(error) => bad(
            "cache",
            format!("{}: cannot be written ({error})", place.cache.display()),
            "set HF_HUB_CACHE to a directory that can be, or give --offline to read only what is there",
        ),
    };
    let token = match place.has_token {
        true => "there is one",
        false => "none: public repositories alone (HF_TOKEN, or `hf auth login`)",
    };
    let hub = match offline || place.offline {
        true => well("hub", format!("{}: not asked, as it is offline", place.endpoint)),
        false => match crate::source::hub_answers(SOON) {
            Ok(()) => well("hub", format!("{}: answers", place.endpoint)),
            Err(error) => bad(
                "hub",
                error.to_string(),
                "check the connection, HF_ENDPOINT and HTTPS_PROXY; --offline reads only the cache",
            ),
        },
    };
    vec![cache, well("token", token.into()), hub]
}

/// Bytes of all files below `folder`; links count as nothing.
#[cfg(feature = "hub")]
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |metadata| metadata.len()),
        _ => 0,
    };
    entries.map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_well_comes_with_its_mend() {
        let checks = [well("cpu", "fast".into()), check("temp", false, "full".into(), "make room")];
        assert_eq!(table(&checks), "ok    cpu       fast\nBAD   temp      full\n                make room\n");
    }
}
