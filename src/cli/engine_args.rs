//! Flags that say which engine computes, and where.

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum, value_parser};

/// How the native engine computes.
#[derive(Args, Debug)]
pub struct EngineArgs {
    /// Threads [default: as many as this process may use]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Instruction-set level of the native engine [default: the best of this CPU]
    #[arg(long, value_parser = PossibleValuesParser::new(["scalar", "avx2", "avx512"]))]
    pub isa: Option<String>,
    /// Kernels of the native engine: direct excludes those that reorder arithmetic (Winograd)
    #[arg(long, value_enum)]
    pub kernels: Option<Kernels>,
    /// MiB that the buffers of one image may take before the native engine runs it in bands of rows, or the operands that the onnx
    /// engine holds at a time
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = value_parser!(u32).range(1..))]
    pub memory: u32,
    /// Inputs that are read and run together, except large ones; no count depends on it [default: 8, of which the native engine runs
    /// fewer together where their values would outgrow the caches; bench runs all]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=4096))]
    pub batch_size: Option<u16>,
}

/// Which kernels may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kernels {
    /// The fastest for each layer's shape
    Auto,
    /// Sums in the order of the definition
    Direct,
}

/// Which engine, on which device, and how it computes.
#[derive(Args, Debug)]
pub struct BackendArgs {
    /// The native engine's options.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Engine
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// Device of the candle engine
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceName,
}

/// Engines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    /// Native, but onnx for an ONNX file that is not made of its layers alone
    #[default]
    Auto,
    /// Our kernels, on the CPU
    Native,
    /// An ONNX file as it is, by rten
    Onnx,
    /// candle's operations, on any candle device
    Candle,
}

/// Devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DeviceName {
    /// The CPU
    #[default]
    Cpu,
    /// The first CUDA device
    Cuda,
    /// The first Metal device
    Metal,
}
