//! Which tensors of a checkpoint are the network's: averaged before raw, none of a loss, whatever the archive's members are
//! called.

use deadweight::weights::Weights;

use super::build::{dict, legacy, tensor, torch_zip};

/// Values of the tensors that are read, by name, and the notes.
fn read(pickle: &[u8]) -> (Vec<(String, f32)>, Vec<String>) {
    let weights = Weights::from_bytes("file.pth", legacy(pickle, &[1.0, 2.0])).unwrap();
    let values = weights.names().map(|name| (name.to_owned(), weights.read_f32(name).unwrap()[0])).collect();
    (values, weights.notes().to_vec())
}

fn raw() -> Vec<u8> {
    tensor(2, 0, &[1])
}

fn averaged() -> Vec<u8> {
    tensor(2, 1, &[1])
}

/// A state dict with those names, all for one tensor.
fn state(names: &[&str], value: &[u8]) -> Vec<u8> {
    dict(&names.iter().map(|name| (name, value.to_vec())).collect::<Vec<_>>())
}

#[test]
fn averaged_weights_are_read_before_raw_ones_with_a_note() {
    let plain = || state(&["a", "b"], &raw());
    let ema = || state(&["a", "b"], &averaged());
    let module = || state(&["module.a", "module.b"], &averaged());
    let counted = || [&module()[..], b"S'n_averaged'\n", &raw(), b"s"].concat();
    let text = |text: &str| format!("S'{text}'\n").into_bytes();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (counted(), "averaged model"),
        (dict(&[("model", plain()), ("model_ema", counted())]), "under \"model_ema\""),
        (dict(&[("state_dict", plain()), ("ema_state_dict", ema())]), "under \"ema_state_dict\""),
        (dict(&[("state_dict_ema", module()), ("state_dict", plain())]), "not those under \"state_dict\""),
        (dict(&[("model", plain()), ("ema", ema()), ("optimizer", plain())]), "under \"ema\""),
        (dict(&[("ema", ema()), ("model", b"N".to_vec())]), ""),
        (dict(&[("net", plain()), ("swa_model", counted())]), "under \"swa_model\""),
        (dict(&[("params", plain()), ("params_ema", ema())]), "under \"params_ema\""),
        (
            dict(&[("model", plain()), ("ema", dict(&[("shadow", ema()), ("decay", b"F0.9\n".to_vec())]))]),
            "under \"ema\"",
        ),
        (
            dict(&[("state_dict", [&state(&["model.a", "model.b"], &raw())[..], &ema_named("ema_model.")].concat())]),
            "ema_model.*",
        ),
        // MMEngine and Lightning swap the two before they save.
        (
            dict(&[
                ("meta", dict(&[("mmengine_version", text("0.10"))])),
                ("state_dict", ema()),
                (
                    "ema_state_dict",
                    [&state(&["module.a", "module.b"], &raw())[..], b"S'steps'\n", &raw(), b"s"].concat(),
                ),
            ]),
            "as MMEngine has them",
        ),
        (dict(&[("state_dict", ema()), ("current_model_state", plain())]), "as Lightning has them"),
    ];
    for (pickle, note) in cases {
        let (values, notes) = read(&pickle);
        assert_eq!(values, [("a".into(), 2.0), ("b".into(), 2.0)], "{note}: {notes:?}");
        assert_eq!(notes.is_empty(), note.is_empty(), "{notes:?}");
        assert!(
            note.is_empty() || notes.iter().any(|said| said.starts_with("file.pth: ") && said.contains(note)),
            "{notes:?}"
        );
    }
}

/// Averaged items for a dict, with prefixed names.
fn ema_named(prefix: &str) -> Vec<u8> {
    let item = |name: &str| [format!("S'{prefix}{name}'\n").as_bytes(), &averaged(), b"s"].concat();
    [item("a"), item("b")].concat()
}

#[test]
fn what_was_not_averaged_comes_from_the_raw_weights() {
    let pickle =
        dict(&[("model", state(&["a", "b"], &raw())), ("ema", dict(&[("shadow", state(&["a"], &averaged()))]))]);
    let (values, notes) = read(&pickle);
    assert_eq!(values, [("a".into(), 2.0), ("b".into(), 1.0)]);
    assert!(notes[0].contains("1 tensors that they lack from \"model\""), "{notes:?}");
}

#[test]
fn averages_with_other_names_are_noted() {
    let list = [b"(".to_vec(), averaged(), averaged(), b"l".to_vec()].concat();
    let pickle = dict(&[("model", state(&["a", "b"], &raw())), ("ema", dict(&[("shadow_params", list)]))]);
    let (values, notes) = read(&pickle);
    assert_eq!(values, [("a".into(), 1.0), ("b".into(), 1.0)]);
    assert!(notes[0].contains("what is averaged (ema) has other names"), "{notes:?}");
}

#[test]
fn a_loss_is_left_out_with_a_note() {
    for (names, left_out) in [
        (&["model.a", "model.b", "criterion.weight"][..], "criterion.weight"),
        (&["model.a", "model.b", "loss_fn.vgg.weight", "loss_fn.vgg.bias"], "loss_fn.vgg.weight, loss_fn.vgg.bias"),
        (&["a", "b", "criterion.pos_weight"], "criterion.pos_weight"),
    ] {
        let (values, notes) = read(&dict(&[("state_dict", state(names, &raw()))]));
        assert_eq!(values.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(notes.len() == 1 && notes[0].ends_with(left_out), "{notes:?}");
    }
    let (_, notes) = read(&dict(&[("state_dict", state(&["model.a", "model.b"], &raw()))]));
    assert_eq!(notes, [""; 0]);
}

#[test]
fn archives_read_whatever_their_members_are_called() {
    let pickle = [dict(&[("w", tensor(2, 1, &[1]))]), b".".to_vec()].concat();
    let storage: Vec<u8> = [1.0_f32, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    for length in 1..80 {
        let stem = "a".repeat(length);
        let archive = torch_zip(
            &stem,
            &[("data.pkl", &pickle), ("byteorder", b"little"), ("data/0", &storage), ("version", b"3\n")],
        );
        let weights = Weights::from_bytes("w", archive).unwrap_or_else(|error| panic!("{length} letters: {error}"));
        assert_eq!(&*weights.read_f32("w").unwrap(), [2.0], "{length} letters");
    }
}
