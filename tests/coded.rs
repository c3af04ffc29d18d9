//! Networks whose weights stay the blocks of a GGUF file, against the same networks with these weights as floats: bit for bit, for
//! many tokens at once and token by token, on every level and number of threads.

use std::fs::File;
use std::path::Path;

use candle_core::quantized::gguf_file::{Value, write};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use deadweight::engine::{Backend, EngineOptions, Runner};
use deadweight::kernels::Isa;
use deadweight::layers::{Layer, Shape};
use deadweight::model::{LoadOptions, Model};
use deadweight::weights::Weights;

/// Sizes: a block of the largest type has 256 weights; 70 words are no whole blocks of lanes.
const WIDTH: usize = 256;
const INNER: usize = 512;
const WORDS: usize = 70;
const TOKENS: usize = 9;

const TYPES: [GgmlDType; 8] = [
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

/// Uniform numbers in -1/16..1/16.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 27) as f32 - 0.0625
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Writes a Llama of one layer with matrices of type `kind`, or with their values as floats.
fn written(path: &Path, kind: GgmlDType, as_floats: bool) {
    let mut shapes = vec![("token_embd".to_owned(), vec![WORDS, WIDTH]), ("output_norm".to_owned(), vec![WIDTH])];
    for (name, shape) in [
        ("attn_norm", vec![WIDTH]),
        ("attn_q", vec![WIDTH, WIDTH]),
        ("attn_k", vec![WIDTH / 2, WIDTH]),
        ("attn_v", vec![WIDTH / 2, WIDTH]),
        ("attn_output", vec![WIDTH, WIDTH]),
        ("ffn_norm", vec![WIDTH]),
        ("ffn_gate", vec![INNER, WIDTH]),
        ("ffn_up", vec![INNER, WIDTH]),
        ("ffn_down", vec![WIDTH, INNER]),
    ] {
        shapes.push((format!("blk.0.{name}"), shape));
    }
    let tensor = |at: usize, shape: &[usize]| {
        let data = values(shape.iter().product(), at as u64 + 1);
        let floats = Tensor::from_vec(data, shape, &Device::Cpu).unwrap();
        if shape.len() == 1 {
            return QTensor::quantize(&floats, GgmlDType::F32).unwrap();
        }
        let blocks = QTensor::quantize(&floats, kind).unwrap();
        match as_floats {
            true => QTensor::quantize(&blocks.dequantize(&Device::Cpu).unwrap(), GgmlDType::F32).unwrap(),
            false => blocks,
        }
    };
    let tensors: Vec<(String, QTensor)> =
        shapes.iter().enumerate().map(|(at, (name, shape))| (format!("{name}.weight"), tensor(at, shape))).collect();
    let numbers = [
        ("context_length", 64),
        ("embedding_length", WIDTH),
        ("block_count", 1),
        ("feed_forward_length", INNER),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("vocab_size", WORDS),
    ];
    let mut metadata = vec![
        ("general.architecture".to_owned(), Value::String("llama".to_owned())),
        ("llama.attention.layer_norm_rms_epsilon".to_owned(), Value::F32(1e-5)),
    ];
    metadata.extend(numbers.map(|(name, number)| (format!("llama.{name}"), Value::U32(number as u32))));
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    write(&mut File::create(path).unwrap(), &metadata, &tensors).unwrap();
}

/// Bits of the logits of all tokens at once, and of each after the first ones, token by token from the caches of those.
fn logits(model: &Model, isa: Isa, threads: usize) -> [Vec<u32>; 2] {
    let backend = Backend::Native(EngineOptions { isa, ..EngineOptions::new(threads) });
    let tokens: Vec<f32> = (0..TOKENS).map(|i| ((i * i * 11 + 5) % WORDS) as f32).collect();
    let first = TOKENS / 2;
    let runner = |steps: usize| {
        let mut runner = Runner::new(&model.graph, Shape::new(1, 1, steps), &backend, 1).unwrap();
        runner.carry_states(&[]).unwrap();
        runner
    };
    let whole = runner(TOKENS).run(&tokens, None).unwrap();
    let mut begun = runner(first);
    begun.run(&tokens[..first], None).unwrap();
    let mut one = runner(1);
    one.carry_states(&begun.states().unwrap()).unwrap();
    let each: Vec<f32> = tokens[first..].chunks(1).flat_map(|token| one.run(token, None).unwrap()).collect();
    [whole, each].map(|floats| floats.into_iter().map(f32::to_bits).collect())
}

/// Matrices of `model` that are kept as codes.
fn coded(model: &Model) -> usize {
    let kept = |layer: &Layer| match layer {
        Layer::Linear(linear) => linear.weight.data.codes().is_some(),
        Layer::Embedding(embedding) => embedding.table.data.codes().is_some(),
        _ => false,
    };
    model.graph.nodes.iter().filter(|def| kept(&def.layer)).count()
}

/// The codes that are counted of the weights of a model are those of the blocks of its file.
fn assert_counts_the_codes_of(model: &Model, path: &Path) {
    let weights = Weights::open(path).unwrap();
    for def in &model.graph.nodes {
        let Layer::Linear(linear) = &def.layer else { continue };
        let low = linear.low_bits.as_ref().unwrap();
        // The head shares the embedding's.
        let name = if linear.tied { "embed_tokens" } else { def.name.as_str() };
        let stored = weights.names().find(|stored| name.ends_with(stored.trim_end_matches(".weight")));
        let codes = weights.block_codes(stored.unwrap()).unwrap();
        assert_eq!((low.bits, low.signed), (codes.bits(), codes.signed()));
        assert!(low.codes.get()[..] == codes.codes()[..], "{name}");
    }
}

#[test]
fn weights_of_every_type_of_block_give_the_bits_of_their_floats() {
    let folder = tempfile::tempdir().unwrap();
    for kind in TYPES {
        let [blocks, floats] = [false, true].map(|as_floats| {
            let path = folder.path().join(format!("{kind:?}-{as_floats}.gguf"));
            written(&path, kind, as_floats);
            Model::load(path.to_str().unwrap(), &LoadOptions::default()).unwrap()
        });
        // Seven of the layer, the embedding and the head that shares it.
        assert_eq!([coded(&blocks), coded(&floats)], [9, 0], "{kind:?}");
        assert_counts_the_codes_of(&blocks, &folder.path().join(format!("{kind:?}-false.gguf")));
        let want = logits(&floats, Isa::SCALAR, 1);
        let (whole, each) = (&want[0], &want[1]);
        // Outputs are [words, tokens]: those of a token that was read in the whole are those of the token alone.
        for (step, alone) in each.chunks(WORDS).enumerate() {
            let of_whole: Vec<u32> = whole.iter().skip(TOKENS / 2 + step).step_by(TOKENS).copied().collect();
            assert_eq!(alone, of_whole, "{kind:?}, token {step}");
        }
        for isa in Isa::available() {
            for threads in [1, 2] {
                assert_eq!(logits(&blocks, isa, threads), want, "{kind:?}, {}, {threads} threads", isa.name());
            }
        }
    }
}
