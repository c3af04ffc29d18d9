//! An operand that comes from elsewhere: a tensor of a file that another program runs.

use super::Shape;

/// A value of known extents that no layer of the graph makes. The engine that runs the file takes it from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// Extents of one input's values, whatever those of the network's input are.
    pub shape: Shape,
    /// Whether it consists of 8-bit codes less a zero point that each run finds anew (dynamic quantisation).
    pub dynamic: bool,
}
