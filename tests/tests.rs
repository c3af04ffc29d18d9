//! All integration tests, as one program.

mod hostile;
mod pickles;
