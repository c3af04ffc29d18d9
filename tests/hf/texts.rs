//! Texts through the program, on small networks with a vocabulary: the marks of their tokenizer, labels and figures of quality.

use serde_json::{Value, json};

use super::stored;
use crate::binary::{fail, succeed, text};

/// Words of the vocabulary, behind the marks: more tokens than most texts have.
const WORDS: [&str; 12] = ["the", "cat", "sat", "on", "a", "mat", "dog", "ran", "##s", "##ing", "far", "."];

/// A folder with the network `case` of the stored ones, whose config has `more` as well, and a WordPiece vocabulary.
fn network(case: &str, more: Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut case = stored()[case].clone();
    case.config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    case.write(folder.path(), 1);
    let marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    std::fs::write(folder.path().join("vocab.txt"), [&marks[..], &WORDS].concat().join("\n")).unwrap();
    folder
}

/// The document that `verb` prints for the network in `folder` on `file`, which has the content `content`.
fn document(verb: &str, folder: &tempfile::TempDir, (file, content): (&str, &str), more: &[&str]) -> Value {
    let path = folder.path().join(file);
    std::fs::write(&path, content).unwrap();
    let line = [&[verb, text(folder.path()), text(&path), "--format", "json"], more].concat();
    serde_json::from_slice(&succeed(&line)).unwrap()
}

#[test]
fn encoders_that_label_tokens_read_texts_between_their_marks() {
    let folder = network("bert tokens", json!({}));
    let lines = ("t.txt", "the cat sat\n\na mat\n");
    let steps = |more: &[&str]| -> Vec<usize> {
        let document = document("run", &folder, lines, more);
        let inputs = document["inputs"].as_array().unwrap();
        inputs.iter().map(|input| input["classes"].as_array().unwrap().len()).collect()
    };
    assert_eq!(steps(&[]), [5, 4]);
    assert_eq!(steps(&["--split", "paragraph", "--context", "4"]), [4, 4]);
}

/// Accuracy, and by class precision, recall and F1, of `pairs` of answers and labels: by the definitions, pair by pair.
fn scores(pairs: &[(u64, u64)]) -> (f64, f64, Vec<(u64, [f64; 3])>) {
    let count = |fits: &dyn Fn(u64, u64) -> bool| pairs.iter().filter(|(a, l)| fits(*a, *l)).count() as f64;
    let mut classes: Vec<u64> = pairs.iter().flat_map(|&(answer, label)| [answer, label]).collect();
    classes.sort_unstable();
    classes.dedup();
    let score = |class: u64| {
        let right = count(&|a, l| a == class && l == class);
        let share = |whole: f64| if whole == 0.0 { f64::NAN } else { right / whole };
        let (precision, recall) = (share(count(&|a, _| a == class)), share(count(&|_, l| l == class)));
        let f1 = if right == 0.0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) };
        (class, [precision, recall, f1])
    };
    let each: Vec<_> = classes.into_iter().map(score).collect();
    let mean = each.iter().map(|(_, [.., f1])| f1).sum::<f64>() / each.len() as f64;
    (count(&|a, l| a == l) / pairs.len() as f64, mean, each)
}

/// Asserts that `quality` is that of `pairs`.
fn assert_scores(quality: &Value, pairs: &[(u64, u64)]) {
    let close = |value: &Value, want: f64| match value.as_f64() {
        Some(value) => assert!((value - want).abs() < 1e-12, "{value} is not {want}: {quality}"),
        None => assert!(want.is_nan(), "none is not {want}: {quality}"),
    };
    let (accuracy, mean, classes) = scores(pairs);
    assert_eq!(quality["labelled"].as_u64(), Some(pairs.len() as u64), "{quality}");
    close(&quality["accuracy"]["value"], accuracy);
    close(&quality["macro_f1"], mean);
    let got = quality["classes"].as_array().unwrap();
    assert_eq!(got.len(), classes.len(), "{quality}");
    for (got, (class, want)) in got.iter().zip(classes) {
        assert_eq!(got["class"].as_u64(), Some(class));
        ["precision", "recall", "f1"].iter().zip(want).for_each(|(name, want)| close(&got[name]["value"], want));
    }
}

/// Texts of several lengths, and their labels.
const TEXTS: [(&str, u64); 9] = [
    ("the cat sat on the mat .", 0),
    ("a dog ran", 2),
    ("cats ran far far far .", 1),
    ("dogs", 0),
    ("the dog sat", 2),
    ("mat", 1),
    ("the cats sat on a mat far .", 2),
    ("a cat", 0),
    ("dogs ran on the mats", 2),
];

const NAMES: [&str; 3] = ["bad", "so so", "good"];

fn classifier() -> tempfile::TempDir {
    network("bert sequence", json!({ "id2label": { "0": NAMES[0], "1": NAMES[1], "2": NAMES[2] } }))
}

#[test]
fn texts_are_classified_as_their_labels_say() {
    let folder = classifier();
    let table: String = TEXTS.iter().map(|(text, label)| format!("{text}\t{}\n", NAMES[*label as usize])).collect();
    let run = document("run", &folder, ("t.tsv", &table), &[]);
    let answer = |input: &Value| (input["top"][0]["class"].as_u64().unwrap(), input["label"].as_u64().unwrap());
    let pairs: Vec<(u64, u64)> = run["inputs"].as_array().unwrap().iter().map(answer).collect();
    assert_eq!(pairs.iter().map(|(_, label)| *label).collect::<Vec<_>>(), TEXTS.map(|(_, label)| label));
    assert_scores(&run["quality"], &pairs);
    let first = &run["quality"]["classes"][0];
    assert_eq!(first["name"], NAMES[first["class"].as_u64().unwrap() as usize]);
    // Numbers, other columns and records say the same.
    let records: String = TEXTS.map(|(text, label)| json!({ "body": text, "gold": label }).to_string() + "\n").concat();
    let named = ["--field", "body", "--label-field", "gold"];
    assert_eq!(document("run", &folder, ("t.jsonl", &records), &named)["quality"], run["quality"]);
    let columns: String = TEXTS.map(|(text, label)| format!("{label}\tx\t{text}\n")).concat();
    let columns = format!("gold\tid\tbody\n{columns}");
    assert_eq!(document("run", &folder, ("u.tsv", &columns), &named)["quality"], run["quality"]);
    // Texts without labels have no such figure.
    let unlabelled = document(
        "run",
        &folder,
        ("t.jsonl", &records.replace("gold", "label")),
        &["--field", "body", "--label-field", ""],
    );
    assert_eq!((&unlabelled["quality"], &unlabelled["inputs"][0]["label"]), (&Value::Null, &Value::Null));
    let path = folder.path().join("t.tsv");
    let printed = String::from_utf8(succeed(&["run", text(folder.path()), text(&path)])).unwrap();
    let last = printed.lines().last().unwrap();
    assert!(last.contains("% right, macro F1 0.") && last.contains("of 9 with a label"), "{last}");
}

#[test]
fn texts_of_several_lengths_are_measured_alike_in_any_batch_and_split() {
    let folder = classifier();
    let file = folder.path().join("t.tsv");
    std::fs::write(&file, TEXTS.map(|(text, label)| format!("{text}\t{label}\n")).concat()).unwrap();
    let at = |name: &str| folder.path().join(name);
    let measure = |name: &str, more: &[&str]| {
        let out = at(name);
        succeed(&[&["measure", text(folder.path()), text(&file), "-o", text(&out)], more].concat());
        std::fs::read(out).unwrap()
    };
    let saved = |name: &str, more: &[&str]| {
        let out = at(name);
        succeed(&[&["run", text(folder.path()), text(&file), "--save-outputs", text(&out)], more].concat());
        std::fs::read(out).unwrap()
    };
    let alone = ["--batch-size", "1", "--threads", "1"];
    let (whole, outputs) = (measure("whole.dwm", &alone), saved("whole.safetensors", &alone));
    for (batch, threads) in [("2", "1"), ("4", "2"), ("9", "2")] {
        let more = ["--batch-size", batch, "--threads", threads];
        assert!(measure("other.dwm", &more) == whole, "batch {batch}, {threads} threads: other counts");
        assert!(saved("other.safetensors", &more) == outputs, "batch {batch}, {threads} threads: other outputs");
    }
    let parts = ["1/3", "2/3", "3/3"].map(|part| {
        let name = format!("part{}.dwm", &part[..1]);
        measure(&name, &["--shard", part]);
        at(&name)
    });
    let merged = at("merged.dwm");
    succeed(&["merge", text(&parts[2]), text(&parts[0]), text(&parts[1]), "-o", text(&merged)]);
    assert!(std::fs::read(&merged).unwrap() == whole, "parts add to other counts");
    let report: Value = serde_json::from_slice(&succeed(&["report", text(&merged), "--format", "json"])).unwrap();
    let run = document("run", &folder, ("t.tsv", &std::fs::read_to_string(&file).unwrap()), &[]);
    assert_eq!(report["data"]["quality"], run["quality"]);
    assert_eq!(report["model"]["classes"]["2"], NAMES[2]);
}

#[test]
fn words_are_labelled_at_their_first_token() {
    let names = json!({ "id2label": { "0": "O", "1": "B-PET", "2": "I-PET" } });
    let folder = network("bert tokens", names);
    // Tokens: [CLS] cat ##s ran [SEP]; [CLS] the dog ##s sat ##ing far [SEP].
    let records = [
        json!({ "text": ["Cats", "ran"], "label": ["B-PET", "O"] }),
        json!({ "text": ["the", "dogs", "sating", "far"], "label": [0, 1, -100, 2] }),
    ];
    let content = records.map(|record| record.to_string() + "\n").concat();
    let run = document("run", &folder, ("t.jsonl", &content), &[]);
    let class = |input: usize, step: usize| run["inputs"][input]["classes"][step].as_u64().unwrap();
    assert_eq!(run["inputs"][1]["classes"].as_array().unwrap().len(), 8);
    let pairs = [(class(0, 1), 1), (class(0, 3), 0), (class(1, 1), 0), (class(1, 2), 1), (class(1, 6), 2)];
    assert_scores(&run["quality"], &pairs);
    let measured = document("measure", &folder, ("t.jsonl", &content), &["--batch-size", "1"]);
    assert_eq!(measured["data"]["quality"], run["quality"]);
    // Of a text that is cut off, the words that are left.
    let cut = document("run", &folder, ("t.jsonl", &content), &["--context", "5"]);
    let class = |input: usize, step: usize| cut["inputs"][input]["classes"][step].as_u64().unwrap();
    assert_scores(&cut["quality"], &[(class(0, 1), 1), (class(0, 3), 0), (class(1, 1), 0), (class(1, 2), 1)]);
}

#[test]
fn labels_that_do_not_fit_are_refused() {
    let [sequence, tokens] = [classifier(), network("bert tokens", json!({}))];
    let refused =
        |folder: &tempfile::TempDir, (name, content): (&str, &str), more: &[&str], code: i32, parts: &[&str]| {
            let file = folder.path().join(name);
            std::fs::write(&file, content).unwrap();
            for verb in ["run", "measure"] {
                let (got, said) = fail(&[&[verb, text(folder.path()), text(&file)], more].concat());
                assert!(got == code && parts.iter().all(|part| said.contains(part)), "{got}: {said}");
            }
        };
    refused(
        &sequence,
        ("a.tsv", "cat\tgood\ndog\tawful\n"),
        &[],
        1,
        &["a.tsv: line 2", "\"awful\"", "bad, so so, good"],
    );
    refused(&sequence, ("b.tsv", "cat\t3\n"), &[], 1, &["b.tsv: line 1", "0 to 2"]);
    refused(&sequence, ("c.tsv", "cat\t1\ndog 2\n"), &[], 1, &["c.tsv: line 2", "a text, a tab and its label"]);
    refused(&sequence, ("d.tsv", "cat\t1\n"), &["--field", "x"], 1, &["d.tsv: line 1", "--field and --label-field"]);
    let record = "{\"text\": \"cat\", \"label\": 1}\n{\"text\": \"dog\"}\n";
    refused(&sequence, ("e.jsonl", record), &[], 1, &["e.jsonl: line 2", "--label-field"]);
    refused(&tokens, ("f.jsonl", record), &[], 1, &["f.jsonl: line 1", "no array of words", "--field"]);
    let record = "{\"text\": [\"cat\", \"ran\"], \"label\": [1]}\n";
    refused(&tokens, ("g.jsonl", record), &[], 1, &["g.jsonl: line 1", "2 words and 1 labels"]);
    let embedding = network("bert", json!({}));
    refused(
        &embedding,
        ("h.jsonl", record),
        &["--label-field", "x"],
        2,
        &["--label-field", "classify texts or their words"],
    );
}

/// First halves and second halves; the third pair is of equal texts, the last has the words of the first.
const HALVES: [[&str; 2]; 5] = [
    ["the cat sat", "on the mat ."],
    ["a dog ran far", "cats"],
    ["mat", "mat"],
    ["dogs ran on a mat .", "the dog sat far far"],
    ["cats sat", "the cat sat"],
];

/// An encoder whose embedding of a text is the mean of its tokens.
fn encoder() -> tempfile::TempDir {
    let folder = network("bert", json!({}));
    std::fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    let pooling = json!({ "word_embedding_dimension": 32, "pooling_mode_mean_tokens": true });
    std::fs::write(folder.path().join("1_Pooling/config.json"), pooling.to_string()).unwrap();
    let modules =
        ["Transformer", "Pooling"].map(|kind| json!({ "type": format!("sentence_transformers.models.{kind}") }));
    let mut modules = Value::from(modules.to_vec());
    (modules[0]["path"], modules[1]["path"]) = (json!(""), json!("1_Pooling"));
    std::fs::write(folder.path().join("modules.json"), modules.to_string()).unwrap();
    folder
}

/// The embeddings that `run` gives for `lines`, and their file.
fn embeddings(folder: &tempfile::TempDir, name: &str, lines: &[&str]) -> (Vec<Vec<f32>>, std::path::PathBuf) {
    let [file, saved] = [format!("{name}.txt"), format!("{name}.safetensors")].map(|name| folder.path().join(name));
    std::fs::write(&file, lines.join("\n")).unwrap();
    succeed(&["run", text(folder.path()), text(&file), "--save-outputs", text(&saved)]);
    let bytes = std::fs::read(&saved).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let output = tensors.tensor("output").unwrap();
    let values: Vec<f32> = output.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    (values.chunks(output.shape()[1]).map(<[f32]>::to_vec).collect(), saved)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let sum = |of: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(&a, &b)| of(a.into(), b.into())).sum::<f64>();
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}

#[test]
fn embeddings_are_compared_with_partners_and_with_a_reference() {
    let folder = encoder();
    let [first, second] = [0, 1].map(|half| HALVES.map(|halves| halves[half]));
    let (own, inputs) = (embeddings(&folder, "first", &first), folder.path().join("first.txt"));
    let (of_partners, partners) = (embeddings(&folder, "second", &second), folder.path().join("second.txt"));
    let line = |verb: &'static str, truth: &std::path::Path, more: &[&str]| -> Value {
        let line = [verb, text(folder.path()), text(&inputs), "--truth", text(truth), "--format", "json"];
        serde_json::from_slice(&succeed(&[&line[..], more].concat())).unwrap()
    };
    let pairs: Vec<f64> = own.0.iter().zip(&of_partners.0).map(|(a, b)| cosine(a, b)).collect();
    let right = own
        .0
        .iter()
        .zip(&pairs)
        .filter(|(own, with_own)| of_partners.0.iter().all(|other| cosine(own, other) <= **with_own));
    let (right, mean) = (right.count() as u64, pairs.iter().sum::<f64>() / pairs.len() as f64);
    let least = pairs.iter().copied().fold(1.0, f64::min);
    let run = line("run", &partners, &[])["quality"].clone();
    assert_eq!((&run["top1"]["numerator"], &run["top1"]["denominator"]), (&json!(right), &json!(5)));
    assert!((1..5).contains(&right), "{right} of 5 tell little");
    for (name, want) in [("mean_cosine", mean), ("least_cosine", least)] {
        assert!((run[name].as_f64().unwrap() - want).abs() < 1e-8, "{name} is not {want}: {run}");
    }
    let printed = succeed(&["run", text(folder.path()), text(&inputs), "--truth", text(&partners)]);
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains(&format!("\ntop-1 {right} of 5 (")) && printed.contains("cosine of pairs "), "{printed}");
    // Neither batches nor threads nor parts change a bit, and the first inputs are found among all partners.
    for more in [["--batch-size", "1", "--threads", "1"], ["--batch-size", "3", "--threads", "2"]] {
        assert_eq!(line("run", &partners, &more)["quality"], run);
        let measured = line("measure", &partners, &more);
        assert_eq!((&measured["data"]["quality"], &measured["options"]["truth"]), (&run, &json!("partners")));
    }
    let parts = ["1/2", "2/2"].map(|shard| {
        let part = folder.path().join(format!("{}.dwm", &shard[..1]));
        let line = ["measure", text(folder.path()), text(&inputs), "--truth", text(&partners), "--shard", shard];
        succeed(&[&line[..], &["-o", text(&part)]].concat());
        part
    });
    let merged = folder.path().join("merged.dwm");
    succeed(&["merge", text(&parts[1]), text(&parts[0]), "-o", text(&merged)]);
    let merged: Value = serde_json::from_slice(&succeed(&["report", text(&merged), "--format", "json"])).unwrap();
    assert_eq!(merged["data"]["quality"], run);
    let limited = line("run", &partners, &["--limit", "2"])["quality"].clone();
    assert_eq!(limited["top1"]["denominator"], 2);
    // Its own outputs are the reference, then those of others.
    let same = line("run", &own.1, &[])["quality"].clone();
    assert_eq!(same, json!({ "inputs": 5, "mean_cosine": 1.0, "least_cosine": 1.0 }));
    let other = line("measure", &of_partners.1, &[])["data"]["quality"].clone();
    assert_eq!((&other["mean_cosine"], &other["least_cosine"]), (&run["mean_cosine"], &run["least_cosine"]));
    let ids = folder.path().join("first.npy");
    let values = own.0.concat().iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let header = deadweight::input::npy_header("<f4", &[5, 32]);
    std::fs::write(&ids, [header, values].concat()).unwrap();
    assert_eq!(line("run", &ids, &[])["quality"], same);
}

#[test]
fn precisions_are_searched_by_retrieval() {
    let folder = encoder();
    let [inputs, partners] =
        [0, 1].map(|side| embeddings(&folder, &side.to_string(), &HALVES.map(|pair| pair[side])).0);
    let found = (0..5).filter(|&place| {
        let nearest = (0..5).map(|other| (cosine(&inputs[place], &partners[other]), other));
        nearest.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))).unwrap().1 == place
    });
    let found = found.count() as f64;
    let [texts, truth, profile] = ["0.txt", "1.txt", "found.toml"].map(|name| folder.path().join(name));
    let line = |more: &[&str]| -> Vec<u8> {
        succeed(&[&["precision", text(folder.path()), text(&texts), "--truth", text(&truth)], more].concat())
    };
    line(&["--tolerance", "25%", "-o", text(&profile)]);
    let stated: toml::Table = std::fs::read_to_string(&profile).unwrap().parse().unwrap();
    let search = stated["search"].as_table().unwrap();
    assert_eq!(search["figure"].as_str(), Some("retrieval"));
    assert_eq!(search["full"].as_float(), Some(found / 5.0));
    assert!(search["loss"].as_float().unwrap() <= 0.25, "{search:?}");
    let check = String::from_utf8(line(&["--check", text(&profile)])).unwrap();
    assert!(check.contains("retrieval"), "{check}");
}

#[test]
fn truths_that_are_not_of_the_inputs_are_refused() {
    let folder = encoder();
    let inputs = folder.path().join("in.txt");
    std::fs::write(&inputs, "the cat\na dog\nmat\n").unwrap();
    let refused = |name: &str, content: &[u8], code: i32, parts: &[&str]| {
        let truth = folder.path().join(name);
        std::fs::write(&truth, content).unwrap();
        for verb in ["run", "measure"] {
            let (got, said) = fail(&[verb, text(folder.path()), text(&inputs), "--truth", text(&truth)]);
            assert!(got == code && parts.iter().all(|part| said.contains(part)), "{name}: {got}: {said}");
        }
    };
    refused("few.txt", b"cat\ndog\n", 1, &["few.txt:2", "last of 2 partners of 3 inputs", "in their order"]);
    refused("many.txt", b"cat\ndog\nmat\nran\n", 1, &["many.txt:4", "has no input", "3, and 4 partners"]);
    refused("gap.txt", b"cat\n\ndog\nmat\n", 1, &["gap.txt: line 2", "is empty", "a line each"]);
    refused("none.txt", b"", 1, &["none.txt", "too short"]);
    let array = |shape: &[usize], value: f32| {
        let values = vec![value; shape.iter().product()].into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
        [deadweight::input::npy_header("<f4", shape), values].concat()
    };
    refused("wide.npy", &array(&[3, 31], 1.0), 1, &["wide.npy", "[3, 31]", "give [N, 32]"]);
    refused("short.npy", &array(&[2, 32], 1.0), 1, &["short.npy", "2 rows", "3 inputs"]);
    refused("cube.npy", &array(&[3, 32, 1], 1.0), 1, &["cube.npy", "[3, 32, 1]"]);
    refused("nan.npy", &array(&[3, 32], f32::NAN), 6, &["nan.npy", "row 0"]);
    let (code, said) = fail(&["run", text(folder.path()), text(&inputs), "--truth", text(folder.path())]);
    assert!(code == 2 && said.contains("is a directory") && said.contains("--truth"), "{code}: {said}");
    // A vector for each token is no embedding of a text; a classifier has none.
    let hidden = network("bert", json!({}));
    let (code, said) = fail(&["run", text(hidden.path()), text(&inputs), "--truth", text(&inputs)]);
    assert!(code == 2 && said.contains("compares embeddings"), "{code}: {said}");
    let (code, said) = fail(&["run", text(classifier().path()), text(&inputs), "--truth", text(&inputs)]);
    assert!(code == 2 && said.contains("--truth") && said.contains("embed texts"), "{code}: {said}");
}
