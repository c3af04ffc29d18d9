//! The rounding of PyTorch, ONNX Runtime and XNNPACK: codes of PyTorch's quantised convolution, bit for bit.

use deadweight::kernels::conv::{ConvShape, PackedConv};
use deadweight::kernels::{Activation, Exec, Geometry, Halo, Isa, Pool, Requantize, Rounding};

#[test]
fn a_convolution_of_integers_gives_the_codes_of_pytorch() {
    let stored: serde_json::Value = serde_json::from_str(include_str!("reference/requantize.json")).unwrap();
    let list =
        |name: &str| -> Vec<f64> { stored[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect() };
    let number = |name: &str| stored[name].as_f64().unwrap();
    let shape = ConvShape {
        in_channels: 5,
        out_channels: 20,
        kernel: (3, 3),
        stride: (2, 1),
        dilation: (1, 1),
        padding: Halo { top: 1, bottom: 1, left: 2, right: 2 },
        groups: 1,
    };
    let (x_scale, y_scale) = (number("x_scale") as f32, number("y_scale") as f32);
    let requantize = Requantize {
        bias: list("bias").into_iter().map(|v| v as i32).collect(),
        offset: Vec::new(),
        multipliers: list("w_scales").into_iter().map(|w| f64::from(x_scale * w as f32 / y_scale)).collect(),
        rounding: Rounding::Float32,
        input: (-number("x_zero") as i32, 255 - number("x_zero") as i32),
        low: -number("y_zero") as i32,
        high: 255 - number("y_zero") as i32,
        wrapped: Default::default(),
    };
    let xg = Geometry::blocked(2, 5, 9, 8).with_halo(shape.halo(9, 8));
    let (h, w) = shape.output(9, 8);
    let yg = Geometry::blocked(2, 20, h, w);
    let mut x = vec![0.0; xg.len()];
    let codes: Vec<f32> = list("x").into_iter().map(|v| (v - number("x_zero")) as f32).collect();
    xg.pack(&codes, &mut x);
    let weight: Vec<f32> = list("w").into_iter().map(|v| v as f32).collect();
    let packed = PackedConv::integer(&shape, &weight, &requantize, &xg, &yg);
    let want: Vec<f32> = list("y").into_iter().map(|v| (v - number("y_zero")) as f32).collect();
    assert_eq!(want.len(), yg.elements());
    // Few codes may be at a bound, or the test would show little.
    let bounds = [requantize.low as f32, requantize.high as f32];
    assert!(want.iter().filter(|v| bounds.contains(v)).count() * 2 < want.len());
    for isa in Isa::available() {
        let (pool, mut y) = (Pool::new(2), vec![0.0; yg.len()]);
        packed.run(&Exec::new(&pool, isa), 2, &x, &mut y, None, Activation::Identity);
        let apart = yg.unpack(&y).iter().zip(&want).filter(|(a, b)| a != b).count();
        assert_eq!(apart, 0, "{} of {} codes differ on {}", apart, want.len(), isa.name());
    }
}
