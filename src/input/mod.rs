//! From files to inputs: decoding, Pillow's resampling, normalisation, data sets.

mod arrays;
mod audio;
mod dataset;
mod decode;
mod degrade;
mod digest;
mod folders;
mod jpeg;
mod labels;
mod npy;
mod preprocess;
mod random;
mod resize;
mod sample;
mod single;
mod spec;
mod stack;
#[cfg_attr(not(feature = "parquet"), path = "no_table.rs")]
mod table;
mod texts;
mod tokenizer;
mod tokens;
mod truth;
mod values;
mod vectors;
mod vocabulary;

pub use audio::Framing;
pub use dataset::{Dataset, Given};
pub use decode::{Pixels, decode};
pub use degrade::Degradation;
pub use digest::InputDigest;
pub use folders::Classes;
pub use labels::{LabelOf, Labels, UNLABELLED};
pub use npy::npy_header;
pub use preprocess::{Input, Layout, Overrides, Preprocess};
pub use resize::{Interpolation, resize};
pub use sample::{Sample, turned_note};
pub use single::single_array;
pub use spec::{InputSpec, InputType, sample_shape};
pub use texts::Split;
pub use tokenizer::{Decoder, StoredVocabulary};
pub use tokens::Cut;
pub use truth::{IGNORE, Known, Truth, TruthSource};
pub use vectors::Vectors;
pub use vocabulary::{Token, Vocabulary, VocabularySource};
