//! Every card at its own size with random weights, each in a process of its own so that peak memory is the card's alone:
//!
//! `cargo run --release --example every_card [PART OF A NAME]`
//!
//! Prints a table with times and peak memory, and exits with 1 if any card failed.
#![allow(clippy::print_stdout, clippy::print_stderr)] // an example talks to the terminal; the library does not

mod check;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use check::{Outcome, check};
use deadweight::models;
use deadweight::report::{Grid, units};

const HEADINGS: [&str; 9] = ["card", "MACs", "plain", "measured", "candle", "int8", "difference", "memory", "result"];

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = &arguments[..]
        && flag == "--one"
    {
        println!("{}", cells(&check(models::card(name)?)?)?.join("\t"));
        return Ok(ExitCode::SUCCESS);
    }
    let part = arguments.first().map_or("", String::as_str);
    let mut grid = Grid::new(HEADINGS, &[0, 8]);
    let mut failed = 0;
    for card in models::cards().iter().filter(|card| card.name.contains(part)) {
        eprintln!("{}", card.name);
        let child = Command::new(std::env::current_exe()?).args(["--one", &card.name]).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let mut row = vec![card.name.clone()];
        if child.status.success() {
            row.extend(text(&child.stdout).split('\t').map(str::to_owned));
            row.push("ok".into());
        } else {
            failed += 1;
            eprintln!("  failed: {}", text(&child.stderr));
            row.resize(HEADINGS.len() - 1, String::new());
            row.push("FAILED".into());
        }
        grid.row(row);
    }
    print!("{}", grid.render(None));
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// The table's cells between the card's name and the result.
fn cells(outcome: &Outcome) -> Result<[String; 7]> {
    let seconds = |time: std::time::Duration| units::seconds(time.as_secs_f64());
    Ok([
        units::count(outcome.macs),
        seconds(outcome.plain),
        seconds(outcome.measured),
        seconds(outcome.candle),
        outcome.integers.map_or_else(|| "-".into(), seconds),
        format!("{:.1e}", outcome.difference),
        format!("{} MiB", peak_memory()? >> 10),
    ])
}

/// Peak memory of this process, in KiB.
fn peak_memory() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("peak memory is read from Linux's /proc")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
