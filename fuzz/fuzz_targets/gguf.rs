//! Any bytes as a GGUF file: an error, or tensors whose values and codes match their extents, and a configuration; never a panic.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run gguf fuzz/corpus/gguf tests/reference/gguf -- -max_total_time=60 -rss_limit_mb=1024`
#![no_main]

use deadweight::input::VocabularySource;
use deadweight::source::Directory;
use deadweight::weights::gguf::Gguf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = Gguf::from_bytes("fuzz", bytes.to_vec()) else { return };
    for name in file.weights.names() {
        let count: usize = file.weights.shape(name).expect("a listed tensor has a shape").iter().product();
        if let Ok(values) = file.weights.read_f32(name) {
            assert_eq!(values.len(), count, "{name}");
        }
        if let Some(stored) = file.weights.block_codes(name) {
            assert_eq!(stored.codes().len(), count, "{name}");
        }
    }
    let Ok(directory) = Directory::of_gguf(file) else { return };
    let _ = directory.vocabulary.as_ref().map(VocabularySource::open);
});
