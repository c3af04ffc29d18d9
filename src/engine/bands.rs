//! Large images in bands of rows. Each band is run with the rows around it that its part of the output depends on, so that
//! values, counts and memory are those of a small image, and every bit is that of the whole one.

use std::ops::Range;
use std::sync::Arc;

use super::plan::Plan;
use super::session::{EngineOptions, Session};
use crate::graph::{Graph, Node, NodeDef};
use crate::kernels::conv::winograd_tile;
use crate::layers::{Conv, Layer, Padding, Shape};
use crate::probe::Probe;
use crate::{Error, Result};

/// Rows of output that a kernel may compute together in a tile, for a convolution whose whole output is `output`. In every
/// layer, bands start at multiples of this, so that a row has the same position in its tile in the band as in the whole
/// image.
fn tile(conv: &Conv, output: Shape) -> usize {
    if conv.kernel == (3, 3) { conv.dilation.0 * winograd_tile((output.h, output.w), conv.dilation) } else { 1 }
}

/// The rows of an image that a run computes.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// For each value, the row of the whole image that is its row 0.
    pub first: Vec<usize>,
    /// For each value, the rows that belong to this part; its other rows belong to another part as well.
    pub owned: Vec<Range<usize>>,
}

impl Part {
    /// The rows of the whole value of `node` that belong to it.
    pub(super) fn rows(&self, node: Node) -> Range<usize> {
        let (first, owned) = (self.first[node.index()], &self.owned[node.index()]);
        first + owned.start..first + owned.end
    }
}

/// A graph prepared for images of one size, in bands.
pub struct Banded {
    shapes: Vec<Shape>,
    output: Node,
    bands: Vec<Band>,
    /// One for each height of band.
    sessions: Vec<Session>,
}

struct Band {
    /// Rows of the input.
    rows: Range<usize>,
    session: usize,
    part: Part,
    /// Rows of the whole output that it computes.
    output_rows: Range<usize>,
}

/// Rows of a value per rows of the input, as a fraction.
type Scale = (usize, usize);

impl Banded {
    /// Whether an image of `input` fits `options.memory` whole.
    ///
    /// # Errors
    /// As [`Banded::new`].
    pub fn is_whole(graph: &Graph, input: Shape, options: &EngineOptions) -> Result<bool> {
        Ok(Plan::new(graph, input, 1, true)?.bytes() <= options.memory)
    }

    /// Plans `graph` for images of `input`, one at a time, in bands as high as `options.memory` allows. `None` if one band
    /// would do, or if a layer needs all rows at once.
    ///
    /// # Errors
    /// [`Error::Shape`] naming the first layer that cannot take its input.
    pub fn new(graph: &Arc<Graph>, input: Shape, options: &EngineOptions) -> Result<Option<Self>> {
        if Self::is_whole(graph, input, options)? {
            return Ok(None);
        }
        let shapes = graph.shapes(input)?;
        let Some(scales) = scales(graph) else { return Ok(None) };
        // A band starts at a whole tile of every layer, including those with fewer rows than the input.
        let tiles = graph.nodes.iter().zip(&shapes).filter_map(|(def, &output)| match &def.layer {
            Layer::Conv(conv) => Some(tile(conv, output)),
            _ => None,
        });
        let align = scales.iter().map(|scale| scale.1).fold(1, lcm) * tiles.fold(1, lcm);
        let winograd = options.winograd;
        let layout = |step: usize| Layout { winograd, graph, shapes: &shapes, scales: &scales, align, step };
        let fits = |step: usize| -> Result<bool> {
            let highest = layout(step).rows().iter().map(Range::len).max().unwrap_or(0);
            Ok(highest == input.h
                || Plan::new(graph, Shape { h: highest, ..input }, 1, false)?.bytes() <= options.memory)
        };
        // The highest step that fits; the lowest if none does.
        let (mut low, mut high) = (1, input.h.div_ceil(align));
        while low < high {
            let middle = (low + high).div_ceil(2);
            if fits(middle * align)? { low = middle } else { high = middle - 1 }
        }
        let layout = layout(low * align);
        let rows = layout.rows();
        if rows.len() < 2 {
            return Ok(None);
        }
        let mut sessions: Vec<Session> = Vec::new();
        let mut bands = Vec::new();
        for (band, rows) in rows.iter().enumerate() {
            let height = rows.len();
            let known = sessions.iter().position(|session| session.plan().shapes[0].h == height);
            let session = match known {
                Some(session) => session,
                None => {
                    let shape = Shape { h: height, ..input };
                    sessions.push(Session::of_whole(Arc::clone(graph), shape, &shapes, options.clone())?);
                    sessions.len() - 1
                }
            };
            bands.push(layout.band(band, rows.clone(), session, &sessions[session].plan().shapes));
        }
        Ok(Some(Self { shapes, output: graph.output(), bands, sessions }))
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> usize {
        self.sessions.iter().map(|session| session.plan().bytes()).sum()
    }

    /// Runs `images`, `[N, C, H, W]` flat, one after the other; for watchers each is image 0. As [`Session::run`].
    ///
    /// # Errors
    /// [`Error::Shape`] if `images` is no whole number of images.
    pub fn run(&mut self, images: &[f32], probe: Option<&dyn Probe>) -> Result<Vec<f32>> {
        let (input, output) = (self.shapes[0], self.shapes[self.output.index()]);
        if !images.len().is_multiple_of(input.elements()) {
            let detail = format!("has {} values, an image of {input} has {}", images.len(), input.elements());
            return Err(Error::shape("input", detail));
        }
        let mut result = vec![0.0; images.len() / input.elements() * output.elements()];
        let answers = result.chunks_mut(output.elements());
        for (image, answer) in images.chunks(input.elements()).zip(answers) {
            for Band { rows, session, part, output_rows } in &self.bands {
                let planes = image.chunks(input.h * input.w);
                let band = planes.flat_map(|plane| &plane[rows.start * input.w..rows.end * input.w]).copied();
                let band: Vec<f32> = band.collect();
                let session = &mut self.sessions[*session];
                let got = session.run_part(&band, probe, part)?;
                let height = session.plan().shapes[self.output.index()].h;
                let first = output_rows.start - part.first[self.output.index()];
                for (channel, plane) in answer.chunks_mut(output.h * output.w).enumerate() {
                    let from = &got[(channel * height + first) * output.w..][..output_rows.len() * output.w];
                    plane[output_rows.start * output.w..output_rows.end * output.w].copy_from_slice(from);
                }
            }
        }
        Ok(result)
    }
}

/// Rows of each value per rows of the input; `None` if a layer needs all rows, or an unknown number of them.
fn scales(graph: &Graph) -> Option<Vec<Scale>> {
    let mut scales: Vec<Scale> = Vec::new();
    for def in &graph.nodes {
        let of = |i: usize| scales[def.inputs[i].index()];
        let all_alike = || def.inputs.iter().all(|input| scales[input.index()] == of(0));
        let scale = match &def.layer {
            Layer::Input => (1, 1),
            Layer::Conv(conv)
                if padding_is_fixed(conv) && (def.inputs.len() < 2 || residual_fits(&scales, def, conv)) =>
            {
                reduce(of(0).0, of(0).1 * conv.stride.0)
            }
            Layer::ConvTranspose(conv) => reduce(of(0).0 * conv.stride.0, of(0).1),
            Layer::Shuffle(shuffle) if shuffle.up => reduce(of(0).0 * shuffle.factor, of(0).1),
            Layer::Shuffle(shuffle) => reduce(of(0).0, of(0).1 * shuffle.factor),
            Layer::BatchNorm(_) | Layer::Activation(_) | Layer::Slice(_) | Layer::Fill(_) => of(0),
            Layer::Add | Layer::Sub | Layer::Mul | Layer::Concat if all_alike() => of(0),
            _ => return None,
        };
        scales.push(scale);
    }
    Some(scales)
}

/// Whether the padding of `conv` does not depend on the number of rows of its input.
fn padding_is_fixed(conv: &Conv) -> bool {
    matches!(conv.padding, Padding::Explicit(_)) || conv.stride.0 == 1
}

fn residual_fits(scales: &[Scale], def: &NodeDef, conv: &Conv) -> bool {
    let [x, residual] = [0, 1].map(|i| scales[def.inputs[i].index()]);
    reduce(x.0, x.1 * conv.stride.0) == residual
}

fn reduce(up: usize, down: usize) -> Scale {
    let common = gcd(up, down);
    (up / common, down / common)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn lcm(a: usize, b: usize) -> usize {
    a / gcd(a, b) * b
}

/// Bands of `step` rows of input, without the rows around them.
struct Layout<'a> {
    winograd: bool,
    graph: &'a Graph,
    shapes: &'a [Shape],
    scales: &'a [Scale],
    align: usize,
    step: usize,
}

impl Layout<'_> {
    fn bands(&self) -> usize {
        self.shapes[0].h.div_ceil(self.step)
    }

    /// Rows of value `node` that belong to `band`; each row belongs to one band.
    fn owned(&self, node: usize, band: usize) -> Range<usize> {
        let (up, down) = self.scales[node];
        let h = self.shapes[node].h;
        let border = |band: usize| (band * self.step * up / down).min(h);
        border(band)..if band + 1 == self.bands() { h } else { border(band + 1) }
    }

    /// Rows of the input that the rows of every value in `band` depend on.
    fn needs(&self, band: usize) -> Range<usize> {
        let mut needs: Vec<Range<usize>> = (0..self.shapes.len()).map(|node| self.owned(node, band)).collect();
        for node in self.graph.handles().rev() {
            let def = self.graph.def(node);
            let Range { start, end } = needs[node.index()].clone();
            if start >= end {
                continue;
            }
            for &input in &def.inputs {
                let h = self.shapes[input.index()].h;
                let first = def.inputs[0] == input;
                // May reach beyond the tensor at either end.
                let (from, to) = match &def.layer {
                    Layer::Conv(conv) if first => {
                        // The bits of a row depend on all rows of its tile.
                        let tile = if self.winograd { tile(conv, self.shapes[node.index()]) } else { 1 };
                        let start = start / tile * tile;
                        let end = end.next_multiple_of(tile).min(self.shapes[node.index()].h);
                        let top = conv.halo(h, self.shapes[input.index()].w).top;
                        let reach = conv.dilation.0 * (conv.kernel.0 - 1) + 1;
                        (
                            (start * conv.stride.0).saturating_sub(top),
                            (end - 1) * conv.stride.0 + reach - top.min(reach),
                        )
                    }
                    Layer::ConvTranspose(conv) => {
                        let reach = conv.dilation.0 * (conv.kernel.0 - 1);
                        let top = conv.padding.top;
                        let from = (start + top).saturating_sub(reach) / conv.stride.0;
                        // Rows that are cropped at the end must exist.
                        (from, (end + top + conv.padding.bottom).div_ceil(conv.stride.0) + 1)
                    }
                    Layer::Shuffle(shuffle) if shuffle.up => (start / shuffle.factor, end.div_ceil(shuffle.factor)),
                    Layer::Shuffle(shuffle) => (start * shuffle.factor, end * shuffle.factor),
                    Layer::Slice(slice) => (start + slice.cut.top, end + slice.cut.top + slice.cut.bottom),
                    _ => (start, end),
                };
                let (from, to) = (from.min(h), to.min(h));
                let need = &mut needs[input.index()];
                *need = if need.start >= need.end { from..to } else { need.start.min(from)..need.end.max(to) };
            }
        }
        needs[0].clone()
    }

    /// Rows of the input that each band is run with; all but the last have the same height.
    fn rows(&self) -> Vec<Range<usize>> {
        let h = self.shapes[0].h;
        let starts: Vec<Range<usize>> = (0..self.bands())
            .map(|band| {
                let needs = self.needs(band);
                needs.start / self.align * self.align..needs.end.next_multiple_of(self.align).min(h)
            })
            .collect();
        let highest = starts.iter().map(Range::len).max().unwrap_or(0).next_multiple_of(self.align);
        let rows = starts.into_iter().map(|needs| {
            if highest >= h {
                return 0..h;
            }
            if needs.start + highest <= h {
                return needs.start..needs.start + highest;
            }
            (h - highest) / self.align * self.align..h
        });
        rows.collect()
    }

    /// The band that is run with `rows`, whose values have the extents `shapes`.
    fn band(&self, band: usize, rows: Range<usize>, session: usize, shapes: &[Shape]) -> Band {
        let first: Vec<usize> = self.scales.iter().map(|(up, down)| rows.start * up / down).collect();
        let owned = (0..shapes.len()).map(|node| {
            let Range { start, end } = self.owned(node, band);
            debug_assert!(
                start >= first[node] && end - first[node] <= shapes[node].h.max(end - start),
                "rows are there"
            );
            start - first[node]..end - first[node]
        });
        let output_rows = self.owned(self.graph.output().index(), band);
        Band { rows, session, output_rows, part: Part { owned: owned.collect(), first } }
    }
}
