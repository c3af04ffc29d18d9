"""Checks models/demo against PyTorch and writes digits.json: the logits of the 32 stored images.

Everything is done a second time here: the data come from scikit-learn itself, the enlargement from PyTorch's bilinear
interpolation, the network is written anew. The stored images must be equal to the byte and the accuracy must be the one
that the weights' metadata claims.

Made with torch 2.15 and scikit-learn 1.9:
    python tests/reference/digits.py
"""

import json
import pathlib

import numpy as np
import torch
from safetensors import safe_open
from sklearn.datasets import load_digits
from torch.nn import functional as F

TRAIN = 1437
ROOT = pathlib.Path(__file__).resolve().parents[2]


def read(name):
    with safe_open(ROOT / "models/demo" / name, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()


def images():
    """All samples, u8 [N, 32, 32]: enlarged by four, 16 becomes 255, halves go up."""
    cells = torch.tensor(load_digits().images, dtype=torch.float64)[:, None]
    large = F.interpolate(cells, scale_factor=4, mode="bilinear", align_corners=False)
    return torch.floor(large * 255 / 16 + 0.5).to(torch.uint8)[:, 0]


class Network:
    def __init__(self, tensors):
        self.tensors = tensors
        self.zeros = {}

    def unit(self, x, conv, norm, stride=1):
        weight = self.tensors[conv + ".weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(self.tensors[f"{norm}.{name}"] for name in names), eps=1e-5)

    def relu(self, x, name):
        x = F.relu(x)
        self.zeros[name] = (x == 0).double().mean().item()
        return x

    def __call__(self, x):
        x = self.relu(self.unit(x, "conv1", "bn1"), "conv1")
        for layer in (1, 2, 3):
            at = f"layer{layer}.0"
            stride = 1 if layer == 1 else 2
            y = self.relu(self.unit(x, f"{at}.conv1", f"{at}.bn1", stride), f"{at}.conv1")
            y = self.unit(y, f"{at}.conv2", f"{at}.bn2")
            if layer > 1:
                x = self.unit(x, f"{at}.downsample.0", f"{at}.downsample.1", stride)
            x = self.relu(x + y, f"{at}.conv2")
        return F.linear(x.mean((2, 3)), self.tensors["fc.weight"], self.tensors["fc.bias"])


def main():
    weights, card = read("digits.safetensors")
    stored, _ = read("digits_inputs.safetensors")
    network = Network(weights)
    labels = torch.tensor(load_digits().target)
    pixels = images()
    held = slice(TRAIN, TRAIN + len(stored["labels"]))
    assert torch.equal(stored["images"][..., 0], pixels[held]), "the stored images are not the first held-out ones"
    assert torch.equal(stored["labels"].long(), labels[held]), "the stored labels are not theirs"

    training = pixels[:TRAIN].double() / 255
    mean, std = round(training.mean().item(), 4), round(training.std(correction=0).item(), 4)
    scaled = ((pixels[TRAIN:].float() / 255 - mean) / std)[:, None]
    logits = network(scaled)
    correct = (logits.argmax(1) == labels[TRAIN:]).sum().item()
    claim = f"{correct} of {len(labels) - TRAIN} held-out samples"
    assert card["accuracy"] == claim, f"PyTorch gets {claim}, the file says {card['accuracy']}"
    double = Network({name: tensor.double() for name, tensor in weights.items()})(scaled.double())
    print(f"{claim}; mean {mean}, std {std}; f32 within {(logits - double).abs().max():.1e} of f64")

    logits = network(scaled[: len(stored["labels"])])
    answers = logits.argmax(1).tolist()
    print("zeros after each ReLU, stored images:")
    for name, share in network.zeros.items():
        print(f"  {name:15} {100 * share:5.1f} %")
    rows = [[float(np.format_float_positional(value, 7, fractional=False)) for value in row] for row in logits.numpy()]
    document = {"correct": sum(a == b for a, b in zip(answers, stored["labels"].tolist())), "logits": rows}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(document).replace("], [", "],\n  [") + "\n")
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    with torch.no_grad():
        main()
