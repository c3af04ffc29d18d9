//! Tables of images, as the hub's data sets have them, written here and read.

use std::path::PathBuf;

use parquet::data_type::{ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;
use crate::input::{Dataset, Preprocess};

/// A PNG of one grey level.
fn png(level: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = png::Encoder::new(&mut bytes, 2, 2).write_header().unwrap();
    writer.write_image_data(&[level; 4]).unwrap();
    drop(writer);
    bytes
}

/// A file of `rows`, images with labels, in groups of `group` rows; with the names of classes, if there are any.
fn table(folder: &Path, rows: &[(Option<Vec<u8>>, Option<i64>)], group: usize, names: &[&str]) -> PathBuf {
    let schema = "message schema { OPTIONAL INT64 label; OPTIONAL group image { OPTIONAL BYTE_ARRAY bytes;
        OPTIONAL BYTE_ARRAY path (STRING); } }";
    let schema = parse_message_type(schema).unwrap();
    let info = serde_json::json!({ "info": { "features": { "label": { "names": names, "_type": "ClassLabel" } } } });
    let pairs = vec![KeyValue::new("huggingface".to_owned(), info.to_string())];
    let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs));
    // Several pages a group.
    let properties = properties.set_data_page_row_count_limit(5).set_write_batch_size(5).build();
    let path = folder.join("test-00000-of-00001.parquet");
    let file = File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).unwrap();
    for rows in rows.chunks(group) {
        let mut columns = writer.next_row_group().unwrap();
        let mut column = columns.next_column().unwrap().unwrap();
        let levels: Vec<i16> = rows.iter().map(|(_, label)| i16::from(label.is_some())).collect();
        let labels: Vec<i64> = rows.iter().filter_map(|(_, label)| *label).collect();
        column.typed::<Int64Type>().write_batch(&labels, Some(&levels), None).unwrap();
        column.close().unwrap();
        let mut column = columns.next_column().unwrap().unwrap();
        let levels: Vec<i16> = rows.iter().map(|(image, _)| if image.is_some() { 2 } else { 1 }).collect();
        let images: Vec<ByteArray> = rows.iter().filter_map(|(image, _)| image.clone().map(ByteArray::from)).collect();
        column.typed::<ByteArrayType>().write_batch(&images, Some(&levels), None).unwrap();
        column.close().unwrap();
        let mut column = columns.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&[], Some(&vec![1; rows.len()]), None).unwrap();
        column.close().unwrap();
        columns.close().unwrap();
    }
    writer.close().unwrap();
    path
}

fn classes(names: &[&str]) -> Classes {
    Classes { count: names.len(), names: names.iter().map(|name| vec![(*name).to_owned()]).collect() }
}

fn labels(rows: &[Option<i64>], names: &[&str], classes: &Classes) -> Result<(Vec<Option<u32>>, String)> {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<_> = rows.iter().map(|label| (Some(vec![]), *label)).collect();
    let (table, note) = Table::open(&table(folder.path(), &rows, 3, names), Some(classes))?;
    Ok(((0..table.len()).map(|row| table.label(row)).collect(), note.unwrap().split(": ").nth(1).unwrap().to_owned()))
}

#[test]
fn images_are_read_in_any_order_from_groups_and_pages() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..150).map(|row| (Some(png(row as u8)), Some(row % 3))).collect();
    let path = table(folder.path(), &rows, 70, &[]);
    let (table, note) = Table::open(&path, None).unwrap();
    assert_eq!((table.len(), note), (150, None));
    for row in (0..150).chain((0..150).rev()).chain([5, 140, 6, 69, 70, 31, 32]) {
        assert_eq!(*table.read(row).unwrap(), *png(row as u8), "{row}");
    }
    let preprocess: toml::Table = "channels = 1\nsize = [2, 2]\nmean = [0.0]\nstd = [1.0]".parse().unwrap();
    let data =
        Dataset::open(std::slice::from_ref(&path), &Preprocess::from_table("test", &preprocess).unwrap()).unwrap();
    let sample = data.load(130).unwrap();
    assert_eq!((data.len(), sample.label), (150, Some(1)));
    assert_eq!(sample.id, format!("{}[130]", path.display()));
    assert!(sample.values.iter().all(|value| *value == 130.0 / 255.0), "{:?}", sample.values);
}

#[test]
fn labels_are_names_or_numbers_of_classes() {
    let animals = classes(&["tench", "goldfish", "shark"]);
    let read = |rows: &[Option<i64>], names: &[&str]| labels(rows, names, &animals).unwrap();
    let some = |labels: &[u32]| labels.iter().map(|label| Some(*label)).collect::<Vec<_>>();
    assert_eq!(read(&[Some(0), Some(2)], &[]), (some(&[0, 2]), "its labels are numbers of classes".into()));
    let (by_name, how) = read(&[Some(0), Some(1), Some(2)], &["shark", "tench, Tinca tinca", "goldfish"]);
    assert_eq!((by_name, how.as_str()), (some(&[2, 0, 1]), "its labels are names of classes"));
    // As many, of which some are called otherwise: the same classes.
    assert_eq!(read(&[Some(0), Some(1)], &["shark", "carp", "goldfish"]).0, some(&[0, 1]));
    let (few, how) = read(&[Some(0), Some(1)], &["shark", "cat"]);
    assert_eq!((few, how.as_str()), (vec![Some(2), None], "its labels are names of classes; 1 rows have no label"));
    assert_eq!(read(&[Some(-1), None, Some(1)], &[]).0, [None, None, Some(1)]);
    let error = labels(&[Some(0), Some(3)], &[], &animals).unwrap_err().to_string();
    assert!(error.ends_with("parquet[1]: is of class 3, the network has classes 0 to 2"), "{error}");
}

#[test]
fn what_is_no_table_of_images_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(folder.path(), &[(None, Some(0)), (Some(vec![1]), None)], 9, &[]);
    let (no_image, _) = Table::open(&path, None).unwrap();
    assert!(no_image.read(0).unwrap_err().to_string().ends_with("[0]: has no image: its bytes are elsewhere"));
    assert_eq!(*no_image.read(1).unwrap(), [1]);
    let whole = std::fs::read(&path).unwrap();
    for damaged in [&whole[..whole.len() - 9], &whole[4..], b"PAR1"] {
        std::fs::write(&path, damaged).unwrap();
        let error = Table::open(&path, None).err().unwrap().to_string();
        assert!(error.contains("is no Parquet file"), "{error}");
    }
    let schema = parse_message_type("message schema { OPTIONAL BYTE_ARRAY text (STRING); }").unwrap();
    let writer = SerializedFileWriter::new(File::create(&path).unwrap(), Arc::new(schema), Arc::default()).unwrap();
    writer.close().unwrap();
    let error = Table::open(&path, None).err().unwrap().to_string();
    assert!(
        error.contains("holds no column of images (image.bytes or image) among \"text\"")
            || error.contains("among text"),
        "{error}"
    );
}
