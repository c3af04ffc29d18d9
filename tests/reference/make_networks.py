"""Writes networks.json: outputs of torchvision's, timm's, transformers' and other networks with seeded weights.

Every tensor of a network is filled by a generator that starts from the tensor's NAME (`fill` below; the same as
`random` in src/graph/scope.rs with seed 0). So no weights need storing, and a network of ours gives the same outputs
only if it asks for the same names in the same shapes and computes the same function of them.

Made with torch 2.15, torchvision 0.29, timm 1.0.31, transformers 5.23, segmentation-models-pytorch 0.6:
    python tests/reference/make_networks.py
With names of cards behind it, it makes those alone anew and keeps the others.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np
import timm
import torch
import torchvision
from torch import nn
from transformers import (
    MobileNetV1Config,
    MobileNetV1ForImageClassification,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    MobileNetV2ForSemanticSegmentation,
    ResNetConfig,
    ResNetForImageClassification,
)

CLASSES = 12  # few, so that the file is small
KEPT = 32  # channels of the features that are stored
SIZE = (2, 3, 65, 72)  # odd and even, so that every rule of padding shows
CIFAR = (2, 3, 32, 32)
# Networks whose fully connected layers fix the size, and what their cards must be told of it.
SIZES = {"alexnet": (1, 3, 224, 224), "vgg11": CIFAR, "vgg16_bn": CIFAR, "wide_resnet50_2": (1, 3, 40, 33)}
ARCHS = {"vgg11": {"rows": 1}, "vgg16_bn": {"rows": 1}}


def fill(name, shape):
    """FNV-1a of the name starts SplitMix64; 24 bits of each word make a value in -1..1, which is scaled by its role."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.uint64(state) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = (z ^ (z >> np.uint64(31))) >> np.uint64(40)
    unit = z.astype(np.float32) / np.float32(2**23) - np.float32(1)
    last = name.rsplit(".", 1)[-1]
    if last == "running_var":
        center, spread = 1.0, 0.5
    elif last == "weight" and len(shape) == 1:
        center, spread = 1.0, 0.3
    elif last == "weight":
        center, spread = 0.0, np.sqrt(np.float32(5) / np.float32(np.prod(shape[1:])))
    else:
        center, spread = 0.0, 0.1
    return torch.from_numpy((np.float32(center) + np.float32(spread) * unit).reshape(shape))


def pixels(shape):
    i = np.arange(np.prod(shape), dtype=np.uint64)
    x = (i * np.uint64(2654435761) % np.uint64(2**32)).astype(np.float32) / np.float32(2**31) - np.float32(1)
    return torch.from_numpy(x.reshape(shape))


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm, activation."""

    def __init__(self, *conv, act=nn.ReLU(), **options):
        super().__init__(nn.Conv2d(*conv, bias=False, **options), nn.BatchNorm2d(conv[1]), act)


class Zeros(nn.Module):
    """Option A of the ResNet paper."""

    def __init__(self, more):
        super().__init__()
        self.more = more

    def forward(self, x):
        return nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))


class Block(nn.Module):
    """Two 3x3, or a bottleneck with the stride in its first 1x1, by torchvision's names."""

    def __init__(self, inputs, width, stride, bottleneck, zeros):
        super().__init__()
        out = 4 * width if bottleneck else width
        if bottleneck:
            shapes = [(inputs, width, 1, stride), (width, width, 3, 1), (width, out, 1, 1)]
        else:
            shapes = [(inputs, width, 3, stride), (width, width, 3, 1)]
        self.count = len(shapes)
        for k, (i, o, kernel, s) in enumerate(shapes, 1):
            setattr(self, f"conv{k}", nn.Conv2d(i, o, kernel, s, kernel // 2, bias=False))
            setattr(self, f"bn{k}", nn.BatchNorm2d(o))
        if stride == 1 and inputs == out:
            self.downsample = nn.Identity()
        elif zeros:
            self.downsample = Zeros(out - inputs)
        else:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = x
        for k in range(1, self.count + 1):
            y = getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(y))
            y = y if k == self.count else torch.relu(y)
        return torch.relu(y + self.downsample(x))


class SmallResNet(nn.Module):
    """The ResNets that no library has: CIFAR's, and the thin one with Caffe's pooling."""

    def __init__(self, depths, widths, stem, bottleneck=False, zeros=False, head="fc"):
        super().__init__()
        small = stem == 16
        self.conv1 = nn.Conv2d(3, stem, 3, 1, 1, bias=False) if small else nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.pool = nn.Identity() if small else nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2))
        inputs = stem
        self.stages = []
        for stage, (depth, width) in enumerate(zip(depths, widths), 1):
            blocks = []
            for i in range(depth):
                blocks.append(Block(inputs, width, 2 if stage > 1 and i == 0 else 1, bottleneck, zeros))
                inputs = 4 * width if bottleneck else width
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            self.stages.append(f"layer{stage}")
        self.head = head
        setattr(self, head, nn.Linear(inputs, CLASSES))

    def features(self, x):
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return x

    def forward(self, x):
        return getattr(self, self.head)(self.features(x).mean((2, 3)))


class RetinaMobileNet(nn.Module):
    """MobileNetV1 of width 0.25 with leaky ReLU, by the names of RetinaFace ports."""

    def __init__(self):
        super().__init__()
        act = nn.LeakyReLU(0.1)

        def separable(i, o, stride):
            return nn.Sequential(*ConvNorm(i, i, 3, stride, 1, groups=i, act=act), *ConvNorm(i, o, 1, act=act))

        rows = [(8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2)]
        rows += [(128, 128, 1)] * 5 + [(128, 256, 2), (256, 256, 1)]
        blocks = [separable(*row) for row in rows]
        self.stage1 = nn.Sequential(ConvNorm(3, 8, 3, 2, 1, act=act), *blocks[:5])
        self.stage2 = nn.Sequential(*blocks[5:11])
        self.stage3 = nn.Sequential(*blocks[11:])
        self.fc = nn.Linear(256, CLASSES)

    def features(self, x):
        return self.stage3(self.stage2(self.stage1(x)))

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


class Chain(nn.Module):
    """A chain of 3x3 convolutions that restores images, its layers at `places` (pairs of convolution and norm)."""

    def __init__(self, channels, places, width, output, dilations=None, bias=True, shuffle=1, sigma=None, eps=1e-5):
        super().__init__()
        self.places, self.answer, self.shuffle, self.sigma = places, output, shuffle, sigma
        inner = channels * shuffle**2
        widths = [inner + (sigma is not None)] + [width] * (len(places) - 1) + [inner]
        for i, (conv, norm) in enumerate(places):
            dilation = dilations[i] if dilations else 1
            put(self, conv, nn.Conv2d(widths[i], widths[i + 1], 3, 1, dilation, dilation, bias=bias))
            if norm:
                put(self, norm, nn.BatchNorm2d(width, eps=eps))

    def forward(self, image):
        x = nn.functional.pixel_unshuffle(image, self.shuffle)
        if self.sigma is not None:
            x = torch.cat([x, torch.full_like(x[:, :1], self.sigma / 255)], 1)
        for i, (conv, norm) in enumerate(self.places):
            x = self.get_submodule(conv)(x)
            x = self.get_submodule(norm)(x) if norm else x
            x = x if i + 1 == len(self.places) else torch.relu(x)
        x = nn.functional.pixel_shuffle(x, self.shuffle)
        return {"image": x, "noise": image - x, "detail": image + x}[self.answer]


def numbers(shape, tokens):
    i = np.arange(np.prod(shape), dtype=np.uint64)
    x = i * np.uint64(2654435761) % np.uint64(2**32) % np.uint64(tokens)
    return torch.from_numpy(x.astype(np.float32).reshape(shape))


def put(net, place, layer):
    *parents, name = place.split(".")
    for parent in parents:
        if not hasattr(net, parent):
            net.add_module(parent, nn.Module())
        net = getattr(net, parent)
    net.add_module(name, layer)


def sequence(name, depth, norms=False):
    if not norms:
        return [(f"{name}.{2 * i}", None) for i in range(depth)]
    place = [max(3 * i - 1, 0) for i in range(depth)]
    return [(f"{name}.{p}", f"{name}.{p + 1}" if 0 < i < depth - 1 else None) for i, p in enumerate(place)]


def deepinv(depth):
    return [("in_conv", None)] + [(f"conv_list.{i}", None) for i in range(depth - 2)] + [("out_conv", None)]


def vdsr(depth):
    return [("input", None)] + [(f"residual_layer.{i}.conv", None) for i in range(depth - 2)] + [("output", None)]


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        convs = [nn.Conv2d(width, width, 3, 1, 1, bias=False) for _ in range(2)]
        self.res = nn.Sequential(convs[0], nn.ReLU(), convs[1])

    def forward(self, x):
        return x + self.res(x)


class DRUNet(nn.Module):
    def __init__(self, channels, widths, blocks, sigma):
        super().__init__()
        self.sigma, self.levels = sigma, len(widths) - 1
        self.m_head = nn.Conv2d(channels + 1, widths[0], 3, 1, 1, bias=False)
        for level in range(self.levels):
            w, v = widths[level], widths[level + 1]
            down = [Residual(w) for _ in range(blocks)] + [nn.Conv2d(w, v, 2, 2, bias=False)]
            up = [nn.ConvTranspose2d(v, w, 2, 2, bias=False)] + [Residual(w) for _ in range(blocks)]
            setattr(self, f"m_down{level + 1}", nn.Sequential(*down))
            setattr(self, f"m_up{level + 1}", nn.Sequential(*up))
        self.m_body = nn.Sequential(*[Residual(widths[-1]) for _ in range(blocks)])
        self.m_tail = nn.Conv2d(widths[0], channels, 3, 1, 1, bias=False)

    def forward(self, x):
        x = self.m_head(torch.cat([x, torch.full_like(x[:, :1], self.sigma / 255)], 1))
        kept = [x]
        for level in range(self.levels):
            x = getattr(self, f"m_down{level + 1}")(x)
            kept.append(x)
        x = self.m_body(x)
        for level in reversed(range(self.levels)):
            x = getattr(self, f"m_up{level + 1}")(x + kept[level + 1])
        return self.m_tail(x + kept[0])


def pixelwise(name):
    net = getattr(torchvision.models.segmentation, name)(weights=None, weights_backbone=None, num_classes=CLASSES)
    return net, None


def of_smp(kind, encoder, stride):
    import segmentation_models_pytorch as smp

    return getattr(smp, kind)(encoder, encoder_weights=None, encoder_output_stride=stride, classes=CLASSES), None


class Upsampled(nn.Module):
    """transformers' logits, resized as its image processor does."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return nn.functional.interpolate(self.net(x).logits, x.shape[2:], mode="bilinear", align_corners=False)

    def state_dict(self):
        # The last convolution of the backbone is not read.
        return {n: t for n, t in self.net.state_dict().items() if "mobilenet_v2.conv_1x1" not in n}


def upsampled(stride):
    config = MobileNetV2Config(num_labels=CLASSES, output_stride=stride)
    return Upsampled(MobileNetV2ForSemanticSegmentation(config)), None


def vision(name, **options):
    net = getattr(torchvision.models, name)(num_classes=CLASSES, **options)
    parts = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
    features = net.features if hasattr(net, "features") else nn.Sequential(*[getattr(net, part) for part in parts])
    return net, features


def squeezenet(name):
    net = getattr(torchvision.models, name)(num_classes=CLASSES)
    return net, lambda x: net.classifier[:3](net.features(x))


def densenet(name):
    net = getattr(torchvision.models, name)(num_classes=CLASSES)
    return net, lambda x: torch.relu(net.features(x))


class DenseLayer(nn.Module):
    """A layer of a dense block."""

    def __init__(self, inputs, growth):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False)

    def forward(self, x):
        y = self.conv1(torch.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(torch.relu(self.norm2(y)))], 1)


class SmallDenseNet(nn.Module):
    """The DenseNet of trained ternary quantisation, for 56x56 pixels."""

    def __init__(self, depths=(8, 12, 10), growth=12, width=48):
        super().__init__()
        put(self, "features.conv0", nn.Conv2d(3, width, 3, 1, 1, bias=False))
        put(self, "features.norm0", nn.BatchNorm2d(width))
        for block, depth in enumerate(depths, 1):
            for layer in range(1, depth + 1):
                put(self, f"features.denseblock{block}.denselayer{layer}", DenseLayer(width, growth))
                width += growth
            last = block == len(depths)
            put(self, f"features.norm{block + 1}" if last else f"features.transition{block}.norm", nn.BatchNorm2d(width))
            if not last:
                put(self, f"features.transition{block}.conv", nn.Conv2d(width, width // 2, 1, bias=False))
                width //= 2
        self.blocks = len(depths)
        self.classifier = nn.Linear(width, CLASSES)

    def pooled(self, x):
        net = self.features
        x = nn.functional.max_pool2d(torch.relu(net.norm0(net.conv0(x))), 3, 2, 1)
        for block in range(1, self.blocks + 1):
            for layer in net.get_submodule(f"denseblock{block}").children():
                x = layer(x)
            if block < self.blocks:
                at = net.get_submodule(f"transition{block}")
                x = nn.functional.avg_pool2d(at.conv(torch.relu(at.norm(x))), 2)
        return torch.relu(net.get_submodule(f"norm{self.blocks + 1}")(x))

    def forward(self, x):
        return self.classifier(self.pooled(x).mean((2, 3)))


def small_densenet():
    net = SmallDenseNet()
    return net, net.pooled


class XTrans(nn.Module):
    """demosaicnet's network for X-Trans mosaics."""

    def __init__(self, depth, width):
        super().__init__()
        for i in range(1, depth + 1):
            put(self, f"main_processor.conv{i}", nn.Conv2d(3 if i == 1 else width, width, 3))
        put(self, "fullres_processor.post_conv", nn.Conv2d(3 + width, width, 3))
        put(self, "fullres_processor.output", nn.Conv2d(width, 3, 1))
        self.depth = depth

    def forward(self, mosaic):
        x = mosaic
        for layer in self.main_processor.children():
            x = torch.relu(layer(x))
        middle = mosaic[..., self.depth : -self.depth, self.depth : -self.depth]
        full = self.fullres_processor
        return full.output(torch.relu(full.post_conv(torch.cat([middle, x], 1))))


def googlenet():
    net = torchvision.models.googlenet(num_classes=CLASSES, aux_logits=False, init_weights=False)
    names = [name for name, _ in net.named_children() if name not in ("aux1", "aux2", "avgpool", "dropout", "fc")]
    return net, nn.Sequential(*[getattr(net, name) for name in names])


def vgg(name):
    """For 32x32 pixels, of which the last pooling leaves one."""
    net = getattr(torchvision.models, name)(num_classes=CLASSES)
    net.avgpool = nn.Identity()
    net.classifier[0] = nn.Linear(512, 4096)
    return net, None


def of_timm(name):
    net = timm.create_model(name, num_classes=CLASSES)
    return net, net.forward_features


def of_transformers(kind, config, **options):
    net = kind(config(num_labels=CLASSES, **options))
    return net, lambda x: net.base_model(x).last_hidden_state


def of_ours(net):
    return net, net.features


def resnet(**options):
    return of_transformers(ResNetForImageClassification, ResNetConfig, **options)


BASIC = {"layer_type": "basic", "depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512]}
V1, V2 = (MobileNetV1ForImageClassification, MobileNetV1Config), (MobileNetV2ForImageClassification, MobileNetV2Config)

# Card, naming, network and its features before pooling.
CASES = [
    ("resnet18", "torchvision", lambda: vision("resnet18")),
    ("resnet50", "torchvision", lambda: vision("resnet50")),
    ("resnet-18", "transformers", lambda: resnet(**BASIC)),
    ("resnet-50", "transformers", lambda: resnet()),
    ("resnet50-v1", "transformers", lambda: resnet(downsample_in_bottleneck=True)),
    ("resnet18d", "timm", lambda: of_timm("resnet18d")),
    ("resnet50d", "timm", lambda: of_timm("resnet50d")),
    ("resnet20-cifar", "torchvision", lambda: of_ours(SmallResNet([3] * 3, [16, 32, 64], 16, zeros=True, head="linear"))),
    ("resnet20-distiller", "torchvision", lambda: of_ours(SmallResNet([3] * 3, [16, 32, 64], 16))),
    (
        "resnet50-thin-opennsfw",
        "torchvision",
        lambda: of_ours(SmallResNet([3, 4, 6, 3], [32, 64, 128, 256], 64, bottleneck=True)),
    ),
    ("alexnet", "torchvision", lambda: (torchvision.models.alexnet(num_classes=CLASSES), None)),
    ("vgg11", "torchvision", lambda: vgg("vgg11")),
    ("vgg16_bn", "torchvision", lambda: vgg("vgg16_bn")),
    ("googlenet", "torchvision", lambda: googlenet()),
    ("squeezenet1_0", "torchvision", lambda: squeezenet("squeezenet1_0")),
    ("squeezenet1_1", "torchvision", lambda: squeezenet("squeezenet1_1")),
    ("densenet121", "torchvision", lambda: densenet("densenet121")),
    ("mobilenetv1_100", "timm", lambda: of_timm("mobilenetv1_100")),
    ("mobilenetv1_100h", "timm", lambda: of_timm("mobilenetv1_100h")),
    ("mobilenet_v1_1.0_224", "transformers", lambda: of_transformers(*V1)),
    ("mobilenet_v1_0.75_192", "transformers", lambda: of_transformers(*V1, depth_multiplier=0.75)),
    ("mobilenetv1-0.25-retinaface", "retinaface", lambda: of_ours(RetinaMobileNet())),
    ("mobilenet_v2", "torchvision", lambda: vision("mobilenet_v2")),
    ("mobilenetv2_100", "timm", lambda: of_timm("mobilenetv2_100")),
    ("mobilenetv2_110d", "timm", lambda: of_timm("mobilenetv2_110d")),
    ("mobilenet_v2_1.0_224", "transformers", lambda: of_transformers(*V2)),
    ("mobilenet_v2_0.35_96", "transformers", lambda: of_transformers(*V2, depth_multiplier=0.35)),
    ("mobilenet_v3_small", "torchvision", lambda: vision("mobilenet_v3_small")),
    ("mobilenet_v3_large", "torchvision", lambda: vision("mobilenet_v3_large")),
    ("mobilenetv3_small_100", "timm", lambda: of_timm("mobilenetv3_small_100")),
    ("mobilenetv3_small_050", "timm", lambda: of_timm("mobilenetv3_small_050")),
    ("mobilenetv3_large_100", "timm", lambda: of_timm("mobilenetv3_large_100")),
    ("tf_mobilenetv3_small_100", "timm", lambda: of_timm("tf_mobilenetv3_small_100")),
    ("tf_mobilenetv3_large_100", "timm", lambda: of_timm("tf_mobilenetv3_large_100")),
    ("tf_mobilenetv3_large_minimal_100", "timm", lambda: of_timm("tf_mobilenetv3_large_minimal_100")),
    ("wide_resnet50_2", "torchvision", lambda: vision("wide_resnet50_2")),
    ("resnext50_32x4d", "torchvision", lambda: vision("resnext50_32x4d")),
    ("seresnet50", "torchvision", lambda: of_timm("seresnet50")),
    ("efficientnet_b0", "timm", lambda: of_timm("efficientnet_b0")),
    ("efficientnet_b0", "torchvision", lambda: vision("efficientnet_b0")),
    ("efficientnet_b2", "timm", lambda: of_timm("efficientnet_b2")),
    ("efficientnet_lite0", "timm", lambda: of_timm("efficientnet_lite0")),
    ("mobilenetv4_conv_small", "timm", lambda: of_timm("mobilenetv4_conv_small")),
    ("densenet_ternary", "torchvision", lambda: small_densenet()),
]

class Language(nn.Module):
    """Embedding, LSTM, decoder under any names."""

    def __init__(self, names, tokens, embedding, hidden, layers, both=False, tied=False, projection=0):
        super().__init__()
        self.names = names
        put(self, names[0], nn.Embedding(tokens, embedding))
        put(self, names[1], nn.LSTM(embedding, hidden, layers, bidirectional=both, proj_size=projection, batch_first=True))
        put(self, names[2], nn.Linear((projection or hidden) * (2 if both else 1), tokens))
        self.tied = tied

    def forward(self, ids):
        embedding, lstm, decoder = [self.get_submodule(name) for name in self.names]
        x, _ = lstm(embedding(ids.flatten(1).long()))
        logits = nn.functional.linear(x, embedding.weight, decoder.bias) if self.tied else decoder(x)
        return logits.transpose(1, 2)

    def state_dict(self):
        hidden = self.names[2] + ".weight" if self.tied else None
        return {name: tensor for name, tensor in super().state_dict().items() if name != hidden}


class Awd(nn.Module):
    """fastai's names: the recurrent weights stand beside the modules."""

    def __init__(self, tokens, embedding, hidden):
        super().__init__()
        put(self, "0.encoder", nn.Embedding(tokens, embedding))
        sizes = [embedding] + hidden + [embedding]
        self.layers = len(hidden) + 1
        for i in range(self.layers):
            put(self, f"0.rnns.{i}.module", nn.LSTM(sizes[i], sizes[i + 1], batch_first=True))
            raw = nn.Parameter(torch.zeros(4 * sizes[i + 1], sizes[i + 1]))
            self.get_submodule(f"0.rnns.{i}").register_parameter("weight_hh_l0_raw", raw)
        put(self, "1.decoder", nn.Linear(embedding, tokens))

    def forward(self, ids):
        x = self.get_submodule("0.encoder")(ids.flatten(1).long())
        for i in range(self.layers):
            at = self.get_submodule(f"0.rnns.{i}")
            at.module.weight_hh_l0.data.copy_(at.weight_hh_l0_raw)
            x, _ = at.module(x)
        return self.get_submodule("1.decoder")(x).transpose(1, 2)

    def state_dict(self):
        return {n: t for n, t in super().state_dict().items() if not n.endswith("module.weight_hh_l0")}


class Tagger(nn.Module):
    def __init__(self, tokens, embedding, hidden, middle, classes):
        super().__init__()
        self.embedding = nn.Embedding(tokens, embedding)
        self.lstm = nn.LSTM(embedding, hidden, bidirectional=True, batch_first=True)
        self.logit_layer = nn.Sequential(nn.Linear(2 * hidden, middle), nn.ReLU(), nn.Linear(middle, classes))

    def forward(self, ids):
        x, _ = self.lstm(self.embedding(ids.flatten(1).long()))
        return self.logit_layer(x).transpose(1, 2)


GREY, SMALL = (1, 1, 40, 48), (1, 3, 40, 48)
DILATIONS = [1, 2, 3, 4, 3, 2, 1]
# Networks whose outputs are images or maps: card, naming, input, network, what its card must be told. Every 53rd value is
# stored.
DENSE = [
    ("dncnn_gray", "kair", GREY, lambda: Chain(1, sequence("model", 17), 64, "noise"), {}),
    ("dncnn_gray_blind_bn", "saoyan", GREY, lambda: Chain(1, sequence("dncnn", 20, True), 64, "noise", bias=False), {}),
    ("dncnn_sigma2_color", "deepinv", SMALL, lambda: Chain(3, deepinv(20), 64, "detail"), {}),
    ("fdncnn_color", "kair", SMALL, lambda: Chain(3, sequence("model", 20), 64, "image", sigma=25), {}),
    ("ircnn_gray", "kair", GREY, lambda: Chain(1, sequence("model", 7), 64, "noise", DILATIONS), {}),
    ("ffdnet_color", "kair", SMALL, lambda: Chain(3, sequence("model", 12), 96, "image", shuffle=2, sigma=15), {"sigma": 15.0}),
    ("vdsr", "vdsr", GREY, lambda: Chain(1, vdsr(20), 64, "detail", bias=False), {}),
    ("drunet_gray", "kair", GREY, lambda: DRUNet(1, [64, 128, 256, 512], 4, 25), {}),
    ("drunet_color", "kair", SMALL, lambda: DRUNet(3, [32, 48, 64], 2, 40), {"widths": [32, 48, 64], "blocks": 2, "sigma": 40.0}),
    ("demosaicnet_xtrans", "demosaicnet", (1, 3, 36, 40), lambda: XTrans(11, 64), {}),
    ("demosaicnet_xtrans", "demosaicnet", (1, 3, 24, 30), lambda: XTrans(5, 24), {"depth": 5, "width": 24}),
    ("fcn_resnet50", "torchvision", (1, 3, 65, 72), lambda: pixelwise("fcn_resnet50"), {}),
    ("deeplabv3_resnet50", "torchvision", (1, 3, 65, 72), lambda: pixelwise("deeplabv3_resnet50"), {}),
    ("deeplabv3_mobilenet_v3_large", "torchvision", (1, 3, 65, 72), lambda: pixelwise("deeplabv3_mobilenet_v3_large"), {}),
    ("deeplabv3_mobilenet_v2_1.0_513", "transformers", (1, 3, 65, 72), lambda: upsampled(8), {}),
    ("deeplabv3_mobilenet_v2_1.0_513", "transformers", (1, 3, 70, 65), lambda: upsampled(16), {"output_stride": 16}),
    ("smp_deeplabv3_resnet34", "smp", (1, 3, 64, 80), lambda: of_smp("DeepLabV3", "resnet34", 8), {}),
    ("smp_deeplabv3plus_resnet18", "smp", (1, 3, 64, 80), lambda: of_smp("DeepLabV3Plus", "resnet18", 16), {}),
    ("smp_deeplabv3plus_resnet50", "smp", (1, 3, 64, 80), lambda: of_smp("DeepLabV3Plus", "resnet50", 16), {}),
    ("smp_deeplabv3plus_mobilenet_v2", "smp", (1, 3, 64, 80), lambda: of_smp("DeepLabV3Plus", "mobilenet_v2", 16), {}),
]
WORDS = (2, 1, 1, 21)  # two sequences of 21 tokens
EXAMPLE, PLAIN, CLMBR = ["encoder", "rnn", "decoder"], ["embedding", "lstm", "fc"], ["embedding", "recurrent", "lm_head"]


def words(tokens, embedding, hidden, **more):
    return {"vocabulary": tokens, "embedding": embedding, "hidden": hidden, **more}


DENSE += [
    ("lstm_650", "pytorch", WORDS, lambda: Language(EXAMPLE, 300, 40, 50, 1), words(300, 40, [50])),
    ("lstm_650", "pytorch", WORDS, lambda: Language(EXAMPLE, 300, 33, 48, 2), words(300, 33, [48, 48])),
    ("lstm_650", "pytorch", WORDS, lambda: Language(EXAMPLE, 300, 16, 19, 3), words(300, 16, [19] * 3)),
    ("lstm_ptb", "lstm", WORDS, lambda: Language(PLAIN, 200, 20, 31, 2, both=True), words(200, 20, [31] * 2, bidirectional=True)),
    ("lstm_650", "pytorch", WORDS, lambda: Language(EXAMPLE, 300, 20, 37, 2, projection=9), words(300, 20, [37] * 2, projection=9)),
    ("lstm_ptb", "lstm", WORDS, lambda: Language(PLAIN, 200, 20, 24, 2, both=True, projection=17), words(200, 20, [24] * 2, bidirectional=True, projection=17)),
    ("full-lstm-0", "clmbr", WORDS, lambda: Language(CLMBR, 250, 64, 64, 2, tied=True), words(250, 64, [64] * 2)),
    ("awd_lstm", "fastai", WORDS, lambda: Awd(250, 24, [70, 70]), words(250, 24, [70, 70, 24], tied=False)),
    ("g2pm", "g2pm", WORDS, lambda: Tagger(400, 64, 32, 32, 90), words(400, 64, [32], classes=90)),
]
STEP = 53
RESTORE = ("demosaicnet", "dncnn", "fdncnn", "ircnn", "ffdnet", "vdsr", "drunet")


def main():
    path = pathlib.Path(__file__).parent / "networks.json"
    wanted, rows = sys.argv[1:], []
    if wanted:
        rows = [row for row in json.loads(path.read_text()) if row["card"] not in wanted]
    classes = {"classes": CLASSES}
    cases = [(card, naming, None, make, ARCHS.get(card, {}), 1) for card, naming, make in CASES]
    for card, naming, size, make, arch, step in cases + [(*case, STEP) for case in DENSE]:
        if wanted and card not in wanted:
            continue
        made = make()
        net, features = made if isinstance(made, tuple) else (made, None)
        net.eval()
        state = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith("num_batches_tracked")}
        for name, tensor in state.items():
            tensor.copy_(fill(name, tuple(tensor.shape)))
        listing = "".join(f"{name} {list(state[name].shape)}\n" for name in sorted(state))
        tokens = arch.get("vocabulary", 0)
        x = numbers(size, tokens) if tokens else pixels(size or SIZES.get(card, CIFAR if card.startswith("resnet20") else SIZE))
        with torch.no_grad():
            logits = net(x)
            logits = logits["out"] if isinstance(logits, dict) and "out" in logits else logits
            logits = logits if isinstance(logits, torch.Tensor) else logits.logits
            logits = logits.flatten()[::step] if step > 1 else logits
            pooled = features(x).mean((2, 3))[:, :KEPT] if features else torch.zeros(0)
        print(f"{card:34} logits {logits.std():9.3g}")
        assert logits.isfinite().all()
        rows.append(
            {
                "card": card,
                "naming": naming,
                "input": list(x.shape),
                "step": step,
                "tensors": len(state),
                "names_sha256": hashlib.sha256(listing.encode()).hexdigest(),
                "logits": [float(f"{v:.8g}") for v in logits.flatten().tolist()],
                "features": [float(f"{v:.8g}") for v in pooled.flatten().tolist()],
                "arch": {**arch, **({} if card.startswith(RESTORE) or tokens else classes)},
                **({"vocabulary": tokens} if tokens else {}),
            }
        )
    lines = ",\n".join(json.dumps(row) for row in rows)
    path.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
