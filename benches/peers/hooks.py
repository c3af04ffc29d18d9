"""What measuring costs a user of PyTorch: forward pre-hooks that take the same statistics of what each layer reads.

Of the input of each convolution and linear layer, in 16-bit fixed point: zeros, non-zeros of each channel, widths of
values and of groups of 16, 64 and 256, ones, signed digits, and how often each code comes. An LSTM shows its hooks its
inputs only.
"""

import torch

SCALE = 4096.0
CODES = torch.arange(1 << 15, dtype=torch.int32)


def ones(values):
    count = torch.zeros_like(values)
    for bit in range(17):
        count += values >> bit & 1
    return count.to(torch.uint8)


ONES = ones(CODES)
DIGITS = ones(CODES ^ (3 * CODES))
WIDTHS = sum((CODES >> bit > 0).to(torch.uint8) for bit in range(15))
FOUND = {}


def measure(name, x):
    codes = (x * SCALE).round_().clamp_(-32767, 32767).to(torch.int32)
    if codes.dim() == 4:
        codes = codes.permute(0, 2, 3, 1)
    codes = codes.reshape(-1, codes.shape[-1])
    sizes = codes.abs()
    widths = WIDTHS[sizes]
    groups = torch.nn.functional.pad(widths, (0, -widths.shape[1] % 16)).reshape(widths.shape[0], -1, 16).amax(2)
    found = {"zeros": int((sizes == 0).sum()), "channels": (sizes != 0).sum(0)}
    found["widths"] = torch.bincount(widths.reshape(-1), minlength=17)
    for columns in (1, 4, 16):
        rows = torch.nn.functional.pad(groups, (0, 0, 0, -groups.shape[0] % columns))
        maxima = rows.reshape(-1, columns, rows.shape[1]).amax(1)
        found[f"groups of {16 * columns}"] = torch.bincount(maxima.reshape(-1), minlength=17)
    found["ones"], found["digits"] = (int(table[sizes].sum(dtype=torch.int64)) for table in (ONES, DIGITS))
    found["codes"] = torch.bincount(codes.reshape(-1) + 32768, minlength=1 << 16)
    FOUND[name] = found


def attach(net):
    for name, layer in net.named_modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear, torch.nn.LSTM)):
            layer.register_forward_pre_hook(lambda _, inputs, name=name: measure(name, inputs[0].detach()))
