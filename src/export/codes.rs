//! Codes as they are handed over: those of a layer's weights, or of what it reads of some inputs of one size.

/// The type of the numbers of an array.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtype {
    /// int8 where all codes of the number format fit, else int16.
    #[default]
    Int,
    /// The same integers as float32, which DNNsim reads.
    Float32,
}

impl Dtype {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Int, Self::Float32];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Float32 => "float32",
        }
    }
}

/// Codes of weights, `[K, C/groups, R, S]`.
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a>(pub &'a [i16]);

/// What a layer reads of some inputs that follow one another.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// `[C, H, W]` of one.
    pub extents: [usize; 3],
    /// The codes of each, in that order.
    pub codes: &'a [Vec<i16>],
}
