//! What people expect of a command line: examples, errors that help, options in a file, pages and completions, Ctrl-C.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use clap::{Command, CommandFactory, Parser};
use deadweight::cli::args::Cli;
use serde_json::Value;

use crate::binary::{deadweight, fail, succeed, text};

const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo/digits.safetensors");

/// All commands, the program among them.
fn commands(command: &Command) -> Vec<Command> {
    let below = command.get_subcommands().flat_map(commands);
    std::iter::once(command.clone()).chain(below).collect()
}

#[test]
fn every_command_has_an_example_that_can_be_typed() {
    let mut wrong = String::new();
    let mut command = Cli::command();
    command.build();
    for command in commands(&command) {
        let name = command.get_display_name().unwrap_or(command.get_name());
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples: Vec<&str> = help
            .lines()
            .filter_map(|line| line.strip_prefix("  "))
            .filter(|line| line.starts_with("deadweight"))
            .collect();
        if !help.starts_with("Examples:\n") || examples.is_empty() {
            writeln!(wrong, "{name}: its help does not end with examples").unwrap();
        }
        for example in examples {
            // A meaning may stand behind, a redirection too.
            let line = example.split("   ").next().unwrap();
            let words = shlex::split(line).unwrap().into_iter().take_while(|word| word != ">");
            if let Err(error) = Cli::try_parse_from(words) {
                writeln!(wrong, "{name}: {line}: {error}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn wrong_usages_have_errors_that_help() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    // Weights of no network that is known.
    let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    std::fs::write(path("strange.safetensors"), [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat())
        .unwrap();
    std::fs::write(path("photo.txt"), "").unwrap();
    let out = path("out.json");
    let lines: Vec<Vec<String>> = [
        "mesure digits",
        "measure digits --number-fromat int8",
        "measure digits --threads four",
        "measure resnet5O FOLDER/photo.txt",
        "run FOLDER/strange.safetensors FOLDER/photo.txt --arch reznet18",
        "explain potental.W+A",
        "measure digits --metrics dleta",
        "measure digits --columns a.zeroes",
        "measure digits --number-format fixd8",
        "measure digits --encoder nfa",
        "measure digits --layers ^layr1",
        "measure digits FOLDER/foto.txt",
        "report FOLDER/strange.safetensor",
        "measure FOLDER",
        "report FOLDER",
        "measure FOLDER/strange.safetensors FOLDER/photo.txt",
        "measure digits --shard 4/3",
        "measure digits -o FOLDER/missing/out.json",
        "measure digits -o OUT -o OUT",
        "measure digits -o OUT --per-input OUT",
        "measure digits -o OUT --trace OUT",
        "run digits --trace FOLDER",
        "measure digits --trace OUT --backend candle",
        "measure digits --resume",
        "completions bsh",
        "man FOLDER/missing",
        "measure digits --config FOLDER/option.toml",
        "run digits --prompt hello",
    ]
    .map(|line| line.split(' ').map(|word| word.replace("FOLDER", text(folder.path())).replace("OUT", &out)).collect())
    .to_vec();
    let mut said = String::new();
    for line in lines {
        let (code, message) = fail(&line.iter().map(String::as_str).collect::<Vec<_>>());
        writeln!(said, "$ deadweight {}\n{message}[{code}]\n", line.join(" ")).unwrap();
    }
    let said = said.replace(text(folder.path()), "FOLDER");
    insta::assert_snapshot!(said);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn options_of_a_file_hold_below_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    let options = folder.path().join("deadweight.toml");
    std::fs::write(&options, "[measure]\nformat = \"csv\"\nlimit = 2\n").unwrap();
    let run = |flags: &[&str], variable: &str| {
        let output = deadweight()
            .current_dir(&below)
            .env("DEADWEIGHT_CONFIG", variable)
            .args([&["measure", "digits"], flags].concat())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let table = |text: &str| text.starts_with("model ");
    let csv = run(&[], "");
    assert!(csv.lines().next().unwrap().contains(','), "{csv}");
    assert!(table(&run(&["--no-config"], "")) && table(&run(&["--format", "table"], "")));
    assert_ne!(run(&["--format", "table"], ""), run(&["--no-config"], ""), "one has the limit of the file");
    let other = folder.path().join("other.toml");
    std::fs::write(&other, "[measure]\nformat = \"md\"\n").unwrap();
    assert!(run(&[], text(&other)).contains("| layer |"));
    assert!(run(&["--config", text(&options)], text(&other)) == csv, "the command line wins over the variable");
    // A repository is a border.
    std::fs::create_dir(folder.path().join("a/.git")).unwrap();
    assert!(table(&run(&[], "")));
}

#[test]
fn pages_and_completions_are_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    succeed(&["man", text(folder.path())]);
    let mut command = Cli::command();
    command.build();
    for command in commands(&command) {
        let name = command.get_display_name().unwrap_or(command.get_name());
        let page = std::fs::read_to_string(folder.path().join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".TH") && page.contains("Examples"), "{name}");
    }
    assert!(String::from_utf8(succeed(&["man"])).unwrap().contains("deadweight\\-measure(1)"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(String::from_utf8(succeed(&["completions", shell])).unwrap().contains("threshold"), "{shell}");
    }
}

#[test]
fn the_doctor_says_what_is_not_well_and_no_secret() {
    let cache = tempfile::tempdir().unwrap();
    std::fs::write(cache.path().join("blob"), [0; 2000]).unwrap();
    let look = |cache: &Path, flags: &[&str]| {
        let mut command = deadweight();
        command.env("HF_TOKEN", "hf_secret").env("HF_HUB_CACHE", cache).env("HF_ENDPOINT", "http://127.0.0.1:1");
        for proxy in ["HTTP_PROXY", "http_proxy"] {
            command.env_remove(proxy);
        }
        let output = command.args([&["doctor"], flags].concat()).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!said.contains("hf_secret"), "{said}");
        (output.status.code(), said)
    };
    let (code, said) = look(cache.path(), &["--format", "json"]);
    assert_eq!(code, Some(0), "{said}");
    let document: Value = serde_json::from_str(&said).unwrap();
    let checks = document["checks"].as_array().unwrap();
    let by_name: BTreeMap<&str, &Value> = checks.iter().map(|check| (check["name"].as_str().unwrap(), check)).collect();
    let names = ["cache", "cpu", "engines", "hub", "memory", "options", "temp", "threads", "token", "version"];
    assert_eq!(by_name.keys().copied().collect::<Vec<_>>(), names);
    assert!(by_name["cache"]["value"].as_str().unwrap().ends_with("2.000 kB"), "{said}");
    assert_eq!((&document["ok"], &by_name["token"]["value"]), (&true.into(), &"there is one".into()));
    // What is not well: online a hub that takes no connection, and a cache that is a file.
    let mut online = deadweight();
    online.env_remove("HF_HUB_OFFLINE").env("HF_ENDPOINT", "http://127.0.0.1:1").env("HF_HUB_CACHE", cache.path());
    online.env_remove("HTTP_PROXY").env_remove("http_proxy");
    let output = online.arg("doctor").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("BAD   hub       http://127.0.0.1:1: ") && said.contains("--offline"), "{said}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: 1 of 10 checks failed\n");
}

#[cfg(unix)]
#[test]
fn an_interrupt_says_how_to_go_on() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let folder = tempfile::tempdir().unwrap();
    let inputs = concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo/digits_inputs.safetensors");
    let checkpoint = folder.path().join("run of digits.ckpt");
    // A run of minutes.
    let many = vec![inputs; 4000];
    let run = |flags: &[&str]| {
        let out = folder.path().join("out.json");
        let first = ["measure", "digits", "--threads", "1", "--batch-size", "1", "-o", text(&out)];
        let line = [&first[..], flags, &many[..]].concat();
        let mut child = deadweight().args(&line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let is_begun = || match flags.is_empty() {
            // The output is opened after the handler is set.
            true => std::fs::read_dir(folder.path()).unwrap().next().is_some(),
            false => checkpoint.exists(),
        };
        while !is_begun() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was stopped");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let id = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let lines: Vec<String> = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{lines:?}");
        (line.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), lines)
    };
    let (_, lines) = run(&[]);
    let kept = "hint: no count is kept; with --checkpoint FILE a run that is stopped can be continued";
    assert_eq!(lines[lines.len() - 2..], ["error: interrupted", kept]);
    let (line, lines) = run(&["--checkpoint", text(&checkpoint), "--checkpoint-every", "4"]);
    assert_eq!(lines[lines.len() - 3], "error: interrupted");
    assert_eq!(lines[lines.len() - 2], format!("hint: {} has what was counted; continue with:", checkpoint.display()));
    let command = shlex::split(lines.last().unwrap()).unwrap();
    assert_eq!(command[1..], [&line[..], &["--resume".to_owned()]].concat());
    // The command goes on: with fewer inputs it would be another run, so that it is only begun.
    assert!(Cli::try_parse_from(&command).is_ok());
    assert!(checkpoint.exists());
}

#[test]
fn weights_need_no_words_but_a_card() {
    // The file of the built-in model says which network it is of, or asks.
    let (code, message) = fail(&["measure", DIGITS, "--arch", "digts"]);
    assert!(code == 3 && message.contains("near are digits"), "{message}");
}

#[test]
fn the_pages_on_habits_are_true() {
    let pages = [include_str!("../docs/configuration.md"), include_str!("../docs/tracing.md")];
    let mut commands = 0;
    for page in pages {
        let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        for line in blocks.flat_map(str::lines) {
            let typed = line.split(" #").next().unwrap().split(" > ").next().unwrap();
            Cli::try_parse_from(shlex::split(typed).unwrap()).unwrap_or_else(|error| panic!("{line}: {error}"));
            commands += 1;
        }
    }
    assert_eq!(commands, 13);
    // The file that is shown can be read.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deadweight.toml");
    let file = pages[0].split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    std::fs::write(&path, file).unwrap();
    let printed = String::from_utf8(succeed(&["measure", "--print-config", "--config", text(&path)])).unwrap();
    for line in ["threads = 4  # line 1", "batch-size = 16  # line 5", "until-ci = \"0.5%\"  # line 7"] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
}
