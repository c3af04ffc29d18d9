//! `deadweight merge`: the counts of parts of a run as one.

use std::path::PathBuf;

use clap::Args;

use super::out::Out;
use crate::Result;
use crate::measurement::Measurement;

/// Arguments of `merge`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  deadweight merge part1.dwm part2.dwm part3.dwm -o run.dwm")]
pub struct MergeArgs {
    /// Counts of parts, in any order
    #[arg(value_name = "FILE.dwm", required = true)]
    pub files: Vec<PathBuf>,
    /// Write to FILE, which appears only when it is complete
    #[arg(short, long, value_name = "FILE.dwm", required = true)]
    pub output: PathBuf,
}

/// Adds the files' counts.
pub(super) fn run(args: &MergeArgs) -> Result<()> {
    let mut out = Out::open(Some(&args.output))?;
    let mut merged: Option<Measurement> = None;
    for path in &args.files {
        let part = Measurement::load(path)?;
        match &mut merged {
            Some(merged) => merged.add(&part, &path.display().to_string())?,
            None => merged = Some(part),
        }
    }
    let merged = merged.expect("clap asks for a file");
    out.write_bytes(&merged.to_bytes())?;
    out.finish()
}
