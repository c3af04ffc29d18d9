"""Writes pruned.json: outputs of torchvision's networks whose channels were removed at random.

Each convolution (and hidden fully connected layer) has a random number of filters; those whose outputs are added have the
same. The weights are seeded by name, as in make_networks.py; only the numbers of filters and the outputs are stored.

Made with torch 2.15, torchvision 0.29:
    python tests/reference/make_pruned.py
"""

import json
import pathlib
import random

import torch
import torchvision
from make_networks import CLASSES, fill, pixels
from torch import nn

# Networks of each kind.
DRAWS = 8

random.seed(22)
filters = {}


def conv(net, name, inputs, outputs):
    """Replaces the convolution `name` and returns its outputs."""
    old = net.get_submodule(name)
    groups = inputs if old.groups > 1 else 1
    new = nn.Conv2d(inputs, outputs, old.kernel_size, old.stride, old.padding, groups=groups, bias=old.bias is not None)
    net.set_submodule(name, new)
    if groups == 1:
        filters[name] = outputs
    return outputs


def norm(net, name, channels):
    net.set_submodule(name, nn.BatchNorm2d(channels))


def some(most):
    return random.randint(1, most)


def resnet18():
    net = torchvision.models.resnet18(num_classes=CLASSES)
    width = conv(net, "conv1", 3, some(24))
    norm(net, "bn1", width)
    for stage in range(1, 5):
        # The first stage adds the stem's channels.
        out = width if stage == 1 else some(30)
        for block in (0, 1):
            at = f"layer{stage}.{block}"
            inner = conv(net, f"{at}.conv1", width, some(40))
            norm(net, f"{at}.bn1", inner)
            if stage > 1 and block == 0:
                norm(net, f"{at}.downsample.1", conv(net, f"{at}.downsample.0", width, out))
            width = conv(net, f"{at}.conv2", inner, out)
            norm(net, f"{at}.bn2", width)
    net.fc = nn.Linear(width, CLASSES)
    return net


def mobilenet_v2():
    net = torchvision.models.mobilenet_v2(num_classes=CLASSES)
    width = conv(net, "features.0.0", 3, some(20))
    norm(net, "features.0.1", width)
    for index in range(1, 18):
        at = f"features.{index}.conv"
        block = net.get_submodule(f"features.{index}")
        middle = width
        if index > 1:
            middle = conv(net, f"{at}.0.0", width, some(50))
            norm(net, f"{at}.0.1", middle)
        place = 0 if index == 1 else 1
        conv(net, f"{at}.{place}.0", middle, middle)
        norm(net, f"{at}.{place}.1", middle)
        width = conv(net, f"{at}.{place + 1}", middle, width if block.use_res_connect else some(30))
        norm(net, f"{at}.{place + 2}", width)
    width = conv(net, "features.18.0", width, some(60))
    norm(net, "features.18.1", width)
    net.classifier[1] = nn.Linear(width, CLASSES)
    return net


def vgg16_bn():
    net = torchvision.models.vgg16_bn(num_classes=CLASSES)
    width = 3
    for place, layer in enumerate(net.features):
        if isinstance(layer, nn.Conv2d):
            width = conv(net, f"features.{place}", width, some(24))
            norm(net, f"features.{place + 1}", width)
    # For 32x32 pixels, of which the last pooling leaves one.
    net.avgpool = nn.Identity()
    for place in (0, 3, 6):
        out = CLASSES if place == 6 else some(60)
        net.classifier[place] = nn.Linear(width, out)
        if place < 6:
            filters[f"classifier.{place}"] = out
        width = out
    return net


def main():
    rows = []
    networks = [(resnet18, {}), (mobilenet_v2, {}), (vgg16_bn, {"rows": 1})]
    for make, arch in networks * DRAWS:
        filters.clear()
        net = make().eval()
        for name, tensor in net.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                tensor.copy_(fill(name, tuple(tensor.shape)))
        shape = (2, 3, 32, 32)
        with torch.no_grad():
            logits = net(pixels(shape)).flatten().tolist()
        assert all(abs(v) < 1e6 for v in logits)
        rows.append({"card": make.__name__, "arch": {**arch, "classes": CLASSES}, "input": list(shape), "filters": dict(filters), "logits": [float(f"{v:.8g}") for v in logits]})
        print(make.__name__, logits[:4])
    lines = ",\n".join(json.dumps(row) for row in rows)
    (pathlib.Path(__file__).parent / "pruned.json").write_text(f"[\n{lines}\n]\n")


main()
