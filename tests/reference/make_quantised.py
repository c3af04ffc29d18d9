"""A small MobileNetV2 as PyTorch stores it quantised, the same in our own layout, and one of 4-bit weights, with PyTorch's outputs.

    python tests/reference/make_quantised.py        (torch, torchvision, safetensors, numpy)

Writes tests/reference/quantised/{torch.pth,ours.safetensors,bits4.safetensors} and tests/reference/quantised.json.
"""

import copy
import json
import pathlib
import warnings

import numpy as np
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "quantised"
SIZE, CLASSES = 32, 5
SETTING = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 1, 2], [6, 64, 1, 2], [6, 96, 1, 1], [6, 160, 1, 2], [6, 320, 1, 1]]


def images(first, count):
    """Values k / 255, as make_onnx.py has them."""
    i = np.arange(3 * SIZE * SIZE, dtype=np.uint32)
    rows = [((i * np.uint32(2654435761) + np.uint32(n * 40503)) >> np.uint32(13)) % 256 for n in range(first, first + count)]
    return torch.from_numpy((np.stack(rows).reshape(count, 3, SIZE, SIZE) / np.float32(255)).astype(np.float32))


def layers(net):
    """Modules with quantised weights, by name."""
    return {name: module for name, module in net.named_modules() if hasattr(module, "weight") and callable(module.weight)}


def main():
    torch.manual_seed(3)
    net = torchvision.models.quantization.mobilenetv2.QuantizableMobileNetV2(
        num_classes=CLASSES, width_mult=0.1, inverted_residual_setting=SETTING, dropout=0.0,
        block=torchvision.models.quantization.mobilenetv2.QuantizableInvertedResidual,
    )
    for child in net.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.weight.data.uniform_(0.8, 1.4)
            child.bias.data.normal_(0, 0.3)
            child.running_mean.normal_(0, 0.2)
            child.running_var.uniform_(0.2, 0.6)
    net.classifier[1].weight.data.normal_(0, 0.1)
    torchvision.models.quantization.utils._replace_relu(net)
    net.eval()
    net.fuse_model()
    plain = copy.deepcopy(net)
    torch.backends.quantized.engine = "fbgemm"
    net.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")
    torch.ao.quantization.prepare(net, inplace=True)
    for n in range(16):
        net(images(100 + n, 1))
    torch.ao.quantization.convert(net, inplace=True)
    # The first bias is of whole sums, so that it is the same number as an integer.
    conv, scale = net.features[0][0], net.quant.scale.float()
    product = (scale * conv.weight().q_per_channel_scales().float()).float()
    conv.set_weight_bias(conv.weight(), (conv.bias().detach() / product).round() * product)
    FOLDER.mkdir(exist_ok=True)
    torch.save(net.state_dict(), FOLDER / "torch.pth")
    reference = {"torch": [net(images(n, 1)).ravel().tolist() for n in range(4)]}

    # The same integers in our layout.
    ours = {}
    state = net.state_dict()
    for name, module in layers(net).items():
        weight, bias = module.weight(), module.bias()
        ours[f"{name}.weight"] = weight.int_repr().contiguous()
        ours[f"{name}.weight_scale"] = weight.q_per_channel_scales().float()
        ours[f"{name}.bias"] = bias.detach().float()
        ours[f"{name}.output_scale"] = torch.tensor(module.scale, dtype=torch.float32)
        ours[f"{name}.output_zero_point"] = torch.tensor(module.zero_point, dtype=torch.int32)
    for name in [name for name in state if name.endswith("skip_add.scale")]:
        block = name.removesuffix(".skip_add.scale")
        if net.get_submodule(block).use_res_connect:
            ours[f"{block}.add.output_scale"] = state[name].reshape(()).float()
            ours[f"{block}.add.output_zero_point"] = state[f"{block}.skip_add.zero_point"].reshape(()).int()
    first = "features.0.0"
    scale = state["quant.scale"].reshape(()).float()
    ours[f"{first}.input_scale"] = scale
    ours[f"{first}.input_zero_point"] = state["quant.zero_point"].reshape(()).int()
    sums = ours[f"{first}.bias"].double() / (scale * ours[f"{first}.weight_scale"]).double()
    ours[f"{first}.bias"] = sums.round().int()
    save_file(ours, FOLDER / "ours.safetensors", metadata={"quant.format_version": "1", "quant.act_dtype": "u8"})

    # Weights alone, of 4 bits: a scale for each half of a filter where it has one, else one a filter.
    bits4 = {}
    for name, module in plain.named_modules():
        if not isinstance(module, (nn.Conv2d, nn.Linear)):
            continue
        weight = module.weight.data
        filters = weight.shape[0]
        parts = 2 if weight[0].numel() % 2 == 0 else 1
        flat = weight.reshape(filters, parts, -1)
        scales = flat.abs().amax(2) / 7
        codes = (flat / scales[..., None]).round().clamp(-8, 7)
        bits4[f"{name}.weight"] = codes.reshape(weight.shape).to(torch.int8).contiguous()
        bits4[f"{name}.weight_scale"] = scales.contiguous()
        bits4[f"{name}.bias"] = module.bias.data
        module.weight.data = (codes * scales[..., None]).reshape(weight.shape)
    # Our network ends its layers in ReLU6, as the float one does.
    for module in plain.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.ReLU6())
    renamed = {}
    for name, value in bits4.items():
        # Fused modules keep their convolution as child 0.
        layer, _, part = name.rpartition(".")
        module = plain.get_submodule(layer.rpartition(".")[0]) if "." in layer else None
        fused = isinstance(module, torch.ao.nn.intrinsic.modules.fused._FusedModule)
        renamed[f"{layer.rpartition('.')[0] if fused else layer}.{part}"] = value
    save_file(renamed, FOLDER / "bits4.safetensors")
    reference["bits4"] = [plain(images(n, 1)).ravel().tolist() for n in range(4)]
    (HERE / "quantised.json").write_text(json.dumps(reference, separators=(",", ":")) + "\n")
    for path in sorted(FOLDER.iterdir()):
        print(path.name, path.stat().st_size)
    print(reference)


main()
