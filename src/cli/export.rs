//! `deadweight export`: what accelerator simulators read, from the counts in a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, Args, ValueEnum};

use super::args::{BackendArgs, Common, InputArgs, ModelArgs, Quantize};
use super::folder::Folder;
use super::onnx_args::OnnxArgs;
use super::out::{Out, distinct};
use super::progress::Progress;
use super::setup;
use crate::export::{Arrays, Codes, Dtype, Form, Images, LeftOut, Run, TARGETS, Target, target};
use crate::format::Formats;
use crate::measure::{Capture, Settings};
use crate::measurement::Measurement;
use crate::{Error, Result};

/// Arguments of `export`.
#[derive(Args, Debug)]
#[command(
    mut_args(of_codes),
    after_help = "\
Examples:
  deadweight measure digits --metrics nm,o.traffic -o digits.dwm
  deadweight export digits.dwm --to sparseloop -o problems
  deadweight export digits.dwm --to zigzag -o digits.yaml
  deadweight export digits.dwm --to npy --model digits -o codes

npy runs the network again for the codes themselves: give the model by --model, and inputs as measure had them."
)]
pub struct ExportArgs {
    /// Counts that `measure -o FILE.dwm` wrote
    #[arg(value_name = "FILE.dwm")]
    pub file: PathBuf,
    /// Which inputs, of npy alone.
    #[command(flatten)]
    pub inputs: InputArgs,
    /// For which simulator
    #[arg(long, value_name = "TARGET", value_parser = targets())]
    pub to: &'static Target,
    /// Of npy, the model that was measured, as measure had it
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Card, card file or family of the network in a weights file
    #[arg(long, value_name = "CARD")]
    pub arch: Option<String>,
    /// Of ONNX files.
    #[command(flatten)]
    pub onnx: OnnxArgs,
    /// Of npy, the type of the numbers: int is int8 where all codes fit, else int16
    #[arg(long, value_enum)]
    pub dtype: Option<Dtype>,
    /// Of npy, the precision file in whose bits the run was counted
    #[arg(long, value_name = "FILE")]
    pub precision: Option<PathBuf>,
    /// Write to PATH, a folder that is new or empty, or of stonne, zigzag and maestro a file (-: stdout); it appears only when it is
    /// complete
    #[arg(short, long, value_name = "PATH", required = true)]
    pub output: PathBuf,
    /// By which engine, of npy alone.
    #[command(flatten)]
    pub backend: BackendArgs,
}

/// What is no part of every target is of running the model again.
fn of_codes(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "file" | "to" | "output" | "model" => arg,
        _ => arg.requires("model"),
    }
}

impl ValueEnum for Dtype {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// A target by its name.
fn targets() -> impl TypedValueParser<Value = &'static Target> {
    let values =
        TARGETS.map(|target| PossibleValue::new(target.name).help(format!("{}: {}", target.tool, target.writes)));
    PossibleValuesParser::new(values).map(|name| target(&name).expect("possible values are names of targets"))
}

/// Writes the export.
pub(super) fn run(args: &ExportArgs, common: Common) -> Result<()> {
    args.check()?;
    distinct(&[("FILE.dwm", Some(&args.file)), ("-o", Some(&args.output))])?;
    match args.to.form {
        Form::File(_) => {
            let mut out = Out::whole("-o", Some(&args.output))?;
            let file = File::load(&args.file)?;
            let written = args.to.write(&file.run())?;
            written.files.iter().try_for_each(|(_, bytes)| out.write_bytes(bytes))?;
            out.finish()?;
            tell(args.to, &written.left_out);
        }
        Form::Folder(_) => {
            let folder = Folder::open("-o", &args.output)?;
            let file = File::load(&args.file)?;
            let written = args.to.write(&file.run())?;
            written.files.iter().try_for_each(|(name, bytes)| folder.write(name, bytes))?;
            folder.finish()?;
            tell(args.to, &written.left_out);
        }
        Form::Codes => arrays(args, common)?,
    }
    Ok(())
}

/// Says on stderr which layers are not in the export.
fn tell(target: &Target, left_out: &[LeftOut]) {
    if !left_out.is_empty() {
        tracing::warn!("{} cannot express:{}", target.name, LeftOut::lines(left_out));
    }
}

/// Counts, and the name of their file.
struct File {
    name: String,
    measurement: Measurement,
}

impl File {
    fn load(path: &Path) -> Result<Self> {
        Ok(Self { name: path.display().to_string(), measurement: Measurement::load(path)? })
    }

    fn run(&self) -> Run<'_> {
        Run { measurement: &self.measurement, file: &self.name }
    }
}

impl ExportArgs {
    /// Whether what is given is of the target.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    fn check(&self) -> Result<()> {
        let of_codes = matches!(self.to.form, Form::Codes);
        if of_codes && self.model.is_none() {
            let detail = "writes codes, which counts do not hold; give --model MODEL, and the inputs of the run, and it is run again";
            return Err(Error::invalid(format!("--to {}", self.to.name), detail));
        }
        if !of_codes && self.model.is_some() {
            let detail = format!("is of --to npy: {} is written from the counts alone", self.to.name);
            return Err(Error::invalid("--model", detail));
        }
        Ok(())
    }
}

/// The codes of the run: the network runs again, in the numbers and with the options that the file says.
fn arrays(args: &ExportArgs, common: Common) -> Result<()> {
    let folder = Folder::open("-o", &args.output)?;
    let file = File::load(&args.file)?;
    let facts = &file.measurement.provenance;
    let arrays = Arrays::new(file.run(), args.dtype.unwrap_or_default())?;
    let quantize = facts.model.quantized.as_deref().map(|_| Quantize::Int8);
    let model = args.model.clone().expect("it was checked");
    let model = ModelArgs { model, arch: args.arch.clone(), quantize, onnx: args.onnx.clone() };
    let backend = setup::backend(&args.backend)?;
    let no_fold = facts.model.folded == Some(false);
    let network = setup::model(&model, common, no_fold, &args.inputs, args.backend.backend)?;
    let backend = setup::backend_of(&network, &args.backend, backend)?;
    let data = setup::inputs(&network, &args.inputs, common)?;
    let progress = Progress::new(common);
    let settings = settings(args, &file)?;
    let network = setup::in_integers(network, &model, &backend, &data, &settings, &progress)?;
    let network = setup::thresholded(network, settings.threshold, &backend, &data, &settings, &progress)?;
    let settings = Settings { limit: args.inputs.limit.map(|limit| limit as usize).or(settings.limit), ..settings };
    let capture = Capture::new(&network, &backend, &data, &settings, (&file.measurement, &file.name))?;
    for index in (0..file.measurement.layers.len()).filter(|index| arrays.has(*index)) {
        if let Some(codes) = capture.weights(index)? {
            let (name, bytes) = arrays.weights(index, Codes(&codes));
            folder.write(&name, &bytes)?;
        }
    }
    let inputs = capture.activations(&progress, |layer| {
        let images = Images { extents: layer.extents, codes: &layer.images };
        let (name, bytes) = arrays.activations(layer.index, layer.batch, images);
        folder.write(&name, &bytes)
    })?;
    let written = arrays.finish(inputs);
    written.files.iter().try_for_each(|(name, bytes)| folder.write(name, bytes))?;
    folder.finish()?;
    tell(args.to, &written.left_out);
    Ok(())
}

/// The settings that the run in `file` was made with, as far as codes depend on them.
///
/// # Errors
/// [`Error::Malformed`] for options that are none.
fn settings(args: &ExportArgs, file: &File) -> Result<Settings> {
    let facts = &file.measurement.provenance;
    let wrong = |name: &str| Error::malformed(&file.name, format!("its option {name} is none"));
    let option = |name: &str| facts.options.get(name).map(String::as_str);
    let number =
        |name: &str| option(name).map(|text| text.trim_end_matches('%').parse().map_err(|_| wrong(name))).transpose();
    let counted = facts.format.precision.as_ref().map(|profile| profile.name.as_str());
    let profile = match (&args.precision, counted) {
        (Some(path), Some(_)) => Some(Arc::new(setup::profile(path)?)),
        (None, Some(name)) => {
            let detail = format!("was counted in the precisions of {name}; give --precision FILE, that file");
            return Err(Error::invalid(&file.name, detail));
        }
        (Some(_), None) => {
            let detail = format!("{} was counted in {}, not in the bits of a file", file.name, facts.format.name);
            return Err(Error::invalid("--precision", detail));
        }
        (None, None) => None,
    };
    let format: Formats = facts.format.name.parse()?;
    let format = match facts.format.weight_scale.as_deref() {
        Some(scale) => {
            let scale = crate::format::WeightScale::ALL.into_iter().find(|known| known.name() == scale);
            format.with_weight_scale(scale.ok_or_else(|| wrong("weight_scale"))?)?
        }
        None => format,
    };
    let layers = option("layers").map(regex::Regex::new).transpose().map_err(|_| wrong("layers"))?;
    let feeding = setup::feeding(&args.inputs, &args.backend.engine);
    Ok(Settings {
        format,
        profile,
        layers,
        limit: number("limit")?,
        skip_bad: option("skip_bad") == Some("true"),
        encoder: facts.format.encoder,
        min_one: facts.format.min_one,
        calibrate: number("calibrate")?.unwrap_or(feeding.calibrate),
        threshold: number("threshold")?.map(|level| level as u32),
        single_steps: number("single_steps")?.map(|steps| steps as u64),
        decode: number("decode")?.unwrap_or_default(),
        ..feeding
    })
}
