//! What to do about a run that was stopped by Ctrl-C.

use std::ffi::OsString;

use super::args::{Cli, Verb};

/// Text for a run of `cli`, as `line` said, that was stopped.
pub(super) fn advice(cli: &Cli, line: &[OsString]) -> impl FnOnce() -> String + use<> {
    let checkpoint = match &cli.verb {
        Some(Verb::Measure(args)) => Some(args.parts.checkpoint.clone()),
        Some(Verb::Designs(args)) => Some(args.parts.checkpoint.clone()),
        Some(Verb::Precision(args)) => Some(args.checkpoint.clone()),
        _ => None,
    };
    let done = if matches!(cli.verb, Some(Verb::Precision(_))) { "found" } else { "counted" };
    let resumed = resumed(line);
    let pulls = matches!(cli.verb, Some(Verb::Pull(_)));
    move || match checkpoint {
        None if pulls => "what arrived is kept; the same command goes on from there".into(),
        Some(Some(path)) if path.exists() => {
            format!("{} has what was {done}; continue with:\n  {resumed}", path.display())
        }
        Some(Some(_)) => format!("nothing was {done} yet; give the same command again"),
        Some(None) => "no count is kept; with --checkpoint FILE a run that is stopped can be continued".into(),
        None => "no answer is kept; the same command begins again, but for what it has downloaded".into(),
    }
}

/// `line`, as a shell reads it, with `--resume`.
fn resumed(line: &[OsString]) -> String {
    let mut words: Vec<String> = line.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    if !words[..end].iter().any(|word| word == "--resume") {
        words.insert(end, "--resume".into());
    }
    // A word that no shell can have (with a zero byte) cannot have been given.
    let quoted = words.iter().map(|word| shlex::try_quote(word).unwrap_or_else(|_| word.into()));
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_to_continue_can_be_pasted() {
        let of = |line: &[&str]| resumed(&line.iter().map(OsString::from).collect::<Vec<_>>());
        let line = ["deadweight", "measure", "digits", "--layers", "^layer2 .*'", "--checkpoint", "a b"];
        let text = of(&line);
        let words = shlex::split(&text).unwrap();
        assert_eq!(words[..line.len()], line);
        assert_eq!(words[line.len()..], ["--resume"]);
        assert_eq!(of(&["deadweight", "measure", "digits", "--resume"]), "deadweight measure digits --resume");
        assert_eq!(of(&["deadweight", "measure", "--", "-x"]), "deadweight measure --resume -- -x");
    }
}
