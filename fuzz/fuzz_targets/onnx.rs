//! Any bytes as an ONNX file: an error or a network that is built, never a panic.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run onnx -- -max_total_time=60 -rss_limit_mb=2048`
#![no_main]

use deadweight::kernels::Rounding;
use deadweight::models;
use deadweight::weights::onnx::Onnx;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = Onnx::from_bytes("fuzz", bytes) else { return };
    let _ = models::onnx::build(&file, Some((32, 32)), Rounding::Float32);
});
