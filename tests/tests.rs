//! All integration tests in one binary.

mod naive;
mod parity;
