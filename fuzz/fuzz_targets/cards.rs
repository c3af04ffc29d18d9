//! Any text as a card file: an error, or a card that builds or returns an error, never a panic.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run cards -- -max_total_time=60 -rss_limit_mb=2048`
#![no_main]

use deadweight::graph::Params;
use deadweight::input::Preprocess;
use deadweight::models::{self, Card};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(card) = Card::parse("fuzz.toml", text) else { return };
    let _ = Preprocess::from_table(&card.name, &card.input);
    let _ = models::build(&card, Params::Declared);
});
