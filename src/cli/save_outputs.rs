//! `run --save-outputs`: the outputs of all inputs as floats, in one safetensors or `.npz` file.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::out::Out;
use crate::input::{Sample, npy_header};
use crate::layers::Shape;
use crate::measure::restored;
use crate::models::Task;
use crate::{Error, Result};

/// Name of the tensor of outputs of one size.
const OUTPUT: &str = "output";

/// The two kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Safetensors,
    Npz,
}

/// Outputs on their way to a file that appears when it is complete.
pub(super) struct SavedOutputs {
    path: PathBuf,
    container: Container,
    out: Out,
    task: Task,
    /// The numbers so far, in a file without a name next to the final one.
    numbers: BufWriter<File>,
    saved: Vec<Saved>,
}

/// The output of one input.
struct Saved {
    id: String,
    shape: Vec<usize>,
}

/// A tensor of the file.
struct Tensor {
    name: String,
    shape: Vec<usize>,
}

impl Tensor {
    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * size_of::<f32>()
    }
}

impl SavedOutputs {
    /// Opens `path` for the outputs of a network of `task`. Called before any work, so that a bad path fails at once.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name says neither kind of file, or if it is one of `inputs`; those of [`Out::open`].
    pub(super) fn open(path: &Path, task: Task, inputs: &[PathBuf]) -> Result<Self> {
        let flag = || format!("--save-outputs {}", path.display());
        let container = match path.extension().and_then(|end| end.to_str()) {
            Some("safetensors") => Container::Safetensors,
            Some("npz") => Container::Npz,
            _ => return Err(Error::invalid(flag(), "must end in .safetensors or .npz")),
        };
        let same =
            |input: &PathBuf| input.canonicalize().ok().is_some_and(|input| path.canonicalize().ok() == Some(input));
        if inputs.iter().any(same) {
            return Err(Error::invalid(flag(), "is an input of this run, which it would replace"));
        }
        let out = Out::whole("--save-outputs", Some(path))?;
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let numbers = tempfile::tempfile_in(folder).map_err(|error| Error::io(folder, error))?;
        Ok(Self { path: path.into(), container, out, task, numbers: BufWriter::new(numbers), saved: Vec::new() })
    }

    /// Adds the output of `sample`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn add(&mut self, sample: &Sample, output: &[f32], shape: Shape) -> Result<()> {
        let (values, shape) = saved_values(self.task, sample, output, shape);
        for value in &*values {
            self.numbers.write_all(&value.to_le_bytes()).map_err(|error| Error::io(&self.path, error))?;
        }
        self.saved.push(Saved { id: sample.id.clone(), shape });
        Ok(())
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`Error::Io`]; then no file is left.
    pub(super) fn finish(self) -> Result<()> {
        let (tensors, names) = tensors(&self.saved, is_of_steps(self.task));
        let path = self.path;
        let failed = |error: io::Error| Error::io(&path, error);
        let mut numbers = self.numbers.into_inner().map_err(|error| failed(error.into_error()))?;
        numbers.rewind().map_err(failed)?;
        let mut out = Writer { out: self.out, failed: None };
        let written = match self.container {
            Container::Safetensors => write_safetensors(&mut out, &tensors, &names, &mut numbers),
            Container::Npz => write_npz(&mut out, &tensors, &names, &mut numbers),
        };
        match (written, out.failed) {
            (_, Some(error)) => Err(error),
            (Err(error), None) => Err(failed(error)),
            (Ok(()), None) => out.out.finish(),
        }
    }
}

/// Whether outputs have a row for each step of a sequence.
fn is_of_steps(task: Task) -> bool {
    matches!(task, Task::Language | Task::Tag)
}

/// What is saved of `output` with extents `shape`, and its extents: of sequences `[steps, classes]`, of restored images the
/// image without the frame of its input, of classes of an image `[classes]`, else `[C, H, W]`.
fn saved_values<'a>(task: Task, sample: &Sample, output: &'a [f32], shape: Shape) -> (Cow<'a, [f32]>, Vec<usize>) {
    let Shape { c, h, w } = shape;
    match task {
        Task::Language | Task::Tag => {
            let steps = h * w;
            let row = |step: usize| output[step..].iter().step_by(steps);
            ((0..steps).flat_map(row).copied().collect(), vec![steps, c])
        }
        Task::Restore => {
            let (values, [h, w]) = restored(sample, output, shape);
            (values.into(), vec![c, h, w])
        }
        _ if h * w == 1 => (output.into(), vec![c]),
        _ => (output.into(), vec![c, h, w]),
    }
}

/// The tensors of the outputs `saved`, and the name of each of their rows: one tensor where all are of one size or all are
/// `steps`, else one for each input, named by it.
fn tensors(saved: &[Saved], steps: bool) -> (Vec<Tensor>, Vec<String>) {
    let ids = || saved.iter().map(|saved| saved.id.clone()).collect();
    if steps {
        let row =
            |saved: &Saved| (0..saved.shape[0]).map(|step| format!("{}, step {step}", saved.id)).collect::<Vec<_>>();
        let names: Vec<String> = saved.iter().flat_map(row).collect();
        let classes = saved.first().map_or(0, |saved| saved.shape[1]);
        return (vec![Tensor { name: OUTPUT.into(), shape: vec![names.len(), classes] }], names);
    }
    if let Some(first) = saved.first()
        && saved.iter().all(|saved| saved.shape == first.shape)
    {
        let shape = [&[saved.len()], &first.shape[..]].concat();
        return (vec![Tensor { name: OUTPUT.into(), shape }], ids());
    }
    // Names that the containers keep for themselves.
    let mut taken = HashSet::from(["__metadata__".to_owned(), "ids".to_owned()]);
    let unique = |saved: &Saved| {
        let mut name = saved.id.clone();
        let mut count = 1;
        while !taken.insert(name.clone()) {
            count += 1;
            name = format!("{}#{count}", saved.id);
        }
        Tensor { name, shape: saved.shape.clone() }
    };
    (saved.iter().map(unique).collect(), ids())
}

fn write_safetensors(to: &mut impl Write, tensors: &[Tensor], names: &[String], numbers: &mut File) -> io::Result<()> {
    let mut end = 0;
    let infos = tensors.iter().map(|tensor| {
        let start = end;
        end += tensor.bytes();
        let info = TensorInfo { dtype: Dtype::F32, shape: tensor.shape.clone(), data_offsets: (start, end) };
        (tensor.name.clone(), info)
    });
    let infos: Vec<(String, TensorInfo)> = infos.collect();
    let inputs = HashMap::from([("inputs".to_owned(), serde_json::to_string(names)?)]);
    let metadata = Metadata::new(Some(inputs), infos).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&metadata)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    to.write_all(&(header.len() as u64).to_le_bytes())?;
    to.write_all(&header)?;
    io::copy(numbers, to).map(|_| ())
}

fn write_npz(to: &mut impl Write, tensors: &[Tensor], names: &[String], numbers: &mut File) -> io::Result<()> {
    let mut archive = ZipWriter::new_stream(to);
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for tensor in tensors {
        archive.start_file(format!("{}.npy", tensor.name), stored.large_file(tensor.bytes() > i32::MAX as usize))?;
        archive.write_all(&npy_header("<f4", &tensor.shape))?;
        io::copy(&mut numbers.take(tensor.bytes() as u64), &mut archive)?;
    }
    // Strings of NumPy are of one length, in UTF-32.
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(1);
    archive.start_file("ids.npy", stored.large_file(names.len() * longest > i32::MAX as usize / 8))?;
    archive.write_all(&npy_header(&format!("<U{longest}"), &[names.len()]))?;
    for name in names {
        let letters = name.chars().map(u32::from).chain(std::iter::repeat(0)).take(longest);
        archive.write_all(&letters.flat_map(u32::to_le_bytes).collect::<Vec<u8>>())?;
    }
    archive.finish()?;
    Ok(())
}

/// An [`Out`] that is written to as any file, and keeps what went wrong.
struct Writer {
    out: Out,
    failed: Option<Error>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.out.write_bytes(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failed.get_or_insert(error);
                Err(io::Error::other("the output cannot be written"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(id: &str, shape: [usize; 3]) -> Sample {
        let [c, h, w] = shape;
        Sample {
            place: 0,
            id: id.into(),
            digest: [0; 32],
            label: None,
            values: vec![0.0; c * h * w],
            shape,
            size: [h, w],
            truth: None,
            turned: false,
        }
    }

    /// Name, extents and values of a tensor.
    type Named = (String, Vec<usize>, Vec<f32>);

    /// The tensors of the file in `folder`, and the names.
    fn saved(folder: &Path, task: Task, outputs: &[(&str, [usize; 3])]) -> (Vec<Named>, String) {
        let path = folder.join("out.safetensors");
        let mut saved = SavedOutputs::open(&path, task, &[]).unwrap();
        let mut next = 0.0;
        for &(id, [c, h, w]) in outputs {
            let values: Vec<f32> = (0..c * h * w).map(|i| next + i as f32).collect();
            next += values.len() as f32;
            saved.add(&sample(id, [c, h, w]), &values, Shape::new(c, h, w)).unwrap();
        }
        assert!(!path.exists());
        saved.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "nothing else is left");
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let names = metadata.metadata().as_ref().unwrap()["inputs"].clone();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |name: String| {
            let view = file.tensor(&name).unwrap();
            let values = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            (name, view.shape().to_vec(), values)
        };
        (metadata.offset_keys().into_iter().map(tensor).collect(), names)
    }

    #[test]
    fn outputs_of_one_size_are_one_tensor_and_others_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (tensors, names) = saved(folder.path(), Task::Classify, &[("a", [2, 1, 1]), ("b", [2, 1, 1])]);
        assert_eq!(tensors, [(OUTPUT.to_owned(), vec![2, 2], vec![0.0, 1.0, 2.0, 3.0])]);
        assert_eq!(names, r#"["a","b"]"#);
        let three = [("a", [1, 1, 2]), ("a", [1, 2, 2]), ("__metadata__", [1, 1, 2])];
        let (tensors, names) = saved(folder.path(), Task::Segment, &three);
        let shapes: Vec<_> = tensors.iter().map(|(name, shape, _)| (name.as_str(), shape.as_slice())).collect();
        assert_eq!(shapes, [("a", &[1, 1, 2][..]), ("a#2", &[1, 2, 2]), ("__metadata__#2", &[1, 1, 2])]);
        assert_eq!(
            (tensors[1].2.as_slice(), names.as_str()),
            (&[2.0, 3.0, 4.0, 5.0][..], r#"["a","a","__metadata__"]"#)
        );
    }

    #[test]
    fn texts_have_a_row_a_step() {
        let folder = tempfile::tempdir().unwrap();
        let (tensors, names) = saved(folder.path(), Task::Language, &[("t", [2, 1, 3]), ("u", [2, 1, 1])]);
        let want = vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 6.0, 7.0];
        assert_eq!(tensors, [(OUTPUT.to_owned(), vec![4, 2], want)]);
        assert_eq!(names, r#"["t, step 0","t, step 1","t, step 2","u, step 0"]"#);
    }

    #[test]
    fn bad_names_are_refused_before_any_work() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str, inputs: &[PathBuf]| {
            SavedOutputs::open(&folder.path().join(name), Task::Classify, inputs).err().map(|error| error.to_string())
        };
        assert!(open("out.csv", &[]).unwrap().ends_with("must end in .safetensors or .npz"));
        assert!(open("no/out.npz", &[]).unwrap().contains("existing directory"));
        let input = folder.path().join("in.npz");
        std::fs::write(&input, "").unwrap();
        assert!(open("in.npz", &[input]).unwrap().contains("is an input of this run"));
    }
}
