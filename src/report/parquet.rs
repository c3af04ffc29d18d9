//! Parquet: the tidy rows in columns of their own types, the same bytes for the same report.
//!
//! Text is UTF-8, places are 64-bit integers, values and bounds are doubles, numerators and denominators decimals of 38 digits
//! without a fraction, which are exact. What is empty in CSV is null.

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::rows::{Field, Row, rows};
use super::scopes::Report;
use crate::{Error, Result};

/// Integers from here on have more than 38 digits.
const LARGEST: u128 = 10u128.pow(38);

/// All numbers.
///
/// # Errors
/// [`Error::Unsupported`] for a count of more than 38 digits.
pub(super) fn render(report: &Report) -> Result<Vec<u8>> {
    let rows = rows(report);
    let integers = rows.iter().flat_map(|row| [row.numerator, row.denominator]).flatten();
    if let Some(integer) = integers.into_iter().find(|&integer| integer >= LARGEST) {
        return Err(Error::unsupported(
            format!("{integer} in Parquet"),
            "its decimals have 38 digits; --format csv has any",
        ));
    }
    Ok(written(&rows).expect("memory takes every row, and columns are of the types that the schema has"))
}

fn written(rows: &[Row]) -> Result<Vec<u8>, ParquetError> {
    let column = |(name, field): (&str, Field<'_>)| {
        let (physical, logical) = match field {
            Field::Text(_) => ("BYTE_ARRAY", " (STRING)"),
            Field::Place(_) => ("INT64", ""),
            Field::Real(_) => ("DOUBLE", ""),
            Field::Integer(_) => ("FIXED_LEN_BYTE_ARRAY (16)", " (DECIMAL(38, 0))"),
        };
        format!("OPTIONAL {physical} {name}{logical};")
    };
    let columns: String = Row::default().fields().map(column).concat();
    let schema = parse_message_type(&format!("message rows {{ {columns} }}"))?;
    // The version of what writes it stays out: it is no property of the numbers.
    let properties =
        WriterProperties::builder().set_created_by("deadweight".into()).set_compression(Compression::SNAPPY);
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties.build()))?;
    let mut group = writer.next_row_group()?;
    for (index, (_, kind)) in Row::default().fields().into_iter().enumerate() {
        let fields = rows.iter().map(|row| row.fields()[index].1);
        match kind {
            Field::Text(_) => append::<ByteArrayType>(&mut group, fields, |field| match field {
                Field::Text(text) if !text.is_empty() => Some(ByteArray::from(text.as_bytes().to_vec())),
                _ => None,
            }),
            Field::Place(_) => append::<Int64Type>(&mut group, fields, |field| match field {
                Field::Place(place) => place.map(|place| place as i64),
                _ => None,
            }),
            Field::Real(_) => append::<DoubleType>(&mut group, fields, |field| match field {
                Field::Real(number) => number,
                _ => None,
            }),
            Field::Integer(_) => append::<FixedLenByteArrayType>(&mut group, fields, |field| match field {
                Field::Integer(number) => {
                    number.map(|number| FixedLenByteArray::from(ByteArray::from(number.to_be_bytes().to_vec())))
                }
                _ => None,
            }),
        }?;
    }
    group.close()?;
    writer.into_inner()
}

/// Appends the column of `fields`, of which those that are none are null.
fn append<'a, T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    fields: impl Iterator<Item = Field<'a>>,
    value: impl Fn(Field<'a>) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let values: Vec<Option<T::T>> = fields.map(value).collect();
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = values.into_iter().flatten().collect();
    let mut column = group.next_column()?.expect("a column a field");
    column.typed::<T>().write_batch(&values, Some(&levels), None)?;
    column.close()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::super::sample;
    use super::*;
    use crate::metrics::{Cell, Value};

    fn read(bytes: &[u8]) -> SerializedFileReader<std::fs::File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        SerializedFileReader::new(file).unwrap()
    }

    #[test]
    fn rows_are_read_back_as_they_were() {
        let report = sample::report();
        let bytes = render(&report).unwrap();
        assert!(render(&report).unwrap() == bytes, "the same bytes");
        let file = read(&bytes);
        let want = rows(&report);
        let mut seen = 0;
        for (row, want) in file.get_row_iter(None).unwrap().zip(&want) {
            let row = row.unwrap();
            for (column, (name, field)) in want.fields().into_iter().enumerate() {
                let is_same = match field {
                    Field::Text("") | Field::Place(None) | Field::Real(None) | Field::Integer(None) => {
                        row.is_null(column).unwrap()
                    }
                    Field::Text(text) => row.get_string(column).unwrap() == text,
                    Field::Place(Some(place)) => row.get_long(column).unwrap() == place as i64,
                    Field::Real(Some(number)) => row.get_double(column).unwrap() == number,
                    Field::Integer(Some(number)) => row.get_decimal(column).unwrap().data() == number.to_be_bytes(),
                };
                assert!(is_same, "{name} of row {seen}: {row:?}");
            }
            seen += 1;
        }
        assert_eq!(seen, want.len());
    }

    #[test]
    fn integers_are_exact_to_38_digits_and_refused_beyond() {
        let row = |numerator| Row { numerator: Some(numerator), ..Row::default() };
        let bytes = written(&[row(LARGEST - 1), row((1 << 53) + 1)]).unwrap();
        let file = read(&bytes);
        let place = Row::default().fields().iter().position(|(name, _)| *name == "numerator").unwrap();
        let numbers = file.get_row_iter(None).unwrap().map(|row| {
            let row = row.unwrap();
            u128::from_be_bytes(row.get_decimal(place).unwrap().data().try_into().unwrap())
        });
        assert_eq!(numbers.collect::<Vec<_>>(), [LARGEST - 1, (1 << 53) + 1]);
        let mut report = sample::report();
        let changed = |cell: &Cell| Cell { value: Value::Count(LARGEST), ..cell.clone() };
        report.scopes[0].cells = report.scopes[0].cells.iter().take(1).map(changed).collect();
        let error = render(&report).unwrap_err();
        assert!(error.exit_code() == 4 && error.hint().unwrap().contains("csv"), "{error}");
    }
}
