"""What LiteRT's reference kernels answer, where the assets store only what its optimised ones do.

Run as `python make_tflite.py ASSETS > tflite.json` with ai-edge-litert 2.3.0, numpy, pillow and safetensors.
The optimised kernels depend on the CPU; the reference kernels (BUILTIN_REF) do not.
"""

import hashlib
import json
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from PIL import Image
from safetensors import safe_open


def network(path):
    interpreter = Interpreter(path, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    place, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(x):
        # State of a recurrence is kept in variable tensors.
        interpreter.reset_all_variables()
        interpreter.set_tensor(place, x)
        interpreter.invoke()
        return interpreter.get_tensor(result)[0]

    return run


def main(assets):
    def image(name):
        return np.array(Image.open(f"{assets}/data/{name}").convert("RGB"))

    answers = {"masks_sha256": {}, "top1": {}}
    deeplab = network(f"{assets}/segment/deeplabv3-mnv2-0.5-pascal.tflite")
    for name in ("bird", "voc23", "voc1"):
        mask = deeplab(image(f"segment/{name}.png")[None]).astype(np.uint8)
        answers["masks_sha256"][name] = hashlib.sha256(mask.tobytes()).hexdigest()
    images = json.load(open(f"{assets}/data/imagenet224/index.json"))["images"]
    name = "mobilenet_v2_1.0_224_quant"
    mobilenet = network(f"{assets}/quant/{name}.tflite")
    best = [mobilenet(image(f"imagenet224/{entry['file']}")[None]).argmax() - 1 for entry in images]
    answers["top1"][name] = int(sum(b == entry["label"] for b, entry in zip(best, images)))
    name = "resnet8-cifar10-int8"
    with safe_open(f"{assets}/data/cifar10-test-jpeg.safetensors", "np") as file:
        pixels, labels = file.get_tensor("images")[:500], file.get_tensor("labels")[:500]
    resnet = network(f"{assets}/quant/{name}.tflite")
    codes = (pixels.astype(np.int16) - 128).astype(np.int8)
    answers["top1"][name] = int(sum(resnet(x[None]).argmax() == label for x, label in zip(codes, labels)))
    json.dump(answers, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(sys.argv[1])
