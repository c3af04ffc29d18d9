// Along the depth: zeros, widths, terms and traffic of each layer, below one another on one axis.

/** Lines over layers: `series` are names, colours and numbers by layer. */
function linePanel(run, width, { label, caption, series, percent, height, last }) {
  const scale = layerScale(run, width, last);
  const opacity = emphasis(run);
  const points = series.flatMap((line) => run.all.map((layer) => ({ layer, color: line.color, name: line.name, value: line.value(layer) }))
    .filter(({ value }) => value !== null && Number.isFinite(value)));
  const most = Math.max(...points.map(({ value }) => value), percent ? 0.05 : 1);
  return plot(caption, {
    ...scale.options, height: height + scale.options.marginBottom, marginTop: 22,
    y: { domain: [0, most * 1.06], label, ticks: 4, grid: true, tickFormat: percent ? (share) => `${Math.round(1000 * share) / 10} %` : undefined },
    marks: [
      Plot.ruleY([0], { stroke: "currentColor", strokeOpacity: 0.4 }),
      Plot.lineY(points, { x: ({ layer }) => layer + 0.5, y: "value", z: "name", stroke: "color", strokeWidth: 1.75, strokeOpacity: isFiltered() ? 0.35 : 0.9 }),
      ...(run.count > 120 && !isFiltered() ? [] : [Plot.dot(points, { x: ({ layer }) => layer + 0.5, y: "value", fill: "color", fillOpacity: ({ layer }) => opacity(layer), r: run.count > 80 ? 1.6 : 2.8 })]),
      ...scale.marks,
    ],
  });
}

/** Lines of addresses that have numbers. */
function seriesOf(run, lines) {
  return lines.filter(([address]) => run.any(address)).map(([address, name, color]) => ({ address, name, color, value: (layer) => run.value(address, layer) }));
}

function zeroSeries(run) {
  return seriesOf(run, [["a.zeros", "activations", "var(--za)"], ["w.zeros", "weights", "var(--zw)"], ["o.zeros", "outputs", "var(--zb)"]]);
}

function termSeries(run) {
  return seriesOf(run, [["a.terms", "activations", "var(--za)"], ["w.terms", "weights", "var(--zw)"]]);
}

function trafficSeries(run) {
  return seriesOf(run, Object.keys(SCHEMES).map((scheme) => [`${state.operand}.traffic.${scheme}`, scheme, SCHEME_COLORS[scheme]]));
}

/** How many groups of 16 need how many bits, as a strip by layer. */
function widthStrip(run, width, last) {
  const address = `${state.operand}.width.g16.histogram`;
  if (!run.has(address)) return null;
  const bits = run.value(`${state.operand}.bits`, run.network) ?? 16;
  const opacity = emphasis(run);
  const cells = run.all.flatMap((layer) => {
    const counts = run.field(address, "c", layer) ?? [];
    const total = sum(counts);
    return counts.map((count, width) => ({
      x1: layer, x2: layer + 1, y1: width - 0.5, y2: width + 0.5, color: "var(--heat)", opacity: count && Math.max(Math.sqrt(count / total), 0.06) * opacity(layer),
    }));
  }).filter((cell) => cell.opacity > 0);
  const lines = (metric) => run.all.map((layer) => ({ layer, value: run.value(`${state.operand}.${metric}`, layer) })).filter(({ value }) => value !== null);
  const scale = layerScale(run, width, last);
  return plot(`Bits that groups of 16 ${OPERANDS[state.operand]} need, by layer`, {
    ...scale.options, height: 170 + scale.options.marginBottom, marginTop: 22,
    y: { domain: [-0.5, Math.max(bits + 0.5, ...cells.map(({ y2 }) => y2))], ticks: [0, 4, 8, 12, 16].filter((tick) => tick <= bits), tickFormat: (tick) => String(tick), label: "↑ bits" },
    marks: [
      cellsMark(cells, run.count > 60 ? 0 : 0.5),
      run.count > 60
        ? Plot.lineY(lines("width.layer"), { x: ({ layer }) => layer + 0.5, y: "value", stroke: "var(--c2)", strokeWidth: 1.75, curve: "step" })
        : Plot.ruleY(lines("width.layer"), { y: "value", x1: "layer", x2: ({ layer }) => layer + 1, stroke: "var(--c2)", strokeWidth: 2 }),
      run.count > 60
        ? Plot.lineY(lines("width.g16"), { x: ({ layer }) => layer + 0.5, y: "value", stroke: "currentColor", strokeWidth: 1.25 })
        : Plot.ruleY(lines("width.g16"), { y: "value", x1: "layer", x2: ({ layer }) => layer + 1, stroke: "currentColor", strokeWidth: 1.5 }),
      ...scale.marks,
    ],
  });
}

const STRIP_KEY = [{ name: "groups of 16 (stronger: more)", color: "var(--heat)" }, { name: "their mean", color: "currentColor" }, { name: "width of the layer", color: "var(--c2)" }];

new Figure(byId("depth"), {
  id: "depth",
  title: "Along the depth",
  draw(width) {
    const run = currentRun();
    const operand = OPERANDS[state.operand];
    const lines = (words, series, options) => series.length > 0 && [words, series, (last) => linePanel(run, width, { series, height: 100, last, ...options })];
    const panels = [
      lines("zeros", zeroSeries(run), { label: "↑ share of values", caption: "Share of zeros by layer", percent: true }),
      run.any(`${state.operand}.width.g16`) && [`widths of ${operand}`, STRIP_KEY, (last) => widthStrip(run, width, last)],
      lines("terms of a value", termSeries(run), { label: "↑ terms", caption: "Mean terms of a value by layer" }),
      lines(`traffic of ${operand}`, trafficSeries(run), { label: "↑ share of dense bits", caption: `Bits that schemes store ${operand} in, by layer`, percent: true, height: 130 }),
    ].filter((panel) => panel);
    if (panels.length === 0) return null;
    this.axis = evenAxis(run, width);
    return panels.flatMap(([words, items, draw], place) => [panel(words, items), draw(place === panels.length - 1)]);
  },
  says() {
    const run = currentRun();
    const zeros = (layer) => run.value("a.zeros", layer);
    const [most, along] = [largest(run, run.all, zeros), trend(run, run.all, "a.zeros")];
    const says = [];
    if (most) says.push(`Most zeros among activations enter ${run.names[most[0]]}: ${show.percent(most[1])}.`);
    if (along) {
      const way = along[1] > along[0] + 0.03 ? "they grow with the depth" : along[1] < along[0] - 0.03 ? "they shrink with the depth" : "they stay alike along the depth";
      says.push(`From the first third of the layers to the last ${way}, from ${show.percent(along[0])} to ${show.percent(along[1])}.`);
    }
    const [mean, bits] = [run.value(`${state.operand}.width.g16`, run.network), run.value(`${state.operand}.bits`, run.network)];
    if (mean !== null) says.push(`Groups of 16 ${OPERANDS[state.operand]} need ${mean.toFixed(1)} of ${bits} bits on average.`);
    const terms = run.value("a.terms", run.network);
    if (terms !== null) says.push(`An activation is ${terms.toFixed(2)} signed powers of two (${run.format.encoder}) on average: the other bits are work without effect.`);
    return says.join(" ");
  },
  table() {
    const run = currentRun();
    const lines = [...zeroSeries(run), ...termSeries(run), ...trafficSeries(run)];
    const widths = [`${state.operand}.width.layer`, `${state.operand}.width.g16`];
    const places = Math.max(...run.all.map((layer) => (run.field(`${state.operand}.width.g16.histogram`, "c", layer) ?? []).length));
    const bits = Array.from({ length: places }, (_, width) => width);
    return [["layer", ...lines.map(({ address }) => address), ...widths, ...bits.map((width) => `groups of ${width} bits`)],
      ...run.all.map((layer) => [run.names[layer], ...lines.map((line) => line.value(layer)), ...widths.map((address) => run.value(address, layer)),
        ...bits.map((width) => run.field(`${state.operand}.width.g16.histogram`, "c", layer)?.[width] ?? 0)])];
  },
});
