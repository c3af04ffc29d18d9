// The headline: which share of the work is ineffectual, by source, and what can be gained, in cards that explain themselves.

/** Shares of MACs by class over layers, with padding counted or without. */
function shares(run, layers) {
  return classesOf(run)
    .map((mac) => ({ ...mac, share: run.pooled(mac.key, layers) }))
    .filter(({ share }) => share !== null);
}

function listed(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** `47.4 % multiply a zero activation, 8.9 % padding`. */
function bySource(parts) {
  const sources = parts.filter(({ key, share }) => key !== "macs.effectual" && share >= 0.0005);
  sources.sort((one, other) => other.share - one.share);
  return listed(sources.map(({ says, share }, place) => `${show.percent(share)} ${place > 0 ? says.replace(/^multiply /, "") : says.replace(/^(?!multiply )/, "multiply ")}`));
}

function drawHead() {
  const run = currentRun();
  const layers = activeLayers();
  const parts = shares(run, layers);
  const effectual = parts.find(({ key }) => key === "macs.effectual");
  const head = byId("head");
  const eyebrow = el("p", { class: "eyebrow" }, `${run.label} · ${run.class} · ${run.format.name} · ${plural(run.inputs, "input")}`);
  if (!effectual) {
    head.replaceChildren(eyebrow, el("h1", { id: "headline" }, "No layer that was looked at multiplies."));
    return;
  }
  const share = 1 - effectual.share;
  const half = run.half("macs.effectual", layers);
  const what = isFiltered() ? `of the MACs of ${layers.length} of ${plural(run.count, "layer")} of ${run.label} are ineffectual` : `of the multiply-accumulates of ${run.label} are ineffectual`;
  const interval = half === null ? null : el("span", { class: "interval" }, `${withInterval("percent", share, half)} (95 % over inputs)`);
  const sources = bySource(parts);
  const bar = el("div", { class: "share-bar", role: "img", "aria-label": parts.map(({ name, share }) => `${name} ${show.percent(share)}`).join(", ") },
    parts.map(({ key, name, share, color }) => share >= 0.0005 && el("span", { class: key === "macs.effectual" ? "effectual" : "", style: `flex:${share} 0 0;background:${color}`, title: `${name}: ${show.percent(share)}` })),
    half !== null && el("i", { class: "whisker", style: `left:${100 * Math.max(share - half, 0)}%;right:${100 * Math.max(1 - share - half, 0)}%` }));
  const key = el("ul", { class: "share-key" }, parts.filter(({ share }) => share > 0).map(({ name, share, color }) =>
    el("li", {}, el("span", { class: "swatch", style: `--swatch:${color}` }), el("b", {}, show.percent(share)), ` ${name}`)));
  head.replaceChildren(eyebrow,
    el("h1", { id: "headline" }, el("span", { class: "big" }, show.percent(share)), el("span", { class: "what" }, what)),
    el("p", { class: "lead" }, sources ? `${sources[0].toUpperCase()}${sources.slice(1)}.` : "Every product has two values other than zero.", " ", interval),
    bar, key, cards(run, layers));
}

const CARDS = [
  ["W+A", "Skip zeros", "A design that never multiplies by zero"],
  ["Ap.g16", "Trim widths", "A bit-serial design that feeds each group of 16 activations in as many bits as its largest needs"],
  ["Ae", "Terms of activations", "A design that works through the signed powers of two of activations, one at a time"],
  ["We+Ae", "Terms of both", "A design that works through the signed powers of two of both operands"],
  ["W+A+Ap", "Zeros and widths", "A design that skips zeros and trims what is left to the width of its group"],
];

function cards(run, layers) {
  const known = CARDS.filter(([name]) => run.pooled(potential(name), layers) !== null).slice(0, 4);
  const open = new Set([...document.querySelectorAll(".card[open]")].map((card) => card.dataset.name));
  return el("div", { class: "cards" }, known.map(([name, title, says]) => {
    const address = potential(name);
    const metric = metricOf(address);
    const value = run.pooled(address, layers);
    const half = run.half(address, layers);
    const best = largest(run, layers, (layer) => run.value(address, layer));
    return el("details", { class: "card", "data-name": name, open: open.has(name) },
      el("summary", {}, el("span", { class: "card-title" }, title), el("span", { class: "card-value" }, show.times(value)),
        el("span", { class: "card-note" }, `less work at most (${name})${half !== null && Number.isFinite(value) ? `, ${withInterval("times", value, half).replace(/^[^±]*/, "")}` : ""}`)),
      el("p", {}, `${says} would do ${show.times(value)} less work than a dense one: ${metric.definition}.`),
      el("p", { class: "formula" }, metric.formula),
      el("p", {}, designs(metric) && `Known from ${designs(metric)}.`, best && ` Most in ${run.names[best[0]]}: ${show.times(best[1])}.`));
  }));
}
