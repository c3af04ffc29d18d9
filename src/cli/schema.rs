//! `deadweight schema`: the JSON Schemas of what the program prints.

use clap::{Args, ValueEnum};

use super::out::Out;
use crate::Result;
use crate::report::{input_schema, schema, to_json};

/// Arguments of `schema`.
#[derive(Args, Clone, Copy, Debug)]
#[command(after_help = "\
Examples:
  deadweight schema
  deadweight schema per-input")]
pub struct SchemaArgs {
    /// Of what
    #[arg(value_enum, default_value_t)]
    pub of: Described,
}

/// What has a JSON Schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Described {
    /// Documents of measure and report
    #[default]
    Measure,
    /// Lines of inputs
    PerInput,
}

/// Prints a JSON Schema.
pub(super) fn run(args: SchemaArgs) -> Result<()> {
    let mut out = Out::open(None)?;
    let metrics: Vec<_> = crate::metrics::all().collect();
    let schema = match args.of {
        Described::Measure => schema(&metrics),
        Described::PerInput => input_schema(&metrics),
    };
    out.write(&to_json(&schema))?;
    out.finish()
}
