//! `deadweight designs`: what finite hardware reaches on the operands of a run.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::args::{BackendArgs, Common, InputArgs, ModelArgs, NumberArgs, OutArgs};
use super::out::Out;
use super::parts::PartArgs;
use super::progress::Progress;
use super::setup;
use crate::designs::{Setup, config};
use crate::measure::{Settings, embed_partners};
use crate::measurement::Measurement;
use crate::report::designs::DesignReport;
use crate::report::to_json;
use crate::{Error, Result};

/// Which designs.
#[derive(Args, Debug)]
pub struct DesignArgs {
    /// Only these designs: dense, cnvlutin, scnn, stripes, ... (`deadweight explain designs`)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub design: Vec<String>,
    /// Parameters other than those published, in TOML: a table a design, a whole number a parameter
    #[arg(long, value_name = "FILE.toml")]
    pub design_config: Option<PathBuf>,
}

impl DesignArgs {
    fn setups(&self) -> Result<Vec<Setup>> {
        config::setups(&self.design, self.design_config.as_deref())
    }
}

/// How it is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DesignFormat {
    /// A row a design.
    #[default]
    Table,
    /// A line a design and layer.
    Csv,
    /// Everything.
    Json,
}

/// Arguments of `designs`.
#[derive(Args, Debug)]
pub struct DesignsArgs {
    /// Which model, or a file of counts (.dwm) that `designs -o FILE.dwm` wrote.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Which inputs.
    #[command(flatten)]
    pub inputs: InputArgs,
    /// Which designs.
    #[command(flatten)]
    pub designs: DesignArgs,
    /// What each design reaches in each layer, too
    #[arg(long)]
    pub by_layer: bool,
    /// In which numbers.
    #[command(flatten)]
    pub numbers: NumberArgs,
    /// Only layers whose name matches
    #[arg(long, value_name = "REGEX")]
    pub layers: Option<regex::Regex>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: DesignFormat,
    /// Parts and checkpoints.
    #[command(flatten)]
    pub parts: PartArgs,
    /// Where to: a name that ends in .dwm gets the exact counts.
    #[command(flatten)]
    pub out: OutArgs,
    /// By which engine.
    #[command(flatten)]
    pub backend: BackendArgs,
}

/// Runs the designs, or prints what a file has of them.
pub(super) fn run(args: &DesignsArgs, common: Common) -> Result<()> {
    let setups = args.designs.setups()?;
    let mut out = Out::open(args.out.output.as_deref())?;
    let is_counts = |path: &Path| path.extension().is_some_and(|end| end == "dwm");
    let given = Path::new(&args.model.model);
    let (measurement, file) = match is_counts(given) {
        true => (Measurement::load(given)?, args.model.model.clone()),
        false => (measured(args, setups, common)?, "the run".to_owned()),
    };
    if args.out.output.as_deref().is_some_and(is_counts) {
        out.write_bytes(&measurement.to_bytes())?;
    } else {
        let report = DesignReport::new(&measurement, &file)?;
        match args.format {
            DesignFormat::Table => out.write(&report.table(args.by_layer, out.width()))?,
            DesignFormat::Csv => out.write_bytes(&report.csv())?,
            DesignFormat::Json => out.write(&to_json(&report))?,
        }
    }
    out.finish()?;
    args.parts.end()
}

/// Measures the model while the designs run its operands.
fn measured(args: &DesignsArgs, setups: Vec<Setup>, common: Common) -> Result<Measurement> {
    let backend = setup::backend(&args.backend)?;
    let model = setup::model(&args.model, common, false, &args.inputs, args.backend.backend)?;
    let backend = setup::backend_of(&model, &args.backend, backend)?;
    let data = setup::inputs(&model, &args.inputs, common)?;
    let progress = Progress::new(common);
    let feeding = setup::feeding(&args.inputs, &args.backend.engine);
    let feeding = Settings {
        layers: args.layers.clone(),
        calibrate: args.numbers.calibrate as usize,
        shard: args.parts.shard,
        designs: setups.into(),
        ..feeding
    };
    let model = setup::in_integers(model, &args.model, &backend, &data, &feeding, &progress)?;
    let data = embed_partners(&model, &backend, data, &feeding, &progress)?;
    let settings = setup::in_numbers(&args.numbers, &model, feeding)?;
    if let Some(float) = settings.format.both().into_iter().find(|format| !format.is_calibrated()) {
        let detail = format!("{float}: designs multiply integers; give fixed2 to fixed16, int8 or stored");
        return Err(Error::invalid("--number-format", detail));
    }
    let measurement = args.parts.measure(&model, &backend, &data, &settings, &progress)?;
    if measurement.inputs == 0 && args.parts.shard.is_none() {
        return Err(setup::none_decoded(&args.inputs.inputs));
    }
    Ok(measurement)
}
