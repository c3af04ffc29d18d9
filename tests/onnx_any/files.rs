//! ONNX files with weights in a second file, and damaged ones.

use std::path::Path;

use deadweight::engine::onnx::OnnxOptions;
use deadweight::engine::{OnnxProgram, Runner};
use deadweight::model::{LoadOptions, Model, OnnxBy};
use deadweight::weights::onnx::OnnxFile;
use rten_onnx::onnx::{DataLocation, ModelProto, StringStringEntryProto};

use super::{backend, file, sample, shape};

/// Writes the graph `name` to `folder` with its constants in the file `location` beside it, and returns the path of the graph.
fn split(name: &str, folder: &Path, location: &str) -> std::path::PathBuf {
    let mut model = ModelProto::parse_buf(&std::fs::read(file(&format!("{name}.onnx"))).unwrap()).unwrap();
    let mut data = vec![0; 16];
    for tensor in &mut model.graph.as_mut().unwrap().initializer {
        let Some(raw) = tensor.raw_data.take() else { continue };
        let raw = raw.into_inner();
        let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
        tensor.external_data = vec![
            entry("location", location.into()),
            entry("offset", data.len().to_string()),
            entry("length", raw.len().to_string()),
        ];
        tensor.data_location = Some(DataLocation::EXTERNAL);
        data.extend(raw);
    }
    if !location.starts_with('/') && !location.contains("..") {
        std::fs::write(folder.join(location), data).unwrap();
    }
    let path = folder.join(format!("{name}.onnx"));
    std::fs::write(&path, model.write_buf().unwrap()).unwrap();
    path
}

fn load(path: &Path, onnx: OnnxBy) -> Result<Model, deadweight::Error> {
    Model::load(path.to_str().unwrap(), &LoadOptions { onnx, ..LoadOptions::default() })
}

fn outputs(model: &Model) -> Vec<f32> {
    let program = model.program.as_ref().unwrap();
    let mut runner = Runner::new(&model.graph, shape(program), &backend(program, 1, 1 << 30), 1).unwrap();
    runner.run(&sample(program, 0), None).unwrap()
}

#[test]
fn weights_in_a_second_file_are_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = split("conv", folder.path(), "conv.onnx.data");
    let model = load(&path, OnnxBy::File).unwrap();
    let whole = load(&file("conv.onnx"), OnnxBy::File).unwrap();
    assert_eq!(outputs(&model), outputs(&whole));
    let names: Vec<&str> = model.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["conv.onnx", "conv.onnx.data"]);
    // Our own layers read them too.
    let layers = load(&path, OnnxBy::Layers).unwrap();
    assert!(layers.program.is_none() && layers.files.len() == 2);
    assert_eq!(layers.parameters, whole.parameters);
}

#[test]
fn a_second_file_that_cannot_be_had_is_one_error_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| {
        let error = load(path, OnnxBy::Auto).err().unwrap();
        (error.exit_code(), format!("{error} {}", error.hint().unwrap_or_default()))
    };
    let path = split("conv", folder.path(), "conv.onnx.data");
    let data = folder.path().join("conv.onnx.data");
    let bytes = std::fs::read(&data).unwrap();
    std::fs::write(&data, &bytes[..bytes.len() - 1]).unwrap();
    let (code, text) = error(&path);
    assert!(
        code == 1 && text.contains("conv.onnx.data: is truncated") && text.contains("save_as_external_data"),
        "{text}"
    );
    std::fs::remove_file(&data).unwrap();
    let (code, text) = error(&path);
    assert!(
        code == 3 && text.contains("conv.onnx.data") && text.contains("values of w") && text.contains("copy it"),
        "{text}"
    );
    for outside in ["../secret", "/etc/hostname", "./../x", "a/../../x"] {
        let (code, text) = error(&split("conv", folder.path(), outside));
        assert!(code == 2 && text.contains(outside) && text.contains("outside the model's folder"), "{text}");
    }
    #[cfg(unix)]
    {
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join("w"), &bytes).unwrap();
        let path = split("conv", folder.path(), "link.data");
        std::fs::remove_file(folder.path().join("link.data")).unwrap();
        std::os::unix::fs::symlink(other.path().join("w"), folder.path().join("link.data")).unwrap();
        let (code, text) = error(&path);
        assert!(code == 2 && text.contains("outside the model's folder"), "{text}");
    }
}

/// A generator of places and bits; any will do.
fn random(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

#[test]
fn damaged_files_end_in_errors() {
    let mut state = 22;
    let (mut refused, mut ran) = (0, 0);
    for name in ["conv", "lstm_bidirectional", "branches", "qlinear", "matmul"] {
        let bytes = std::fs::read(file(&format!("{name}.onnx"))).unwrap();
        for _ in 0..60 {
            let mut damaged = bytes.clone();
            if random(&mut state).is_multiple_of(3) {
                damaged.truncate(random(&mut state) % bytes.len());
            } else {
                for _ in 0..1 + random(&mut state) % 3 {
                    damaged[random(&mut state) % bytes.len()] ^= 1 << (random(&mut state) % 8);
                }
            }
            let program = OnnxFile::from_bytes("damaged", &damaged)
                .and_then(|file| OnnxProgram::load(file, &OnnxOptions::default()).map(std::sync::Arc::new));
            let Ok(program) = program else {
                refused += 1;
                continue;
            };
            let Ok(mut runner) = Runner::new(program.graph(), shape(&program), &backend(&program, 1, 1 << 30), 1)
            else {
                refused += 1;
                continue;
            };
            match runner.run(&sample(&program, 0), None) {
                Ok(_) => ran += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 50 && ran > 20, "{refused} refused, {ran} ran");
}
