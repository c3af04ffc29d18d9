//! Named tensors of one checkpoint, in any supported file format.
//!
//! A file is read whole and hashed; tensors are views into its bytes and are converted to `f32` on demand. Nothing in a file
//! is executed, and every size in it is checked against the file's own size before memory is allocated.

mod below;
mod contents;
mod file;
mod flatbuffer;
pub mod gguf;
mod integers;
mod names;
pub mod onnx;
mod pickle;
mod protobuf;
mod pruned;
mod quantised;
mod safetensors;
mod shards;
mod tensor;
pub mod tflite;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use self::contents::FileContents;
pub use self::contents::{Module, Setting};
use self::file::Kind;
pub use self::file::SourceFile;
pub(crate) use self::file::read_json;
pub use self::integers::IntegerTensor;
use self::names::Cleaned;
pub use self::quantised::{Affine, Quantised};
pub(crate) use self::shards::{is_plain, shards};
use self::tensor::{Blob, Content, ReadFault, Tensor};
use crate::{Error, Result};

/// The tensors of one checkpoint.
pub struct Weights {
    source: String,
    /// The prefix stripped from every name.
    prefix: String,
    tensors: BTreeMap<String, Tensor>,
    /// Other names of tensors, and the names that they are stored by.
    aliases: BTreeMap<String, String>,
    files: Vec<SourceFile>,
    quantised: Option<Box<Quantised>>,
    /// Modules and notes of the file; its tensors are in `tensors`.
    beside: Box<FileContents>,
    failed: Mutex<Option<Box<Error>>>,
}

impl Weights {
    /// Opens a weights file or an index of shards.
    ///
    /// The kind of a file is recognised by its content: safetensors, a PyTorch checkpoint (zip or legacy), or GGUF.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Malformed`] and [`Error::Unsupported`] for what it holds.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::open_as(path, path.display().to_string())
    }

    /// [`Weights::open`], called `source` in messages.
    pub(crate) fn open_as(path: &Path, source: String) -> Result<Self> {
        let (kind, blob, file) = file::read(path)?;
        Self::of_kind(kind, blob, file, path, source)
    }

    /// A file in memory, for example embedded in the program; `name` is its name in messages.
    pub fn from_bytes(name: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self> {
        let blob = Blob::new(bytes.into());
        let contents = parse(file::kind(name, &blob)?, name, &blob)?;
        let signed = safetensors::values_are_signed(&contents.tensors, &blob);
        Self::new(name.to_owned(), contents, vec![SourceFile::of_bytes(name, &blob)], signed)
    }

    /// Tensors from memory: name, extents, values.
    pub fn from_tensors(
        source: &str,
        tensors: impl IntoIterator<Item = (String, Vec<usize>, Vec<f32>)>,
    ) -> Result<Self> {
        let tensor = |(name, shape, values): (String, Vec<usize>, Vec<f32>)| {
            let count = shape.iter().try_fold(1_usize, |count, extent| count.checked_mul(*extent));
            if count != Some(values.len()) {
                return Err(Error::shape(format!("{source}: {name}"), format!("{shape:?} of {} values", values.len())));
            }
            Ok((name, Tensor { shape, content: Content::Values(values.into()) }))
        };
        let tensors: Vec<_> = tensors.into_iter().map(tensor).collect::<Result<_>>()?;
        Self::new(source.to_owned(), tensors.into(), Vec::new(), false)
    }

    fn of_kind(kind: Kind, blob: Blob, file: SourceFile, path: &Path, source: String) -> Result<Self> {
        match kind {
            Kind::Index => {
                drop(blob);
                Self::open_shards(path, source, file)
            }
            kind => {
                let contents = parse(kind, &path.display().to_string(), &blob)?;
                let signed = safetensors::values_are_signed(&contents.tensors, &blob);
                Self::new(source, contents, vec![file], signed)
            }
        }
    }

    fn open_shards(index: &Path, source: String, file: SourceFile) -> Result<Self> {
        let shown = index.display().to_string();
        let json = read_json(index)?.ok_or_else(|| Error::malformed(&shown, "vanished while it was read"))?;
        let (mut all, mut files) = (FileContents::default(), vec![file]);
        for (shard, wanted) in shards(&shown, &json)? {
            let path = index.with_file_name(&shard);
            let (kind, blob, file) = file::read(&path)?;
            let shown = path.display().to_string();
            let contents = parse(kind, &shown, &blob)?;
            let held: HashSet<&str> = contents.tensors.iter().map(|(name, _)| name.as_str()).collect();
            if let Some(missing) = wanted.iter().find(|name| !held.contains(name.as_str())) {
                return Err(Error::malformed(shown, format!("{missing}: the index says it is here, it is not")));
            }
            all.tensors.extend(contents.tensors);
            all.modules.extend(contents.modules);
            all.aliases.extend(contents.aliases);
            all.notes.extend(contents.notes);
            files.push(file);
        }
        Self::new(source, all, files, false)
    }

    /// `signed` says whether the activations of an integer network are signed.
    fn new(source: String, contents: FileContents, files: Vec<SourceFile>, signed: bool) -> Result<Self> {
        let FileContents { tensors, modules, aliases, mut notes } = contents;
        if tensors.is_empty() {
            return Err(Error::malformed(source, "holds no tensors"));
        }
        let Cleaned { names, prefix, notes: left_out } = Cleaned::new(tensors.iter().map(|(name, _)| name.as_str()));
        notes.extend(left_out);
        let mut named = BTreeMap::new();
        for ((_, tensor), name) in tensors.into_iter().zip(names) {
            let Some(name) = name else { continue };
            if named.contains_key(&name) {
                return Err(Error::malformed(source, format!("{prefix}{name}: two tensors of that name")));
            }
            named.insert(name, tensor);
        }
        let below = |(path, module): (String, Module)| Some((path.strip_prefix(&prefix)?.to_owned(), module));
        let cleaned = |name: String| name.strip_prefix(&prefix).map(str::to_owned);
        let aliases = aliases.into_iter().filter_map(|(alias, stored)| Some((cleaned(alias)?, cleaned(stored)?)));
        let aliases = aliases.filter(|(alias, _)| !named.contains_key(alias)).collect();
        let beside = Box::new(FileContents {
            modules: modules.into_iter().filter_map(below).collect(),
            notes: notes.into_iter().map(|note| format!("{source}: {note}")).collect(),
            ..FileContents::default()
        });
        let failed = Mutex::new(None);
        pruned::mask(&mut named, &source)?;
        let quantised = quantised::take(&mut named, &source, signed)?.map(Box::new);
        Ok(Self { source, prefix, tensors: named, aliases, files, quantised, beside, failed })
    }

    /// The name by which the tensor `name` is stored: another one, if it is tied to that.
    pub fn stored_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, String::as_str)
    }

    fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(self.stored_name(name))
    }

    /// Names of all tensors, sorted, of tied ones the stored name alone. The prefixes `module.`, `model.` and `_orig_mod.` are stripped if every name has them,
    /// and tensors that training programs add are left out.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Extents of the tensor with that name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensor(name).map(|tensor| tensor.shape.as_slice())
    }

    /// The stored type of the tensor with that name, in safetensors' notation: `F32`, `BF16`, `I8`.
    pub fn dtype(&self, name: &str) -> Option<&str> {
        self.tensor(name).map(Tensor::dtype)
    }

    /// The file or directory, as in messages.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The files that the tensors were read from, an index of shards first.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The modules of a fully pickled network, by their path in it.
    pub fn modules(&self) -> &[(String, Module)] {
        &self.beside.modules
    }

    /// Choices made while the file was read, and what was left out, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.beside.notes
    }

    /// The values of a tensor, row-major; integers and half floats converted, quantised tensors dequantised.
    ///
    /// # Errors
    /// No tensor with that name, an unsupported dtype, NaN or infinity among the values.
    pub fn read_f32(&self, name: &str) -> Result<Arc<[f32]>> {
        let place = || format!("{}: {}{name}", self.source, self.prefix);
        let tensor = self.tensor(name).ok_or_else(|| Error::malformed(&self.source, format!("{name}: missing")))?;
        tensor.read().map_err(|fault| match fault {
            ReadFault::NotFinite => Error::NotFinite { place: place(), detail: String::new() },
            ReadFault::Dtype(dtype) => Error::unsupported(format!("{}: dtype {dtype}", place()), "store it as F32"),
        })
    }

    /// The values of a tensor as `f32`; on an error an empty slice, with the error kept for [`Weights::check_read`].
    pub fn read_or_note(&self, name: &str) -> Arc<[f32]> {
        self.read_f32(name).unwrap_or_else(|error| {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(Box::new(error));
            Arc::default()
        })
    }

    /// The first error of [`Weights::read_or_note`] since the last check.
    pub fn check_read(&self) -> Result<()> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), |error| Err(*error))
    }
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Weights").field("source", &self.source).field("tensors", &self.tensors.len()).finish()
    }
}

/// A file that can be named as a model.
pub enum ModelFile {
    /// Weights of a network that is described elsewhere.
    Weights(Weights),
    /// A network, a flatbuffer of TFLite.
    Tflite(tflite::Tflite),
    /// A network, a protocol buffer of ONNX, with the constants that it keeps in other files.
    Onnx(onnx::OnnxFile),
    /// Weights, with the sizes of their network and its vocabulary.
    Gguf(gguf::Gguf),
}

/// Opens the file at `path`.
///
/// # Errors
/// As [`Weights::open`]; those of parsing a network.
pub fn open(path: &Path) -> Result<ModelFile> {
    let (kind, blob, file) = file::read(path)?;
    let source = path.display().to_string();
    Ok(match kind {
        Kind::Tflite => ModelFile::Tflite(tflite::Tflite::parse(&source, &blob, file)?),
        Kind::Onnx => ModelFile::Onnx(onnx::OnnxFile::parse(&source, &blob, file, path.parent())?),
        Kind::Gguf => ModelFile::Gguf(gguf::Gguf::new(source, &blob, file)?),
        kind => ModelFile::Weights(Weights::of_kind(kind, blob, file, path, source)?),
    })
}

fn parse(kind: Kind, name: &str, blob: &Blob) -> Result<FileContents> {
    match kind {
        Kind::Safetensors => safetensors::read(name, blob),
        Kind::ZipPickle => pickle::read_zip(name, blob),
        Kind::Pickle => pickle::read_legacy(name, blob),
        Kind::Gguf => gguf::read(name, blob).map(|(contents, _)| contents),
        Kind::Index => Err(Error::malformed(name, "an index of shards where weights should be")),
        Kind::Tflite | Kind::Onnx => {
            let hint = "give the file itself as the model: it holds its network";
            let format = if matches!(kind, Kind::Tflite) { "a TFLite" } else { "an ONNX" };
            Err(Error::unsupported(format!("{name}: {format} network as weights of another"), hint))
        }
    }
}
