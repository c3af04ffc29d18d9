"""Quantised ONNX files with dead filters: scales near 1e-20, biases at the ends of 32 bits, or float biases that 32 bits do not
hold.

    pip install onnxruntime==1.32.0 onnx==1.23.2 numpy
    python tests/reference/make_onnx_dead.py

Writes tests/reference/onnx_dead/*.onnx and tests/reference/onnx_dead.json: the input, and the output of ONNX Runtime.
"""

import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
SCALES = np.array([1e-20, 3e-20, 0.01, 0.02, 1e-20, 0.015], np.float32)
X_SCALE, Y_SCALE = np.float32(1 / 255), np.float32(0.02)
MOST = 2**31 - 1
BIASES = np.array([MOST, -MOST, MOST, -MOST, 7, -5000], np.int32)
WEIGHTS = np.array([i * 53 % 255 - 127 for i in range(18)], np.int8).reshape(6, 3, 1, 1)
X = ((np.arange(48) * 37 % 101) / 100).astype(np.float32).reshape(1, 3, 4, 4)


def constant(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


def file(name, nodes, constants):
    value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, name, [value("x", [1, 3, 4, 4])], [value("y", [1, 6, 4, 4])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path = HERE / "onnx_dead" / f"{name}.onnx"
    path.write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [float(f"{v:.7g}") for v in session.run(None, {"x": X})[0].ravel()]


CODES = [
    constant("x_scale", X_SCALE),
    constant("x_zero", np.uint8(0)),
    constant("y_scale", Y_SCALE),
    constant("y_zero", np.uint8(131)),
    constant("w", WEIGHTS),
    constant("w_scale", SCALES),
    constant("w_zero", np.zeros(6, np.int8)),
]
QUANTIZE = helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["xq"])
DEQUANTIZE = helper.make_node("DequantizeLinear", ["yq", "y_scale", "y_zero"], ["y"])


def qlinear():
    names = ["xq", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero", "b"]
    return [QUANTIZE, helper.make_node("QLinearConv", names, ["yq"]), DEQUANTIZE], CODES + [constant("b", BIASES)]


def qdq(bias):
    nodes = [
        QUANTIZE,
        helper.make_node("DequantizeLinear", ["xq", "x_scale", "x_zero"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wf"], axis=0),
    ]
    if bias.dtype == np.int32:
        nodes.append(helper.make_node("DequantizeLinear", ["b", "b_scale", "b_zero"], ["bf"], axis=0))
    nodes += [
        helper.make_node("Conv", ["xf", "wf", "bf"], ["yf"]),
        helper.make_node("QuantizeLinear", ["yf", "y_scale", "y_zero"], ["yq"]),
        DEQUANTIZE,
    ]
    own = [constant("bf", bias)]
    if bias.dtype == np.int32:
        own = [constant("b", bias), constant("b_scale", X_SCALE * SCALES), constant("b_zero", np.zeros(6, np.int32))]
    return nodes, CODES + own


cases = {
    "qlinear": file("qlinear", *qlinear()),
    "qdq": file("qdq", *qdq(BIASES)),
    "float_bias": file("float_bias", *qdq(np.array([0.5, -0.75, 0.25, 0.1, 0.0, -0.3], np.float32))),
}
stored = {"x": [float(f"{v:.7g}") for v in X.ravel()], "cases": cases}
(HERE / "onnx_dead.json").write_text(json.dumps(stored) + "\n")
