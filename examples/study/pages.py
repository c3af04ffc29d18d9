"""The study's pages: templates filled with the collected figures, so that no number of them is typed.

In a template `{{expression}}` is a Python expression over the functions of `Words`; a line `<!-- holds: expression -->` is left out of
the page and ends the study with an error where the expression is false: what the words claim, checked on the figures.
"""

import json
import pathlib
import re
import sys

import runs
import tables

HERE = pathlib.Path(__file__).resolve().parent
PAGES = {"results.md": "results.md", "five-minutes.md": "five-minutes.md"}
# A network of each class, in the figure and in the report of all runs.
PICTURED = ("resnet20", "resnet50", "mobilenetv2", "deeplab", "dncnn", "charrnn", "mobilenetv2-u8", "ternary")
PICTURED += ("distiller-pruned", "minilm", "smollm2", "ppocr-rec")


CLASSIFIERS = ["resnet20", "resnet56", "resnet50", "mobilenetv2", "resnet8-float", "distiller"]
IMAGING = [key for key, *_ in runs.CLASSES["Low-level imaging"]]
RECURRENT = [key for key, *_ in runs.CLASSES["Recurrent networks"]]
TRANSFORMERS = [key for key, *_ in runs.CLASSES["Encoders and language models"]]
CONVOLUTIONS = CLASSIFIERS + IMAGING
# What templates call by name: networks by what they have in common.
GROUPS = {
    "EVERYTHING": [key for name, networks in runs.CLASSES.items() if name != runs.BUILTIN for key, *_ in networks],
    # Classifiers of floats with ReLU or ReLU6.
    "RECTIFIED_CLASSIFIERS": CLASSIFIERS,
    "IMAGING": IMAGING,
    "RECURRENT": RECURRENT,
    "TRANSFORMERS": TRANSFORMERS,
    "RECTIFIED": CONVOLUTIONS,
    # Without ReLU, and without a large share of attention.
    "SMOOTH": ["mobilenetv1", "charrnn", "textgenrnn", "minilm", "splade", "glass"],
    # Floats that nobody pruned.
    "DENSE16": CONVOLUTIONS + ["mobilenetv1"] + RECURRENT + ["minilm", "splade", "glass", "stories"],
    # Of these, networks whose every layer has what is counted on demand.
    "COUNTED": CONVOLUTIONS + ["mobilenetv1"] + RECURRENT,
    "BF16": [f"{key}.bf16" for key in runs.IN_FORMATS if key not in ("smollm2", "digits", "chapters")],
    "ROUNDED8": [f"{key}.int8" for key in runs.IN_FORMATS if key not in ("smollm2", "digits", "chapters")],
    "OCR": ["ppocr-det", "ppocr-cls", "ppocr-rec", "ddddocr", "ddddocr-det"],
    "INT8": ["resnet8", "mobilenetv1-u8", "mobilenetv2-u8", "lstm-mnist-int8", "deeplab"],
}


class Words(tables.Figures):
    """What templates call."""

    def names(self):
        own = {name: getattr(self, name) for name in dir(self) if not name.startswith("_") and callable(getattr(self, name))}
        shown = {"percent_of": tables.percent, "ratio_of": tables.ratio, "number_of": lambda value: f"{value:.2f}"}
        return {**own, **shown, **GROUPS, "between": between, "results": self.results, "runs": runs}

    def show(self, name, *more):
        """A table."""
        return getattr(tables, name)(self, *more)

    def keys(self, name):
        return [key for key, *_ in runs.CLASSES[name]]

    def values(self, keys, name):
        """What the networks have of a figure; of networks with attention that of their linear layers, if there is no other."""
        return [value for key in keys if (value := self.linear(key, name)) is not None]

    def span(self, keys, name, shown=tables.percent):
        """The least and the most of some networks."""
        return between(self.values(keys, name), shown)

    def spans(self, keys, name):
        return self.span(keys, name, tables.ratio)

    def bare_span(self, keys, name):
        """The least and the most of a potential, padding and masked pairs left out."""
        bare = [self.value(key, name) * (1 - self.value(key, "macs.padding")) for key in keys]
        return between(bare, tables.ratio)

    def within(self, number, name, most):
        """How many networks have a figure in another format that is so near the one in their own."""
        apart = [abs(self.value(f"{key}.{number}", name) / self.value(key, name) - 1) for key in runs.IN_FORMATS]
        return sum(1 for distance in apart if distance < most)

    def left(self, keys, name):
        """The work that a potential leaves."""
        return between([1 / value for value in self.values(keys, name)], tables.percent)

    def ones(self, keys):
        """Bits of activations that are set."""
        return between([1 - value for value in self.values(keys, "a.zero_bits")], tables.percent)

    def commands_of(self, *keys):
        """The commands that give these runs' figures."""
        return "```sh\n" + "\n".join(self.results[key]["command"] for key in keys) + "\n```"

    def reached(self, key, design, part="reached"):
        """Of a design on a network, over the dense design: the ratio that its lanes reach, or a share of its lanes' cycles."""
        of = self.results[f"{key}.designs"]
        return of[design]["reached"] / of["dense"]["reached"] if part == "reached" else of[design][part]

    def level(self, key, which, level, name):
        """A figure of a level of pruning or of a threshold."""
        return next(of for of in self.results[f"{key}.{which}"]["levels"] if str(of["level"]) == level)[name]

    def terms_apart(self):
        """Terms that numpy and deadweight count differently, of all."""
        own, theirs = (self.results["numpy"][which]["terms"] for which in ("numpy", "deadweight"))
        return f"{abs(own - theirs)} of {own}"


def between(values, shown):
    low, high = shown(min(values)), shown(max(values))
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def fill(template, results):
    """The page of a template."""
    words = Words(results)
    names = {"__builtins__": {}, "all": all, "any": any, "len": len, "max": max, "min": min, "sum": sum, "abs": abs, "round": round}
    names |= words.names()
    text = []
    for number, line in enumerate((HERE / template).read_text().splitlines(), 1):
        evaluate = lambda code: eval(code, names)
        try:
            if held := re.fullmatch(r"<!-- holds: (.*) -->", line):
                if not evaluate(held[1]):
                    sys.exit(f"error: {template}:{number}: does not hold: {held[1]}")
                continue
            text.append(re.sub(r"\{\{(.*?)\}\}", lambda found: str(evaluate(found[1])), line))
        except Exception as error:
            sys.exit(f"error: {template}:{number}: {error!r}")
    return "\n".join(text) + "\n"


def write(results, folder):
    for template, page in PAGES.items():
        (folder / page).write_text(fill(template, results))


if __name__ == "__main__":
    write(json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2]))
