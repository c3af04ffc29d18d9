"""Networks for the test of pages: ResNets of any depth with random weights, and a name that means harm."""

import array
import json
import random
import struct

WIDTHS = [4, 8, 16]


def resnet(folder, blocks, name="deep"):
    """A card and weights of a ResNet of 6·blocks + 2 layers; returns the arguments that measure it."""
    depth = ", ".join([str(blocks)] * 3)
    card = f"""name = {json.dumps(name)}
family = "resnet"
task = "classify"
description = "a ResNet of random weights"
source = "tests/browser"
licence = "MIT"
input = {{ channels = 3, size = [32, 32], resize = {{ exact = [32, 32] }}, mean = [0.5, 0.5, 0.5], std = [0.25, 0.25, 0.25] }}
arch = {{ block = "basic", depths = [{depth}], widths = {WIDTHS}, stem = "cifar", shortcut = "zeros", head = "linear", classes = 10 }}
"""
    draw = random.Random(7)
    tensors = {}

    def norm(prefix, channels, scale):
        # Zeros that differ from layer to layer, and values that do not grow with the depth.
        tensors[f"{prefix}.weight"] = [channels], [scale] * channels
        tensors[f"{prefix}.bias"] = [channels], [draw.gauss(-0.1, 0.4) for _ in range(channels)]
        tensors[f"{prefix}.running_mean"] = [channels], [0.0] * channels
        tensors[f"{prefix}.running_var"] = [channels], [1.0] * channels

    def convolution(prefix, number, into, out, scale):
        std = (2 / (9 * into)) ** 0.5
        tensors[f"{prefix}conv{number}.weight"] = [out, into, 3, 3], [draw.gauss(0, std) for _ in range(out * into * 9)]
        norm(f"{prefix}bn{number}", out, scale)

    convolution("", 1, 3, WIDTHS[0], 1.0)
    into = WIDTHS[0]
    for stage, width in enumerate(WIDTHS, 1):
        for block in range(blocks):
            convolution(f"layer{stage}.{block}.", 1, into, width, 1.0)
            convolution(f"layer{stage}.{block}.", 2, width, width, 0.1)
            into = width
    tensors["linear.weight"] = [10, into], [draw.gauss(0, 0.3) for _ in range(10 * into)]
    tensors["linear.bias"] = [10], [0.0] * 10
    header, data = {}, b""
    for key, (shape, values) in tensors.items():
        numbers = array.array("f", values).tobytes()
        header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(numbers)]}
        data += numbers
    header = json.dumps(header).encode()
    paths = [folder / f"resnet{6 * blocks + 2}.toml", folder / f"resnet{6 * blocks + 2}.safetensors"]
    paths[0].write_text(card)
    paths[1].write_bytes(struct.pack("<Q", len(header)) + header + data)
    return [str(paths[1]), "--arch", str(paths[0]), "--random-inputs", "3"]
