//! Constants that an ONNX file keeps in other files: read from files of its own folder alone, into the parsed model.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use rten_onnx::onnx::{DataLocation, DataType, GraphProto, TensorProto};

use super::super::file;
use crate::weights::SourceFile;
use crate::{Error, Result};

const MEND: &str = "copy it there again, or save the model in one file (onnx.save with save_as_external_data=False)";

/// Where the values of a constant are.
struct Place {
    location: String,
    offset: u64,
    /// Bytes; the rest of the file if it does not say.
    length: Option<u64>,
}

/// Reads the constants of `graph`, and of the graphs in it, that are in other files, which are in `folder`. Returns these files.
///
/// # Errors
/// [`Error::Invalid`] for a path that leaves `folder`; [`Error::NotFound`] for a file that is missing; [`Error::Malformed`] for one
/// that is too short. Each names the file, the tensor and the mend.
pub(super) fn read(source: &str, graph: &mut GraphProto, folder: Option<&Path>) -> Result<Vec<SourceFile>> {
    let mut opened: BTreeMap<String, (PathBuf, File, u64)> = BTreeMap::new();
    for tensor in tensors(graph) {
        if tensor.external_data.is_empty() && tensor.data_location != Some(DataLocation::EXTERNAL) {
            continue;
        }
        let name = tensor.name.clone().unwrap_or_default();
        let place = place(tensor).map_err(|detail| Error::malformed(format!("{source}: {name}"), detail))?;
        if !opened.contains_key(&place.location) {
            let found = open(source, &name, &place.location, folder)?;
            opened.insert(place.location.clone(), found);
        }
        let (path, file, size) = opened.get_mut(&place.location).expect("it was opened just now");
        let wanted = bytes_of(tensor).or(place.length);
        let length = place.length.or(wanted).unwrap_or(0);
        let fits = place.offset.checked_add(length).is_some_and(|end| end <= *size);
        if !fits || wanted.is_some_and(|wanted| wanted != length) {
            let needs = wanted.unwrap_or(length);
            let detail = format!(
                "is truncated or of another model: it has {size} bytes, {name} of {source} needs {needs} from byte"
            );
            return Err(Error::malformed(path.display().to_string(), format!("{detail} {} on: {MEND}", place.offset)));
        }
        let mut bytes = Vec::new();
        let short = |error| Error::io(path.clone(), error);
        bytes.try_reserve_exact(length as usize).map_err(|_| {
            Error::malformed(path.display().to_string(), format!("{length} bytes of {name} do not fit memory"))
        })?;
        file.seek(SeekFrom::Start(place.offset)).map_err(short)?;
        file.take(length).read_to_end(&mut bytes).map_err(short)?;
        if bytes.len() as u64 != length {
            return Err(Error::malformed(path.display().to_string(), "shrank while it was read"));
        }
        tensor.raw_data = Some(bytes.into());
        tensor.external_data.clear();
        tensor.data_location = None;
    }
    opened.into_values().map(|(path, mut file, size)| file::describe(&path, &mut file, size)).collect()
}

/// All constants of `graph` and of the graphs in its operators.
fn tensors(graph: &mut GraphProto) -> Vec<&mut TensorProto> {
    let mut all: Vec<&mut TensorProto> = graph.initializer.iter_mut().collect();
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        all.extend(&mut attribute.t);
        all.extend(attribute.g.iter_mut().flat_map(tensors));
    }
    all
}

fn place(tensor: &TensorProto) -> Result<Place, String> {
    let entry = |key: &str| {
        let entry = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some(key));
        entry.and_then(|entry| entry.value.as_deref())
    };
    let number = |key: &str| {
        let number = |text: &str| text.parse().map_err(|_| format!("the {key} of its values is {text}, no number"));
        entry(key).map(number).transpose()
    };
    let location = entry("location").ok_or("its values are in another file, and it does not say in which")?;
    Ok(Place { location: location.to_owned(), offset: number("offset")?.unwrap_or(0), length: number("length")? })
}

/// The file `location` of `folder`, and its size.
fn open(source: &str, tensor: &str, location: &str, folder: Option<&Path>) -> Result<(PathBuf, File, u64)> {
    let what = format!("{source}: the values of {tensor} are in the file {location}");
    let Some(folder) = folder else {
        return Err(Error::NotFound { what, hint: "give the file itself, with the other one beside it".into() });
    };
    let folder = if folder == Path::new("") { Path::new(".") } else { folder };
    let plain = Path::new(location).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let outside = || {
        let detail = "which is outside the model's folder: move it there and save the model again";
        Error::invalid(what.clone(), detail)
    };
    if !plain || location.is_empty() || location.contains(['\\', '\0']) {
        return Err(outside());
    }
    let path = folder.join(location);
    let missing = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::NotFound {
            what: format!("{} (the values of {tensor} of {source})", path.display()),
            hint: format!("torch.onnx.export writes weights into a second file: {MEND}"),
        },
        _ => Error::io(path.clone(), error),
    };
    let real = std::fs::canonicalize(&path).map_err(missing)?;
    if !real.starts_with(std::fs::canonicalize(folder).map_err(|error| Error::io(folder, error))?) {
        return Err(outside());
    }
    let (file, size) = file::open(&real)?;
    Ok((path, file, size))
}

/// Bytes of the values of `tensor`, if its type has a fixed size.
fn bytes_of(tensor: &TensorProto) -> Option<u64> {
    let bits = match tensor.data_type? {
        DataType::FLOAT | DataType::INT32 | DataType::UINT32 => 32,
        DataType::INT64 | DataType::UINT64 | DataType::DOUBLE => 64,
        DataType::FLOAT16 | DataType::BFLOAT16 | DataType::INT16 | DataType::UINT16 => 16,
        DataType::INT8 | DataType::UINT8 | DataType::BOOL => 8,
        DataType::INT4 | DataType::UINT4 => 4,
        _ => return None,
    };
    let mut extents = tensor.dims.iter().map(|&extent| u64::try_from(extent).ok());
    let count = extents.try_fold(1u64, |product, extent| product.checked_mul(extent?))?;
    Some(count.checked_mul(bits)?.div_ceil(8))
}
