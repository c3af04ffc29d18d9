//! One input of a network.

use sha2::{Digest, Sha256};

use super::truth::Truth;

/// One input.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its position among the inputs, from 0.
    pub place: usize,
    /// Its name in messages and tables: a path, or a file and an index.
    pub id: String,
    /// SHA-256 of the encoded file, or of the extents and raw pixels of a stored image.
    pub digest: [u8; 32],
    /// Its class, if known.
    pub label: Option<u32>,
    /// `[C, H, W]`, preprocessed.
    pub values: Vec<f32>,
    /// Extents of the values.
    pub shape: [usize; 3],
    /// Rows and columns of the image; the rest is padding.
    pub size: [usize; 2],
    /// The expected output, if known.
    pub truth: Option<Truth>,
    /// Whether it was rotated upright by its orientation tag.
    pub turned: bool,
}

/// A note on the number of images rotated by an orientation tag; `None` for zero.
pub fn turned_note(turned: u64) -> Option<String> {
    match turned {
        0 => None,
        1 => Some("1 image was turned upright as its orientation tag says".into()),
        turned => Some(format!("{turned} images were turned upright as their orientation tags say")),
    }
}

impl Sample {
    /// A number from its content and the last two components of its name: the same wherever a folder is mounted.
    pub fn key(&self) -> u64 {
        let mut parts = self.id.rsplit(['/', '\\']);
        let (name, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let digest = Sha256::new().chain_update(self.digest).chain_update(folder).chain_update("/").chain_update(name);
        let bytes: [u8; 32] = digest.finalize().into();
        u64::from_le_bytes(*bytes.first_chunk().expect("a digest has 32 bytes"))
    }
}
