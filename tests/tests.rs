//! All integration tests in one binary, to link once.

#[cfg(deadweight_assets)]
mod assets;
mod audio;
mod bands;
mod binary;
mod checkpoints;
mod cli;
mod digits;
mod docs;
mod engines;
mod every_card;
mod facts;
mod families;
mod groups;
mod hostile;
mod house;
mod images;
mod inputs;
mod intervals;
mod measure1;
mod measuring;
mod metrics;
mod naive;
mod onnx;
mod onnx_stated;
mod oracle;
mod parity;
mod parts;
mod pickles;
mod quantised;

mod requantize;
mod texts;
mod tflite;
mod worked;
