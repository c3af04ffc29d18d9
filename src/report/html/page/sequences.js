// Sequences: gates and steps of recurrent layers; blocks, phases and concentration of attention.

/** Parts of layers of a kind, `gate` or `steps`, as `{ scope, layer, name }`. */
function partsOf(run, kind) {
  return run.parts.map(([layer, part, name], place) => ({ scope: run.network + 1 + place, layer, part, name })).filter(({ part }) => part === kind);
}

/** A matrix of numbers with the numbers in its cells where these fit. */
function matrix({ width, cells, columns, rows, label, how, marginLeft, xLabel }) {
  const finite = cells.filter(({ value }) => value !== null && Number.isFinite(value));
  const most = Math.max(...finite.map(({ value }) => value), 1e-9);
  const fits = (width - marginLeft - RIGHT) / columns.length > 46;
  return plot(label, {
    width, height: rows.length * 26 + 50, marginLeft, marginRight: RIGHT, marginTop: 8, marginBottom: 40,
    x: { type: "band", domain: columns, label: xLabel, tickSize: 0, ticks: columns.filter((_, place) => place % Math.ceil((columns.length * 24) / (width - marginLeft)) === 0), padding: 0.04 },
    y: { type: "band", domain: rows, label: null, tickSize: 0, padding: 0.06, tickFormat: (name) => short(name, Math.floor((marginLeft - 10) / 6.6)) },
    marks: [
      Plot.rect(finite, { x: "column", y: "row", fill: "var(--heat)", fillOpacity: ({ value }) => 0.04 + 0.48 * (value / most), title: ({ row, column, value }) => `${row}, ${column}: ${show[how](value)}`, tip: TIP }),
      ...(fits ? [Plot.text(finite, { x: "column", y: "row", text: ({ value }) => show[how](value).replace(" %", ""), fontSize: 11, fill: "currentColor" })] : []),
    ],
  });
}

const TIP = { fill: "var(--card)", stroke: "var(--line)" };

/** Where a step stands: places behind the first two are powers of two. */
function stepPlace(step) {
  return step < 2 ? step : 1 + Math.log2(step);
}

function lineFigure(width, { label, yLabel, points, xLabel, percent, ticks, tickFormat = String }) {
  const most = Math.max(...points.map(({ y }) => y), 0.01);
  return plot(label, {
    width, height: 240, marginLeft: LEFT, marginRight: RIGHT + 6, marginTop: 26, marginBottom: 38,
    x: { label: xLabel, ticks, tickFormat },
    y: { domain: [0, Math.min(most * 1.1, percent ? Math.max(1, most) : Infinity)], label: yLabel, grid: true, ticks: 5, tickFormat: percent ? (share) => `${Math.round(1000 * share) / 10} %` : undefined },
    marks: [
      Plot.ruleY([0], { stroke: "currentColor", strokeOpacity: 0.4 }),
      Plot.lineY(points, { x: "x", y: "y", z: "name", stroke: "color", strokeWidth: 2 }),
      Plot.dot(points, { x: "x", y: "y", fill: "color", r: 3, title: ({ name, at, y }) => `${name}, ${at}: ${percent ? show.percent(y) : show.mean(y)}`, tip: TIP }),
    ],
  });
}

const LINES = ["var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)", "var(--c6)"];

const GATE_METRICS = [["w.terms", "terms of a weight", "mean"], ["w.width.g16", "bits of a group of 16", "mean"], ["w.zeros", "zero weights", "percent"]];
const GATE_NAMES = { i: "input", f: "forget", g: "cell", o: "output", r: "reset", z: "update", n: "new" };

new Figure(byId("sequences"), {
  id: "gates",
  title: "Sequences: gates",
  draw(width) {
    const run = currentRun();
    const gates = partsOf(run, "gate");
    if (gates.length === 0) return null;
    const rows = [...new Set(gates.map(({ layer }) => run.names[layer]))];
    const columns = [...new Set(gates.map(({ name }) => name))];
    const drawn = GATE_METRICS.filter(([address]) => gates.some(({ scope }) => run.value(address, scope) !== null));
    return drawn.flatMap(([address, words, how]) => {
      const cells = gates.map(({ scope, layer, name }) => ({ row: run.names[layer], column: name, value: run.value(address, scope) }));
      return [panel(words),
        matrix({ width, cells, columns, rows, how, label: `${words} by layer and gate`, marginLeft: Math.min(180, width * 0.4), xLabel: "gate →" })];
    });
  },
  says() {
    const run = currentRun();
    const names = [...new Set(partsOf(run, "gate").map(({ name }) => name))].filter((name) => GATE_NAMES[name]);
    return `Weights of each product of a recurrent layer, by gate${names.length ? ` (${names.map((name) => `${name}: ${GATE_NAMES[name]}`).join(", ")})` : ""}. The stronger the colour, the more; gates that need fewer bits or terms could be computed in less time.`;
  },
  table() {
    const run = currentRun();
    return [["layer", "gate", ...GATE_METRICS.map(([, words]) => words)],
      ...partsOf(run, "gate").map(({ scope, layer, name }) => [run.names[layer], name, ...GATE_METRICS.map(([address]) => run.value(address, scope))])];
  },
});

const STEP_METRICS = [["temporal", "↑ equal to the step before"], ["a.zeros", "↑ zero activations"]];

function stepPoints(run, address) {
  const layers = [...new Set(partsOf(run, "steps").map(({ layer }) => layer))];
  return partsOf(run, "steps").map(({ scope, layer, name }) => ({
    x: stepPlace(Number(name.split("-")[0])), at: `steps ${name}`, y: run.value(address, scope), name: run.names[layer], color: LINES[layers.indexOf(layer) % LINES.length],
  })).filter(({ y }) => y !== null);
}

new Figure(byId("sequences"), {
  id: "steps",
  title: "Sequences: steps",
  draw(width) {
    const run = currentRun();
    const drawn = STEP_METRICS.filter(([address]) => stepPoints(run, address).length > 0);
    if (drawn.length === 0) return null;
    return drawn.map(([address, yLabel]) => {
      const points = stepPoints(run, address);
      return lineFigure(width, { label: `${yLabel.slice(2)} by step`, yLabel, points, percent: true, xLabel: "step, from where a sequence begins →", ticks: [...new Set(points.map(({ x }) => x))].filter((x, place) => width > 560 || place % 3 === 0), tickFormat: (place) => String(place < 2 ? place : Math.round(2 ** (place - 1))) });
    });
  },
  legend() {
    const named = new Map(stepPoints(currentRun(), "a.zeros").map(({ name, color }) => [name, color]));
    return [...named].map(([name, color]) => ({ name, color }));
  },
  says() {
    const same = currentRun().value("temporal", currentRun().network);
    return `How operands change as a sequence goes on; steps behind the first are counted up to the next powers of two.${same !== null ? ` Over all steps ${show.percent(same)} of the values that enter recurrent products are what they were one step before: a design that only computes differences skips these.` : ""}`;
  },
  table() {
    const run = currentRun();
    return [["layer", "steps", ...STEP_METRICS.map(([, words]) => words.slice(2))],
      ...partsOf(run, "steps").map(({ scope, layer, name }) => [run.names[layer], name, ...STEP_METRICS.map(([address]) => run.value(address, scope))])];
  },
});

const MATRIX_METRICS = {
  lost: ["ineffectual", (run, layer) => { const share = run.value("macs.effectual", layer); return share === null ? null : 1 - share; }, "percent"],
  zeros: ["zero activations", (run, layer) => run.value("a.zeros", layer), "percent"],
  terms: ["terms", (run, layer) => run.value("a.terms", layer), "mean"],
  width: ["bits (groups of 16)", (run, layer) => run.value("a.width.g16", layer), "mean"],
  gain: ["W+A", (run, layer) => run.value("potential.W+A", layer), "times"],
};
let matrixMetric = "lost";

function blocks(run) {
  const number = MATRIX_METRICS[matrixMetric][1];
  return run.all.map((layer) => ({ layer, ...blockOf(run.names[layer]), value: number(run, layer) })).filter(({ role }) => role !== undefined);
}

const matrixFigure = new Figure(byId("sequences"), {
  id: "blocks",
  title: "Sequences: products of each block",
  controls: [switchOf("What cells show", Object.fromEntries(Object.entries(MATRIX_METRICS).map(([key, [name]]) => [key, name])), () => matrixMetric, (key) => {
    matrixMetric = key;
    notify("change");
  })],
  draw(width) {
    const run = currentRun();
    if (!run.kinds.includes("attention")) return null;
    const cells = blocks(run);
    const columns = [...new Set(cells.map(({ block }) => block))].sort((one, other) => one - other);
    if (columns.length === 0) return null;
    const rows = [...new Set(cells.map(({ role }) => role))];
    const [name, , how] = MATRIX_METRICS[matrixMetric];
    return [matrix({ width, cells: cells.map(({ block, role, value }) => ({ column: block, row: role, value })), columns, rows, how, label: `${name} by product and block`, marginLeft: Math.min(190, width * 0.42), xLabel: "block →" })];
  },
  says() {
    const run = currentRun();
    const [name, , how] = MATRIX_METRICS[matrixMetric];
    const cells = blocks(run).filter(({ value }) => value !== null && Number.isFinite(value));
    const most = cells.reduce((most, cell) => (most === null || cell.value > most.value ? cell : most), null);
    const phases = cells.some(({ role }) => role.endsWith(".decode")) ? " Rows that end in decode are tokens generated one at a time, those above them the prompt." : "";
    return most ? `Rows are the products of a block, qk and pv those of attention; the stronger the colour, the more (${name}). The most is in ${run.names[most.layer]}: ${show[how](most.value)}.${phases}` : "";
  },
  table() {
    const run = currentRun();
    return [["layer", "block", "product", MATRIX_METRICS[matrixMetric][0]], ...blocks(run).map(({ layer, block, role, value }) => [run.names[layer], block, role, value])];
  },
});

const ATTENTION = [
  ["attention.keys90", "keys that hold 90 %", "var(--c1)"], ["attention.keys99", "keys that hold 99 %", "var(--c6)"],
  ["attention.below256", "below 1/256 of the largest", "var(--c2)"], ["attention.dead", "code 0 (dead pairs)", "var(--c4)"],
];

function attentionPoints(run) {
  const layers = run.all.filter((layer) => /\.pv$/.test(run.names[layer]));
  return ATTENTION.flatMap(([address, name, color]) => layers.map((layer) => ({ x: blockOf(run.names[layer])?.block, at: `block ${blockOf(run.names[layer])?.block}`, y: run.value(address, layer), name, color })))
    .filter(({ x, y }) => x !== undefined && y !== null);
}

new Figure(byId("sequences"), {
  id: "attention",
  title: "Sequences: how attention concentrates",
  draw(width) {
    const points = attentionPoints(currentRun());
    if (points.length === 0) return null;
    return [lineFigure(width, { label: "How attention concentrates, by block", yLabel: "↑ share of visible keys, or of probabilities", points, percent: true, xLabel: "block →", ticks: [...new Set(points.map(({ x }) => x))].filter((_, place, all) => place % Math.ceil((all.length * 24) / width) === 0) })];
  },
  legend: () => ATTENTION.filter(([, name]) => attentionPoints(currentRun()).some((point) => point.name === name)).map(([, name, color]) => ({ name, color })),
  says() {
    const run = currentRun();
    const dead = run.pooled("attention.dead", run.all.filter((layer) => run.value("attention.dead", layer) !== null));
    return `Where few keys hold most of the probability, most pairs of queries and keys do not matter.${dead !== null ? ` ${show.percent(dead)} of the MACs of both attention products are of pairs whose probability is coded as 0: what a perfect predictor saves.` : ""}`;
  },
  table() {
    const run = currentRun();
    const layers = run.all.filter((layer) => ATTENTION.some(([address]) => run.value(address, layer) !== null));
    return [["layer", ...ATTENTION.map(([, name]) => name)], ...layers.map((layer) => [run.names[layer], ...ATTENTION.map(([address]) => run.value(address, layer))])];
  },
});

const PHASE_PARTS = [["weights", "weights", "var(--c1)"], ["activations", "activations", "var(--c2)"], ["cache", "keys and values", "var(--c3)"]];

new Figure(byId("sequences"), {
  id: "phases",
  title: "Sequences: prompt and generation",
  draw(width) {
    const { phases } = currentRun();
    if (!phases) return null;
    const rows = [["prompt", phases.prefill], ["generated", phases.decode]];
    const cells = rows.flatMap(([row, phase]) => PHASE_PARTS.map(([key, name, color]) => ({ row, name, color, bits: phase[key] })));
    return [plot("Bits moved a token, of a prompt and generated", {
      width, height: 2 * 3 * 24 + 76, marginLeft: 8, marginRight: 70, marginTop: 20, marginBottom: 36,
      x: { type: "log", domain: [Math.max(Math.min(...cells.map(({ bits }) => bits)) / 4, 1), Math.max(...cells.map(({ bits }) => bits)) * 1.3], label: "bits moved a token (log) →", ticks: 4, tickFormat: (tick) => show.count(tick) },
      fy: { domain: ["prompt", "generated"], label: null, axis: null, padding: 0.3 },
      y: { domain: PHASE_PARTS.map(([, name]) => name), axis: null },
      marks: [
        Plot.barX(cells, { fy: "row", y: "name", x1: ({ bits }) => Math.max(Math.min(...cells.map(({ bits }) => bits)) / 4, 1), x2: "bits", fill: "color", insetTop: 2 }),
        Plot.text(cells, { fy: "row", y: "name", x: "bits", text: ({ bits }) => show.count(bits), textAnchor: "start", dx: 5, fill: "currentColor" }),
        Plot.text(rows, { fy: ([row]) => row, frameAnchor: "top-left", dy: -13, text: ([row, phase]) => `${row}: ${plural(phase.tokens, "token")}, ${show.count(phase.macs)} MACs each`, fontWeight: 600, fill: "currentColor" }),
      ],
    })];
  },
  legend: () => PHASE_PARTS.map(([, name, color]) => ({ name, color })),
  says() {
    const { prefill, decode } = currentRun().phases;
    const all = (phase) => phase.weights + phase.activations + phase.cache;
    return `A prompt reads the weights once for all its tokens, generation once a token: a generated token moves ${show.times(all(decode) / all(prefill))} the bits for ${show.times(decode.macs / prefill.macs)} the MACs.`;
  },
  table() {
    const { phases } = currentRun();
    return [["phase", "tokens", "MACs a token", ...PHASE_PARTS.map(([, name]) => `${name} (bits a token)`)],
      ...Object.entries(phases).map(([name, phase]) => [name === "decode" ? "generated" : "prompt", phase.tokens, phase.macs, ...PHASE_PARTS.map(([key]) => phase[key])])];
  },
});
