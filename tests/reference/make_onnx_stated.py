"""Small ONNX files, one a fact that an operator may state, and what ONNX Runtime makes of them.

    pip install onnxruntime==1.32.0 onnx==1.23.2 numpy
    python tests/reference/make_onnx_stated.py

Writes tests/reference/onnx_stated/*.onnx and tests/reference/onnx_stated.json: the input, and for each file the output, or
null where deadweight is to refuse it.
"""

import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "onnx_stated"
N, C, H, W = 1, 4, 5, 6
RANDOM = np.random.default_rng(20)
X = RANDOM.uniform(-2, 3, (N, C, H, W)).astype(np.float32)
F32, CODES = np.float32, np.int8
CASES = {}


def values(*shape):
    return RANDOM.normal(size=shape).astype(F32)


def case(name, nodes, constants=(), opset=13, runs=True, domains=()):
    """`nodes` are (operator, inputs, outputs, attributes); the last makes y."""
    made = []
    for op, inputs, outputs, attributes in nodes:
        domain = attributes.pop("domain", "")
        made.append(helper.make_node(op, inputs, outputs, domain=domain, **attributes))
    constants = [numpy_helper.from_array(np.asarray(value), key) for key, value in dict(constants).items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [N, C, H, W])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(made, name, [x], [y], constants)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(*domain) for domain in domains)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="")
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())
    CASES[name] = None
    if runs:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        CASES[name] = [float(f"{v:.7g}") for v in session.run(None, {"x": X})[0].ravel()]


def one(name, op, constants=(), opset=13, runs=True, **attributes):
    """One operator over x and the constants, which may be left out ("")."""
    constants = dict(constants)
    inputs = ["x", *constants]
    named = {key: value for key, value in constants.items() if value is not None}
    inputs = [key if key == "x" or constants[key] is not None else "" for key in inputs]
    case(name, [(op, inputs, ["y"], attributes)], named, opset, runs)


def softmax():
    pooled = ("GlobalAveragePool", ["x"], ["p"], {})
    flat = ("Flatten", ["p"], ["f"], {"axis": 1})
    one("softmax13_channels", "Softmax", axis=1)
    one("softmax13_channels_from_last", "Softmax", axis=-3)
    one("softmax13_columns", "Softmax", runs=False)
    one("softmax11_image", "Softmax", opset=11, runs=False)
    one("softmax11_columns", "Softmax", opset=11, axis=3, runs=False)
    case("softmax11_vector", [pooled, flat, ("Softmax", ["f"], ["y"], {})], opset=11)
    case("softmax11_pixel", [pooled, ("Softmax", ["p"], ["y"], {})], opset=11)
    case("softmax11_of_one", [pooled, ("Softmax", ["p"], ["y"], {"axis": 2})], opset=11, runs=False)
    case("softmax13_vector", [pooled, flat, ("Softmax", ["f"], ["y"], {})])
    case("softmax13_of_one", [pooled, ("Softmax", ["p"], ["y"], {})], runs=False)
    case("softmax13_flattened", [("Flatten", ["x"], ["f"], {}), ("Softmax", ["f"], ["y"], {})], runs=False)


def windows():
    w = {"w": values(6, 2, 3, 2), "b": values(6)}
    one("conv_all", "Conv", w, group=2, strides=[2, 1], dilations=[1, 2], pads=[1, 0, 2, 3], kernel_shape=[3, 2])
    one("conv_kernel_shape", "Conv", w, group=2, kernel_shape=[2, 3], runs=False)
    one("conv_same_upper", "Conv", w, group=2, strides=[2, 2], auto_pad="SAME_UPPER")
    one("conv_same_lower", "Conv", w, group=2, strides=[2, 2], auto_pad="SAME_LOWER", runs=False)
    one("conv_valid", "Conv", w, group=2, auto_pad="VALID")
    one("conv_valid_padded", "Conv", w, group=2, auto_pad="VALID", pads=[1, 1, 1, 1], runs=False)
    one("conv_unknown", "Conv", w, group=2, fused="yes", runs=False)
    three = {"kernel_shape": [3, 3], "strides": [2, 2]}
    one("max_ceil", "MaxPool", opset=12, ceil_mode=1, **three)
    one("max_padded_ceil", "MaxPool", opset=12, ceil_mode=1, pads=[1, 1, 1, 1], kernel_shape=[2, 2], strides=[2, 2])
    one("max_dilated", "MaxPool", opset=12, dilations=[2, 2], kernel_shape=[2, 2], runs=False)
    one("max_same", "MaxPool", opset=12, auto_pad="SAME_UPPER", **three)
    one("max_same_lower", "MaxPool", opset=12, auto_pad="SAME_LOWER", **three, runs=False)
    one("average_padded", "AveragePool", pads=[1, 0, 0, 1], **three)
    one("average_counted", "AveragePool", pads=[1, 0, 0, 1], count_include_pad=1, **three)
    one("average_counted_ceil", "AveragePool", pads=[1, 1, 1, 1], count_include_pad=1, ceil_mode=1, **three)
    one("average_dilated", "AveragePool", opset=19, dilations=[1, 2], kernel_shape=[2, 2], runs=False)
    one("average_oblong", "AveragePool", kernel_shape=[3, 2], runs=False)


def values_one_by_one():
    norm = {key: np.abs(values(C)) + F32(0.1) for key in ("s", "b", "m", "v")}
    one("norm_eps", "BatchNormalization", norm, epsilon=0.3, momentum=0.5)
    one("norm_default", "BatchNormalization", norm, opset=9)
    case("norm_training", [("BatchNormalization", ["x", *norm], ["y", "m2", "v2"], {"training_mode": 1})], norm, 14, False)
    one("norm_pixels", "BatchNormalization", norm, opset=7, spatial=0, runs=False)
    one("norm_old", "BatchNormalization", norm, opset=6, runs=False)
    one("leaky_default", "LeakyRelu")
    one("leaky", "LeakyRelu", alpha=0.25)
    one("hard_sigmoid", "HardSigmoid", alpha=1 / 6)
    one("hard_sigmoid_default", "HardSigmoid", runs=False)
    one("clip_old", "Clip", opset=10, min=0.0, max=6.0)
    one("clip_old_lower", "Clip", opset=10, min=0.0)
    one("clip", "Clip", {"l": F32(0), "h": F32(6)})
    one("clip_one", "Clip", {"l": F32(0), "h": F32(1)}, runs=False)
    one("clip_upper", "Clip", {"l": None, "h": F32(1)}, runs=False)
    one("clip_attributes", "Clip", min=0.0, max=6.0, runs=False)
    one("add_channels", "Add", {"c": values(C, 1, 1)})
    one("add_columns", "Add", {"c": values(W)}, runs=False)
    one("add_one", "Add", {"c": values(1)})
    pooled = ("GlobalAveragePool", ["x"], ["p"], {})
    case("add_outer", [pooled, ("Add", ["p", "c"], ["y"], {})], {"c": values(C)}, runs=False)
    case("gate", [pooled, ("Mul", ["p", "x"], ["y"], {})])
    one("dropout_old", "Dropout", opset=11, ratio=0.3)
    one("dropout", "Dropout", {"r": F32(0.3), "t": np.bool_(False)})
    one("dropout_training", "Dropout", {"r": F32(0.3), "t": np.bool_(True)}, runs=False)


def shapes():
    w, b = values(3, C * H * W), values(3)
    gemm = lambda **attributes: ("Gemm", ["f", "w", "b"], ["y"], {"transB": 1, **attributes})
    flat = ("Flatten", ["x"], ["f"], {})
    case("gemm", [flat, gemm()], {"w": w, "b": b})
    case("gemm_row", [flat, gemm()], {"w": w, "b": b[None]})
    case("gemm_straight", [flat, gemm(transB=0)], {"w": w.T.copy(), "b": b})
    case("gemm_alpha", [flat, gemm(alpha=0.5)], {"w": w, "b": b}, runs=False)
    case("gemm_beta", [flat, gemm(beta=0.5)], {"w": w, "b": b}, runs=False)
    case("gemm_of_one_filter", [flat, gemm()], {"w": w[:1], "b": values(1)})
    case("flatten_from_last", [("Flatten", ["x"], ["f"], {"axis": -3}), gemm()], {"w": w, "b": b})
    case("flatten_rows", [("Flatten", ["x"], ["y"], {"axis": 2})], runs=False)
    matmul = [flat, ("MatMul", ["f", "w"], ["m"], {}), ("Add", ["b", "m"], ["y"], {})]
    case("matmul_add", matmul, {"w": w.T.copy(), "b": b})
    case("matmul_add_column", matmul, {"w": w.T.copy(), "b": b[:, None]}, runs=False)
    case("matmul_columns", [("MatMul", ["x", "w"], ["y"], {})], {"w": values(W, W)}, runs=False)
    for name, to, attributes, runs in [
        ("keep", [0, -1], {}, True), ("fixed", [1, C * H * W], {}, True), ("free", [-1, C * H * W], {}, True),
        ("zero", [0, -1], {"allowzero": 1}, False), ("split", [2, -1], {}, False), ("wide", [-1, H * W], {}, False),
        ("rows", [0, C, -1], {}, False),
    ]:
        nodes = [("Reshape", ["x", "to"], ["f"], attributes), ("Gemm", ["f", "w", "b"], ["y"], {"transB": 1})]
        case(f"reshape_{name}", nodes, {"to": np.int64(to), "w": w, "b": b}, 14, runs)
    pooled, small = ("GlobalAveragePool", ["x"], ["p"], {}), {"w": values(3, C), "b": b}
    squeeze = lambda **attributes: [pooled, ("Squeeze", ["p"], ["f"], attributes), gemm()]
    case("squeeze_old", squeeze(axes=[2, 3]), small, 12)
    case("squeeze_batch", squeeze(axes=[0, 2]), small, 12, False)
    last = [pooled, ("Squeeze", ["p", "a"], ["f"], {}), gemm()]
    case("squeeze", last, {"a": np.int64([-1, -2]), **small})
    case("squeeze_attribute", squeeze(axes=[2, 3]), small, 13, False)
    mean = lambda **attributes: [("ReduceMean", ["x"], ["f"], attributes), gemm()]
    case("mean_old", mean(axes=[2, 3], keepdims=0), small)
    case("mean_from_last", mean(axes=[-1, -2], keepdims=0), small)
    case("mean_channels", [("ReduceMean", ["x"], ["y"], {"axes": [1]})], runs=False)
    case("mean_all", [("ReduceMean", ["x"], ["y"], {})], runs=False)
    case("mean", [("ReduceMean", ["x", "a"], ["f"], {"keepdims": 0}), gemm()], {"a": np.int64([2, 3]), **small}, 18)
    case("mean_kept", [("ReduceMean", ["x", "a"], ["y"], {})], {"a": np.int64([2, 3])}, 18)
    case("mean_noop", [("ReduceMean", ["x"], ["y"], {"noop_with_empty_axes": 1})], (), 18, False)
    relu = ("Relu", ["x"], ["r"], {})
    case("concat", [relu, ("Concat", ["r", "x"], ["y"], {"axis": -3})])
    case("concat_rows", [relu, ("Concat", ["r", "x"], ["y"], {"axis": 2})], runs=False)
    case("transpose", [("Transpose", ["x"], ["y"], {"perm": [0, 2, 3, 1]})], runs=False)


def pads():
    pooled = {"kernel_shape": [3, 3], "strides": [2, 2]}
    filters = {"w": values(3, C, 3, 3)}
    conv = ("Conv", ["p", "w"], ["y"], {})
    pad = lambda constants, opset=13, runs=True, name="", **attributes: case(
        f"pad_{name}", [("Pad", ["x", *constants], ["p"], attributes), conv], {**constants, **filters}, opset, runs)
    around = np.int64([0, 0, 1, 2, 0, 0, 0, 1])
    pad({}, 10, name="old", pads=around.tolist(), mode="constant", value=0.0)
    pad({}, 10, False, "old_ones", pads=around.tolist(), value=1.0)
    pad({"a": around}, name="input")
    pad({"a": around, "v": F32(1)}, 13, False, "ones")
    pad({"a": around}, 13, False, "reflect", mode="reflect")
    pad({"a": np.int64([2, 1, 1, 0]), "v": F32(0), "axes": np.int64([-1, 2])}, 18, name="axes")
    pad({"a": np.int64([0, 0, 0, 1, 0, 0, 0, 0])}, 13, False, "before_columns_only_behind_rows", mode="edge")
    # Integers as they are: their zero is the zero point.
    codes = {"s": F32(0.02), "z": CODES(-20), "a": around, **filters}
    nodes = [("QuantizeLinear", ["x", "s", "z"], ["q"], {}), ("Pad", ["q", "a", "v"], ["p"], {}),
             ("DequantizeLinear", ["p", "s", "z"], ["d"], {}), ("Conv", ["d", "w"], ["y"], {})]
    case("pad_codes", nodes, {**codes, "v": CODES(-20)})
    nodes = [*nodes[:1], ("Pad", ["q", "a"], ["p"], {}), *nodes[2:]]
    case("pad_codes_zero", nodes, codes, runs=False)
    case("relu_codes", [nodes[0], ("Relu", ["q"], ["r"], {}), ("DequantizeLinear", ["r", "s", "z"], ["y"], {})],
         {"s": F32(0.02), "z": CODES(-20)}, 14, False)


def quantised():
    scales, w = {"s": F32(0.02), "z": CODES(-20)}, RANDOM.integers(-127, 128, (3, C, 1, 1)).astype(CODES)
    constants = {**scales, "w": w, "ws": np.abs(values(3)) / 50, "wz": np.zeros(3, CODES)}
    nodes = lambda **attributes: [
        ("QuantizeLinear", ["x", "s", "z"], ["q"], {}), ("DequantizeLinear", ["q", "s", "z"], ["d"], {}),
        ("DequantizeLinear", ["w", "ws", "wz"], ["r"], attributes), ("Conv", ["d", "r"], ["y"], {})]
    case("scales_of_filters", nodes(axis=0), constants)
    case("scales_of_blocks", nodes(axis=0, block_size=2), constants, 21, False)
    rescale = [("QuantizeLinear", ["x", "s", "z"], ["q"], {"output_dtype": TensorProto.UINT8}),
               ("DequantizeLinear", ["q", "s", "z"], ["y"], {})]
    case("another_type", rescale, scales, 21, False)


def versions():
    case("newest", [("Relu", ["x"], ["y"], {})], opset=99, runs=False)
    both = [("Relu", ["x"], ["r"], {}), ("Gelu", ["r"], ["y"], {"domain": "com.microsoft"})]
    case("microsoft", both, domains=[("com.microsoft", 1)], runs=False)
    mean = [("QuantizeLinear", ["x", "s", "z"], ["q"], {}),
            ("QLinearGlobalAveragePool", ["q", "s", "z", "s", "z"], ["g"], {"domain": "com.microsoft"}),
            ("DequantizeLinear", ["g", "s", "z"], ["y"], {})]
    again = lambda: [(op, i, o, dict(a)) for op, i, o, a in mean]
    case("microsoft_mean", again(), {"s": F32(0.02), "z": CODES(-20)}, domains=[("com.microsoft", 1)])
    case("microsoft_newer", again(), {"s": F32(0.02), "z": CODES(-20)}, domains=[("com.microsoft", 2)], runs=False)


def main():
    FOLDER.mkdir(exist_ok=True)
    for group in (softmax, windows, values_one_by_one, shapes, pads, quantised, versions):
        group()
    text = json.dumps({"x": [float(f"{v:.7g}") for v in X.ravel()], "cases": CASES}, separators=(",", ":"))
    (HERE / "onnx_stated.json").write_text(text + "\n")


main()
