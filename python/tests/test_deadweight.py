"""What the package gives is what the program gives, and what plain numpy counts."""

import json
import os
import subprocess
import sys

import deadweight
import numpy as np
import pandas
import polars
import pytest

BINARY = os.environ["DEADWEIGHT_BINARY"]


@pytest.fixture(scope="module")
def model():
    return deadweight.load("digits", offline=True)


@pytest.fixture(scope="module")
def run(model):
    return model.measure(threads=2)


def test_a_model_runs(model):
    assert (model.name, model.task, model.input_shape) == ("digits", "classify", (1, 32, 32))
    assert sum(layer["macs"] for layer in model.layers) > 12e6
    x = np.random.default_rng(1).normal(size=(3, 1, 32, 32))
    y = model.run(x)
    assert y.shape == (3, 10) and y.dtype == np.float32
    np.testing.assert_array_equal(model.run(x[1], threads=1)[0], y[1])


def test_a_run_is_that_of_the_command_line(run, tmp_path):
    stored, own = tmp_path / "stored.dwm", tmp_path / "own.dwm"
    subprocess.run([BINARY, "measure", "digits", "-q", "-o", stored], check=True)
    run.save(own)
    assert own.read_bytes() == stored.read_bytes()
    assert deadweight.Run.load(stored).network == run.network
    printed = subprocess.run([BINARY, "report", stored, "--format", "json"], check=True, capture_output=True).stdout
    assert json.loads(printed) == json.loads(run.to_json())
    assert str(run).startswith("model")


def test_frames_hold_every_number(run):
    rows, other = run.rows(), run.rows("polars")
    assert isinstance(rows, pandas.DataFrame) and isinstance(other, polars.DataFrame)
    assert len(rows) == len(other) > 1000
    dense = rows[(rows.scope == "network") & (rows.metric == "macs")].numerator.item()
    assert dense == run.macs()["dense"] == other.filter(scope="network", metric="macs")["numerator"].item()
    layers = run.layers()
    assert list(layers.layer) == list(run.layers("polars")["layer"])
    first = layers.layer[0]
    assert layers["a.zeros"][0] == run.number("a.zeros", first)
    assert layers["potential.W+A"][0] == run.potential("W+A", first).ratio
    with pytest.raises(ValueError, match="pandas"):
        run.rows("excel")


def test_potentials_have_intervals(run):
    work = run.potential("W+A")
    assert work.ratio == work.baseline / work.work == float(work)
    low, high = work.interval95
    assert low < work.ratio < high
    macs = run.macs()
    assert macs["dense"] == sum(count for name, count in macs.items() if name != "dense")


def test_arrays_and_labels_are_inputs(model):
    x = np.zeros((4, 1, 32, 32), dtype=np.float64)
    run = model.measure(x, labels=[0, 1, 2, 3], number_format="fixed8", terms=False)
    assert run.inputs == 4 and "We+Ae" not in run.network
    assert model.measure([x[0], x[1]], metrics="planes").inputs == 2
    language = deadweight.load("chapters")
    assert language.measure([[1, 2, 3], [4, 5, 6, 7]]).inputs == 2
    assert language.measure(deadweight.Texts(["Once upon a time"])).inputs == 1


def test_a_layer_is_counted_as_numpy_counts_it():
    random = np.random.default_rng(3)
    a = np.maximum(random.normal(size=(2, 4, 7, 6)), 0)
    w = random.normal(size=(5, 4, 3, 3)) * (random.random((5, 4, 3, 3)) > 0.3)
    padded = np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1)))
    effectual = 0
    for p in range(4):
        for q in range(3):
            window = padded[:, None, :, 2 * p : 2 * p + 3, 2 * q : 2 * q + 3]
            effectual += ((window != 0) & (w != 0)).sum()
    # Float codes round nothing to zero.
    macs = deadweight.count(a, w, stride=2, padding=1, number_format="bf16").macs()
    assert (macs["dense"], macs["effectual"]) == (2 * 4 * 3 * w.size, effectual)
    x, matrix = random.integers(-1, 2, size=(6, 8)), random.integers(-1, 2, size=(3, 8))
    product = deadweight.count(x, matrix).macs()
    assert product["effectual"] == ((x[:, None] != 0) & (matrix != 0)).sum()


def test_mistakes_say_the_mend(model, run):
    with pytest.raises(deadweight.Error, match="not found") as raised:
        deadweight.load("no-such-card", offline=True)
    assert raised.value.exit_code == 3
    with pytest.raises(deadweight.Error, match="a.zeros"):
        run.number("zeros")
    with pytest.raises(deadweight.Error, match="conv1"):
        run.macs("conv99")
    with pytest.raises(ValueError, match="labels"):
        model.measure(np.zeros((2, 1, 32, 32)), labels=[1])
    with pytest.raises(TypeError, match="paths"):
        model.measure([1, 2])
    with pytest.raises(TypeError, match="token"):
        deadweight.load("chapters").measure([[0.9, 1.7]])
    with pytest.raises(deadweight.Error, match="class 12"):
        model.measure(np.zeros((1, 1, 32, 32)), labels=[12])
    with pytest.raises(ValueError, match="stride"):
        deadweight.count(np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 2, 2)), stride=(1, 2, 3))
    with pytest.raises(deadweight.Error, match="stride of 0"):
        deadweight.count(np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 2, 2)), stride=0)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are another matter there")
def test_an_interrupt_ends_a_measurement():
    program = (
        "import deadweight, numpy, os, signal, threading\n"
        "model = deadweight.load('photos')\n"
        "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n    model.measure(numpy.zeros((400, 1, 256, 256)), threads=1)\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "interrupted", done.stderr
