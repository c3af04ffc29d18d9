//! A drawing: shapes and words, written as SVG in points.

use std::fmt::Write;

/// Size of words.
pub(super) const SIZE: f64 = 8.5;
/// Colour of words and axes.
pub(super) const INK: &str = "#171b22";
/// Colour of what stands back.
pub(super) const FAINT: &str = "#b6bcc6";

/// Where words begin, end or have their middle.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing of some width and height.
pub(super) struct Svg {
    width: f64,
    height: f64,
    title: String,
    body: String,
}

impl Svg {
    pub(super) fn new(title: &str, width: f64, height: f64) -> Self {
        Self { width, height, title: title.into(), body: String::new() }
    }

    pub(super) fn rect(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2], colour: &str) {
        self.add(&format!(r#"<rect x="{x:.2}" y="{y:.2}" width="{width:.2}" height="{height:.2}" fill="{colour}"/>"#));
    }

    pub(super) fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], colour: &str, width: f64) {
        self.add(&format!(
            r#"<line x1="{x1:.2}" y1="{y1:.2}" x2="{x2:.2}" y2="{y2:.2}" stroke="{colour}" stroke-width="{width}"/>"#
        ));
    }

    /// A line through points.
    pub(super) fn path(&mut self, points: &[[f64; 2]], colour: &str) {
        let points: Vec<String> = points.iter().map(|[x, y]| format!("{x:.2},{y:.2}")).collect();
        let points = points.join(" ");
        self.add(&format!(
            r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.2" stroke-linejoin="round"/>"#
        ));
    }

    pub(super) fn dot(&mut self, [x, y]: [f64; 2], radius: f64, colour: &str) {
        self.add(&format!(r#"<circle cx="{x:.2}" cy="{y:.2}" r="{radius}" fill="{colour}"/>"#));
    }

    pub(super) fn text(&mut self, place: [f64; 2], words: &str, anchor: Anchor) {
        self.words(place, words, anchor, "");
    }

    pub(super) fn bold(&mut self, place: [f64; 2], words: &str, anchor: Anchor) {
        self.words(place, words, anchor, r#" font-weight="bold""#);
    }

    /// Words that end at a place, from the lower left.
    pub(super) fn aslant(&mut self, [x, y]: [f64; 2], words: &str) {
        self.words([x, y], words, Anchor::End, &format!(r#" transform="rotate(-55 {x:.2} {y:.2})""#));
    }

    fn words(&mut self, [x, y]: [f64; 2], words: &str, anchor: Anchor, more: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let words = escaped(words);
        self.add(&format!(r#"<text x="{x:.2}" y="{y:.2}"{anchor}{more}>{words}</text>"#));
    }

    /// Swatches with their names, in rows from a place on; returns where the next thing may stand.
    pub(super) fn legend(&mut self, [left, top]: [f64; 2], items: &[(&str, &str)]) -> f64 {
        let (mut x, mut y) = (left, top);
        for (name, colour) in items {
            let width = 14.0 + 0.52 * SIZE * name.chars().count() as f64 + 8.0;
            if x > left && x + width > self.width {
                (x, y) = (left, y + 13.0);
            }
            self.rect([x, y - 6.5], [7.0, 7.0], colour);
            self.text([x + 10.0, y], name, Anchor::Start);
            x += width;
        }
        y + 12.0
    }

    fn add(&mut self, element: &str) {
        self.body += element;
        self.body.push('\n');
    }

    pub(super) fn finish(self) -> String {
        let Self { width, height, title, body } = self;
        let mut file = String::new();
        writeln!(
            file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}pt\" height=\"{height:.0}pt\" viewBox=\"0 0 {width} {height:.0}\" \
             font-family=\"Helvetica, Arial, sans-serif\" font-size=\"{SIZE}\" fill=\"{INK}\" role=\"img\">\n<title>{}</title>\n{body}</svg>",
            escaped(&title)
        )
        .expect("memory takes every byte");
        file
    }
}

/// The words with what has a meaning in SVG written otherwise, and without control characters, which no XML may hold.
fn escaped(words: &str) -> String {
    let words: String = words.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
