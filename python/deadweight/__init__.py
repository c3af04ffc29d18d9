"""Measures, exactly and while it runs, how much of a neural network's work is ineffectual.

>>> import deadweight
>>> run = deadweight.load("digits").measure(limit=8)
>>> round(run.potential("W+A").ratio, 2)
2.16
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from . import _deadweight
from ._deadweight import Error, Work, __version__

__all__ = ["Error", "Model", "Run", "Texts", "Work", "count", "load", "__version__"]


def _array(x: Any) -> np.ndarray:
    """What numpy makes of x as float32: arrays and the tensors of any framework on the CPU."""
    if hasattr(x, "detach"):
        # torch: numpy has no bfloat16.
        x = x.detach().float()
    return np.asarray(x, dtype=np.float32)


class Texts(list):
    """Texts themselves as inputs of Model.measure, which takes bare strings for paths."""


def _asked(*, metrics: str | Iterable[str], **others: Any) -> dict[str, Any]:
    """How a measurement is made, with all that the Rust side takes."""
    of_models = {"limit": None, "layers": None, "calibrate": None}
    return {**of_models, **others, "metrics": [metrics] if isinstance(metrics, str) else list(metrics)}


def _pair(x: int | Sequence[int], name: str) -> list[int]:
    pair = [x, x] if isinstance(x, (int, np.integer)) else list(x)
    if len(pair) != 2 or any(number < 0 for number in pair):
        raise ValueError(f"{name} is {x!r}: give a number, or two for rows and columns")
    return [int(number) for number in pair]


def load(
    spec: str | os.PathLike,
    *,
    card: str | None = None,
    offline: bool = False,
    random_weights: int | None = None,
    fold: bool = True,
) -> Model:
    """Loads a model: a card's name, a directory with config.json, a file of weights (with card), a .gguf, .tflite or .onnx
    file, or a hub id org/name[@revision]."""
    return Model(
        _deadweight.load(os.fspath(spec), card=card, offline=offline, random_weights=random_weights, fold=fold)
    )


def count(
    activation: Any,
    weight: Any,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    threads: int | None = None,
    number_format: str | None = None,
    encoder: str | None = None,
    terms: bool = True,
    metrics: str | Iterable[str] = (),
) -> Run:
    """Measures one layer of any framework by its operands: a convolution of activations [N, C, H, W] by weights
    [K, C/groups, R, S], or a product of [N, C] or [N, T, C] by [K, C]. Each of the N is an input."""
    return Run(
        _deadweight.count(
            _array(activation),
            _array(weight),
            stride=_pair(stride, "stride"),
            padding=_pair(padding, "padding"),
            dilation=_pair(dilation, "dilation"),
            groups=groups,
            asked=_asked(
                threads=threads, number_format=number_format, encoder=encoder, terms=terms, metrics=metrics
            ),
        )
    )


class Model:
    """A network with its weights: see load()."""

    def __init__(self, inner: _deadweight.Model) -> None:
        self._inner = inner

    def __repr__(self) -> str:
        return repr(self._inner)

    @property
    def name(self) -> str:
        """Its name."""
        return self._inner.name

    @property
    def task(self) -> str:
        """What it does: classify, segment, restore, language, ..."""
        return self._inner.task

    @property
    def input_shape(self) -> tuple[int, ...]:
        """[C, H, W] of an input."""
        return tuple(self._inner.input_shape)

    @property
    def parameters(self) -> int:
        """Learned values."""
        return self._inner.parameters

    @property
    def layers(self) -> list[dict[str, Any]]:
        """Its layers as they are run: name, kind, output, macs, parameters."""
        return self._inner.layers

    def run(self, x: Any, *, threads: int | None = None) -> np.ndarray:
        """The output for [C, H, W] or [N, C, H, W] as the network reads it, or token numbers [T] or [N, T]."""
        return self._inner.run(_array(x), threads=threads)

    def measure(
        self,
        inputs: Any = None,
        *,
        labels: Sequence[int] | None = None,
        limit: int | None = None,
        threads: int | None = None,
        number_format: str | None = None,
        encoder: str | None = None,
        terms: bool = True,
        metrics: str | Iterable[str] = (),
        layers: str | None = None,
        calibrate: int | None = None,
    ) -> Run:
        """Counts over inputs: paths of images, folders, arrays or texts; an array [N, C, H, W], or a list of [C, H, W]; lists of
        token numbers; Texts([...]), which the model's own tokenizer splits; None for those of a built-in model."""
        given = _sorted(inputs)
        if labels is not None:
            labels = [int(label) for label in labels]
            if len(labels) != len(given["arrays"]):
                raise ValueError(f"{len(labels)} labels for {len(given['arrays'])} arrays")
        asked = _asked(
            limit=limit,
            threads=threads,
            number_format=number_format,
            encoder=encoder,
            terms=terms,
            metrics=metrics,
            layers=layers,
            calibrate=calibrate,
        )
        return Run(self._inner.measure(**given, labels=labels, asked=asked))


def _inputs(kind: str, **given: Any) -> dict[str, Any]:
    return {"kind": kind, "files": [], "arrays": [], "tokens": [], "texts": [], **given}


def _sorted(inputs: Any) -> dict[str, Any]:
    """The inputs by their kind."""
    if inputs is None:
        return _inputs("built_in")
    if isinstance(inputs, Texts):
        return _inputs("texts", texts=list(inputs))
    if isinstance(inputs, (str, os.PathLike)):
        return _inputs("files", files=[os.fspath(inputs)])
    if hasattr(inputs, "shape"):
        array = _array(inputs)
        if array.ndim == 3:
            array = array[None]
        if array.ndim != 4:
            raise ValueError(f"an array of {array.ndim} axes: give [N, C, H, W] or [C, H, W], or lists of token numbers")
        return _inputs("arrays", arrays=list(array))
    inputs = list(inputs)
    if inputs and all(isinstance(one, (str, os.PathLike)) for one in inputs):
        return _inputs("files", files=[os.fspath(one) for one in inputs])
    if inputs and all(hasattr(one, "shape") and len(one.shape) == 3 for one in inputs):
        return _inputs("arrays", arrays=[_array(one) for one in inputs])
    try:
        return _inputs("tokens", tokens=[[operator.index(token) for token in one] for one in inputs])
    except TypeError:
        raise TypeError("inputs must be paths, arrays [C, H, W], or lists of token numbers") from None


class Run:
    """Exact counts of a network over some inputs, and every figure that follows from them."""

    def __init__(self, inner: _deadweight.Run) -> None:
        self._inner = inner

    @classmethod
    def load(cls, path: str | os.PathLike) -> Run:
        """Reads what save, or `deadweight measure -o FILE.dwm`, wrote."""
        return cls(_deadweight.Run.load(os.fspath(path)))

    def save(self, path: str | os.PathLike) -> None:
        """Writes the counts to a file, which appears only when it is complete."""
        self._inner.save(os.fspath(path))

    def merged(self, other: Run) -> Run:
        """Both as one, of parts of one run: over the inputs of both."""
        return Run(self._inner.merged(other._inner))

    @property
    def model(self) -> str:
        """The model's name."""
        return self._inner.model

    @property
    def inputs(self) -> int:
        """Inputs that were counted."""
        return self._inner.inputs

    @property
    def notes(self) -> list[str]:
        """What is to be known beside the figures."""
        return self._inner.notes

    @property
    def network(self) -> dict[str, float | None]:
        """Every metric of the network that is one number, by name."""
        return self._inner.network

    def potential(self, name: str, layer: str | None = None) -> Work:
        """Dense work over the work left, `W+A`, of the network or of a layer, padding counted."""
        return self._inner.potential(name, layer)

    def macs(self, layer: str | None = None) -> dict[str, int]:
        """Multiply-accumulates of the network or of a layer by class, padding counted."""
        return self._inner.macs(layer)

    def number(self, name: str, layer: str | None = None) -> float | None:
        """A metric's number, `a.zeros` or `W+A`, of the network or of a layer; None where it has none."""
        return self._inner.number(name, layer)

    def rows(self, library: str = "pandas") -> Any:
        """Every number, one a row, as a data frame of pandas or polars. Counts are exact: Python's integers in pandas, decimals of 38
        digits in polars."""
        columns = self._inner.columns()
        if library == "pandas":
            import pandas

            frame = pandas.DataFrame(columns)
            exact = {name: pandas.Series(columns[name], dtype=object) for name in ("numerator", "denominator")}
            return frame.assign(**exact)
        if library == "polars":
            import polars

            exact = {name: polars.Decimal(38, 0) for name in ("numerator", "denominator")}
            return polars.DataFrame(columns, schema_overrides=exact, strict=False)
        raise ValueError(f"library is {library!r}: give 'pandas' or 'polars'")

    def layers(self, library: str = "pandas") -> Any:
        """One row a layer: its name, its kind, and every metric that is one number, as a data frame of pandas or polars."""
        layers = self._inner.layers()
        if library == "pandas":
            import pandas

            return pandas.DataFrame(layers)
        if library == "polars":
            import polars

            return polars.DataFrame(layers, infer_schema_length=None)
        raise ValueError(f"library is {library!r}: give 'pandas' or 'polars'")

    def to_json(self) -> str:
        """The JSON document, as `deadweight report --format json` prints it."""
        return self._inner.to_json()

    def __str__(self) -> str:
        return str(self._inner)

    def __repr__(self) -> str:
        return repr(self._inner)
