// Numbers as people read them, and the words and colours of what figures show.

const PREFIXES = ["", " k", " M", " G", " T", " P", " E"];

function significant(number, digits) {
  if (number === 0) return "0";
  const text = Number(number.toPrecision(digits));
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(text))));
  return text.toFixed(Math.min(decimals, 12));
}

const show = {
  count(number) {
    if (Math.abs(number) < 1000) return Number.isInteger(number) ? String(number) : significant(number, 4);
    let power = 0;
    while (Math.abs(number) >= 999.95 && power + 1 < PREFIXES.length) [number, power] = [number / 1000, power + 1];
    return significant(number, 4) + PREFIXES[power];
  },
  percent(share) {
    if (share > 0 && share < 0.0005) return "<0.1 %";
    return `${(100 * share).toFixed(1)} %`;
  },
  mean: (number) => number.toFixed(2),
  real: (number) => (Math.abs(number) >= 1e6 || (number !== 0 && Math.abs(number) < 1e-4) ? number.toExponential(3) : significant(number, 4)),
  times: (number) => (Number.isFinite(number) ? `${significant(number, 3)}×` : "∞"),
};

/** A number of a metric as text; an en dash where there is none. */
function text(metric, number) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  if (!Number.isFinite(number)) return "∞";
  return show[metric.show](number);
}

/** A share or a factor with half the width of its interval, if it is known: `2.15× ± 0.02`. */
function withInterval(how, number, half) {
  if (number === null) return "–";
  const bare = half === null || !Number.isFinite(number) ? "" : ` ± ${significant(how === "percent" ? 100 * half : half, 1)}`;
  return show[how](number) + bare;
}

/** The designs that a metric's source names. */
function designs({ source }) {
  return /\((.*)\)/.exec(source)?.[1] ?? "";
}

/** The end of a long name, which tells layers apart. */
function short(name, length = 24) {
  return name.length > length ? `…${name.slice(1 - length)}` : name;
}

/** Classes of MACs, from the bottom of a column. */
const CLASSES = [
  { key: "macs.zero_activation", name: "zero activation", says: "multiply a zero activation", color: "var(--za)" },
  { key: "macs.zero_weight", name: "zero weight", says: "a zero weight", color: "var(--zw)" },
  { key: "macs.zero_both", name: "both zero", says: "two zeros", color: "var(--zb)" },
  { key: "macs.padding", name: "padding", says: "padding", color: "var(--pad)" },
  { key: "macs.effectual", name: "effectual", says: "two values other than zero", color: "var(--eff)" },
];

/** The classes that are told apart in a run: what lies outside is padding, and in attention pairs that a mask hides. */
function classesOf(run) {
  const masks = run.kinds.includes("attention") ? { name: "masked pairs", says: "masked pairs" } : {};
  return CLASSES.filter(({ key }) => state.padding || key !== "macs.padding").map((mac) => (mac.key === "macs.padding" ? { ...mac, ...masks } : mac));
}

/** Sources of potentials: what each leaves out, by groups. */
const SOURCES = [
  ["zeros", { A: "skip zero activations", W: "skip zero weights", "W+A": "skip all zeros" }],
  ["widths of activations", {
    "Ap.layer": "width of the layer", "Ap.g256": "width of groups of 256", "Ap.g64": "width of groups of 64",
    "Ap.g16": "width of groups of 16", "Ap.value": "width of each value",
  }],
  ["widths of weights", {
    "Wp.layer": "width of the layer", "Wp.g16": "width of groups of 16", "Wp.value": "width of each value",
    "Wp+Ap": "layer widths × group widths",
  }],
  ["terms", { Ae: "terms of activations", We: "terms of weights", "We+Ae": "terms of both" }],
  ["combined", {
    "W+Ap": "zero weights, group widths", "W+Ae": "zero weights, terms of activations",
    "W+A+Ap": "all zeros, group widths", "W+A+Ae": "all zeros, terms of activations",
  }],
  ["differences", { "delta.Ae": "terms of differences", "delta.We+Ae": "terms of weights × differences" }],
];

/** The address of a source. */
function potential(name) {
  return name.startsWith("delta.") ? name : `potential.${name}`;
}

const NETWORK_CLASSES = {
  "image classifiers": { color: "var(--c1)", symbol: "circle" },
  segmentation: { color: "var(--c3)", symbol: "square" },
  restoration: { color: "var(--c2)", symbol: "triangle" },
  recurrent: { color: "var(--c4)", symbol: "diamond" },
  transformers: { color: "var(--c5)", symbol: "star" },
  quantised: { color: "var(--c6)", symbol: "wye" },
  other: { color: "var(--muted)", symbol: "cross" },
};

/** Schemes that store values in fewer bits. */
const SCHEMES = {
  layer: "width of the layer", group: "widths of groups of 16", shapeshifter: "non-zeros at group widths (ShapeShifter)",
  zvc: "non-zeros and a mask", rlc: "non-zeros and runs of zeros", delta: "differences at group widths", entropy: "entropy of the codes (bound)",
};
const SCHEME_COLORS = {
  layer: "var(--muted)", group: "var(--c1)", shapeshifter: "var(--c3)", zvc: "var(--c2)", rlc: "var(--c4)", delta: "var(--c5)", entropy: "var(--c6)",
};

const GROUPS = [
  { key: "width.histogram", name: "single values", color: "var(--c1)" },
  { key: "width.g16.histogram", name: "groups of 16", color: "var(--c2)" },
  { key: "width.g64.histogram", name: "groups of 64", color: "var(--c3)" },
  { key: "width.g256.histogram", name: "groups of 256", color: "var(--c4)" },
];

function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}
