"""What the study runs: networks by class, formats, precisions, designs, pruning and thresholds. Each entry is a command."""

import dataclasses
import shlex


@dataclasses.dataclass(frozen=True)
class Run:
    """A command of deadweight; `key` names its file of results and stands for it in the pages."""

    key: str
    title: str
    verb: str
    model: str
    options: str

    def words(self):
        return [*self.verb.split(), self.model, *shlex.split(self.options)]

    def command(self):
        """As it is typed in the folder of inputs."""
        return f"deadweight {self.verb} {self.model} {self.options}".rstrip()


CIFAR = "data/cifar10-test-jpeg.safetensors"
RESNET20 = "--arch resnet20-cifar " + CIFAR
RESNET50 = "--arch resnet50-thin-opennsfw data/imagenet224"
MOBILENETV2 = "--arch mobilenet_v2 imagenet"
SET12 = "data/set12/01.png data/set12/05.png --sigma 25"
DNCNN = "--arch dncnn_gray " + SET12
SHAKESPEARE = "data/text/shakespeare-10k.txt"
WIKI = "data/text/wikitext2-valid.txt"
CHARRNN = f"--arch charrnn --vocab lstm/charrnn-shakespeare.vocab.json {SHAKESPEARE}"
SILERO = "--arch silero_vad_16k speech.wav"
HALVES = "firsts.txt --split line --context 256 --truth seconds.txt"
SMOLLM2 = "fetched/SmolLM2-135M-Instruct.Q4_1.gguf"
VOC = "data/segment/bird.png data/segment/voc1.png data/segment/voc23.png --truth data/segment"

# By class: key, name, model, inputs and options of `deadweight measure`.
CLASSES = {
    "Classifiers": [
        ("resnet20", "ResNet-20, CIFAR-10", "classify/resnet20-cifar10.safetensors", f"{RESNET20} --limit 200"),
        ("resnet56", "ResNet-56, CIFAR-10", "classify/resnet56-cifar10.safetensors", f"--arch resnet56-cifar {CIFAR} --limit 200"),
        ("resnet50", "ResNet-50 of half the width", "classify/resnet50-thin-opennsfw.safetensors", f"{RESNET50} --limit 32"),
        (
            "mobilenetv1",
            "MobileNetV1 0.25, leaky ReLU",
            "classify/mobilenetv1-0.25-imagenet.safetensors",
            "--arch mobilenetv1-0.25-retinaface imagenet --limit 64",
        ),
        ("mobilenetv2", "MobileNetV2", "classify/mobilenetv2-1.0-imagenet-folded.safetensors", f"{MOBILENETV2} --limit 64"),
    ],
    "Segmentation": [
        ("deeplab", "DeepLabV3 on MobileNetV2 0.5, u8", "segment/deeplabv3-mnv2-0.5-pascal.tflite", VOC),
    ],
    "Low-level imaging": [
        ("dncnn", "DnCNN, noise of 25", "denoise/dncnn-kair25.safetensors", DNCNN),
        ("dncnn-bn", "DnCNN with batch norm", "denoise/dncnn-s25.safetensors", f"--arch dncnn_gray_bn {SET12}"),
        ("dncnn-blind", "DnCNN, any noise", "denoise/dncnn-b.safetensors", f"--arch dncnn_gray_blind_bn {SET12}"),
        ("ffdnet", "FFDNet", "denoise/ffdnet-gray.safetensors", f"--arch ffdnet_gray {SET12}"),
        (
            "ircnn",
            "IRCNN, colour",
            "denoise/ircnn-color25.safetensors",
            "--arch ircnn_color_bn data/imagenet-jpeg --sigma 25 --limit 3",
        ),
        ("vdsr", "VDSR, enlarged twice", "denoise/vdsr.safetensors", "--arch vdsr data/set12/01.png data/set12/05.png --scale 2"),
        (
            "demosaicnet",
            "demosaicnet, Bayer",
            "denoise/demosaicnet-bayer.safetensors",
            "--arch demosaicnet_bayer data/imagenet-jpeg --limit 3",
        ),
    ],
    "Recurrent networks": [
        ("charrnn", "characters, LSTM 2×128", "lstm/charrnn-shakespeare.safetensors", CHARRNN),
        (
            "textgenrnn",
            "characters, LSTM 2×128 with attention",
            "lstm/textgenrnn-default.safetensors",
            f"--arch textgenrnn --vocab lstm/textgenrnn-vocab.json {SHAKESPEARE} --limit 320",
        ),
        (
            "g2pm",
            "Chinese polyphones, LSTM 32 both ways",
            "lstm/g2pm-bilstm.safetensors",
            "--arch g2pm --vocab lstm/g2pm-vocab.json sentences.txt",
        ),
        ("silero", "speech or not, convolutions and LSTM 128", "lstm/silero-vad-16k.safetensors", SILERO),
        ("lstm-mnist", "digits by rows, LSTM 20", "quant/lstm-mnist-float.tflite", "data/mnist-test.safetensors --range 0..1"),
    ],
    "Quantised networks": [
        ("resnet8-float", "ResNet-8, as trained", "quant/resnet8-cifar10-float.tflite", f"{CIFAR} --range 0..255 --limit 200"),
        ("resnet8", "ResNet-8, int8", "quant/resnet8-cifar10-int8.tflite", f"{CIFAR} --limit 200"),
        ("mobilenetv1-u8", "MobileNetV1 0.25, u8", "quant/mobilenet_v1_0.25_128_quant.tflite", "data/imagenet128.safetensors"),
        (
            "mobilenetv2-u8",
            "MobileNetV2, u8",
            "quant/mobilenet_v2_1.0_224_quant.tflite",
            "--arch labels.toml imagenet --limit 64",
        ),
        ("lstm-mnist-int8", "digits by rows, LSTM 20, int8", "quant/lstm-mnist-int8.tflite", "data/mnist-test.safetensors"),
        (
            "ternary",
            "SqueezeNet, ternary filters",
            "quant/squeezenet-ternary-tinyimagenet.safetensors",
            "--arch squeezenet_ternary data/tinyimagenet-val.safetensors --limit 200",
        ),
    ],
    "Pruned networks": [
        (
            "distiller",
            "ResNet-20 with projections",
            "classify/resnet20-distiller-dense.safetensors",
            f"--arch resnet20-distiller {CIFAR} --limit 200",
        ),
        (
            "distiller-pruned",
            "the same, five layers pruned to zero",
            "classify/resnet20-distiller-zero-layers.safetensors",
            f"--arch resnet20-distiller {CIFAR} --limit 200",
        ),
    ],
    "Encoders and language models": [
        ("minilm", "MiniLM, 6 layers of 384", "nlp/all-MiniLM-L6-v2", HALVES),
        ("splade", "BERT-tiny of SPLADE, 2 layers of 128", "nlp/splade-bert-tiny", "firsts.txt --split line --context 256 --limit 64"),
        ("glass", "Llama, 4 layers of 128", "nlp/glass-llama-en", f"{SHAKESPEARE} --context 128"),
        ("stories", "Llama, 5 layers of 64", "nlp/stories260k-llama", f"{SHAKESPEARE} --context 512"),
        ("smollm2", "SmolLM2-135M, 4-bit weights, prefill", SMOLLM2, f"{WIKI} --limit 4"),
        ("smollm2-decode", "the same, 64 of 320 tokens decoded", SMOLLM2, f"{WIKI} --limit 4 --context 320 --decode 64"),
    ],
    "Public ONNX files": [
        ("flowers", "MobileNetV2 0.35, flowers", "classify/mobilenetv2-0.35-flowers.onnx", "data/imagenet224 --limit 32"),
        ("ppocr-det", "PP-OCRv4, finds text", "fetched/ppocr_det.onnx", "data/imagenet224 --input-size 224x224 --limit 16"),
        ("ppocr-cls", "PP-OCRv4, which way up", "fetched/ppocr_cls.onnx", "lines --input-size 48x192"),
        ("ppocr-rec", "PP-OCRv4, reads text", "fetched/ppocr_rec.onnx", "lines --input-size 48x320"),
        ("ddddocr", "ddddocr, reads text, with LSTM", "fetched/ddddocr_common.onnx", "lines --input-size 64x320"),
        ("ddddocr-det", "ddddocr, finds icons", "fetched/ddddocr_det.onnx", "data/imagenet224 --limit 8"),
    ],
    "Built-in models": [
        ("digits", "digits, residual classifier", "digits", ""),
        ("scenes", "scenes, dilated segmentation", "scenes", ""),
        ("photos", "photos, restores images", "photos", ""),
        ("verses", "verses, LSTM", "verses", ""),
        ("chapters", "chapters, attention", "chapters", ""),
    ],
}
BUILTIN = "Built-in models"

# What `measure` counts besides: the level at which each code is seen, and metrics that look at whole inputs again.
COUNTED = "--statistics full --metrics traffic,delta,nm,planes,trailing,output,attention"

# Networks that are measured in other formats than their own as well, without what COUNTED adds on demand.
FORMATS = ("int8", "bf16")
IN_FORMATS = ("resnet20", "resnet50", "mobilenetv2", "dncnn", "charrnn", "silero", "minilm", "smollm2", "digits", "chapters")

# Searches of `precision`: on few inputs, for each is hundreds of runs.
PRECISION = {
    "resnet20": ("classify/resnet20-cifar10.safetensors", f"{RESNET20} --limit 50 --tolerance 1%"),
    "dncnn": ("denoise/dncnn-kair25.safetensors", f"{DNCNN} --input-size 64x64 --tolerance 1%"),
    "charrnn": ("lstm/charrnn-shakespeare.safetensors", f"{CHARRNN} --limit 16 --tolerance 1%"),
    "glass": ("nlp/glass-llama-en", f"{SHAKESPEARE} --context 128 --limit 4 --tolerance 1%"),
    "digits": ("digits", "--tolerance 1%"),
}

# Operands of few inputs on the designs; where they are many, a sample of the windows.
DESIGNS = {
    "resnet20": ("classify/resnet20-cifar10.safetensors", f"{RESNET20} --limit 16"),
    "resnet50": ("classify/resnet50-thin-opennsfw.safetensors", f"{RESNET50} --limit 2 --sample 10%"),
    "mobilenetv2": ("classify/mobilenetv2-1.0-imagenet-folded.safetensors", f"{MOBILENETV2} --limit 2 --sample 10%"),
    "mobilenetv2-u8": ("quant/mobilenet_v2_1.0_224_quant.tflite", "--arch labels.toml imagenet --limit 2 --sample 10%"),
    "dncnn": ("denoise/dncnn-kair25.safetensors", f"{DNCNN} --limit 1 --sample 2%"),
    "charrnn": ("lstm/charrnn-shakespeare.safetensors", f"{CHARRNN} --limit 8"),
    "minilm": ("nlp/all-MiniLM-L6-v2", "firsts.txt --split line --limit 4 --sample 10%"),
    "digits": ("digits", "--limit 8"),
}

# Weights, and activations, set to zero level by level.
SHOWN = "--columns a.zeros,w.zeros,A,W,W+A,Ae,We+Ae"
PRUNING = {
    "resnet20": ("classify/resnet20-cifar10.safetensors", f"{RESNET20} --limit 200 --levels 0,30%,50%,70%,2:4 {SHOWN}"),
    "mobilenetv2": ("classify/mobilenetv2-1.0-imagenet-folded.safetensors", f"{MOBILENETV2} --levels 0,30%,50%,70%,2:4 {SHOWN}"),
    "dncnn": ("denoise/dncnn-kair25.safetensors", f"{DNCNN} --levels 0,30%,50%,70%,2:4 {SHOWN}"),
    "charrnn": ("lstm/charrnn-shakespeare.safetensors", f"{CHARRNN} --levels 0,30%,50%,70%,2:4 {SHOWN}"),
    "minilm": ("nlp/all-MiniLM-L6-v2", f"{HALVES} --levels 0,50%,2:4 {SHOWN}"),
    "digits": ("digits", f"--levels 0,30%,50%,70%,2:4 {SHOWN}"),
}
THRESHOLDS = {
    "resnet20": ("classify/resnet20-cifar10.safetensors", f"{RESNET20} --limit 200 --levels 25%,50%,70% {SHOWN}"),
    "mobilenetv2": ("classify/mobilenetv2-1.0-imagenet-folded.safetensors", f"{MOBILENETV2} --levels 25%,50%,70% {SHOWN}"),
    "charrnn": ("lstm/charrnn-shakespeare.safetensors", f"{CHARRNN} --levels 25%,50%,70% {SHOWN}"),
    "minilm": ("nlp/all-MiniLM-L6-v2", f"{HALVES} --levels 50% {SHOWN}"),
    "smollm2": (SMOLLM2, f"{WIKI} --limit 4 --levels 25%,50%,70% {SHOWN}"),
    "verses": ("verses", f"--levels 25%,50%,70% {SHOWN}"),
}

# The same networks on other data, for what the page says of them on the first.
AGAIN = {
    "resnet20": ("classify/resnet20-cifar10.safetensors", "--arch resnet20-cifar data/cifar10-lossless20.safetensors"),
    "dncnn": ("denoise/dncnn-kair25.safetensors", "--arch dncnn_gray data/set12/08.png data/set12/11.png --sigma 25"),
    "minilm": ("nlp/all-MiniLM-L6-v2", f"{SHAKESPEARE} --split paragraph --context 256 --limit 64"),
    "smollm2": (SMOLLM2, f"{SHAKESPEARE} --limit 4"),
    "mobilenetv2": ("classify/mobilenetv2-1.0-imagenet-folded.safetensors", "--arch mobilenet_v2 data/imagenet-jpeg"),
}


def all_runs():
    """Every command of the study, in the order in which they are run."""
    runs = []
    for networks in CLASSES.values():
        for key, title, model, options in networks:
            runs.append(Run(key, title, "measure", model, f"{options} {COUNTED}".strip()))
            if key in IN_FORMATS:
                for number in FORMATS:
                    given = f"a:{number},w:stored" if model == SMOLLM2 and number == "int8" else number
                    more = " --metrics w.float" if number == "bf16" else ""
                    formatted = f"{options} --number-format {given} --statistics full{more}".strip()
                    runs.append(Run(f"{key}.{number}", title, "measure", model, formatted))
            if key in AGAIN:
                other, given = AGAIN[key]
                runs.append(Run(f"{key}.again", title, "measure", other, f"{given} --statistics full"))
            for verb, chosen in VERBS.items():
                if key in chosen:
                    other, given = chosen[key]
                    runs.append(Run(f"{key}.{verb.split()[-1]}", title, verb, other, given))
                    if verb == "precision":
                        counted = f"--precision ../runs/{key}.precision.toml {COUNTED}"
                        runs.append(Run(f"{key}.profile", title, "measure", other, given.replace("--tolerance 1%", counted)))
    return runs


VERBS = {"precision": PRECISION, "designs": DESIGNS, "study prune": PRUNING, "study threshold": THRESHOLDS}
