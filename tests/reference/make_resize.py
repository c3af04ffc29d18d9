"""Makes resize.json: SHA-256 of what Pillow makes of pictures given by a formula. Needs pillow and numpy.

Run from anywhere: python make_resize.py
"""

import hashlib
import json
import pathlib

import numpy as np
from PIL import Image

FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
SIZES = [((40, 50), (17, 23)), ((31, 47), (64, 90)), ((64, 64), (64, 33)), ((64, 64), (21, 64)), ((9, 200), (3, 255)),
         ((333, 250), (256, 192)), ((5, 7), (224, 224)), ((120, 119), (59, 60)), ((1, 1), (8, 8)), ((9, 20), (12, 7)), ((30, 20), (29, 21)),
         ((80, 50), (32, 32)), ((80, 50), (32, 24))]


def picture(h, w, c):
    y, x, k = np.meshgrid(np.arange(h), np.arange(w), np.arange(c), indexing="ij")
    return ((x * x * (k + 1) + 7 * y + (x * y) // 3 + 40 * ((x // 5 + y // 7) % 3) + 90 * k) % 256).astype(np.uint8)


cases = []
for name, resample in FILTERS.items():
    for (h, w), (to_h, to_w) in SIZES:
        for c in (3, 1):
            array = picture(h, w, c)
            image = Image.fromarray(array if c == 3 else array[:, :, 0])
            data = np.asarray(image.resize((to_w, to_h), resample)).tobytes()
            cases.append({"filter": name, "channels": c, "from": [h, w], "to": [to_h, to_w],
                          "sha256": hashlib.sha256(data).hexdigest()})
path = pathlib.Path(__file__).with_name("resize.json")
path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
print(len(cases), "cases")
