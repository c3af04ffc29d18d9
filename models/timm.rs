//! timm's `config.json`: every field is obeyed, known to change nothing, or refused.

use serde_json::{Map, Value};

use super::config::{FILE, count};
use super::{Card, Labels};
use crate::{Error, Result};

/// Top-level fields, besides those of [`PRETRAINED`], which older versions of timm have there.
const TOP: [&str; 9] = [
    "architecture",
    "num_classes",
    "num_features",
    "global_pool",
    "label_names",
    "labels",
    "label_descriptions",
    "model_args",
    "pretrained_cfg",
];
/// Fields of `pretrained_cfg` that are read.
const PRETRAINED: [&str; 13] = [
    "architecture",
    "input_size",
    "test_input_size",
    "interpolation",
    "crop_pct",
    "test_crop_pct",
    "crop_mode",
    "mean",
    "std",
    "num_classes",
    "label_offset",
    "label_names",
    "global_pool",
];
/// Purely descriptive fields: origin of the weights, which layers fine-tuning replaces, sizes that follow from others.
const DESCRIPTIVE: [&str; 33] = [
    "url",
    "file",
    "hf_hub_id",
    "hf_hub_filename",
    "source",
    "tag",
    "custom_load",
    "min_input_size",
    "fixed_input_size",
    "pool_size",
    "test_pool_size",
    "first_conv",
    "classifier",
    "label_descriptions",
    "license",
    "description",
    "origin_url",
    "paper_name",
    "paper_ids",
    "notes",
    "author",
    "library_name",
    "tags",
    "name",
    "_name_or_path",
    "torch_dtype",
    "dtype",
    "transformers_version",
    "datasets",
    "metrics",
    "language",
    "pipeline_tag",
    "version",
];
/// Classes of the networks that timm trains.
const DEFAULT_CLASSES: usize = 1000;
/// Fields of `pretrained_cfg` that every preprocessing needs.
const NEEDED: [&str; 3] = ["input_size", "mean", "std"];
/// Arguments of a network that concern its training or compilation.
const TRAINING: [&str; 11] = [
    "drop_rate",
    "drop_path_rate",
    "drop_block_rate",
    "bn_momentum",
    "zero_init_last",
    "scriptable",
    "exportable",
    "no_jit",
    "pretrained",
    "cache_dir",
    "checkpoint_path",
];

/// The card of `architecture` as described by `config`.
pub(super) fn card(config: &Value, architecture: &str) -> Result<Card> {
    let known = super::card(architecture).map_err(|error| {
        Error::unsupported(format!("{FILE}: architecture {architecture}"), error.hint().unwrap_or_default())
    })?;
    let empty = Map::new();
    let table = |field: &str| match config.get(field) {
        None | Some(Value::Null) => Ok(&empty),
        Some(Value::Object(table)) => Ok(table),
        Some(_) => Err(Error::malformed(FILE, format!("{field} is no table"))),
    };
    let (top, args) = (table_of(config)?, table("model_args")?);
    // Without a `pretrained_cfg` table, its fields are at the top.
    let nested = config.get("pretrained_cfg").is_some_and(Value::is_object);
    let pretrained = if nested { table("pretrained_cfg")? } else { top };
    check_fields("", top, |field| TOP.contains(&field) || (!nested && PRETRAINED.contains(&field)))?;
    if nested {
        check_fields("pretrained_cfg.", pretrained, |field| PRETRAINED.contains(&field))?;
    }
    check_arguments(args)?;
    if let Some(other) = pretrained.get("architecture").filter(|other| !other.is_null() && *other != architecture) {
        let detail = format!("architecture is {architecture}, pretrained_cfg.architecture {other}");
        return Err(Error::malformed(FILE, detail));
    }
    for (place, fields) in [("model_args.", args), ("", top), ("pretrained_cfg.", pretrained)] {
        let pool = fields.get("global_pool").filter(|pool| !pool.is_null());
        if let Some(pool) = pool.filter(|pool| !matches!(pool.as_str(), Some("avg" | "fast" | "fastavg"))) {
            return Err(Error::unsupported(
                format!("{FILE}: {place}global_pool {pool}"),
                "networks are built with avg",
            ));
        }
    }
    if pretrained.get("label_offset").is_some_and(|offset| !offset.is_null() && *offset != 0) {
        let hint = "store the classifier without the classes that are left out";
        return Err(Error::unsupported(format!("{FILE}: label_offset other than 0"), hint));
    }

    let mut card = Card { from_config: true, macs: None, repo: None, revision: None, ..known.clone() };
    card.input = toml::Table::new();
    let classes = [args.get("num_classes"), top.get("num_classes"), pretrained.get("num_classes")];
    if let Some(classes) = classes.into_iter().flatten().find(|classes| !classes.is_null()) {
        let classes = count("num_classes", classes)?;
        card.config_classes = Some(classes);
        // Without a classifier: the weights show it.
        let classes = if classes == 0 { DEFAULT_CLASSES } else { classes };
        if card.arch.insert("classes".into(), (classes as i64).into()) != Some((classes as i64).into()) {
            card.labels = None;
            card.parameters = None;
        }
    }
    if let Some(channels) = channels(pretrained, args)?
        && (channels != super::config::rgb() || card.arch.contains_key("channels"))
    {
        card.arch.insert("channels".into(), (channels as i64).into());
        card.parameters = None;
    }
    read_labels(&mut card, [top.get("label_names"), top.get("labels"), pretrained.get("label_names")]);
    for (field, test) in [("input_size", "test_input_size"), ("crop_pct", "test_crop_pct")] {
        if let Some(other) =
            pretrained.get(test).filter(|other| !other.is_null() && pretrained.get(field) != Some(other))
        {
            card.notes
                .push(format!("{FILE}: {field} is used, {test} {other} is not (as timm's resolve_data_config has it)"));
        }
    }
    Ok(card)
}

/// The preprocessing in `config`: `pretrained_cfg`, with the channels that the network was made with. `None` if it has none.
pub fn preprocessing(config: &Value) -> Result<Option<Value>> {
    let Some(top) = config.as_object() else { return Ok(None) };
    let pretrained = match config.get("pretrained_cfg") {
        Some(Value::Object(pretrained)) => pretrained,
        _ if top.contains_key("mean") || top.contains_key("input_size") => top,
        _ => return Ok(None),
    };
    let mut pretrained = pretrained.clone();
    let architecture = config.get("architecture").and_then(Value::as_str);
    if let Some(card) = architecture.and_then(|name| super::card(name).ok()) {
        for field in
            NEEDED.iter().filter(|field| pretrained.get(**field).is_none_or(Value::is_null)).collect::<Vec<_>>()
        {
            let of_card = |field: &str| card.input.get(field).and_then(|value| serde_json::to_value(value).ok());
            let value = match (*field, of_card("channels"), of_card("size")) {
                ("input_size", Some(channels), Some(size)) => Some(serde_json::json!([channels, size[0], size[1]])),
                (field, ..) => of_card(field),
            };
            pretrained.extend(value.map(|value| ((*field).to_owned(), value)));
        }
    }
    let empty = Map::new();
    let args = config.get("model_args").and_then(Value::as_object).unwrap_or(&empty);
    if let (Some(channels), Some(Value::Array(size))) = (channels(&pretrained, args)?, pretrained.get_mut("input_size"))
        && let Some(first) = size.first_mut()
    {
        *first = channels.into();
    }
    Ok(Some(Value::Object(pretrained)))
}

/// Fields that a preprocessing needs and `config` does not state.
pub fn defaults(config: &Value) -> Vec<&'static str> {
    let stated = config.get("pretrained_cfg").filter(|nested| nested.is_object()).unwrap_or(config);
    NEEDED.into_iter().filter(|field| stated.get(field).is_none_or(Value::is_null)).collect()
}

fn table_of(config: &Value) -> Result<&Map<String, Value>> {
    config.as_object().ok_or_else(|| Error::malformed(FILE, "is no table"))
}

/// Channels of the input: those that the network was made with, else those of its initial weights.
fn channels(pretrained: &Map<String, Value>, args: &Map<String, Value>) -> Result<Option<usize>> {
    let stated = args.get("in_chans").filter(|channels| !channels.is_null());
    let size = || pretrained.get("input_size").and_then(|size| size.get(0));
    stated.or_else(size).map(|channels| count("in_chans", channels)).transpose()
}

fn check_fields(place: &str, fields: &Map<String, Value>, read: impl Fn(&str) -> bool) -> Result<()> {
    let known = |field: &str| read(field) || DESCRIPTIVE.contains(&field);
    match fields.iter().find(|(field, value)| !known(field) && !value.is_null()) {
        None => Ok(()),
        Some((field, _)) => {
            let hint = "it may change the network or its input; take it out if it does not";
            Err(Error::unsupported(format!("{FILE}: the field {place}{field}"), hint))
        }
    }
}

fn check_arguments(args: &Map<String, Value>) -> Result<()> {
    for (name, value) in args {
        let fits = match name.as_str() {
            "num_classes" | "in_chans" | "global_pool" => true,
            "output_stride" => *value == 32,
            "features_only" | "pruned" => *value == false,
            name => TRAINING.contains(&name),
        };
        if !fits && !value.is_null() {
            let hint = "networks are built with num_classes, in_chans and global_pool avg";
            return Err(Error::unsupported(format!("{FILE}: model_args.{name} {value}"), hint));
        }
    }
    Ok(())
}

/// Class names: a list, or a table from numbers to names. Ignored if their number is not that of the classes.
fn read_labels(card: &mut Card, stated: [Option<&Value>; 3]) {
    let Some(stated) = stated.into_iter().flatten().find(|names| !names.is_null()) else { return };
    let text = |name: &Value| name.as_str().map(str::to_owned);
    let names: Option<Vec<String>> = match stated {
        Value::Array(names) => names.iter().map(text).collect(),
        Value::Object(names) => (0..names.len()).map(|class| text(names.get(&class.to_string())?)).collect(),
        _ => None,
    };
    let classes = card.arch.get("classes").and_then(toml::Value::as_integer).unwrap_or_default();
    card.labels = names.filter(|names| names.len() as i64 == classes).map(Labels::Names);
    if card.labels.is_none() {
        let note = format!("{FILE}: label_names do not name each of the {classes} classes: these are shown by number");
        card.notes.push(note);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(config: &Value) -> Result<Card> {
        super::super::from_config(config)
    }

    fn with(field: &str, value: Value) -> Value {
        let mut config = json!({
            "architecture": "mobilenetv3_small_050", "num_classes": 10, "num_features": 288, "global_pool": "avg",
            "model_args": {"num_classes": 10, "in_chans": 3, "global_pool": "avg"},
            "pretrained_cfg": {"tag": "lamb_in1k", "custom_load": false, "input_size": [3, 224, 224], "fixed_input_size": false,
                "interpolation": "bicubic", "crop_pct": 0.875, "crop_mode": "center", "mean": [0.5, 0.5, 0.5],
                "std": [0.5, 0.5, 0.5], "num_classes": 10, "pool_size": [7, 7], "first_conv": "conv_stem",
                "classifier": "classifier", "license": "apache-2.0"},
        });
        let place = field.split('/').fold(&mut config, |place, key| match place {
            Value::Object(table) => table.entry(key).or_insert(Value::Null),
            _ => panic!("{field}"),
        });
        *place = value;
        config
    }

    #[test]
    fn what_timm_writes_is_read() {
        let card = read(&with("num_features", json!(288))).unwrap();
        assert_eq!((card.arch["classes"].as_integer(), card.config_classes, card.labels), (Some(10), Some(10), None));
        assert_eq!(card.notes, [""; 0]);
        for (field, value) in [
            ("model_args/drop_rate", json!(0.3)),
            ("model_args/output_stride", json!(32)),
            ("model_args/global_pool", Value::Null),
            ("pretrained_cfg/paper_ids", json!("arXiv:1905.02244")),
            ("pretrained_cfg/label_offset", json!(0)),
            ("pretrained_cfg/state_dict", Value::Null),
            ("pretrained_cfg/architecture", json!("mobilenetv3_small_050")),
            ("library_name", json!("timm")),
        ] {
            read(&with(field, value.clone())).unwrap_or_else(|error| panic!("{field} {value}: {error}"));
        }
        assert_eq!(read(&with("model_args/in_chans", json!(1))).unwrap().arch["channels"].as_integer(), Some(1));
        let grey = preprocessing(&with("model_args/in_chans", json!(1))).unwrap().unwrap();
        assert_eq!(grey["input_size"], json!([1, 224, 224]));
        let tested = read(&with("pretrained_cfg/test_input_size", json!([3, 256, 256]))).unwrap();
        assert!(tested.notes[0].contains("test_input_size [3,256,256] is not"), "{:?}", tested.notes);
    }

    #[test]
    fn fields_that_cannot_be_obeyed_are_refused() {
        for (field, value, want) in [
            ("global_pool", json!("max"), "global_pool \"max\""),
            ("model_args/global_pool", json!(""), "model_args.global_pool \"\""),
            ("pretrained_cfg/global_pool", json!("catavgmax"), "pretrained_cfg.global_pool"),
            ("model_args/act_layer", json!("gelu"), "model_args.act_layer \"gelu\""),
            ("model_args/output_stride", json!(8), "model_args.output_stride 8"),
            ("model_args/features_only", json!(true), "model_args.features_only"),
            ("pretrained_cfg/crop_border_pixels", json!(4), "field pretrained_cfg.crop_border_pixels"),
            ("pretrained_cfg/label_offset", json!(1), "label_offset other than 0"),
            ("rescale", json!(2), "field rescale"),
        ] {
            let error = read(&with(field, value)).unwrap_err();
            assert!(error.to_string().contains(want) && error.exit_code() == 4, "{field}: {error}");
            assert!(error.hint().is_some(), "{field}");
        }
        for (field, value, want) in [
            ("num_classes", json!(-1), "no count"),
            ("model_args/in_chans", json!("three"), "in_chans is no count"),
            ("pretrained_cfg/architecture", json!("resnet18"), "pretrained_cfg.architecture \"resnet18\""),
            ("model_args", json!([1]), "model_args is no table"),
        ] {
            let mut config = with(field, value);
            if let Some(args) = config["model_args"].as_object_mut() {
                args.remove("num_classes");
            }
            let error = read(&config).unwrap_err();
            assert!(error.to_string().contains(want) && error.exit_code() == 1, "{field}: {error}");
        }
    }

    #[test]
    fn labels_name_every_class_or_none() {
        let names: Vec<String> = (0..10).map(|class| format!("kind {class}")).collect();
        let table: Map<String, Value> = (0..10).map(|class| (class.to_string(), names[class].clone().into())).collect();
        for stated in [json!(names), json!(table)] {
            let card = read(&with("label_names", stated)).unwrap();
            assert_eq!((card.labels, card.notes.len()), (Some(Labels::Names(names.clone())), 0));
        }
        let card = read(&with("label_names", json!(["a", "b"]))).unwrap();
        assert_eq!((card.labels, card.notes.len()), (None, 1));
    }
}
