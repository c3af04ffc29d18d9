"""Small networks as ONNX files, of floats and quantised, and what ONNX Runtime makes of four images.

    pip install onnxruntime==1.32.0 onnx==1.23.2 onnxscript torch
    python tests/reference/make_onnx.py

Writes tests/reference/onnx/*.onnx and tests/reference/onnx.json.
"""

import json
import pathlib
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "onnx"
C, SIZE, CLASSES = 8, 18, 5


def images(first, count):
    """Values k / 255: pixel i of image n is a mixed number of both."""
    i = np.arange(3 * SIZE * SIZE, dtype=np.uint32)
    rows = [((i * np.uint32(2654435761) + np.uint32(n * 40503)) >> np.uint32(13)) % 256 for n in range(first, first + count)]
    return (np.stack(rows).reshape(count, 3, SIZE, SIZE) / np.float32(255)).astype(np.float32)


class Block(nn.Module):
    """A residual block with a projection."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.down = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.down(x))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, C, 5, 2, 2, bias=False)
        self.bn = nn.BatchNorm2d(C)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.block = Block(C, 2 * C, 2)
        self.fc = nn.Linear(2 * C, CLASSES)

    def forward(self, x):
        x = self.block(self.pool(torch.relu(self.bn(self.conv(x)))))
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


class Mobile(nn.Module):
    """An inverted residual with its gate, and a strided one."""

    def __init__(self, hard):
        super().__init__()
        act = nn.Hardswish if hard else nn.ReLU6
        conv = lambda i, o, k, s=1, g=1: [nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o)]
        self.stem = nn.Sequential(*conv(3, C, 3, 2), act())
        self.expand = nn.Sequential(*conv(C, 3 * C, 1), act(), *conv(3 * C, 3 * C, 3, 1, 3 * C), act())
        self.gate = nn.Sequential(nn.Conv2d(3 * C, C, 1), nn.ReLU(), nn.Conv2d(C, 3 * C, 1), nn.Hardsigmoid())
        self.hard = hard
        self.project = nn.Sequential(*conv(3 * C, C, 1))
        self.last = nn.Sequential(*conv(C, 2 * C, 3, 2), act())
        self.fc = nn.Linear(2 * C, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        y = self.expand(x)
        if self.hard:
            y = y * self.gate(nn.functional.adaptive_avg_pool2d(y, 1))
        x = self.last(x + self.project(y))
        return self.fc(x.mean([2, 3]))


def randomise(module):
    """Weights and statistics as trained networks have them, so that nothing saturates and nothing dies."""
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.weight.data.uniform_(0.7, 1.3)
            child.bias.data.normal_(0, 0.3)
            child.running_mean.normal_(0, 0.2)
            child.running_var.uniform_(0.5, 1.5)
    return module.eval()


class Reader(CalibrationDataReader):
    def __init__(self):
        self.left = [{"x": images(100 + n, 1)} for n in range(8)]

    def get_next(self):
        return self.left.pop() if self.left else None


def outputs(path):
    """By the definitions of the operators, no optimisation."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [session.run(None, {"x": images(n, 1)})[0].ravel().tolist() for n in range(4)]


def main():
    FOLDER.mkdir(exist_ok=True)
    reference = {}
    torch.manual_seed(7)
    nets = {"residual": Residual(), "mobile": Mobile(False), "mobile_hard": Mobile(True)}
    for name, net in nets.items():
        net = randomise(net)
        path = FOLDER / f"{name}.onnx"
        torch.onnx.export(net, (torch.from_numpy(images(0, 1)),), str(path), input_names=["x"], output_names=["y"],
                          dynamo=False, opset_version=17, dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
                          do_constant_folding=name != "mobile", training=torch.onnx.TrainingMode.PRESERVE)
        reference[name] = outputs(path)
        prepared = FOLDER / "prepared.onnx"
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        ways = {
            "qdq": (QuantFormat.QDQ, QuantType.QUInt8, True),
            "qlinear": (QuantFormat.QOperator, QuantType.QUInt8, False),
        }
        for way, (form, kind, channels) in ways.items():
            quantised = FOLDER / f"{name}_{way}.onnx"
            quantize_static(str(prepared), str(quantised), Reader(), quant_format=form, per_channel=channels,
                            activation_type=kind, weight_type=QuantType.QInt8)
            reference[f"{name}_{way}"] = outputs(quantised)
        prepared.unlink()
    for path in sorted(FOLDER.glob("*.onnx")):
        print(path.name, path.stat().st_size, sorted({node.op_type for node in onnx.load(path).graph.node}))
    (HERE / "onnx.json").write_text(json.dumps(reference, indent=None, separators=(",", ":")) + "\n")


main()
