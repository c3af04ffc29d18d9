//! Assertions: `SCOPE.METRIC[.parameter] OPERATOR NUMBER[%]`.
//!
//! Names of layers and of metrics hold dots, so which dot parts the two is known only when the layers are: every dot with a metric
//! behind it may. The longest name that a layer has is meant. A name in quotes says it at once.

use super::answers;
use super::scope::{Selected, is_pattern, select};
use crate::compare::precise;
use crate::metrics::Kind;
use crate::report::columns::{self, Column};
use crate::report::{Report, Scope, units};
use crate::{Error, Result};

/// A demand on a figure.
#[derive(Clone, Debug)]
pub struct Assertion {
    /// As the user wrote it.
    pub text: String,
    subject: Subject,
    operator: Operator,
    /// What the figure is compared with.
    bound: f64,
    /// The same as the user wrote it.
    written: String,
    /// Whether it was given in percent.
    in_percent: bool,
}

#[derive(Clone, Debug)]
enum Subject {
    /// How good the answers were.
    Quality(String),
    /// A figure: each way to part scope and metric, the longest scope first.
    Figure { parts: Vec<(String, Column)>, quoted: bool },
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `==`
    Equal,
    /// `!=`
    Other,
    /// `>`
    Above,
    /// `<`
    Below,
}

impl Operator {
    /// All of them; what others begin with comes last.
    const ALL: [(&str, Self); 6] = [
        (">=", Self::AtLeast),
        ("<=", Self::AtMost),
        ("==", Self::Equal),
        ("!=", Self::Other),
        (">", Self::Above),
        ("<", Self::Below),
    ];

    /// Whether `number` stands so to `bound`.
    pub fn holds(self, number: f64, bound: f64) -> bool {
        match self {
            Self::AtLeast => number >= bound,
            Self::AtMost => number <= bound,
            Self::Equal => number == bound,
            Self::Other => number != bound,
            Self::Above => number > bound,
            Self::Below => number < bound,
        }
    }

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, operator)| *operator == self).expect("all have names").0
    }
}

/// What is known of a model before it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Names of the layers.
    pub layers: &'a [&'a str],
    /// Its task, as provenances name it.
    pub task: &'a str,
}

/// A mistake at byte `at` of `text`, under which a caret stands.
fn mistake(text: &str, at: usize, detail: &str) -> String {
    let shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let before = text[..at].chars().count();
    format!("{detail}\n  {shown}\n  {:before$}^", "")
}

impl Assertion {
    /// Parses an assertion.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (at, sign, operator) = operator(text)?;
        let behind = at + sign.len();
        let number = text[behind..].trim();
        let in_percent = number.ends_with('%');
        let parsed = number.trim_end_matches('%').trim_end().parse::<f64>().ok().filter(|number| !number.is_nan());
        let Some(parsed) = parsed.filter(|_| number.matches('%').count() <= 1) else {
            let space = text[behind..].len() - text[behind..].trim_start().len();
            return Err(mistake(text, behind + space, "a number must stand here, e.g. 2.0 or 50%"));
        };
        let bound = if in_percent { parsed / 100.0 } else { parsed };
        let subject = subject(text, text[..at].trim_end())?;
        Ok(Self { text: text.trim().to_owned(), subject, operator, bound, written: number.to_owned(), in_percent })
    }

    /// The columns that it may be of.
    pub fn columns(&self) -> impl Iterator<Item = &Column> {
        let parts = match &self.subject {
            Subject::Quality(_) => &[][..],
            Subject::Figure { parts, .. } => parts,
        };
        parts.iter().map(|(_, column)| column)
    }

    /// Finds out whether there is what it is of.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what there is.
    pub fn check(&self, known: Known<'_>) -> Result<()> {
        match &self.subject {
            Subject::Quality(name) => {
                let names = answers::names(Some(known.task));
                if names.contains(&name.as_str()) {
                    return Ok(());
                }
                let detail =
                    format!("a network of the task {} has no quality.{name}, but {}", known.task, names.join(", "));
                Err(Error::invalid(format!("--assert '{}'", self.text), detail))
            }
            Subject::Figure { .. } => self.select(known.layers).map(|_| ()),
        }
    }

    /// The scope among `layers`, and the column.
    fn select(&self, layers: &[&str]) -> Result<(Selected, &Column)> {
        let Subject::Figure { parts, quoted } = &self.subject else { unreachable!("answers are of no layer") };
        let mut found = parts.iter().filter_map(|(name, column)| Some((select(name, *quoted, layers)?, column)));
        found.next().ok_or_else(|| {
            let (name, _) = parts.last().expect("a part has a metric");
            let no = if is_pattern(name) && !quoted { "no layer matches" } else { "there is no layer" };
            let nearest = nearest(name, layers).join(", ");
            let detail = format!("{no} {name}; near are {nearest}; network and layers are the sums and all layers");
            Error::invalid(format!("--assert '{}'", self.text), detail)
        })
    }

    /// The figures of `report` that are not as they should be, each in a line; none if all are.
    ///
    /// # Errors
    /// As [`Assertion::check`].
    pub fn failures(&self, report: &Report) -> Result<Vec<String>> {
        let layers: Vec<&Scope> = report.layers().collect();
        let names: Vec<&str> = layers.iter().map(|scope| scope.layer.as_str()).collect();
        self.check(Known { layers: &names, task: &report.provenance.model.task })?;
        if let Subject::Quality(name) = &self.subject {
            let failure = match answers::number(report, name) {
                Some(number) => self.failure(&format!("quality.{name}"), number),
                None => Some(format!("quality.{name} is not known, {}: no input has a truth", self.expected())),
            };
            return Ok(failure.into_iter().collect());
        }
        let (selected, column) = self.select(&names)?;
        let scopes = match &selected {
            Selected::Network => vec![report.network()],
            Selected::Layers(places) => places.iter().map(|&place| layers[place]).collect(),
        };
        let figures: Vec<(&Scope, Option<f64>)> =
            scopes.into_iter().map(|scope| (scope, column.figure(scope).map(|figure| figure.number))).collect();
        // Of several layers some may have no such figure; a demand on nothing does not hold.
        let known: Vec<_> = figures.iter().filter_map(|(scope, number)| Some((scope, (*number)?))).collect();
        if known.is_empty() {
            let names: Vec<&str> = figures.iter().map(|(scope, _)| scope.layer.as_str()).collect();
            return Ok(vec![format!("{} has no {}, {}", names.join(", "), column.name, self.expected())]);
        }
        let name = |scope: &Scope| format!("{}.{}", scope.layer, column.name);
        Ok(known.into_iter().filter_map(|(scope, number)| self.failure(&name(scope), number)).collect())
    }

    /// What is to be said of the figure `name` if it is not as it should be.
    fn failure(&self, name: &str, number: f64) -> Option<String> {
        if self.operator.holds(number, self.bound) {
            return None;
        }
        let difference = number - self.bound;
        let by = match (difference, self.operator) {
            (_, Operator::Other) => String::new(),
            (difference, _) if !difference.is_finite() => String::new(),
            (difference, _) if self.bound == 0.0 => format!(", off by {}", self.shown(difference.abs())),
            (difference, _) => {
                let share = units::significant((difference / self.bound).abs() * 100.0, 3);
                format!(", off by {} ({share}%)", self.shown(difference.abs()))
            }
        };
        Some(format!("{name} is {}, {}{by}", self.shown(number), self.expected()))
    }

    fn expected(&self) -> String {
        format!("expected {} {}", self.operator.name(), self.written)
    }

    /// `number` in the unit of the bound: six digits, or all where six look like the bound.
    fn shown(&self, number: f64) -> String {
        let (scale, unit) = if self.in_percent { (100.0, "%") } else { (1.0, "") };
        let [short, bound] = [number, self.bound].map(|number| units::significant(number * scale, 6));
        let number = if short == bound { (number * scale).to_string() } else { precise(number * scale) };
        format!("{number}{unit}")
    }
}

/// The first operator of `text` outside quotes: its place and its sign.
fn operator(text: &str) -> Result<(usize, &'static str, Operator), String> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None => {
                let found = Operator::ALL.into_iter().find(|(sign, _)| text[at..].starts_with(sign));
                if let Some((sign, operator)) = found {
                    return Ok((at, sign, operator));
                }
                if c == '=' {
                    return Err(mistake(text, at, "is no comparison: write =="));
                }
            }
        }
    }
    let end = text.trim_end().len();
    let known = Operator::ALL.map(|(sign, _)| sign).join(" ");
    Err(mistake(text, end, &format!("a comparison must follow, one of {known}, e.g. network.potential.W+A >= 2.0")))
}

/// What stands before the operator of `text`, which is `left`.
fn subject(text: &str, left: &str) -> Result<Subject, String> {
    let start = left.len() - left.trim_start().len();
    let name = &left[start..];
    let wrong = |at: usize, detail: &str| Err(mistake(text, at, detail));
    if let Some(quote) = name.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        let inner = &name[1..];
        let Some(end) = inner.find(quote) else { return wrong(start, "has a quote that does not end") };
        let Some(address) = inner[end + 1..].strip_prefix('.') else {
            return wrong(start + end + 2, "the dot and the metric must follow, e.g. \"layer1.0\".a.zeros");
        };
        let at = start + end + 3;
        return match figure(address) {
            Ok(column) => Ok(Subject::Figure { parts: vec![(inner[..end].to_owned(), column)], quoted: true }),
            Err(detail) => wrong(at, &detail),
        };
    }
    let dots: Vec<usize> = name.match_indices('.').map(|(at, _)| at).filter(|at| *at > 0).collect();
    let Some(&first) = dots.first() else {
        return wrong(start, "is to be SCOPE.METRIC, e.g. network.potential.W+A, layers.a.zeros, quality.top1");
    };
    let mut parts: Vec<(String, Column)> =
        dots.iter().filter_map(|&dot| Some((name[..dot].to_owned(), figure(&name[dot + 1..]).ok()?))).collect();
    if !parts.is_empty() {
        parts.reverse();
        return Ok(Subject::Figure { parts, quoted: false });
    }
    if let Some(quality) = name.strip_prefix("quality.") {
        let names = answers::names(None);
        return match names.contains(&quality) {
            true => Ok(Subject::Quality(quality.into())),
            false => wrong(start + first + 1, &format!("answers have no such number, but {}", names.join(", "))),
        };
    }
    // Where a metric is likely meant to begin: at a word that begins one.
    let begins = |dot: &&usize| {
        let word = name[**dot + 1..].split(['.', ':']).next().unwrap_or_default();
        ["activations", "weights", "outputs"].contains(&word)
            || columns::names().any(|known| known.split('.').next() == Some(word))
    };
    let sums = ["network", "layers", "*"].contains(&&name[..first]);
    let last = dots.last().copied().unwrap_or(first);
    let dot = if sums { first } else { dots.iter().find(begins).copied().unwrap_or(last) };
    let detail = figure(&name[dot + 1..]).err().unwrap_or_default();
    wrong(start + dot + 1, &detail)
}

/// The column of a metric: `potential.W+A`, `a.zeros` or `activations.zeros`, with `.parameter` or `:parameter` behind it where it has
/// several numbers.
fn figure(address: &str) -> Result<Column, String> {
    let words = [("activations.", "a."), ("weights.", "w."), ("outputs.", "o.")];
    let long = words.into_iter().find_map(|(word, letter)| Some(format!("{letter}{}", address.strip_prefix(word)?)));
    let address = long.as_deref().unwrap_or(address);
    let several = |kind: Kind| matches!(kind, Kind::Histogram | Kind::PerChannel);
    if let Some((metric, operand)) = columns::find(address) {
        return match several(metric.kind) {
            false => Ok(Column::of(metric, operand, None)),
            true => Err(format!("{address} is several numbers: name one by its place, e.g. {address}.0")),
        };
    }
    if let Some(at) = address.rfind([':', '.'])
        && let (name, parameter) = (&address[..at], &address[at + 1..])
        && let Some((metric, operand)) = columns::find(name)
    {
        return match columns::parameter_index(metric.kind, parameter) {
            Some(_) => Ok(Column::of(metric, operand, Some(parameter.to_owned()))),
            None => Err(match metric.kind {
                Kind::Work => format!("{name} is with_padding or without_padding, not {parameter}"),
                kind if several(kind) => format!("{name} has numbers by place, from 0, and {parameter} is no place"),
                _ => format!("{name} is one number and has no {parameter}"),
            }),
        };
    }
    Err(format!("{address} {}", columns::unknown(address)))
}

/// Some of `layers`, those that begin and end most like `name` first.
fn nearest<'a>(name: &str, layers: &[&'a str]) -> Vec<&'a str> {
    let alike = |layer: &str| {
        let begin = layer.bytes().zip(name.bytes()).take_while(|(own, other)| own == other).count();
        let end = layer.bytes().rev().zip(name.bytes().rev()).take_while(|(own, other)| own == other).count();
        begin + end
    };
    let mut near = layers.to_vec();
    near.sort_by_key(|layer| (std::cmp::Reverse(alike(layer)), layer.len().abs_diff(name.len())));
    near.truncate(6);
    near
}

#[cfg(test)]
#[path = "assertion_tests.rs"]
mod tests;
