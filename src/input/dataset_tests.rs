//! Data sets of folders, files and stacks.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView};

use super::*;

fn plain(channels: usize) -> Preprocess {
    let list = vec!["0.0"; channels].join(", ");
    let ones = vec!["1.0"; channels].join(", ");
    let text = format!("channels = {channels}\nsize = [2, 4]\nmean = [{list}]\nstd = [{ones}]");
    Preprocess::from_table("t", &text.parse().unwrap()).unwrap()
}

fn stack(shape: &[usize], labels: &[u8]) -> Vec<u8> {
    let data: Vec<u8> = (0..shape.iter().product::<usize>()).map(|v| v as u8).collect();
    let mut views = HashMap::new();
    views.insert("images", TensorView::new(Dtype::U8, shape.to_vec(), &data).unwrap());
    if !labels.is_empty() {
        views.insert("labels", TensorView::new(Dtype::U8, vec![labels.len()], labels).unwrap());
    }
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn stacks_of_either_order_give_the_same_samples() {
    let folder = tempfile::tempdir().unwrap();
    let last = folder.path().join("last.safetensors");
    std::fs::write(&last, stack(&[2, 2, 4, 3], &[4, 9])).unwrap();
    let dataset = Dataset::open(&[last], &plain(3)).unwrap();
    assert_eq!(dataset.len(), 2);
    let sample = dataset.load(1).unwrap();
    assert_eq!((sample.label, sample.values.len()), (Some(9), 24));
    // Pixel (0, 1) of channel 2 of the second image: 24 + 3 + 2.
    assert_eq!((sample.values[2 * 8 + 1] * 255.0).round(), 29.0);
    let first = folder.path().join("first.safetensors");
    std::fs::write(&first, stack(&[2, 1, 2, 4], &[])).unwrap();
    let sample = Dataset::open(&[first], &plain(1)).unwrap().load(1).unwrap();
    assert_eq!((sample.label, (sample.values[5] * 255.0).round()), (None, 13.0));
}

#[test]
fn bad_stacks_and_folders_are_errors_that_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.safetensors");
    let open = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        Dataset::open(std::slice::from_ref(&file), &plain(3)).and_then(|data| data.load(data.len() - 1)).map(|_| ())
    };
    let good = stack(&[2, 2, 4, 3], &[4, 9]);
    open(&good).unwrap();
    for cut in 0..good.len() {
        let error = open(&good[..cut]).unwrap_err();
        assert!(error.to_string().contains("x.safetensors"), "{cut}: {error}");
    }
    let mut huge = good.clone();
    huge[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    assert!(open(&huge).unwrap_err().to_string().contains("claims 1152921504606846976 bytes"));
    assert!(open(&stack(&[2, 2, 4, 5], &[])).unwrap_err().to_string().contains("must be [N, H, W, C]"));
    assert!(open(&stack(&[2, 2, 4, 3], &[1])).unwrap_err().to_string().contains("one per image"));
    let empty = tempfile::tempdir().unwrap();
    let error = Dataset::open(&[empty.path().to_owned()], &plain(3)).err().unwrap();
    assert!(error.to_string().contains("holds no image"), "{error}");
    let error = Dataset::open(&["/nowhere/at/all.png".into()], &plain(3)).err().unwrap();
    assert_eq!(error.exit_code(), crate::error::exit::UNAVAILABLE);
}

#[test]
fn labels_of_classes_that_are_not_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let two = Classes { count: 2, names: vec![] };
    let open = || Dataset::labelled(&[folder.path().to_owned()], &plain(3), Some(&two));
    image::RgbImage::new(4, 2).save(folder.path().join("a.png")).unwrap();
    std::fs::write(folder.path().join("labels.tsv"), "a.png\t1\nb.png\t0\n").unwrap();
    let dataset = open().unwrap();
    assert_eq!(dataset.load(0).unwrap().label, Some(1));
    let notes = dataset.notes();
    assert!(notes[0].ends_with("labels.tsv: 1 of its names are of no file, as b.png"), "{notes:?}");
    std::fs::write(folder.path().join("labels.tsv"), "a.png\t2\n").unwrap();
    let error = open().err().unwrap().to_string();
    assert!(error.ends_with("labels.tsv: line 1: is of class 2, the network has classes 0 to 1"), "{error}");
    let file = folder.path().join("x.safetensors");
    std::fs::write(&file, stack(&[2, 2, 4, 3], &[1, 7])).unwrap();
    let error = Dataset::labelled(&[file], &plain(3), Some(&two)).err().unwrap().to_string();
    assert!(error.ends_with("x.safetensors: labels: is of class 7, the network has classes 0 to 1"), "{error}");
}

#[test]
fn folders_are_classes() {
    let folder = tempfile::tempdir().unwrap();
    let image = image::RgbImage::from_pixel(4, 2, image::Rgb([9, 8, 7]));
    for name in ["b/1.png", "a/2.png", "a/1.png"] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image.save(path).unwrap();
    }
    let dataset = Dataset::open(&[folder.path().to_owned()], &plain(3)).unwrap();
    let labels: Vec<_> = (0..dataset.len()).map(|i| dataset.load(i).unwrap().label).collect();
    assert_eq!(labels, [Some(0), Some(0), Some(1)]);
    assert_eq!(dataset.notes(), [""; 0], "the classes are not known");
    let picked = dataset.select(&[2, 0]);
    assert_eq!((picked.len(), picked.load(0).unwrap().label), (2, Some(1)));
}
