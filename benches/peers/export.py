"""export.py DIR NETWORK@BATCH...: writes NETWORK@BATCH.onnx, .safetensors and .json (shape, MACs, card).

Transformers (texts.py) are made of the folder MINILM and the file SMOLLM2 of the environment.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from safetensors.torch import save_file

from inputs import inputs
import texts
from networks import NETWORKS, build, multiply_accumulates


class Calibration(CalibrationDataReader):
    def __init__(self, x):
        self.batches = iter([{"x": x}, {"x": np.roll(x, 1234567)}])

    def get_next(self):
        return next(self.batches, None)


def export(folder, job):
    name, batch = job.split("@")
    _, shape, card = NETWORKS[name]
    shape = shape(int(batch))
    net, x = build(name), torch.from_numpy(inputs(shape))
    path = folder / f"{job}.onnx"
    torch.onnx.export(net, (x,), path, dynamo=False, opset_version=17, input_names=["x"], output_names=["y"])
    if name.endswith("-int8"):
        quant_pre_process(str(path), str(path))
        quantize_static(str(path), str(path), Calibration(x.numpy()), quant_format=QuantFormat.QDQ, per_channel=True)
    else:
        weights = {key.removeprefix("net."): value.contiguous() for key, value in net.state_dict().items()}
        save_file({k: v for k, v in weights.items() if v.dtype == torch.float32}, folder / f"{job}.safetensors")
    facts = {"shape": shape, "macs": multiply_accumulates(net, x), "card": card}
    (folder / f"{job}.json").write_text(json.dumps(facts))
    print(job, facts, flush=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for job in sys.argv[2:]:
        if (folder / f"{job}.json").exists():
            continue
        if texts.is_text(job):
            texts.export(folder, job, *(Path(os.environ[of]) for of in ("MINILM", "SMOLLM2")))
        else:
            export(folder, job)
