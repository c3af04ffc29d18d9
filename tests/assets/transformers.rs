//! Transformers on real weights: embeddings, the retrieval that they allow, and a language model in blocks of 4 bits, all as transformers
//! computes them.

use std::path::Path;

use safetensors::SafeTensors;

use super::asset;
use crate::binary::{succeed, text};

/// The tensor `name` of a file, with its extents.
fn tensor<const N: usize, T>(file: &Path, name: &str, of: impl Fn([u8; N]) -> T) -> (Vec<usize>, Vec<T>) {
    let bytes = std::fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap_or_else(|error| panic!("{}: {name}: {error}", file.display()));
    (tensor.shape().to_vec(), tensor.data().as_chunks().0.iter().map(|&bytes| of(bytes)).collect())
}

/// What `run` gives for `inputs`, a row each.
fn outputs(model: &Path, inputs: &Path, more: &[&str]) -> Vec<Vec<f32>> {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("out.safetensors");
    succeed(&[&["run", text(model), text(inputs), "--save-outputs", text(&saved)], more].concat());
    let (shape, values) = tensor(&saved, "output", f32::from_le_bytes);
    values.chunks(shape[1]).map(<[f32]>::to_vec).collect()
}

/// How near the embeddings of `inputs` are to what is in `truth`.
fn quality(model: &Path, inputs: &Path, truth: &Path, more: &[&str]) -> serde_json::Value {
    let line = ["run", text(model), text(inputs), "--truth", text(truth), "--format", "json"];
    let document: serde_json::Value = serde_json::from_slice(&succeed(&[&line[..], more].concat())).unwrap();
    document["quality"].clone()
}

#[test]
fn sentences_have_the_embeddings_of_transformers() {
    let (folder, model) = (tempfile::tempdir().unwrap(), asset("nlp/all-MiniLM-L6-v2"));
    let reference: serde_json::Value =
        serde_json::from_slice(&std::fs::read(asset("nlp/all-MiniLM-L6-v2.ref.json")).unwrap()).unwrap();
    let sentences: Vec<&str> =
        reference["sentences"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let file = folder.path().join("sentences.txt");
    std::fs::write(&file, sentences.join("\n")).unwrap();
    let (shape, want) = tensor(&asset("nlp/all-MiniLM-L6-v2.ref.safetensors"), "embeddings", f32::from_le_bytes);
    let got = outputs(&model, &file, &[]).concat();
    assert_eq!(got.len(), shape[0] * shape[1]);
    let apart = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-4, "{apart} apart");
    let quality = quality(&model, &file, &asset("nlp/all-MiniLM-L6-v2.ref.safetensors"), &[]);
    assert!(quality["inputs"] == 4 && quality["least_cosine"].as_f64().unwrap() > 1.0 - 1e-8, "{quality}");
    // A sentence's embedding does not depend on those beside it.
    std::fs::write(&file, sentences[2]).unwrap();
    assert_eq!(outputs(&model, &file, &["--batch-size", "1"]).concat(), got[2 * shape[1]..3 * shape[1]]);
}

#[test]
fn halves_of_paragraphs_find_each_other_as_often_as_by_transformers() {
    let (folder, model) = (tempfile::tempdir().unwrap(), asset("nlp/all-MiniLM-L6-v2"));
    let wiki = std::fs::read_to_string(asset("data/text/wikitext2-valid.txt")).unwrap();
    let paragraphs = wiki.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let paragraphs = paragraphs.filter(|words| words.len() > 80 && !words[0].starts_with('=')).take(200);
    let (first_lines, second_lines): (Vec<String>, Vec<String>) =
        paragraphs.map(|words| (words[..words.len() / 2].join(" "), words[words.len() / 2..].join(" "))).unzip();
    let file = folder.path().join("halves.txt");
    std::fs::write(&file, [&first_lines[..], &second_lines].concat().join("\n")).unwrap();
    let embeddings = outputs(&model, &file, &["--context", "256"]);
    assert_eq!(embeddings.len(), 400);
    let (first, second) = embeddings.split_at(200);
    for (name, halves) in [("paragraph_first", first), ("paragraph_second", second)] {
        let (_, want) = tensor(&asset("nlp/all-MiniLM-L6-v2.ref.safetensors"), name, f32::from_le_bytes);
        let apart = halves.concat().iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-4, "{name}: {apart} apart");
    }
    let [inputs, partners] = [("first.txt", first_lines), ("second.txt", second_lines)].map(|(name, lines)| {
        let file = folder.path().join(name);
        std::fs::write(&file, lines.join("\n")).unwrap();
        file
    });
    let quality = quality(&model, &inputs, &partners, &["--context", "256"]);
    assert_eq!(quality["top1"]["numerator"], 80, "{quality}");
    assert_eq!(quality["top1"]["denominator"], 200, "{quality}");
    let own = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let mean = first.iter().zip(second).map(|(a, b)| own(a, b)).sum::<f64>() / 200.0;
    assert!((quality["mean_cosine"].as_f64().unwrap() - mean).abs() < 1e-6, "{quality}: {mean}");
}

#[cfg(deadweight_fetched)]
mod blocks {
    use super::*;

    fn model() -> std::path::PathBuf {
        Path::new(env!("DEADWEIGHT_FETCHED_DIR")).join("SmolLM2-135M-Instruct.Q4_1.gguf")
    }

    fn reference<T>(name: &str, of: impl Fn(i64) -> T) -> Vec<T> {
        tensor(&asset("nlp/smollm2-q4_1.ref.safetensors"), name, |bytes| of(i32::from_le_bytes(bytes).into())).1
    }

    /// A file of token numbers.
    fn ids(file: &Path, ids: &[i64]) {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::I64, vec![1, ids.len()], &bytes).unwrap();
        safetensors::serialize_to_file([("ids", view)], None, file).unwrap();
    }

    #[test]
    fn greedy_tokens_are_those_of_transformers() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ids.safetensors");
        let greedy = reference("greedy", |id| id);
        ids(&file, &greedy[..greedy.len() - 1]);
        // The first token of each row is predicted by the row before: a sequence gives what decoding it token by token does.
        let logits = outputs(&model(), &file, &[]);
        let best = |row: &[f32]| (0..row.len()).max_by(|&i, &j| row[i].total_cmp(&row[j])).unwrap() as i64;
        let got: Vec<i64> = logits[31..].iter().map(|row| best(row)).collect();
        assert_eq!(got, greedy[32..]);
    }

    #[test]
    fn tokens_logits_and_perplexity_are_those_of_transformers() {
        let folder = tempfile::tempdir().unwrap();
        let (file, given) = (folder.path().join("wiki.txt"), folder.path().join("ids.safetensors"));
        let wiki = std::fs::read_to_string(asset("data/text/wikitext2-valid.txt")).unwrap();
        let text_of: String = wiki.chars().take(40_000).collect();
        std::fs::write(&file, text_of).unwrap();
        let tokens = reference("ids", |id| id);
        ids(&given, &tokens[..9]);
        let logits = outputs(&model(), &given, &[]);
        let (shape, want) = tensor(&asset("nlp/smollm2-q4_1.ref.safetensors"), "logits_first8", f32::from_le_bytes);
        for (got, want) in logits.iter().zip(want.chunks(shape[1])) {
            let apart = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-2, "{apart} apart");
        }
        let model = model();
        let run = ["run", text(&model), text(&file), "--context", "512", "--limit", "8", "--format", "json"];
        let document: serde_json::Value = serde_json::from_slice(&succeed(&run)).unwrap();
        let (perplexity, count) = (document["quality"]["perplexity"].as_f64(), document["quality"]["tokens"].as_u64());
        assert_eq!(count, Some(4088));
        assert!(perplexity.is_some_and(|perplexity| (perplexity - 19.5022).abs() < 0.02), "{perplexity:?}");
        // The same windows from the reference's own token numbers: the tokenizer gives these.
        ids(&given, &tokens);
        let run = ["run", text(&model), text(&given), "--context", "512", "--format", "json"];
        let same: serde_json::Value = serde_json::from_slice(&succeed(&run)).unwrap();
        assert_eq!(same["quality"]["perplexity"].as_f64(), perplexity);
    }

    #[test]
    fn projections_are_measured_in_the_codes_of_their_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let given = folder.path().join("ids.safetensors");
        ids(&given, &reference("ids", |id| id)[..9]);
        let model = model();
        let measured = succeed(&["measure", text(&model), text(&given), "--format", "json"]);
        let document: serde_json::Value = serde_json::from_slice(&measured).unwrap();
        let projections = document["layers"].as_array().unwrap().iter().filter(|layer| layer["kind"] == "linear");
        let [mut zeros, mut codes] = [0; 2];
        for layer in projections.filter(|layer| layer["name"] != "lm_head") {
            let share = &layer["weights"]["zeros"];
            zeros += share["numerator"].as_u64().unwrap();
            codes += share["denominator"].as_u64().unwrap();
        }
        // As numpy counts the codes that the gguf package reads.
        assert_eq!((zeros, codes), (4_247_544, 106_168_320));
    }
}

#[test]
fn two_layers_are_counted_as_numpy_counts_them() {
    let stored: serde_json::Value = serde_json::from_str(include_str!("../reference/recount.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let line = folder.path().join("line.txt");
    std::fs::write(&line, stored["text"].as_str().unwrap()).unwrap();
    let model = asset("nlp/all-MiniLM-L6-v2");
    let document = succeed(&["measure", text(&model), text(&line), "--format", "json"]);
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    let rows = document["layers"].as_array().unwrap();
    let layers = stored["layers"].as_object().unwrap();
    assert_eq!(layers.len(), 3, "a linear layer, and both products of attention");
    for (name, sums) in layers {
        let row = rows.iter().find(|row| row["name"] == *name).unwrap_or_else(|| panic!("no row {name}"));
        for (sum, want) in sums.as_object().unwrap() {
            let (metric, of) = match &sum[..] {
                "dense" => ("macs.effectual".to_owned(), "denominator"),
                "effectual" | "zero_both" | "zero_activation" | "zero_weight" => (format!("macs.{sum}"), "numerator"),
                _ => (format!("potential.{sum}"), "denominator"),
            };
            assert_eq!(row["metrics"][&metric]["with_padding"][of], *want, "{name}: {sum}");
        }
    }
}
