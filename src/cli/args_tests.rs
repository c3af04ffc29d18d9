//! Tests of the command line.

use clap::CommandFactory;

use super::*;
use crate::format::NumberFormat;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("deadweight").chain(line.split_whitespace()))
}

fn measure(line: &str) -> MeasureArgs {
    match parse(&format!("measure {line}")).unwrap().verb {
        Some(Verb::Measure(args)) => *args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_command_is_consistent() {
    Cli::command().debug_assert();
    assert!(parse("").unwrap().verb.is_none());
}

#[test]
fn flags_become_values() {
    let args = measure(
        "resnet18 a.png b/ --limit 7 --bits 4 --encoder booth4 --min-one --threads 2 --batch-size 3 --layers ^layer1 \
         --columns macs,a.zeros,We+Ae --format md -o out.md --isa avx2 --kernels direct --backend candle -vv",
    );
    assert_eq!((args.model.model.as_str(), args.inputs.inputs.len(), args.inputs.limit), ("resnet18", 2, Some(7)));
    assert_eq!((args.numbers.bits, args.numbers.encoder, args.numbers.min_one), (Some(4), Encoder::Booth4, true));
    assert_eq!((args.backend.engine.threads, args.backend.engine.batch_size), (Some(2), Some(3)));
    assert!(args.layers.unwrap().is_match("layer1.0.conv1"));
    let columns: Vec<&str> = args.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!((columns, args.format), (vec!["macs", "a.zeros", "We+Ae"], Some(crate::report::Format::Md)));
    assert_eq!(args.backend.engine.kernels, Some(Kernels::Direct));
    assert_eq!(measure("digits").numbers.number_format, None);
    assert_eq!(measure("digits --number-format int8").numbers.number_format, Some(NumberFormat::Int8.into()));
    assert_eq!(parse("measure digits -vv").unwrap().common.verbose, 2);
}

#[test]
fn wrong_values_are_refused_with_what_is_right() {
    let cases = [
        ("measure", "<MODEL>"),
        ("measur digits", "measure"),
        (
            "measure digits --number-format float",
            "number format float: give fixed2 to fixed16, int8, bf16, fp16, e4m3,",
        ),
        ("measure digits --number-format a:int8,w:int4", "number format int4: give fixed2 to fixed16"),
        ("measure digits --number-format a:int8", "give one, or one for each operand: a:int8,w:fixed4"),
        ("measure digits --weight-scale layer", "filter"),
        ("measure digits --bits 17", "17"),
        ("measure digits --bits 8 --number-format int8", "cannot be used with"),
        ("measure digits --encoder booth", "popcount"),
        ("measure digits --columns a.zeroes", "a.zeros"),
        ("measure digits --columns macs,nothing", "`deadweight explain` lists the metrics"),
        ("measure digits --layers (", "unclosed group"),
        ("measure digits --threads 0", "1..=1024"),
        ("measure digits --limit 0", "--limit"),
        ("measure digits --format yaml", "csv"),
        ("run digits --format csv", "json"),
        ("measure digits --isa sse2", "avx512"),
        ("run digits -q -v", "cannot be used with"),
        ("models show", "<MODEL>"),
    ];
    for (line, want) in cases {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(want), "{line}: {error}");
    }
}
