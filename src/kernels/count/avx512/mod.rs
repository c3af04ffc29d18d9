//! The counting pass in AVX-512: two pixels (or sixteen columns) per register. The portable loops are its oracle.

mod add;
mod code;
mod coder;
mod fold;
mod planar;

pub(super) use add::{add_each, add_widths, move_columns};
pub(super) use code::{Coded, code};
pub(super) use planar::{add_up, survey};
