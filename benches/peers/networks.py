"""The networks that all engines run: torchvision's, and three written out here. Weights are random but seeded."""

import torch
import torch.nn as nn
from torch.nn.init import kaiming_normal_
from torchvision import models


class DnCNN(nn.Module):
    """17 layers of 64 channels, batch norm merged; returns the image less the noise it finds."""

    def __init__(self, depth=17, width=64):
        super().__init__()
        layers = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, x):
        return x - self.model(x)


class Language(nn.Module):
    """Embedding, two LSTM layers, decoder: PyTorch's word_language_model."""

    def __init__(self, hidden, words=10_000):
        super().__init__()
        self.encoder = nn.Embedding(words, hidden)
        self.rnn = nn.LSTM(hidden, hidden, 2, batch_first=True)
        self.decoder = nn.Linear(hidden, words)

    def forward(self, tokens):
        return self.decoder(self.rnn(self.encoder(tokens))[0])


def deeplab_mobilenet():
    """DeepLabV3 on a MobileNetV2 of output stride 16, without the backbone's last convolution."""
    features = models.mobilenet_v2().features[:-1]
    for index, block in enumerate(features):
        for layer in block.modules():
            if isinstance(layer, nn.Conv2d) and layer.groups > 1 and index >= 14:
                layer.stride = (1, 1)
                if index > 14:
                    layer.dilation = layer.padding = (2, 2)
    head = models.segmentation.deeplabv3.DeepLabHead(320, 21, (6, 12, 18))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.classifier = nn.Module(), head
            self.backbone.features = features

        def forward(self, x):
            y = self.classifier(self.backbone.features(x))
            return nn.functional.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)

    return Net()


class Logits(nn.Module):
    """A segmentation network of torchvision that returns its logits alone."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)["out"]


def deeplab_resnet():
    return Logits(models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21))


def image(size, channels=3):
    return lambda batch: (batch, channels, size, size)


def text(batch):
    return (batch, 35)


# Name: how it is made, the shape of its input, the card that deadweight reads its weights by.
NETWORKS = {
    "resnet18": (models.resnet18, image(224), "resnet18.tv_in1k"),
    "resnet50": (models.resnet50, image(224), "resnet50.tv_in1k"),
    "mobilenetv2": (models.mobilenet_v2, image(224), "mobilenet_v2"),
    "mobilenetv3": (models.mobilenet_v3_large, image(224), "mobilenet_v3_large"),
    "deeplab-mobilenetv2": (deeplab_mobilenet, image(513), "deeplab-mobilenetv2.toml"),
    "deeplab-resnet50": (deeplab_resnet, image(513), "deeplabv3_resnet50"),
    "dncnn": (DnCNN, image(512, 1), "dncnn_gray"),
    "lstm650": (lambda: Language(650), text, "lstm_650"),
    "lstm1500": (lambda: Language(1500), text, "lstm_1500"),
    "mobilenetv2-int8": (models.mobilenet_v2, image(224), None),
}


def build(name):
    """The network in evaluation mode; norms are far from the identity, and activations neither die nor explode."""
    torch.manual_seed(7)
    net = NETWORKS[name][0]()
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            kaiming_normal_(layer.weight, nonlinearity="relu")
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.8, 1.2)
            layer.weight.data.uniform_(0.6, 1.0)
            layer.bias.data.normal_(0, 0.1)
    return net.eval()


def multiply_accumulates(net, x):
    """MACs of one run, every tap of every output counted."""
    total = 0

    def count(layer, inputs, output):
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            total += output.numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            total += output.numel() * layer.in_features
        else:
            steps = inputs[0].shape[0] * inputs[0].shape[1]
            total += steps * sum(w.numel() for name, w in layer.named_parameters() if "weight" in name)

    kinds = (nn.Conv2d, nn.Linear, nn.LSTM)
    hooks = [layer.register_forward_hook(count) for layer in net.modules() if isinstance(layer, kinds)]
    with torch.inference_mode():
        net(x)
    for hook in hooks:
        hook.remove()
    return total
