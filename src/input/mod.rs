//! From files to inputs: decoding, Pillow's resampling, normalisation, data sets.

mod audio;
mod dataset;
mod decode;
mod degrade;
mod digest;
mod folders;
mod jpeg;
mod preprocess;
mod resize;
mod spec;
mod stack;
mod tokens;
mod truth;
mod vocabulary;

pub use audio::Framing;
pub use dataset::{Dataset, Sample, turned_note};
pub use decode::{Pixels, decode};
pub use degrade::Degradation;
pub use digest::InputDigest;
pub use folders::Classes;
pub use preprocess::{Input, Preprocess};
pub use resize::{Interpolation, resize};
pub use spec::{InputSpec, InputType, sample_shape};
pub use tokens::Cut;
pub use truth::{IGNORE, Truth, TruthSource};
pub use vocabulary::{Token, Vocabulary};
