//! TFLite files: tensors, operators and their options, as stored.

use super::SourceFile;
use super::flatbuffer::{Bytes, Table};
use crate::{Error, Result};

/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// Unsigned bytes.
    U8,
    /// Signed bytes.
    I8,
    /// 16 bits.
    I16,
    /// 32 bits.
    I32,
    /// 64 bits.
    I64,
}

/// An activation of the network, or a constant.
#[derive(Clone, Debug)]
pub struct TfliteTensor {
    /// Its name in the file.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Type of its elements.
    pub element: Element,
    /// Bytes of a constant; empty for an activation.
    pub data: Vec<u8>,
    /// Scales: one, or one per channel; empty if it is not quantised.
    pub scales: Vec<f32>,
    /// Zero points, as many as scales.
    pub zero_points: Vec<i64>,
    /// The dimension of the scales, if there are several.
    pub axis: usize,
    /// Whether it is a state, initially zero, that operators update.
    pub variable: bool,
    /// Whether an extent other than the first is open in the file; [`TfliteTensor::shape`] then has 1 in its place.
    pub open: bool,
}

/// Options of an operator; those that it does not have are at their defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// `SAME` (else `VALID`) padding.
    pub same: bool,
    /// Rows and columns from window to window.
    pub stride: (usize, usize),
    /// Rows and columns from tap to tap.
    pub dilation: (usize, usize),
    /// Rows and columns of a pooling window.
    pub window: (usize, usize),
    /// Number of the fused activation: 0 none, 1 ReLU, 3 ReLU6.
    pub activation: i8,
    /// Of softmax.
    pub beta: f32,
    /// Of concatenation.
    pub axis: i32,
    /// Filters per channel of a depthwise convolution.
    pub multiplier: usize,
    /// For a fully connected layer: only the last dimension changes.
    pub keep_dims: bool,
    /// Of bilinear resizing.
    pub align_corners: bool,
    /// Of bilinear resizing.
    pub half_pixel_centers: bool,
    /// For a recurrence: the dimensions are steps, batch, features.
    pub time_major: bool,
    /// For a recurrence: bound of the cell, 0 for none.
    pub cell_clip: f32,
}

/// Version of the format.
const VERSION: i32 = 3;

/// One operator.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Its name in TFLite's schema.
    pub name: &'static str,
    /// Its input tensors; `None` for an omitted optional one.
    pub inputs: Vec<Option<usize>>,
    /// Its output tensors.
    pub outputs: Vec<usize>,
    /// Its options.
    pub options: Options,
}

/// A network as stored.
#[derive(Clone, Debug)]
pub struct Tflite {
    /// The file.
    pub file: SourceFile,
    /// Its name in messages.
    pub source: String,
    /// All tensors.
    pub tensors: Vec<TfliteTensor>,
    /// All operators, in topological order.
    pub operators: Vec<Operator>,
    /// The network's inputs.
    pub inputs: Vec<usize>,
    /// The network's outputs.
    pub outputs: Vec<usize>,
}

impl Tflite {
    /// Parses the network in `bytes`, a file in memory; `name` is its name in messages.
    ///
    /// # Errors
    /// As for a file on disk.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        Self::parse(name, bytes, SourceFile::of_bytes(name, bytes))
    }

    /// Parses the network in `bytes`.
    ///
    /// # Errors
    /// [`Error::Malformed`] if an offset, a number or a name is invalid; [`Error::Unsupported`] naming an operator or type
    /// that is in no known version of the format.
    pub(super) fn parse(source: &str, bytes: &[u8], file: SourceFile) -> Result<Self> {
        let wrong = |detail: String| Error::malformed(source, detail);
        let root = Bytes::new(source, bytes).table(0)?;
        let version = root.i32(0, 0)?;
        if version != VERSION {
            let what = format!("{source}: version {version} of the format");
            return Err(Error::unsupported(what, "only version 3 can be read: convert the network again"));
        }
        let codes = root.tables(1)?.iter().map(|code| operator(source, code)).collect::<Result<Vec<_>>>()?;
        let buffers = root.tables(4)?;
        let graphs = root.tables(2)?;
        let [graph] = graphs.as_slice() else {
            let hint = "only networks with one graph, without control flow, can be read";
            return Err(Error::unsupported(format!("{source}: {} subgraphs", graphs.len()), hint));
        };
        let tensors = graph.tables(0)?;
        let known = |index: i32| usize::try_from(index).ok().filter(|&index| index < tensors.len());
        let all = |table: &Table<'_>, field: usize| -> Result<Vec<usize>> {
            let indices = table.numbers(field, i32::from_le_bytes)?;
            let known = indices.iter().map(|&index| known(index).ok_or(index)).collect::<Result<_, i32>>();
            known.map_err(|index| wrong(format!("refers to tensor {index} of {}", tensors.len())))
        };
        let operator = |table: &Table<'_>| {
            let code = table.i32(0, 0)?;
            let name = usize::try_from(code).ok().and_then(|code| codes.get(code).copied());
            let name = name.ok_or_else(|| wrong(format!("refers to operator {code} of {}", codes.len())))?;
            let inputs = table.numbers(1, i32::from_le_bytes)?.into_iter().map(|index| match index {
                -1 => Ok(None),
                _ => known(index).map(Some).ok_or_else(|| wrong(format!("{name} reads tensor {index}"))),
            });
            let options = table.table(4)?.map_or(Ok(Options::default()), |table| options(source, name, &table))?;
            Ok(Operator { name, inputs: inputs.collect::<Result<_>>()?, outputs: all(table, 2)?, options })
        };
        Ok(Self {
            inputs: all(graph, 1)?,
            outputs: all(graph, 2)?,
            operators: graph.tables(3)?.iter().map(operator).collect::<Result<_>>()?,
            tensors: tensors.iter().map(|table| tensor(source, table, &buffers)).collect::<Result<_>>()?,
            source: source.to_owned(),
            file,
        })
    }
}

fn operator(source: &str, code: &Table<'_>) -> Result<&'static str> {
    // Codes above 127 are in another field.
    let number = code.i32(3, 0)?.max(i32::from(code.i8(0, 0)?));
    let name = usize::try_from(number).ok().and_then(|number| OPERATORS.split_whitespace().nth(number));
    match name {
        Some("CUSTOM") => {
            let name = code.text(1)?;
            Err(Error::unsupported(
                format!("{source}: custom operator {name}"),
                "only TFLite's own operators can be read",
            ))
        }
        Some(name) => Ok(name),
        None => {
            Err(Error::unsupported(format!("{source}: operator number {number}"), "the schema we know ends before it"))
        }
    }
}

fn tensor(source: &str, table: &Table<'_>, buffers: &[Table<'_>]) -> Result<TfliteTensor> {
    let name = table.text(3)?.to_owned();
    let wrong = |detail: String| Error::malformed(format!("{source}: {name}"), detail);
    let extents = table.numbers(0, i32::from_le_bytes)?;
    let shape = extents.iter().map(|&extent| usize::try_from(extent)).collect::<std::result::Result<Vec<_>, _>>();
    let shape = shape.map_err(|_| wrong(format!("its shape is {extents:?}")))?;
    let (element, size) = match table.i8(1, 0)? {
        0 => (Element::F32, 4),
        2 => (Element::I32, 4),
        3 => (Element::U8, 1),
        4 => (Element::I64, 8),
        1 => (Element::F16, 2),
        7 => (Element::I16, 2),
        9 => (Element::I8, 1),
        other => {
            let hint = "only tensors of f32, f16 and of 8, 16, 32 and 64 bit integers can be read";
            return Err(Error::unsupported(format!("{source}: {name}: type number {other}"), hint));
        }
    };
    let buffer = table.i32(2, 0)?;
    let data = usize::try_from(buffer).ok().and_then(|buffer| buffers.get(buffer));
    let data = data.ok_or_else(|| wrong(format!("refers to buffer {buffer} of {}", buffers.len())))?;
    let refuse = |what: &str, hint: &str| Err(Error::unsupported(format!("{source}: {name}: {what}"), hint));
    if data.stated().any(|field| field > 0) {
        return refuse("its values are behind the network's own bytes", "only files of up to 2 GiB can be read");
    }
    if table.table(6)?.is_some() {
        return refuse("a sparse tensor", "convert the network without sparse tensors: zeros are found where they lie");
    }
    let data = data.bytes(0)?;
    let wanted = shape.iter().try_fold(size, |product: usize, &extent| product.checked_mul(extent));
    if !data.is_empty() && wanted != Some(data.len()) {
        return Err(wrong(format!("{} bytes, its shape {shape:?} needs {}", data.len(), wanted.unwrap_or(usize::MAX))));
    }
    let quantisation = table.table(4)?;
    let (details, axis) = quantisation.map_or(Ok((0, 0)), |table| Ok((table.i8(4, 0)?, table.i32(6, 0)?)))?;
    if details != 0 {
        return refuse(
            "scales of blocks, or of a kind of their own",
            "only integers with one scale, or one per channel, can be read",
        );
    }
    let axis = usize::try_from(axis).map_err(|_| wrong(format!("its scales are of dimension {axis}")))?;
    let signature = table.numbers(7, i32::from_le_bytes)?;
    let of = |field, make| quantisation.map_or(Ok(Vec::new()), |table: Table<'_>| table.numbers(field, make));
    let scales = of(2, f32::from_le_bytes)?;
    let zero_points = quantisation.map_or(Ok(Vec::new()), |table| table.numbers(3, i64::from_le_bytes))?;
    if scales.len() != zero_points.len() || scales.iter().any(|scale| !(scale.is_finite() && *scale >= 0.0)) {
        return Err(wrong(format!("{} scales and {} zero points", scales.len(), zero_points.len())));
    }
    let (variable, open) = (table.bool(5)?, signature.iter().skip(1).any(|&extent| extent < 0));
    Ok(TfliteTensor { data: data.to_vec(), shape, element, scales, zero_points, axis, variable, open, name })
}

/// Number of options in the schema for `operator`, if it is supported.
fn known_options(operator: &str) -> usize {
    match operator {
        "CONV_2D" | "DEPTHWISE_CONV_2D" => 7,
        "AVERAGE_POOL_2D" | "MAX_POOL_2D" | "UNIDIRECTIONAL_SEQUENCE_LSTM" => 6,
        "FULLY_CONNECTED" => 5,
        "RESIZE_BILINEAR" => 4,
        "ADD" | "CONCATENATION" => 2,
        "SOFTMAX" | "MEAN" | "RESHAPE" | "SQUEEZE" | "ARG_MAX" => 1,
        "QUANTIZE" | "DEQUANTIZE" | "PAD" | "TRANSPOSE" => 0,
        // Refused by its name later.
        _ => usize::MAX,
    }
}

fn options(source: &str, operator: &str, table: &Table<'_>) -> Result<Options> {
    let refuse = |what: String| {
        let hint = "only operators of TFLite's schema up to 2025, as its converter writes them, can be read";
        Error::unsupported(format!("{source}: {operator} with {what}"), hint)
    };
    if let Some(unknown) = table.stated().find(|&field| field >= known_options(operator)) {
        return Err(refuse(format!("option number {unknown}, which is not known")));
    }
    let extent = |number: usize, default: i32| {
        let value = table.i32(number, default)?;
        let wrong = |_| Error::malformed(source, format!("{operator}: a stride, step or window of {value}"));
        usize::try_from(value).map_err(wrong)
    };
    let pair = |rows: usize, columns: usize, default: i32| Ok((extent(rows, default)?, extent(columns, default)?));
    let same = || match table.i8(0, 0)? {
        0 => Ok(true),
        1 => Ok(false),
        other => Err(refuse(format!("padding number {other}"))),
    };
    let none = Options::default();
    Ok(match operator {
        "CONV_2D" => Options {
            same: same()?,
            stride: pair(2, 1, 0)?,
            activation: table.i8(3, 0)?,
            dilation: pair(5, 4, 1)?,
            ..none
        },
        "DEPTHWISE_CONV_2D" => Options {
            same: same()?,
            stride: pair(2, 1, 0)?,
            multiplier: extent(3, 0)?,
            activation: table.i8(4, 0)?,
            dilation: pair(6, 5, 1)?,
            ..none
        },
        "AVERAGE_POOL_2D" | "MAX_POOL_2D" => Options {
            same: same()?,
            stride: pair(2, 1, 0)?,
            window: pair(4, 3, 0)?,
            activation: table.i8(5, 0)?,
            ..none
        },
        "FULLY_CONNECTED" => match table.i8(1, 0)? {
            0 => Options { activation: table.i8(0, 0)?, keep_dims: table.bool(2)?, ..none },
            _ => return Err(refuse("shuffled weights".to_owned())),
        },
        // The scale of 16-bit sums; these sums are not supported.
        "ADD" => Options { activation: table.i8(0, 0)?, ..none },
        "SOFTMAX" => Options { beta: table.f32(0)?, ..none },
        "CONCATENATION" => Options { axis: table.i32(0, 0)?, activation: table.i8(1, 0)?, ..none },
        "RESIZE_BILINEAR" => Options { align_corners: table.bool(2)?, half_pixel_centers: table.bool(3)?, ..none },
        "UNIDIRECTIONAL_SEQUENCE_LSTM" if table.bool(5)? => {
            return Err(refuse("diagonal recurrent weights".to_owned()));
        }
        "UNIDIRECTIONAL_SEQUENCE_LSTM" => {
            Options { activation: table.i8(0, 0)?, cell_clip: table.f32(1)?, time_major: table.bool(3)?, ..none }
        }
        _ => none,
    })
}

/// TFLite's operators by their number in its schema.
const OPERATORS: &str = "
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR
    FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC
    LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH
    SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER
    BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
    BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM
    ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE
    TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK
    LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL
    FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL
    REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND
    HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM
    BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS
    HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE
    ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU
    DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2
    UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE
    STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE
    STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE
    STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG
    STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER STABLEHLO_RSQRT
    STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT
    STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL
    STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE
    STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT STABLEHLO_CASE
";
