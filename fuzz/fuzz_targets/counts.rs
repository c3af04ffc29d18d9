//! Any bytes as a file of counts: an error, or a measurement that can be printed in every format and written back unchanged.
//! Checksums are not compared here, so that the code behind them is reached.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run counts -- -max_total_time=60 -rss_limit_mb=2048`
#![no_main]

use deadweight::measurement::Measurement;
use deadweight::report::{Format, Report};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(measurement) = Measurement::from_bytes("fuzz", bytes) else { return };
    let report = Report::new(&measurement);
    for format in [Format::Table, Format::Json, Format::Csv, Format::Md, Format::Parquet] {
        // A count that is made up may be more than a format holds.
        let _ = format.render(&report, &[], None);
    }
    let written = measurement.to_bytes();
    assert!(Measurement::from_bytes("written", &written).is_ok_and(|again| again.to_bytes() == written));
});
