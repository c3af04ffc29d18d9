//! From flags to what verbs work with: models, inputs, engines, settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use sha2::{Digest, Sha256};

use super::args::{
    BackendArgs, BackendName, Common, DeviceName, EngineArgs, InputArgs, Kernels, ModelArgs, NumberArgs, Quantize,
};
use super::hub_inputs::{Local, local};
use super::text_args::within_positions;
use super::{progress, truth};
use crate::builtin;
use crate::engine::{Backend, EngineOptions};
use crate::format::{Formats, NumberFormat, Profile};
use crate::hex::hex;
use crate::input::{Cut, Dataset, Degradation, InputSpec, InputType, Vocabulary};
use crate::kernels::{Isa, Pool};
use crate::layers::Shape;
use crate::measure::{Monitor, Settings, Thresholds, quantized};
use crate::model::{LoadOptions, Model};
use crate::models::Task;
use crate::tally::Extra;
use crate::{Error, Result};

/// Loads the model, for `inputs` and to be run by `backend`.
pub fn model(
    args: &ModelArgs,
    common: Common,
    no_fold: bool,
    inputs: &InputArgs,
    backend: BackendName,
) -> Result<Model> {
    let (arch, offline, sigma, stated) = (args.arch.clone(), common.offline, inputs.sigma, inputs.stated.overrides());
    let downloads = progress::downloads(common).monitor;
    let options = LoadOptions { arch, offline, no_fold, sigma, stated, downloads, ..LoadOptions::default() };
    load(args, args.onnx.options(backend, options)?)
}

/// The model, the engine that runs it, and its inputs.
pub fn job(
    args: &ModelArgs,
    inputs: &InputArgs,
    backend: &BackendArgs,
    common: Common,
) -> Result<(Model, Backend, Dataset)> {
    let engine = self::backend(backend)?;
    let model = model(args, common, false, inputs, backend.backend)?;
    let engine = backend_of(&model, backend, engine)?;
    let data = self::inputs(&model, inputs, common)?;
    Ok((model, engine, data))
}

/// Loads the model as `options` say.
pub fn load(args: &ModelArgs, options: LoadOptions) -> Result<Model> {
    let model = Model::load(&args.model, &options)?;
    tracing::info!("{}: {} from {}, names of {}", args.model, model.card.name, model.source, model.naming);
    Ok(model)
}

/// The model in integers if `args` ask for it, by the ranges that `data` gives.
pub fn in_integers(
    model: Model,
    args: &ModelArgs,
    backend: &Backend,
    data: &Dataset,
    settings: &Settings,
    monitor: &dyn Monitor,
) -> Result<Model> {
    match args.quantize {
        None => Ok(model),
        Some(Quantize::Int8) => quantized(&model, backend, data, settings, monitor),
    }
}

/// The model with activations cut by thresholds of `level`, if there is one.
pub fn thresholded(
    model: Model,
    level: Option<u32>,
    backend: &Backend,
    data: &Dataset,
    settings: &Settings,
    monitor: &dyn Monitor,
) -> Result<Model> {
    let Some(level) = level else { return Ok(model) };
    let thresholds = Thresholds::learn(&model, backend, data, settings, &[level], monitor)?;
    let mut cut = thresholds.apply(&model, 0);
    cut.notes.push(thresholds.note(level));
    Ok(cut)
}

/// Lists the inputs that `args` name, degraded or with truths as they say; without any, those that are built in.
pub fn inputs(model: &Model, args: &InputArgs, common: Common) -> Result<Dataset> {
    let Local { paths, from } = local(&args.inputs, common)?;
    let args = &InputArgs { inputs: paths, ..args.clone() };
    let task = model.card.task;
    let given =
        [("--sigma", args.sigma.is_some()), ("--scale", args.scale.is_some()), ("--truth", args.truth.is_some())];
    let of = |flag: &str| if flag == "--truth" { "segment or restore images or embed texts" } else { "restore images" };
    let compares = matches!(task, Task::Segment | Task::Features);
    let fits = |flag: &str| task == Task::Restore || (compares && flag == "--truth");
    if let Some((flag, _)) = given.iter().find(|(flag, given)| *given && !fits(flag)) {
        let detail = format!("is of networks that {}, and {} is to {}", of(flag), model.card.name, task.name());
        return Err(Error::invalid(*flag, detail));
    }
    let data = if model.card.reads_tokens() { texts(model, args)? } else { images(model, args)? };
    let data = match &args.truth {
        Some(path) => truth::with_truth(model, args, data, path)?,
        None => data,
    };
    let data = data.from_hub(from);
    Ok(if task == Task::Segment && model.is_binary() { data.of_objects() } else { data })
}

/// The images, or arrays, that `args` name, degraded as they say.
fn images(model: &Model, args: &InputArgs) -> Result<Dataset> {
    if args.vocab.is_some() {
        let detail = format!("is of networks that read texts, and {} reads images", model.card.name);
        return Err(Error::invalid("--vocab", detail));
    }
    let of_arrays = !model.preprocess.reads_images() && !model.inputs.is_empty();
    let data = match (args.stated.random_inputs, &args.stated.input[..]) {
        (Some(count), _) => {
            let specs = if of_arrays { &model.inputs[..] } else { &[] };
            Dataset::random_numbers(specs, count as usize, args.seed, &model.preprocess)
        }
        (None, []) if of_arrays => arrays(model, &args.inputs)?,
        (None, []) => listed(model, &args.inputs)?,
        (None, named) => {
            let arrays: Vec<_> = named.iter().map(|(name, path)| (Some(name.clone()), path.clone())).collect();
            Dataset::named(&arrays, &input_specs(model), &model.preprocess)?
        }
    };
    Ok(match (args.sigma, args.scale) {
        (Some(sigma), _) => data.degraded(Degradation::Noise { sigma, seed: args.seed }),
        (_, Some(factor)) => data.degraded(Degradation::Bicubic(factor.into())),
        _ => data,
    })
}

/// The vocabulary of a network that reads texts.
pub fn vocabulary(model: &Model, args: &InputArgs) -> Result<Vocabulary> {
    model.open_vocabulary(args.vocab.as_deref())
}

/// How texts for `model` are split.
fn cut(model: &Model, args: &InputArgs) -> Result<Cut> {
    let mark = |name: &str| model.card.arch.get(name).and_then(|token| token.as_str()).map(str::to_owned);
    let cut = match (model.card.task, model.window()) {
        (_, Some(length)) => Cut::Windows { length, mark: mark("begin").unwrap_or_default() },
        (task, None) if task != Task::Language => Cut::Lines { begin: mark("begin"), end: mark("end") },
        (_, None) => Cut::Streams { streams: args.streams.into(), steps: args.steps.into() },
    };
    Ok(args.stated.texts.cut(model)?.unwrap_or(cut))
}

fn texts(model: &Model, args: &InputArgs) -> Result<Dataset> {
    let cut = cut(model, args)?;
    if let Some(count) = args.stated.random_inputs {
        let rows = model.embedding_rows().unwrap_or(1);
        return Ok(Dataset::random_tokens(rows, count as usize, args.seed, &model.preprocess));
    }
    match &args.inputs[..] {
        [] => {
            let missing = || Err(Error::invalid("INPUT", "is missing: give files of text"));
            within_positions(model.builtin_text(&cut).unwrap_or_else(missing)?, model)
        }
        [path] if Dataset::holds_arrays(path) => {
            let data = Dataset::ids(path, model.embedding_rows().unwrap_or(1), &cut, &model.preprocess)?;
            within_positions(data, model)
        }
        paths => text_files(model, args, paths),
    }
}

/// The texts in `paths`, split as `args` say.
pub fn text_files(model: &Model, args: &InputArgs, paths: &[PathBuf]) -> Result<Dataset> {
    if let Some(table) = paths.iter().find(|path| path.extension().is_some_and(|end| end == "parquet")) {
        let what = format!("{}: Parquet as text", table.display());
        return Err(Error::unsupported(what, "its texts as .jsonl, .csv or .txt files are; Parquet may hold images"));
    }
    let cut = cut(model, args)?;
    within_positions(Dataset::text(paths, &vocabulary(model, args)?, &cut, &model.preprocess)?, model)
}

/// Inputs of a network that reads arrays by name, from files of them.
fn arrays(model: &Model, paths: &[PathBuf]) -> Result<Dataset> {
    let one = |spec: &InputSpec| format!("{} {:?}", spec.name, spec.shape);
    let wanted = || model.inputs.iter().map(one).collect::<Vec<_>>().join(", ");
    if let Some(path) = paths.iter().find(|path| !Dataset::holds_arrays(path)) {
        let detail = format!("is no file of arrays (.npy, .npz, .safetensors): the network reads {}", wanted());
        return Err(Error::malformed(path.display().to_string(), detail));
    }
    if paths.is_empty() {
        let how = "give a .npz or .safetensors file with them, --input NAME=FILE.npy for each, or --random-inputs N";
        return Err(Error::invalid("INPUT", format!("is missing: the network reads {}; {how}", wanted())));
    }
    let files: Vec<_> = paths.iter().map(|path| (None, path.clone())).collect();
    Dataset::named(&files, &model.inputs, &model.preprocess)
}

/// The inputs of the network by name.
fn input_specs(model: &Model) -> Vec<InputSpec> {
    if !model.inputs.is_empty() {
        return model.inputs.clone();
    }
    let Shape { c, h, w } = model.input_shape();
    let name = model.graph.nodes.first().map_or_else(String::new, |def| def.name.clone());
    vec![InputSpec { name, shape: vec![1, c, h, w], dtype: InputType::Float }]
}

/// The inputs of `paths`; without any, those that are built in.
pub fn listed(model: &Model, paths: &[PathBuf]) -> Result<Dataset> {
    let data = match (paths, model.builtin_data()) {
        ([], Some(data)) => data?,
        ([], None) => {
            let known = builtin::names();
            let detail = format!("is missing: only {known} have inputs built in; give images or directories of them");
            return Err(Error::invalid("INPUT", detail));
        }
        (paths, _) => Dataset::labelled(paths, &model.preprocess, model.labels().as_ref())?,
    };
    if data.is_empty() {
        return Err(Error::malformed(paths_text(paths), "holds no input"));
    }
    Ok(data)
}

/// An error for inputs none of which could be decoded.
pub fn none_decoded(paths: &[PathBuf]) -> Error {
    Error::malformed(paths_text(paths), "holds no input that could be decoded")
}

fn paths_text(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The native engine's options.
pub fn engine(args: &EngineArgs) -> Result<EngineOptions> {
    let isa = match &args.isa {
        None => Isa::best(),
        Some(name) => Isa::from_name(name).ok_or_else(|| {
            let has: Vec<&str> = Isa::available().into_iter().map(Isa::name).collect();
            Error::unsupported(format!("--isa {name}: by this CPU, it"), format!("it has {}", has.join(", ")))
        })?,
    };
    let winograd = args.kernels != Some(Kernels::Direct);
    let pool = Arc::new(Pool::new(threads(args)));
    Ok(EngineOptions { pool, isa, winograd, memory: (args.memory as usize) << 20, clock: None })
}

/// Threads asked for, or all that this process may use.
fn threads(args: &EngineArgs) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    args.threads.map_or_else(all, usize::from)
}

/// The engine that runs `model`: the one that was given, or that of ONNX files for one that is run as it is.
///
/// # Errors
/// [`Error::Invalid`] for an engine of ONNX files, or a flag of another one, that does not fit the model.
pub fn backend_of(model: &Model, args: &BackendArgs, backend: Backend) -> Result<Backend> {
    match &model.program {
        Some(program) => {
            let ignored = [("--isa", args.engine.isa.is_some()), ("--kernels", args.engine.kernels.is_some())];
            if let Some((flag, _)) = ignored.iter().find(|(_, given)| *given) {
                let detail = format!("is of the native engine, and {} is run by the onnx engine", model.source);
                return Err(Error::invalid(*flag, detail));
            }
            let memory = (args.engine.memory as usize) << 20;
            Ok(Backend::Onnx(Arc::clone(program), Arc::clone(backend.pool()), memory))
        }
        None if args.backend == BackendName::Onnx => {
            let detail = format!("runs ONNX files, and {} is none", model.source);
            Err(Error::invalid("--backend onnx", detail))
        }
        None => Ok(backend),
    }
}

/// The engine.
pub fn backend(args: &BackendArgs) -> Result<Backend> {
    match (args.backend, args.device) {
        (BackendName::Auto | BackendName::Native | BackendName::Onnx, DeviceName::Cpu) => {
            engine(&args.engine).map(Backend::Native)
        }
        (BackendName::Onnx, _) => {
            Err(Error::unsupported("a device other than cpu by the onnx engine", "leave out --device"))
        }
        (BackendName::Auto | BackendName::Native, _) => {
            Err(Error::unsupported("a device other than cpu by the native engine", "give --backend candle"))
        }
        (BackendName::Candle, device) => {
            let ignored = [("--isa", args.engine.isa.is_some()), ("--kernels", args.engine.kernels.is_some())];
            if let Some((flag, _)) = ignored.iter().find(|(_, given)| *given) {
                return Err(Error::invalid(*flag, "is of the native engine, and --backend candle is given"));
            }
            Ok(Backend::Candle(candle_device(device)?, Arc::new(Pool::new(threads(&args.engine)))))
        }
    }
}

fn candle_device(device: DeviceName) -> Result<Device> {
    let (name, device) = match device {
        DeviceName::Cpu => return Ok(Device::Cpu),
        DeviceName::Cuda => ("cuda", Device::new_cuda(0)),
        DeviceName::Metal => ("metal", Device::new_metal(0)),
    };
    device.map_err(|error| {
        let text = error.to_string();
        Error::unsupported(
            format!("device {name}"),
            format!("candle says: {}", text.lines().next().unwrap_or_default()),
        )
    })
}

/// How inputs are fed; everything else as by default.
pub fn feeding(inputs: &InputArgs, engine: &EngineArgs) -> Settings {
    let settings = Settings::default();
    Settings {
        batch: engine.batch_size.map_or(settings.batch, usize::from),
        batch_may_be_less: engine.batch_size.is_none(),
        limit: inputs.limit.map(|limit| limit as usize),
        skip_bad: inputs.skip_bad,
        ..settings
    }
}

/// The precision file `path`.
pub fn profile(path: &Path) -> Result<Profile> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::malformed(&name, "is no precision file: no text"))?;
    Profile::parse(&name, text, hex(Sha256::digest(&bytes)))
}

/// `settings` in the numbers that `args` ask for, or that `model` is stored in.
pub fn in_numbers(args: &NumberArgs, model: &Model, settings: Settings) -> Result<Settings> {
    let profile = args.precision.as_deref().map(profile).transpose()?.map(Arc::new);
    let format = match profile {
        Some(_) => NumberFormat::Profile.into(),
        None => {
            let asked = args.bits.map(|bits| Formats::from(NumberFormat::Fixed(bits))).or(args.number_format);
            Settings::format_of(model, asked)?
        }
    };
    Ok(Settings {
        format: args.weight_scale.map_or(Ok(format), |scale| format.with_weight_scale(scale))?,
        profile,
        encoder: args.encoder,
        min_one: args.min_one,
        calibrate: args.calibrate as usize,
        ..settings
    })
}

/// Checks that a run in `settings` learns from inputs, if the line, as `given` says, gives from how many.
///
/// # Errors
/// [`Error::Invalid`] for a flag that does nothing.
pub fn learns(settings: &Settings, given: &[String]) -> Result<()> {
    let is_idle =
        settings.profile.is_some() && settings.threshold.is_none() && !settings.extra.contains(&Extra::Outputs);
    if is_idle && given.iter().any(|flag| flag == "--calibrate") {
        return Err(Error::invalid("--calibrate", "is of ranges, and those of --precision are known: leave it out"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine_args(isa: Option<&str>) -> EngineArgs {
        EngineArgs { threads: Some(1), isa: isa.map(str::to_owned), kernels: None, batch_size: Some(1), memory: 1024 }
    }

    #[test]
    fn engines_are_made_or_refused_with_the_mend() {
        let made = |isa, name, device| backend(&BackendArgs { engine: engine_args(isa), backend: name, device });
        assert_eq!(made(Some("scalar"), BackendName::Native, DeviceName::Cpu).unwrap().name(), "native");
        assert_eq!(made(None, BackendName::Candle, DeviceName::Cpu).unwrap().name(), "candle");
        let error = |isa, name, device| made(isa, name, device).err().unwrap();
        let refused = error(None, BackendName::Native, DeviceName::Cuda);
        assert_eq!((refused.exit_code(), refused.hint()), (4, Some("give --backend candle")));
        assert_eq!(error(Some("scalar"), BackendName::Candle, DeviceName::Cpu).exit_code(), 2);
        assert_eq!(error(None, BackendName::Candle, DeviceName::Metal).exit_code(), 4);
        let unknown = engine(&engine_args(Some("avx1024"))).err().unwrap();
        assert!(unknown.hint().unwrap().contains("scalar"), "{unknown:?}");
    }
}
