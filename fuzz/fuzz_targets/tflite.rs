//! Any bytes as a TFLite file: an error or a network that is built, never a panic.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run tflite -- -max_total_time=60 -rss_limit_mb=2048`
#![no_main]

use deadweight::kernels::Rounding;
use deadweight::models;
use deadweight::weights::tflite::Tflite;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = Tflite::from_bytes("fuzz", bytes) else { return };
    let _ = models::tflite::build(&file, Rounding::Fixed31);
});
