"""Makes the files of tests/reference/inputs: JPEGs of all codings, by Pillow, and networks of few values, by onnx; what
ONNX Runtime gives for the latter is in expected.json. Run with numpy, pillow, onnx and onnxruntime installed."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

FOLDER = Path(__file__).parent / "inputs"


def picture(w, h):
    """The image of tests/inputs.rs: three channels of whole numbers."""
    y, x = np.mgrid[0:h, 0:w]
    return np.stack([x * 17 % 256, y * 29 % 256, (x * y * 7 + x) % 256], -1).astype(np.uint8)


def jpegs():
    codings = {
        "baseline": ("RGB", dict(subsampling=2)),
        "restarts": ("RGB", dict(subsampling=1, restart_marker_blocks=2)),
        "grey": ("L", dict(optimize=True)),
        "four": ("CMYK", dict(subsampling=0)),
        "progressive": ("RGB", dict(subsampling=2, progressive=True)),
        "progressive-restarts": ("RGB", dict(subsampling=0, progressive=True, restart_marker_blocks=3)),
        "progressive-grey": ("L", dict(progressive=True)),
    }
    for name, (mode, options) in codings.items():
        Image.fromarray(picture(33, 25)).convert(mode).save(FOLDER / f"{name}.jpg", quality=70, **options)


def network(name, nodes, constants, shape):
    """An ONNX file that reads x [1, 3, 8, 8] and gives y; returns what ONNX Runtime gives for the image."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, FOLDER / f"{name}.onnx")
    x = picture(8, 8).transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": x})[0].ravel().tolist()


def classifiers():
    f = np.float32
    weight = np.array([[3, -2, 1], [1, 1, -1], [0, 2, 3], [-1, 0, 2]], f)
    body = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["logits"], transB=1),
    ]
    four = {"w": weight, "b": np.array([0.1, 0, -0.2, 0.3], f)}
    one = {"w": weight[:1], "b": np.array([-0.4], f)}
    codes = {"scale": f(1 / 256), "zero": np.uint8(0)}
    end = lambda op, inputs, output, **more: helper.make_node(op, inputs, [output], **more)
    softmax = end("Softmax", ["logits"], "s", axis=1)
    quantised = [end("QuantizeLinear", ["s", "scale", "zero"], "q"), end("DequantizeLinear", ["q", "scale", "zero"], "y")]
    return {
        "softmax": network("softmax", [*body, end("Softmax", ["logits"], "y", axis=1)], four, [1, 4]),
        "softmax-codes": network("softmax-codes", [*body, softmax, *quantised], four | codes, [1, 4]),
        "one-logit": network("one-logit", [*body[:2], end("Gemm", ["f", "w", "b"], "y", transB=1)], one, [1, 1]),
        "one-share": network("one-share", [*body, end("Sigmoid", ["logits"], "y")], one, [1, 1]),
    }


def maps():
    f = np.float32
    weight = {"w": np.array([2, -1.5, 1], f).reshape(1, 3, 1, 1), "b": np.array([-0.3], f)}
    shape = [1, 1, 8, 8]
    conv = lambda output: helper.make_node("Conv", ["x", "w", "b"], [output])
    return {
        "object": network("object", [conv("y")], weight, shape),
        "object-share": network("object-share", [conv("l"), helper.make_node("Sigmoid", ["l"], ["y"])], weight, shape),
    }


FOLDER.mkdir(exist_ok=True)
jpegs()
(FOLDER / "expected.json").write_text(json.dumps(classifiers() | maps(), indent=1) + "\n")
