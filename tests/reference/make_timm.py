"""Makes timm.json: the start of the SHA-256 of the pixels that timm's evaluation transforms make of pictures given by a formula.
Needs pillow and numpy.

The rules are those of timm 1.0.31 (`transforms_imagenet_eval`, `ResizeKeepRatio`, `CenterCropOrPad`) and torchvision (`Resize`,
`CenterCrop`), written out on Pillow, which does their resizing and padding. Run from anywhere: python make_timm.py
"""

import hashlib
import json
import math
import pathlib

import numpy as np
from PIL import Image, ImageOps

FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
MEANS = {3: [0.485, 0.456, 0.406], 1: [0.5]}
PICTURES = [(64, 64), (50, 80), (80, 50), (31, 97), (7, 9)]
INPUTS = [(32, 32), (24, 40), (40, 24), (33, 32)]


def picture(h, w, c):
    y, x, k = np.meshgrid(np.arange(h), np.arange(w), np.arange(c), indexing="ij")
    return ((11 * x * x + 37 * y + 5 * x * y + 90 * k) // 16 % 256).astype(np.uint8)


def shortest_edge(image, size, resample):
    """torchvision's Resize to one number."""
    w, h = image.size
    short, long = (w, h) if w <= h else (h, w)
    new_short, new_long = size, int(size * long / short)
    new_w, new_h = (new_short, new_long) if w <= h else (new_long, new_short)
    return image.resize((new_w, new_h), resample)


def keep_ratio(image, size, longest, resample):
    """timm's ResizeKeepRatio."""
    img_h, img_w = image.size[1], image.size[0]
    ratio_h, ratio_w = img_h / size[0], img_w / size[1]
    ratio = max(ratio_h, ratio_w) * longest + min(ratio_h, ratio_w) * (1.0 - longest)
    new_h, new_w = [round(x * 1.0 / ratio) for x in (img_h, img_w)]
    return image.resize((new_w, new_h), resample)


def crop_or_pad(image, size, fill):
    """torchvision's CenterCrop (fill 0), timm's CenterCropOrPad."""
    crop_h, crop_w = size
    w, h = image.size
    if crop_w > w or crop_h > h:
        border = ((crop_w - w) // 2 if crop_w > w else 0, (crop_h - h) // 2 if crop_h > h else 0,
                  (crop_w - w + 1) // 2 if crop_w > w else 0, (crop_h - h + 1) // 2 if crop_h > h else 0)
        image = ImageOps.expand(image, border, fill if image.mode == "RGB" else fill[0])
        w, h = image.size
    top, left = int(round((h - crop_h) / 2.0)), int(round((w - crop_w) / 2.0))
    return image.crop((left, top, left + crop_w, top + crop_h))


def transformed(image, size, crop_pct, crop_mode, resample, mean):
    scale = tuple(math.floor(x / crop_pct) for x in size)
    black = (0,) * len(mean)
    if crop_mode == "squash":
        return crop_or_pad(image.resize((scale[1], scale[0]), resample), size, black)
    if crop_mode == "border":
        fill = tuple(round(255 * v) for v in mean)
        return crop_or_pad(keep_ratio(image, scale, 1.0, resample), size, fill)
    if scale[0] == scale[1]:
        return crop_or_pad(shortest_edge(image, scale[0], resample), size, black)
    return crop_or_pad(keep_ratio(image, scale, 0.0, resample), size, black)


cases = []
for number, (mode, pct, size, (h, w)) in enumerate(
        (mode, pct, size, shape) for mode in ("center", "squash", "border") for pct in (0.875, 1.0, 1.15)
        for size in INPUTS for shape in PICTURES):
    c = 1 if number % 7 == 0 else 3
    name = list(FILTERS)[number % 3]
    array = picture(h, w, c)
    image = Image.fromarray(array if c == 3 else array[:, :, 0])
    data = np.asarray(transformed(image, size, pct, mode, FILTERS[name], MEANS[c])).tobytes()
    config = {"input_size": [c, *size], "crop_pct": pct, "crop_mode": mode, "interpolation": name, "mean": MEANS[c]}
    if number % 2 == 0:
        cases.append({"picture": [h, w], "config": config, "sha256": hashlib.sha256(data).hexdigest()[:16]})
path = pathlib.Path(__file__).with_name("timm.json")
path.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")
print(len(cases), "cases")
