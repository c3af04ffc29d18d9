//! All integration tests in one binary: one link instead of many.

mod checkpoints;
mod engines;
mod hostile;
mod naive;
mod oracle;
mod parity;
mod pickles;
