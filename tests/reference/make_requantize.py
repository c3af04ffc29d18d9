"""A convolution of 8-bit integers by PyTorch's quantised kernels, whose rounding is that of ONNX Runtime and XNNPACK.

Run as `python make_requantize.py > requantize.json` with torch 2.15 on a CPU with AVX-512 VNNI: without it, fbgemm's
16-bit pairs may saturate.
"""

import json
import sys

import torch


def main():
    torch.manual_seed(7)
    torch.backends.quantized.engine = "fbgemm"
    x = torch.randint(0, 256, (2, 5, 9, 8), dtype=torch.uint8)
    w = torch.randint(-127, 128, (20, 5, 3, 3), dtype=torch.int8)
    x_scale, x_zero, y_scale, y_zero = 0.021, 117, 0.37, 98
    w_scales = torch.rand(20, dtype=torch.float64) * 0.02 + 0.001
    bias = torch.randn(20)
    qx = torch._make_per_tensor_quantized_tensor(x, x_scale, x_zero)
    qw = torch._make_per_channel_quantized_tensor(w, w_scales, torch.zeros(20, dtype=torch.int64), 0)
    packed = torch.ops.quantized.conv2d_prepack(qw, bias, [2, 1], [1, 2], [1, 1], 1)
    y = torch.ops.quantized.conv2d(qx, packed, y_scale, y_zero).int_repr()
    # fbgemm rounds the bias to the scale of the sums.
    sums = (bias / (x_scale * w_scales).float()).round().to(torch.int32)
    numbers = {
        "x": x.flatten(), "w": w.flatten(), "bias": sums, "w_scales": w_scales.float(), "y": y.flatten(),
    }
    scalars = {"x_scale": x_scale, "x_zero": x_zero, "y_scale": y_scale, "y_zero": y_zero, "y_shape": list(y.shape)}
    json.dump(scalars | {name: value.tolist() for name, value in numbers.items()}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
