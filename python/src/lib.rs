//! The Python module: models, measurements and their tables, on the surface of the Rust library.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use deadweight::prelude::{self as rust, Figures, Inputs, LayerInfo, Measuring, Row, Window};
use numpy::{PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyKeyboardInterrupt};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

create_exception!(
    deadweight,
    Error,
    PyException,
    "What went wrong; `exit_code` is that of the command line, `hint` the mend, or None."
);

/// `error` as Python raises it.
fn raised(error: rust::Error) -> PyErr {
    if let rust::Error::Interrupted = error {
        return PyKeyboardInterrupt::new_err(());
    }
    let (code, hint) = (error.exit_code(), error.hint().map(str::to_owned));
    let raised = Error::new_err(error.to_string());
    Python::attach(|py| {
        let value = raised.value(py);
        // An exception takes any attribute; if it did not, its message would still be right.
        let _ = value.setattr("exit_code", code).and_then(|()| value.setattr("hint", hint));
    });
    raised
}

fn tensor(array: &PyReadonlyArrayDyn<'_, f32>) -> PyResult<rust::Tensor> {
    // Views that are not in C order are read element by element.
    let values = array.as_slice().map_or_else(|_| array.as_array().iter().copied().collect(), <[f32]>::to_vec);
    rust::Tensor::new(array.shape(), values).map_err(raised)
}

/// A network with its weights.
#[pyclass(frozen, module = "deadweight")]
struct Model {
    model: rust::Model,
    /// The session that ran last and its threads: its buffers and packed weights serve the next run.
    session: Mutex<Option<(Option<usize>, rust::Session)>>,
}

/// Exact counts of a network over some inputs.
#[pyclass(frozen, module = "deadweight")]
struct Run(rust::Run);

/// Dense work over the work left.
#[pyclass(frozen, get_all, module = "deadweight")]
#[derive(Clone)]
struct Work {
    /// Dense work.
    baseline: u128,
    /// Work left.
    work: u128,
    /// Their ratio.
    ratio: f64,
    /// The 95 % interval of the ratio, or None.
    interval95: Option<(f64, f64)>,
}

#[pymethods]
impl Work {
    fn __repr__(&self) -> String {
        match self.interval95 {
            Some((low, high)) => format!("Work(ratio={:.4}, interval95=({low:.4}, {high:.4}))", self.ratio),
            None => format!("Work(ratio={:.4})", self.ratio),
        }
    }

    fn __float__(&self) -> f64 {
        self.ratio
    }
}

/// How a measurement is made: a dict of all of these.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Asked {
    limit: Option<usize>,
    threads: Option<usize>,
    number_format: Option<String>,
    encoder: Option<String>,
    terms: bool,
    metrics: Vec<String>,
    layers: Option<String>,
    calibrate: Option<usize>,
}

impl Asked {
    /// Measures without the lock of the interpreter; Ctrl-C ends it.
    fn run(self, py: Python<'_>, measuring: Measuring) -> PyResult<Run> {
        let mut measuring = measuring.terms(self.terms).metrics(self.metrics.iter().map(String::as_str));
        if let Some(limit) = self.limit {
            measuring = measuring.limit(limit);
        }
        if let Some(threads) = self.threads {
            measuring = measuring.threads(threads);
        }
        if let Some(format) = &self.number_format {
            measuring = measuring.number_format(format);
        }
        if let Some(encoder) = &self.encoder {
            measuring = measuring.encoder(encoder);
        }
        if let Some(layers) = &self.layers {
            measuring = measuring.layers(layers);
        }
        if let Some(calibrate) = self.calibrate {
            measuring = measuring.calibrate(calibrate);
        }
        let signals = |_: usize, _: usize| match Python::attach(|py| py.check_signals()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        };
        py.detach(|| measuring.on_progress(signals).run()).map(Run).map_err(raised)
    }
}

/// Loads a model: a card's name, a directory, a file, or a hub id.
#[pyfunction]
#[pyo3(signature = (spec, *, card = None, offline = false, random_weights = None, fold = true))]
fn load(
    py: Python<'_>,
    spec: PathBuf,
    card: Option<String>,
    offline: bool,
    random_weights: Option<u64>,
    fold: bool,
) -> PyResult<Model> {
    let mut loader = rust::Model::load(spec.to_string_lossy()).offline(offline).fold(fold);
    if let Some(card) = card {
        loader = loader.card(card);
    }
    if let Some(seed) = random_weights {
        loader = loader.random_weights(seed);
    }
    let model = py.detach(|| loader.open()).map_err(raised)?;
    Ok(Model { model, session: Mutex::default() })
}

/// Measures one layer by its operands: [N, C, H, W] by [K, C/groups, R, S], or [N, C] or [N, T, C] by [K, C].
#[pyfunction]
fn count(
    py: Python<'_>,
    activation: PyReadonlyArrayDyn<'_, f32>,
    weight: PyReadonlyArrayDyn<'_, f32>,
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
    asked: Asked,
) -> PyResult<Run> {
    let window = Window { stride, padding, dilation, groups };
    asked.run(py, rust::count(&tensor(&activation)?, &tensor(&weight)?, window).map_err(raised)?)
}

#[pymethods]
impl Model {
    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        self.model.name()
    }

    /// What it does: classify, segment, restore, language, ...
    #[getter]
    fn task(&self) -> &'static str {
        self.model.task()
    }

    /// [C, H, W] of an input.
    #[getter]
    fn input_shape(&self) -> [usize; 3] {
        self.model.input_shape()
    }

    /// Learned values.
    #[getter]
    fn parameters(&self) -> usize {
        self.model.parameters()
    }

    /// Its layers as they are run, each a dict.
    #[getter]
    fn layers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let layers = self.model.layers().iter().map(|layer| {
            let LayerInfo { name, kind, output, macs, parameters, .. } = layer;
            let dict = PyDict::new(py);
            dict.set_item("name", name)?;
            dict.set_item("kind", kind)?;
            dict.set_item("output", output)?;
            dict.set_item("macs", macs)?;
            dict.set_item("parameters", parameters)?;
            Ok(dict)
        });
        PyList::new(py, layers.collect::<PyResult<Vec<_>>>()?)
    }

    /// Runs [C, H, W], [N, C, H, W], or token numbers [T] or [N, T].
    fn run<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArrayDyn<'py, f32>,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let x = tensor(&x)?;
        let output = py.detach(|| {
            let kept = || self.session.lock().unwrap_or_else(PoisonError::into_inner);
            // Taken, so that another thread of Python runs at the same time, by a session of its own.
            let taken = kept().take();
            let mut session = match taken {
                Some((of, session)) if of == threads => session,
                _ => threads
                    .into_iter()
                    .fold(self.model.session(), |session, threads| session.threads(threads))
                    .build()?,
            };
            let output = session.run(&x);
            *kept() = Some((threads, session));
            output
        });
        let output = output.map_err(raised)?;
        let shape = output.shape().to_vec();
        numpy::PyArray1::from_vec(py, output.into_data()).reshape(shape)
    }

    /// Measures it; `inputs` is a list of a kind, as the Python side sorts them.
    fn measure(
        &self,
        py: Python<'_>,
        kind: &str,
        files: Vec<PathBuf>,
        arrays: Vec<PyReadonlyArrayDyn<'_, f32>>,
        labels: Option<Vec<u32>>,
        tokens: Vec<Vec<u32>>,
        texts: Vec<String>,
        asked: Asked,
    ) -> PyResult<Run> {
        let tensors = arrays.iter().map(tensor).collect::<PyResult<Vec<_>>>()?;
        let inputs = match (kind, labels) {
            ("files", _) => Inputs::files(files),
            ("tokens", _) => Inputs::tokens(tokens),
            ("texts", _) => Inputs::texts(texts),
            ("arrays", Some(labels)) => Inputs::labelled(tensors.into_iter().zip(labels)),
            ("arrays", None) => Inputs::tensors(tensors),
            _ => Inputs::built_in(),
        };
        asked.run(py, self.model.measure(inputs))
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.model)
    }
}

/// The metrics that are one number, by name.
fn numbers<'py>(py: Python<'py>, rows: &[Row]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for Row { operand, metric, parameter, value, .. } in rows {
        let letter = operand.chars().next().map(|letter| format!("{letter}.")).unwrap_or_default();
        if parameter.is_empty() {
            dict.set_item(format!("{letter}{metric}"), value)?;
        } else if parameter == "with_padding" {
            dict.set_item(metric, value)?;
        }
    }
    Ok(dict)
}

impl Run {
    fn figures(&self, layer: Option<&str>) -> PyResult<Figures<'_>> {
        let Some(name) = layer else { return Ok(self.0.network()) };
        self.0.layer(name).ok_or_else(|| {
            let known: Vec<&str> = self.0.layers().map(|layer| layer.name()).collect();
            Error::new_err(format!("{name}: is no layer; there are {}", known.join(", ")))
        })
    }
}

#[pymethods]
impl Run {
    /// Reads what `save`, or `deadweight measure -o FILE.dwm`, wrote.
    #[staticmethod]
    fn load(path: PathBuf) -> PyResult<Self> {
        rust::Run::load(path).map(Self).map_err(raised)
    }

    /// Writes the counts to a file, which appears only when it is complete.
    fn save(&self, path: PathBuf) -> PyResult<()> {
        self.0.save(path).map_err(raised)
    }

    /// Both as one: over the inputs of both.
    fn merged(&self, other: &Self) -> PyResult<Self> {
        self.0.merged(&other.0).map(Self).map_err(raised)
    }

    /// The model's name.
    #[getter]
    fn model(&self) -> &str {
        self.0.model()
    }

    /// Inputs that were counted.
    #[getter]
    fn inputs(&self) -> u64 {
        self.0.inputs()
    }

    /// What is to be known beside the figures.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.0.notes().to_vec()
    }

    /// The potential of that name, of the network or of a layer, padding counted.
    #[pyo3(signature = (name, layer = None))]
    fn potential(&self, name: &str, layer: Option<&str>) -> PyResult<Work> {
        let found = self.figures(layer)?.potential(name).map_err(raised)?;
        let (ratio, interval95) = (found.ratio(), found.interval95);
        Ok(Work { baseline: found.baseline, work: found.work, ratio, interval95 })
    }

    /// The MACs of the network or of a layer by class, padding counted.
    #[pyo3(signature = (layer = None))]
    fn macs(&self, layer: Option<&str>) -> PyResult<BTreeMap<&'static str, u128>> {
        let macs = self.figures(layer)?.macs().map_err(raised)?;
        Ok(BTreeMap::from([
            ("dense", macs.dense),
            ("effectual", macs.effectual),
            ("zero_activation", macs.zero_activation),
            ("zero_weight", macs.zero_weight),
            ("zero_both", macs.zero_both),
            ("padding", macs.padding),
        ]))
    }

    /// A metric's number, `a.zeros` or `W+A`, of the network or of a layer; None where it has none.
    #[pyo3(signature = (name, layer = None))]
    fn number(&self, name: &str, layer: Option<&str>) -> PyResult<Option<f64>> {
        self.figures(layer)?.number(name).map_err(raised)
    }

    /// Every number, one a row, as a dict of columns.
    fn columns<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (rows, dict) = (self.0.rows(), PyDict::new(py));
        macro_rules! column {
            ($($name:ident),*) => {
                $(dict.set_item(stringify!($name), PyList::new(py, rows.iter().map(|row| &row.$name))?)?;)*
            };
        }
        column!(
            model,
            scope,
            layer,
            index,
            part,
            kind,
            operand,
            metric,
            parameter,
            value,
            numerator,
            denominator,
            low,
            high,
            unit
        );
        Ok(dict)
    }

    /// One dict a layer: its name, its kind, and every metric that is one number.
    fn layers<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let rows = self.0.rows();
        let of_layers: Vec<Row> = rows.into_iter().filter(|row| row.scope == "layer").collect();
        of_layers
            .chunk_by(|a, b| a.index == b.index)
            .map(|rows| {
                let dict = PyDict::new(py);
                dict.set_item("layer", &rows[0].layer)?;
                dict.set_item("kind", &rows[0].kind)?;
                dict.update(numbers(py, rows)?.as_mapping())?;
                Ok(dict)
            })
            .collect()
    }

    /// Every metric of the network that is one number.
    #[getter]
    fn network<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let rows: Vec<Row> = self.0.rows().into_iter().filter(|row| row.scope == "network").collect();
        numbers(py, &rows)
    }

    /// The JSON document.
    fn to_json(&self) -> String {
        self.0.to_json()
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("Run({}, {} inputs)", self.0.model(), self.0.inputs())
    }
}

#[pymodule]
fn _deadweight(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("Error", module.py().get_type::<Error>())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<Model>()?;
    module.add_class::<Run>()?;
    module.add_class::<Work>()?;
    module.add_function(wrap_pyfunction!(load, module)?)?;
    module.add_function(wrap_pyfunction!(count, module)?)
}
