//! Every card of up to 400 MMACs at its own size, by the check of `examples/every_card`.

// What a card took is for the example's table.
#[allow(dead_code)]
#[path = "../examples/every_card/check.rs"]
mod check;

use deadweight::models;

/// MACs of one input up to which a card is run here.
const LARGEST: u64 = 400_000_000;

#[test]
fn every_card_runs_at_its_own_size_on_both_engines_plain_and_measured() {
    let small = models::cards().iter().filter(|card| card.macs.is_none_or(|macs| macs <= LARGEST));
    let failed: Vec<String> = small
        .filter_map(|card| match check::check(card) {
            Ok(_) => None,
            Err(error) => Some(format!("{}: {error:#}", card.name)),
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
