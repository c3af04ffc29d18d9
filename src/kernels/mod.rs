//! Kernels: slices, sizes and numbers. No tensor, file, layer or metric is known here, and all `unsafe` lives here.

pub mod activation;
pub mod attention;
pub mod buffer;
pub mod conv;
pub mod conv_transpose;
pub mod copy;
pub mod count;
pub mod exec;
mod fixed_point;
pub mod floats;
pub mod geometry;
pub mod integer;
pub mod integer_lstm;
pub mod isa;
pub mod linear;
pub mod matmul;
pub mod norm;
mod packed_codes;
mod pages;
pub mod peak;
mod pixels;
pub mod pointwise;
pub mod pool;
pub mod recurrence;
pub mod requantize;
pub mod resize;
pub mod rotary;
mod scratch;
pub mod sequence;
mod shared;
pub mod simd;
pub mod softmax;
pub mod threads;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use activation::Activation;
pub use buffer::Buffer;
pub use exec::{Exec, Share};
pub use floats::{FLOAT_TYPES, FloatType};
pub use geometry::{Geometry, Halo, LANES, Region};
pub use integer::{Codes, Integer};
pub use isa::Isa;
pub use packed_codes::PackedCodes;
pub use requantize::{Requantize, Rounding};
pub use threads::Pool;
