//! Files of options: what they change, and what is wrong with them.

use super::*;

/// What `line` is with a file of `text`; else exit code and message.
fn with(text: &str, line: &[&str]) -> Result<Cli, (u8, String)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("options.toml");
    std::fs::write(&path, text).unwrap();
    let line: Vec<OsString> =
        ["deadweight"].iter().chain(line).map(OsString::from).chain(["--config".into(), path.into()]).collect();
    parse(&line).map_err(|ended| match ended {
        Ended::Clap(error) => (exit::USAGE, error.to_string()),
        Ended::Error(error) => (error.exit_code(), format!("{error} {}", error.hint().unwrap_or_default())),
        Ended::Printed(text) => (exit::DONE, text),
    })
}

fn measured(text: &str, line: &[&str]) -> super::super::measure::MeasureArgs {
    match with(text, &[&["measure", "digits"], line].concat()).unwrap().verb {
        Some(super::super::args::Verb::Measure(args)) => *args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_command_line_wins_over_the_verb_and_that_over_all() {
    let text = "threads = 3\nbatch-size = 4\nquiet = true\n[measure]\nbatch-size = 5\ncolumns = [\"kind\", \"macs\"]\nmin-one = true\n";
    let args = measured(text, &[]);
    assert_eq!((args.backend.engine.threads, args.backend.engine.batch_size), (Some(3), Some(5)));
    assert_eq!((args.columns.len(), args.numbers.min_one), (2, true));
    let args = measured(text, &["--threads", "1", "--columns", "a.zeros"]);
    assert_eq!((args.backend.engine.threads, args.columns.len()), (Some(1), 1), "lists are replaced");
    assert!(with(text, &["measure", "digits"]).unwrap().common.quiet);
    // What the command line excludes does not hold.
    assert!(!with(text, &["measure", "digits", "-v"]).unwrap().common.quiet);
    let args = measured("[measure]\nsigma = 25\nbits = 7", &["--scale", "2"]);
    assert_eq!((args.inputs.sigma, args.inputs.scale, args.numbers.bits), (None, Some(2), Some(7)));
    // Options of another verb do not matter, nor do those of all that this one has not.
    assert!(with("rounds = 5\nthreads = 2\n[bench]\nrounds = 6", &["explain"]).is_ok());
}

#[test]
fn paths_are_relative_to_the_file() {
    let args = measured("[measure]\nvocab = \"words/vocab.txt\"\noutput = \"-\"", &[]);
    let vocab = args.inputs.vocab.unwrap();
    assert!(vocab.is_absolute() && vocab.ends_with("words/vocab.txt"), "{}", vocab.display());
    assert_eq!(args.out.output, Some("-".into()));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let cases = [
        ("a = ", exit::FAILED, "options.toml: line 1: "),
        ("\nthread = 4", exit::USAGE, ":2: thread: is no option; near are threads"),
        ("[measur]\nthreads = 4", exit::USAGE, ":1: measur: is no command; near are measure"),
        ("[measure]\nthreads = \"four\"", exit::USAGE, ":2: threads: invalid value 'four'"),
        ("[measure]\nthreads = true", exit::USAGE, ":2: threads: invalid value 'true'"),
        ("[measure]\nthreads = [1, 2]", exit::USAGE, ":2: threads: takes one value, not a list"),
        ("[measure]\nmin-one = \"yes\"", exit::USAGE, ":2: min-one: is a switch: give true or false"),
        ("verbose = 1.5", exit::USAGE, ":1: verbose: give how often"),
        ("[measure]\nrounds = 4", exit::USAGE, ":2: rounds: is no option of measure, but of bench"),
        ("[measure]\nencoder = \"nav\"", exit::USAGE, "'naf'"),
        ("[measure]\ncolumns = [\"a.zeroes\"]", exit::USAGE, "a.zeros"),
        ("[measure]\nsigma = 5\nscale = 2", exit::USAGE, ":3: scale: excludes sigma of line 2"),
        ("config = \"x\"", exit::USAGE, "is of the command line alone"),
        ("threads = 1979-05-27", exit::USAGE, ":1: threads: give a text"),
    ];
    let mut wrong = Vec::new();
    for (text, code, want) in cases {
        match with(text, &["measure", "digits"]) {
            Err((got, said)) if got == code && said.contains(want) => {}
            other => wrong.push(format!("{text:?}: {:?}, want {want}", other.map(|_| "a command line"))),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn printed_options_are_a_file_of_them() {
    let text = "threads = 3\n[measure]\ncolumns = [\"kind\", \"macs\"]\nmetrics = \"delta\"\nuntil-ci = \"0.5%\"\n";
    let (code, printed) = with(text, &["measure", "--bits", "7", "--print-config"]).unwrap_err();
    assert_eq!(code, exit::DONE, "{printed}");
    for line in [
        "threads = 3  # line 1",
        "columns = [\"kind\", \"macs\"]  # line 3",
        "until-ci = \"0.5%\"  # line 5",
        "bits = 7  # command line",
        "memory = 1024  # default",
        "skip-bad = false  # default",
    ] {
        assert!(printed.lines().any(|known| known == line), "{line} is not in\n{printed}");
    }
    let (_, again) = with(&printed, &["measure", "--print-config"]).unwrap_err();
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split("  #").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&again), values(&printed));
    let (_, common) = with("offline = true", &["--print-config"]).unwrap_err();
    assert!(common.contains("offline = true  # line 1"), "{common}");
}
