//! Tables of images: Parquet files with a column of encoded images, as data sets of the hub have them, and one of labels.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use serde_json::Value;

use super::folders::{self, Classes, Names};
use crate::{Error, Result};

/// Rows that are read together.
const ROWS: usize = 32;
/// Pieces of a table that are kept: where one ends, some threads are in it and others in the next.
const KEPT: usize = 2;
/// Names of columns of images, in order of preference.
const IMAGES: [&str; 3] = ["image", "img", "pixel_values"];
/// Names of columns of labels, in order of preference.
const LABELS: [&str; 4] = ["label", "labels", "fine_label", "class"];

type Encoded = Option<Arc<[u8]>>;

/// A Parquet file with a column of images.
pub(super) struct Table {
    name: String,
    reader: SerializedFileReader<File>,
    /// The column of encoded images.
    column: usize,
    /// Rows of each group of rows.
    groups: Vec<usize>,
    /// A label a row; empty if there is no such column.
    labels: Vec<Option<u32>>,
    /// The pieces that were read last.
    kept: Mutex<VecDeque<Piece>>,
}

/// Some rows: their group, the number of the piece in it, their images.
type Piece = ((usize, usize), Vec<Encoded>);

impl Table {
    /// Opens the file at `path`, and reads its labels as numbers or names of `classes`; with a sentence on how.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`] for a file that is no Parquet or holds no images, and for a label that is no class.
    pub fn open(path: &Path, classes: Option<&Classes>) -> Result<(Self, Option<String>)> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|source| Error::io(path, source))?;
        let wrong = |error: ParquetError| broken(&name, &error);
        let reader = SerializedFileReader::new(file).map_err(wrong)?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let columns: Vec<&ColumnDescriptor> = schema.columns().iter().map(|column| &**column).collect();
        let column = image_column(&columns).ok_or_else(|| {
            let names: Vec<String> = columns.iter().map(|column| column.path().string()).collect();
            Error::malformed(
                &name,
                format!("holds no column of images (image.bytes or image) among {}", names.join(", ")),
            )
        })?;
        let groups = reader.metadata().row_groups().iter().map(|group| group.num_rows().max(0) as usize).collect();
        let label = LABELS.iter().find_map(|label| columns.iter().position(|column| column.path().parts() == [*label]));
        let (kept, labels) = (Mutex::default(), Vec::new());
        let mut table = Self { name, reader, column, groups, labels, kept };
        let note = label.map(|label| table.read_labels(label, classes)).transpose()?;
        Ok((table, note.filter(|_| classes.is_some())))
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.groups.iter().sum()
    }

    /// Its path, as in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The label of row `index`, if it has one.
    pub fn label(&self, index: usize) -> Option<u32> {
        self.labels.get(index).copied().flatten()
    }

    /// The encoded image in row `index`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a row without one, and for damaged files.
    pub fn read(&self, index: usize) -> Result<Arc<[u8]>> {
        let (mut group, mut row) = (0, index);
        while row >= self.groups[group] {
            row -= self.groups[group];
            group += 1;
        }
        let piece = (group, row / ROWS);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.iter().any(|(of, _)| *of == piece) {
            let rows = self.piece(piece).map_err(|error| broken(&self.name, &error))?;
            kept.truncate(KEPT - 1);
            kept.push_front((piece, rows));
        }
        let image = kept.iter().find(|(of, _)| *of == piece).and_then(|(_, rows)| rows.get(row % ROWS)?.clone());
        image
            .ok_or_else(|| Error::malformed(format!("{}[{index}]", self.name), "has no image: its bytes are elsewhere"))
    }

    fn piece(&self, (group, piece): (usize, usize)) -> Result<Vec<Encoded>, ParquetError> {
        let group = self.reader.get_row_group(group)?;
        match group.get_column_reader(self.column)? {
            ColumnReader::ByteArrayColumnReader(mut reader) => {
                reader.skip_records(piece * ROWS)?;
                let images: Vec<Option<ByteArray>> = records::<ByteArrayType>(&mut reader, self.descriptor(), ROWS)?;
                Ok(images.into_iter().map(|image| image.map(|image| image.data().into())).collect())
            }
            _ => Err(ParquetError::General("the images are no bytes".into())),
        }
    }

    fn descriptor(&self) -> &ColumnDescriptor {
        &self.reader.metadata().file_metadata().schema_descr().columns()[self.column]
    }

    /// Reads the labels in `column`; returns how.
    fn read_labels(&mut self, column: usize, classes: Option<&Classes>) -> Result<String> {
        let values = self.values(column).map_err(|error| broken(&self.name, &error))?;
        let named = classes.map(Names::new).unwrap_or_default();
        // Classes have several names each, and so has a name in the table: "tench, Tinca tinca".
        let label = |name: &str| named.label(name).or_else(|| named.label(name.split(',').next().unwrap_or_default()));
        let names = self.class_names(column);
        let known: Vec<Option<u32>> = names.iter().map(|name| label(name)).collect();
        let count = classes.map(|classes| classes.count);
        let by_name = !known.is_empty()
            && (known.iter().all(Option::is_some) || (Some(names.len()) != count && known.iter().any(Option::is_some)));
        let mut labels = Vec::with_capacity(values.len());
        for (row, value) in values.iter().enumerate() {
            labels.push(match value {
                Value::String(name) => label(name),
                value => match value.as_i64().and_then(|number| usize::try_from(number).ok()) {
                    Some(number) if by_name => known.get(number).copied().flatten(),
                    Some(number) => {
                        let number = u32::try_from(number).unwrap_or(u32::MAX);
                        if let Some(classes) = classes.filter(|classes| number as usize >= classes.count) {
                            return Err(folders::no_class(number, classes, &format!("{}[{row}]", self.name)));
                        }
                        Some(number)
                    }
                    // Test sets whose labels are kept secret have -1.
                    None => None,
                },
            });
        }
        let without = labels.iter().filter(|label| label.is_none()).count();
        self.labels = labels;
        let rest = if without > 0 { format!("; {without} rows have no label") } else { String::new() };
        let how = if by_name || values.iter().any(Value::is_string) { "names" } else { "numbers" };
        Ok(format!("{}: its labels are {how} of classes{rest}", self.name))
    }

    /// All values of `column`: numbers, text or nothing.
    fn values(&self, column: usize) -> Result<Vec<Value>, ParquetError> {
        let descriptor = self.reader.metadata().file_metadata().schema_descr().column(column);
        let mut values = Vec::new();
        for (index, rows) in self.groups.iter().enumerate() {
            match self.reader.get_row_group(index)?.get_column_reader(column)? {
                ColumnReader::Int32ColumnReader(mut reader) => {
                    values.extend(records(&mut reader, &descriptor, *rows)?.into_iter().map(Value::from));
                }
                ColumnReader::Int64ColumnReader(mut reader) => {
                    values.extend(records(&mut reader, &descriptor, *rows)?.into_iter().map(Value::from));
                }
                ColumnReader::ByteArrayColumnReader(mut reader) => {
                    let texts = records(&mut reader, &descriptor, *rows)?.into_iter();
                    let text = |text: ByteArray| String::from_utf8_lossy(text.data()).into_owned();
                    values.extend(texts.map(|bytes| Value::from(bytes.map(text))));
                }
                _ => return Err(ParquetError::General("its labels are neither integers nor text".into())),
            }
        }
        Ok(values)
    }

    /// The names of the classes that `column` numbers, as the hub's data sets store them beside the table.
    fn class_names(&self, column: usize) -> Vec<String> {
        let file = self.reader.metadata().file_metadata();
        let stored = file.key_value_metadata().into_iter().flatten().find(|pair| pair.key == "huggingface");
        let info: Value = stored.and_then(|pair| serde_json::from_str(pair.value.as_deref()?).ok()).unwrap_or_default();
        let names = &info["info"]["features"][file.schema_descr().column(column).name()]["names"];
        names.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    }
}

/// The column of encoded images: `bytes` of a structure, or bytes themselves.
fn image_column(columns: &[&ColumnDescriptor]) -> Option<usize> {
    let is_bytes =
        |column: &&ColumnDescriptor| column.physical_type() == Type::BYTE_ARRAY && column.max_rep_level() == 0;
    let at = |path: &[&str]| columns.iter().position(|column| is_bytes(column) && column.path().parts() == path);
    let named = IMAGES.iter().find_map(|name| at(&[*name, "bytes"]).or_else(|| at(&[*name])));
    let is_only =
        |column: &&ColumnDescriptor| is_bytes(column) && matches!(column.path().parts(), [_, last] if last == "bytes");
    let mut others = (0..columns.len()).filter(|&column| is_only(&columns[column]));
    named.or_else(|| others.next().filter(|_| others.next().is_none()))
}

/// The next `rows` values of a column without repetition.
fn records<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    descriptor: &ColumnDescriptor,
    rows: usize,
) -> Result<Vec<Option<T::T>>, ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let (read, ..) = reader.read_records(rows, Some(&mut levels), None, &mut values)?;
    if descriptor.max_def_level() == 0 {
        return Ok(values.into_iter().map(Some).collect());
    }
    let mut values = values.into_iter();
    let all = levels.iter().take(read);
    Ok(all.map(|&level| if level == descriptor.max_def_level() { values.next() } else { None }).collect())
}

fn broken(name: &str, error: &ParquetError) -> Error {
    let text = error.to_string();
    // The crate's own word for a codec that it was built without.
    if text.contains("Disabled feature") || text.contains("codec") {
        return Error::unsupported(format!("{name}: {text}"), "Parquet files without compression or with Snappy are");
    }
    Error::malformed(name, format!("is no Parquet file that can be read: {text}"))
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
