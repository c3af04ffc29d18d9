//! `deadweight designs`: what finite hardware reaches on the operands of a run.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, value_parser};

use super::args::{BackendArgs, Common, InputArgs, ModelArgs, NumberArgs, OutArgs};
use super::out::Out;
use super::parts::PartArgs;
use super::progress::Progress;
use super::setup;
use crate::designs::{Sample, Setup, config};
use crate::error::near_or;
use crate::format::NumberFormat;
use crate::measure::{Settings, embed_partners};
use crate::measurement::Measurement;
use crate::metrics::{self, Metric};
use crate::report::designs::DesignReport;
use crate::report::roofline::Roofline;
use crate::report::to_json;
use crate::tally::Extra;
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
    /// Run only F % of the windows of each layer, drawn by --seed, on designs whose time depends on activations (but scnn); cycles
    /// are estimates then, and stand beside their standard errors
    #[arg(long, value_name = "F%", value_parser = per_mille)]
    pub sample: Option<u32>,
}

impl DesignArgs {
    fn setups(&self) -> Result<Vec<Setup>> {
        config::setups(&self.design, self.design_config.as_deref())
    }
}

/// What bounds time beside cycles.
#[derive(Args, Debug)]
pub struct RooflineArgs {
    /// Bound each layer by its traffic too, at so many gigabytes (10^9) a second
    #[arg(long, value_name = "GB/S", value_parser = positive)]
    pub bandwidth: Option<f64>,
    /// Kibibytes that the design holds; of two operands that do not fit, one is read again for each part of the other. Without, both are read once
    #[arg(long, value_name = "KIB", requires = "bandwidth", value_parser = value_parser!(u32).range(1..))]
    pub buffer: Option<u32>,
    /// Megahertz of the design
    #[arg(long, value_name = "MHZ", requires = "bandwidth", default_value = "1000", value_parser = positive)]
    pub frequency: f64,
    /// How operands are coded in memory: dense, layer, group, shapeshifter, zvc, rlc, delta, entropy
    #[arg(long, value_name = "SCHEME", requires = "bandwidth", default_value = "dense", value_parser = scheme)]
    pub traffic: &'static Metric,
}

/// `10%`, in thousandths.
fn per_mille(text: &str) -> Result<u32, &'static str> {
    let share =
        text.strip_suffix('%').and_then(|percent| percent.parse::<f64>().ok()).map(|percent| (percent * 10.0).round());
    share.filter(|share| (1.0..1000.0).contains(share)).map(|share| share as u32).ok_or("give 0.1% to 99.9%")
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0).ok_or("give a number above 0".into())
}

fn scheme(text: &str) -> Result<&'static Metric, String> {
    metrics::find(&format!("traffic.{text}")).ok_or_else(|| {
        let schemes = metrics::all().filter_map(|metric| metric.name.strip_prefix("traffic."));
        format!("{}; `deadweight explain` lists traffic.*", near_or(text, schemes, "no scheme is like it"))
    })
}

impl RooflineArgs {
    fn roofline(&self) -> Option<Roofline> {
        Some(Roofline {
            frequency: self.frequency * 1e6,
            bandwidth: self.bandwidth? * 8e9,
            buffer: self.buffer.map(|kib| u128::from(kib) << 13),
            scheme: self.traffic,
        })
    }

    /// What must be counted for it.
    fn extras(&self) -> Vec<Extra> {
        let outputs = self.bandwidth.map(|_| Extra::Outputs);
        let coded = outputs.and_then(|_| self.traffic.needs.extra());
        let mut extras: Vec<Extra> = coded.into_iter().chain(outputs).collect();
        extras.sort_unstable();
        extras
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
    /// What bounds time beside cycles.
    #[command(flatten)]
    pub roofline: RooflineArgs,
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

/// What is of a file of counts too, which no network runs for.
const OF_COUNTS: [&str; 9] =
    ["MODEL", "--design", "--by-layer", "--bandwidth", "--buffer", "--frequency", "--traffic", "--format", "--output"];

/// Runs the designs, or prints what a file has of them; `given` is what the line gives.
pub(super) fn run(args: &DesignsArgs, common: Common, given: &[String]) -> Result<()> {
    let setups = args.designs.setups()?;
    let is_counts = |path: &Path| path.extension().is_some_and(|end| end == "dwm");
    let path = Path::new(&args.model.model);
    let to_counts = args.out.output.as_deref().is_some_and(is_counts);
    args.check(is_counts(path), to_counts, given)?;
    let mut out = Out::open(args.out.output.as_deref())?;
    let (measurement, file) = match is_counts(path) {
        true => (Measurement::load(path)?, args.model.model.clone()),
        false => (measured(args, &setups, common, given)?, "the run".to_owned()),
    };
    if to_counts {
        out.write_bytes(&measurement.to_bytes())?;
    } else {
        let mut report = DesignReport::new(&measurement, args.roofline.roofline().as_ref(), &file)?;
        if !args.designs.design.is_empty() {
            let names: Vec<&str> = setups.iter().map(|setup| setup.design.name).collect();
            report.keep(&names, &file)?;
        }
        match args.format {
            DesignFormat::Table => out.write(&report.table(args.by_layer, out.width()))?,
            DesignFormat::Csv => out.write_bytes(&report.csv())?,
            DesignFormat::Json => out.write(&to_json(&report))?,
        }
    }
    out.finish()?;
    args.parts.end()
}

impl DesignsArgs {
    /// Whether `given` flags do something for what is read and written: counts, or a model's run and a report.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the first that does nothing.
    fn check(&self, from_counts: bool, to_counts: bool, given: &[String]) -> Result<()> {
        let find = |flags: &[&str]| given.iter().find(|flag| flags.contains(&flag.as_str()));
        let (model, wrong) = (&self.model.model, |flag: &str, detail: String| Err(Error::invalid(flag, detail)));
        if from_counts && to_counts {
            return wrong("-o", format!("{model} holds counts already: copy it, or `deadweight merge` it with others"));
        }
        if let Some(flag) = given.iter().find(|flag| from_counts && !OF_COUNTS.contains(&flag.as_str())) {
            return wrong(
                flag,
                format!("is of a run, and {model} holds what was counted; give the model in its place"),
            );
        }
        if let Some(flag) = find(&["--format", "--by-layer", "--frequency", "--buffer"]).filter(|_| to_counts) {
            return wrong(
                flag,
                "is of what is printed; a .dwm file holds counts, which `deadweight designs` prints".into(),
            );
        }
        if let Some(flag) = find(&["--by-layer"]).filter(|_| self.format != DesignFormat::Table) {
            return wrong(flag, "is of the table; csv and json have all layers".into());
        }
        Ok(())
    }
}

/// Measures the model while the designs run its operands.
fn measured(args: &DesignsArgs, setups: &[Setup], common: Common, given: &[String]) -> Result<Measurement> {
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
        sample: args.designs.sample.map(|per_mille| Sample { per_mille, seed: args.inputs.seed }),
        extra: args.roofline.extras(),
        ..feeding
    };
    let model = setup::in_integers(model, &args.model, &backend, &data, &feeding, &progress)?;
    let data = embed_partners(&model, &backend, data, &feeding, &progress)?;
    let settings = setup::in_numbers(&args.numbers, &model, feeding)?;
    setup::learns(&settings, given)?;
    let integers = "designs multiply integers";
    if let Some(profile) = settings.profile.as_ref().filter(|profile| profile.is_float()) {
        let detail = format!("is of floating point: {integers}; give one made without --float");
        return Err(Error::invalid(format!("--precision {}", profile.file), detail));
    }
    if let Some(float) = settings.format.both().into_iter().find(|format| matches!(format, NumberFormat::Float(_))) {
        let detail = format!("{float}: {integers}; give fixed2 to fixed16, int8 or stored");
        return Err(Error::invalid("--number-format", detail));
    }
    let measurement = args.parts.measure(&model, &backend, &data, &settings, &progress)?;
    if measurement.inputs == 0 && args.parts.shard.is_none() {
        return Err(setup::none_decoded(&args.inputs.inputs));
    }
    Ok(measurement)
}
