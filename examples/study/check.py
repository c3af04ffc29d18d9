"""The second convolution of ResNet-20 counted a MAC at a time in numpy, from the file of weights and the images alone."""

import json
import subprocess
import sys

try:
    import numpy
except ImportError:
    sys.exit("error: the study counts one layer in numpy: python3 -m pip install numpy")

MODEL = "classify/resnet20-cifar10.safetensors"
IMAGES = "data/cifar10-test-jpeg.safetensors"
LAYER = "layer1.0.conv1"
INPUTS = 8
COMMAND = f"deadweight measure {MODEL} --arch resnet20-cifar {IMAGES} --limit {INPUTS} --layers ^{LAYER}$ --format json"


def tensors(path):
    """All arrays of a safetensors file, by name."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    kinds = {"F32": "<f4", "U8": "u1", "I64": "<i8"}
    arrays = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__" and entry["dtype"] in kinds:
            start, end = (8 + size + offset for offset in entry["data_offsets"])
            arrays[name] = numpy.frombuffer(data[start:end], kinds[entry["dtype"]]).reshape(entry["shape"])
    return arrays


def windows(x):
    """Values under each tap of a 3x3 window, padded with zeros: [N * H * W, C * 9]."""
    n, c, h, w = x.shape
    padded = numpy.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    taps = [padded[:, :, r : r + h, s : s + w] for r in range(3) for s in range(3)]
    return numpy.stack(taps, axis=2).transpose(0, 3, 4, 1, 2).reshape(n * h * w, c * 9)


def norm(arrays, name):
    """Batch norm as a factor and an offset."""
    mean, var, weight, bias = (arrays[f"module.{name}.{part}"].astype("f8") for part in ("running_mean", "running_var", "weight", "bias"))
    factor = weight / numpy.sqrt(var + 1e-5)
    return factor, bias - mean * factor


def codes(x):
    """Codes of fixed16: a power of two for a scale, the largest that does not saturate."""
    fraction = numpy.floor(numpy.log2((2**15 - 1) / numpy.abs(x).max()))
    return numpy.rint(x * 2.0**fraction).astype("i8")


def naf(code):
    """Non-zero digits of the canonical signed-digit form."""
    magnitude = numpy.abs(code)
    digits = magnitude ^ (3 * magnitude)
    return sum((digits >> bit) & 1 for bit in range(18))


def count(program, assets):
    """Both counts: of activations that are zero and of their terms, of MACs of two non-zeros, and of pairs of terms."""
    arrays, images = tensors(assets / MODEL), tensors(assets / IMAGES)
    pixels = images["images"][:INPUTS].transpose(0, 3, 1, 2) / 255.0
    mean, std = (numpy.array(of).reshape(1, 3, 1, 1) for of in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    pixels = (pixels - mean) / std
    factor, offset = norm(arrays, "bn1")
    weights = arrays["module.conv1.weight"].astype("f8") * factor.reshape(-1, 1, 1, 1)
    x = windows(pixels) @ weights.reshape(len(weights), -1).T + offset
    x = numpy.maximum(x, 0).reshape(INPUTS, 32, 32, -1).transpose(0, 3, 1, 2)
    second = arrays[f"module.{LAYER}.weight"].astype("f8") * norm(arrays, LAYER.replace("conv", "bn"))[0].reshape(-1, 1, 1, 1)
    a, w = codes(x), codes(second).reshape(len(second), -1).T
    under = windows(a)
    own = {
        "elements": a.size,
        "zeros": int((a == 0).sum()),
        "terms": int(naf(a).sum()),
        "macs": under.shape[0] * w.size,
        "effectual": int(((under != 0).astype("i8") @ (w != 0).astype("i8")).sum()),
        "pairs of terms": int((naf(under) @ naf(w)).sum()),
    }
    words = [str(program), *COMMAND.split()[1:], "--quiet"]
    printed = subprocess.run(words, cwd=assets, check=True, capture_output=True, text=True).stdout
    layer = json.loads(printed)["layers"][0]
    activations, metrics = layer["activations"], layer["metrics"]
    theirs = {
        "elements": activations["elements"]["value"],
        "zeros": activations["zeros"]["numerator"],
        "terms": activations["terms"]["numerator"],
        "macs": metrics["macs"]["value"],
        "effectual": metrics["macs.effectual"]["with_padding"]["numerator"],
        "pairs of terms": metrics["potential.We+Ae"]["with_padding"]["denominator"],
    }
    return {"command": COMMAND, "numpy": own, "deadweight": {name: int(value) for name, value in theirs.items()}}
