//! Any bytes as a weights file: an error or tensors whose values match their shapes, never a panic.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run weights fuzz/corpus/weights tests/reference/pickles -- -max_total_time=60 -rss_limit_mb=512`
#![no_main]

use deadweight::weights::Weights;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(weights) = Weights::from_bytes("fuzz", bytes.to_vec()) else { return };
    for name in weights.names() {
        let shape = weights.shape(name).expect("a listed tensor has a shape");
        if let Ok(values) = weights.read_f32(name) {
            assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
        }
    }
});
