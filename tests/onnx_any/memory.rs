//! What a measurement holds: no more than a few times the file, however many inputs there are.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use rten_onnx::onnx::{
    DataType, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, TypeProtoTensor, ValueInfoProto,
};

use super::file;
use crate::binary::{deadweight, text};

/// Widths and number of the layers of a file of 100 MB.
const WIDTH: usize = 1600;
const LAYERS: usize = 10;

/// A chain of matrix products with ReLUs, written to `path`; bytes of the file.
fn write(path: &Path) -> u64 {
    let value = |name: &str| ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            tensor_type: Some(TypeProtoTensor {
                elem_type: Some(DataType::FLOAT),
                shape: Some(TensorShapeProto {
                    dim: [1, WIDTH].map(|extent| Dimension { dim_value: Some(extent as i64), dim_param: None }).into(),
                }),
            }),
            sequence: None,
        }),
    };
    let node = |op: &str, input: Vec<String>, output: String| NodeProto {
        op_type: Some(op.into()),
        input,
        output: vec![output],
        ..NodeProto::default()
    };
    let mut graph =
        GraphProto { input: vec![value("x0")], output: vec![value(&format!("x{LAYERS}"))], ..Default::default() };
    for layer in 0..LAYERS {
        let weights = (0..WIDTH * WIDTH).map(|i| {
            let mixed = ((i + layer) as u32).wrapping_mul(2_654_435_761) >> 8;
            if mixed.is_multiple_of(4) { 0.0 } else { (mixed & 0xffff) as f32 / 32768.0 / 20.0 - 0.05 }
        });
        graph.initializer.push(TensorProto {
            name: Some(format!("w{layer}")),
            dims: vec![WIDTH as i64; 2],
            data_type: Some(DataType::FLOAT),
            raw_data: Some(weights.flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into()),
            ..TensorProto::default()
        });
        graph.node.push(node("MatMul", vec![format!("x{layer}"), format!("w{layer}")], format!("a{layer}")));
        graph.node.push(node("Relu", vec![format!("a{layer}")], format!("x{}", layer + 1)));
    }
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        graph: Some(graph),
        ..ModelProto::default()
    };
    std::fs::write(path, model.write_buf().unwrap()).unwrap();
    std::fs::metadata(path).unwrap().len()
}

/// Largest resident bytes of `child` until it ends, as the system has them.
fn peak(mut child: Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    loop {
        // Gone at the end; the mark only rises.
        if let Some(line) = std::fs::read_to_string(&status)
            .ok()
            .and_then(|text| text.lines().find(|line| line.starts_with("VmHWM")).map(str::to_owned))
        {
            let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            most = most.max(kilobytes << 10);
        }
        if let Some(status) = child.try_wait().unwrap() {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            assert!(status.success(), "{said}");
            return most;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The most that a measurement of so many random inputs holds, by so many threads.
fn measuring(path: &Path, inputs: usize, threads: usize) -> u64 {
    let [inputs, threads] = [inputs, threads].map(|count| count.to_string());
    let counts = ["--random-inputs", &inputs, "--threads", &threads, "--quiet"];
    let args = [&["measure", text(path), "--backend", "onnx"], &counts[..]].concat();
    let child = deadweight().args(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    peak(child)
}

#[test]
fn a_measurement_holds_less_than_three_times_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.onnx");
    let size = write(&path);
    assert!(size > 100_000_000);
    let held = measuring(&path, 2, 8);
    let (largest, mega) = ((WIDTH * 4) as u64, 1e6);
    assert!(
        held > size / 4 && held < 3 * (size + largest),
        "{} MB of a file of {} MB",
        held as f64 / mega,
        size as f64 / mega
    );
}

#[test]
fn a_thousand_inputs_hold_no_more_than_ten() {
    for name in ["conv", "heads", "lstm_alone"] {
        let [few, many] = [10, 1000].map(|inputs| measuring(&file(&format!("{name}.onnx")), inputs, 2));
        // Eight bytes an input are kept, and allocators differ from run to run.
        assert!(many <= few + few / 10 + (4 << 20), "{name}: {many} bytes for 1000 inputs, {few} for 10");
    }
}
