//! Arrays as inputs: images in every order of axes and in every file, inputs by name.

use std::path::{Path, PathBuf};

use super::super::dataset::Dataset;
use super::super::npy::npy_header;
use super::super::preprocess::Overrides;
use super::super::spec::InputType;
use super::*;

/// A network of three channels, 2 rows and 4 columns.
fn plain() -> Preprocess {
    let text = "channels = 3\nsize = [2, 4]\nmean = [0.5, 0.25, 0.0]\nstd = [0.5, 0.25, 1.0]";
    Preprocess::from_table("t", &text.parse().unwrap()).unwrap()
}

fn floats(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

fn write(path: &Path, descr: &str, shape: &[usize], data: &[u8]) -> PathBuf {
    std::fs::write(path, [&npy_header(descr, shape), data].concat()).unwrap();
    path.to_owned()
}

fn message<T>(result: Result<T>) -> String {
    result.map(|_| ()).expect_err("it must be refused").to_string()
}

#[test]
fn values_go_in_as_they_are_whatever_the_order_of_their_axes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let want: Vec<Vec<f32>> = (0..2).map(|n| (0..24).map(|i| (n * 24 + i) as f32 - 7.5).collect()).collect();
    let first = write(&path("first.npy"), "<f4", &[2, 3, 2, 4], &floats(want.concat()));
    let turned = |values: &Vec<f32>| (0..24).map(|i| values[i % 3 * 8 + i / 3]).collect::<Vec<_>>();
    let last = write(&path("last.npy"), "<f4", &[2, 2, 4, 3], &floats(want.iter().flat_map(turned)));
    let one = write(&path("one.npy"), "<f4", &[3, 2, 4], &floats(want[0].clone()));
    let doubles: Vec<u8> = want.concat().iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
    let doubles = write(&path("doubles.npy"), "<f8", &[2, 3, 2, 4], &doubles);
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2, 3, 2, 4], &[0; 192]).unwrap();
    let data = floats(want.concat());
    let named = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2, 3, 2, 4], &data).unwrap();
    let labels = safetensors::tensor::TensorView::new(safetensors::Dtype::U8, vec![2], &[4, 9]).unwrap();
    let file = path("x.safetensors");
    let views = [("images", named), ("labels", labels), ("other", view)];
    std::fs::write(&file, safetensors::serialize(views, None).unwrap()).unwrap();
    for path in [&first, &last, &doubles, &file] {
        let data = Dataset::open(std::slice::from_ref(path), &plain()).unwrap();
        assert_eq!(data.len(), 2);
        for (index, want) in want.iter().enumerate() {
            let sample = data.load(index).unwrap();
            assert_eq!((&sample.values, sample.shape, sample.size), (want, [3, 2, 4], [2, 4]), "{}", path.display());
            assert_eq!(sample.id, format!("{}[{index}]", path.display()));
            assert_eq!(sample.label, (*path == file).then_some([4, 9][index]));
        }
        assert_eq!(data.describe(), "arrays as they are");
    }
    assert_eq!(Dataset::open(&[one], &plain()).unwrap().load(0).unwrap().values, want[0]);
    // A network that reads rows, columns, channels.
    let data = Dataset::open(&[first], &plain().with_layout(Layout::Nhwc)).unwrap();
    let sample = data.load(1).unwrap();
    assert_eq!((sample.values, sample.shape), (turned(&want[1]), [2, 4, 3]));
}

#[test]
fn pixels_of_a_range_are_normalised() {
    let folder = tempfile::tempdir().unwrap();
    let pixels: Vec<u8> = (0..24).map(|v| v * 10).collect();
    let bytes = write(&folder.path().join("bytes.npy"), "|u1", &[1, 3, 2, 4], &pixels);
    let numbers: Vec<u8> = pixels.iter().flat_map(|&v| i64::from(v).to_le_bytes()).collect();
    let numbers = write(&folder.path().join("numbers.npy"), "<i8", &[1, 3, 2, 4], &numbers);
    let range =
        |range, mean: Option<f64>| Overrides { range, mean: mean.map(|mean| vec![mean]), ..Overrides::default() };
    let load = |path: &PathBuf, stated: &Overrides| {
        let preprocess = plain().overridden(stated).unwrap();
        Ok::<_, Error>(Dataset::open(std::slice::from_ref(path), &preprocess)?.load(0)?.values)
    };
    // Bytes are pixels, as they are in safetensors files.
    let want = load(&bytes, &Overrides::default()).unwrap();
    assert_eq!(want[9], (90.0 / 255.0 - 0.25) / 0.25);
    assert_eq!(load(&numbers, &range(Some([0.0, 255.0]), None)).unwrap(), want);
    assert_eq!(load(&numbers, &Overrides::default()).unwrap()[9], 90.0);
    let error = message(load(&numbers, &range(None, Some(0.1))));
    assert!(error.starts_with("--mean: is of pixels") && error.contains("name the --range"), "{error}");
}

#[test]
fn arrays_that_do_not_fit_are_errors_that_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    let open = |shape: &[usize]| {
        let count = shape.iter().product::<usize>();
        write(&path, "<f4", shape, &floats(vec![0.0; count]));
        Dataset::open(std::slice::from_ref(&path), &plain()).and_then(|data| data.load(0)).map(|_| ())
    };
    open(&[3, 2, 4]).unwrap();
    for (shape, want) in [
        (&[4, 2, 2][..], "is [4, 2, 2], the network reads [3, 2, 4] or [2, 4, 3], or several of them"),
        (&[1, 4, 2, 4], "is [1, 4, 2, 4], the network reads"),
        (&[2, 4], "is [2, 4], the network reads"),
        (&[1, 1, 3, 2, 4], "the network reads"),
        (&[3, 4, 2], "x.npy[0]: is [3, 4, 2], the network reads [3, 2, 4]"),
    ] {
        let error = message(open(shape));
        assert!(error.contains("x.npy") && error.contains(want), "{shape:?}: {error}");
    }
}

#[test]
fn images_of_any_size_are_framed() {
    let text = "channels = 1\nsize = [8, 8]\nany_size = true\nmultiple = 4\nmean = [0.0]\nstd = [1.0]";
    let preprocess = Preprocess::from_table("t", &text.parse().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder.path().join("x.npy"), "<f4", &[3, 5], &floats((0..15).map(|v| v as f32)));
    let sample = Dataset::open(&[path], &preprocess).unwrap().load(0).unwrap();
    assert_eq!((sample.shape, sample.size), ([1, 4, 8], [3, 5]));
    assert_eq!(
        sample.values[2 * 8..],
        [10, 11, 12, 13, 14, 14, 14, 14, 10, 11, 12, 13, 14, 14, 14, 14].map(|v| v as f32)
    );
}

#[test]
fn inputs_are_found_by_their_names() {
    let spec = |name: &str, shape: &[usize], dtype| InputSpec { name: name.into(), shape: shape.to_vec(), dtype };
    let specs = [spec("image", &[1, 1, 2, 2], InputType::Float), spec("size", &[1, 2], InputType::Integer)];
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let images = write(&path("images.npy"), "<f4", &[3, 1, 2, 2], &floats((0..12).map(|v| v as f32)));
    let size: Vec<u8> = [7i64, 8].iter().flat_map(|v| v.to_le_bytes()).collect();
    let size = write(&path("size.npy"), "<i8", &[2], &size);
    let of = |image: &PathBuf, size: Option<&PathBuf>| {
        let files = [("image", Some(image)), ("size", size)];
        let files = files.into_iter().filter_map(|(name, path)| Some((Some(name.to_owned()), path?.clone())));
        Dataset::named(&files.collect::<Vec<_>>(), &specs, &plain())
    };
    let data = of(&images, Some(&size)).unwrap();
    let sample = data.load(2).unwrap();
    assert_eq!((data.len(), sample.shape), (3, [1, 1, 6]));
    assert_eq!((sample.values, sample.id.as_str()), (vec![8.0, 9.0, 10.0, 11.0, 7.0, 8.0], "inputs[2]"));
    let error = message(of(&images, None));
    assert_eq!(error, "inputs: holds no array size: the network reads image [1, 1, 2, 2], size [1, 2]");
    let error = message(of(&size, Some(&size)));
    assert!(error.contains("size.npy") && error.contains("is [2], the network reads [1, 1, 2, 2]"), "{error}");
    // All in one file.
    let data = floats((0..12).map(|v| v as f32));
    let numbers = floats([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let view = |shape: &[usize], data| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), data).unwrap()
    };
    let file = path("x.safetensors");
    let save = |name: &str| {
        let views = [("image", view(&[3, 1, 2, 2], &data)), (name, view(&[3, 1, 2], &numbers))];
        std::fs::write(&file, safetensors::serialize(views, None).unwrap()).unwrap();
        Dataset::named(&[(None, file.clone())], &specs, &plain())
    };
    assert_eq!(save("size").unwrap().load(1).unwrap().values, [4.0, 5.0, 6.0, 7.0, 3.0, 4.0]);
    let error = message(save("siez"));
    assert!(error.contains("x.safetensors: siez: is no input of the network, which reads image"), "{error}");
}
