//! From files to inputs: decoding, Pillow's resampling, normalisation, and streams of samples.

mod dataset;
mod decode;
mod digest;
mod preprocess;
mod resize;
mod stack;

pub use dataset::{Dataset, Sample};
pub use decode::{Pixels, decode};
pub use digest::InputDigest;
pub use preprocess::Preprocess;
pub use resize::{Interpolation, resize};
