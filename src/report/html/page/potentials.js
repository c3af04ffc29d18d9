// Potentials by source: dense work over the work left, a ladder on a logarithmic axis.

function ladder(run) {
  const layers = activeLayers(run);
  return SOURCES.flatMap(([group, names]) => Object.entries(names).map(([name, words]) => {
    const address = potential(name);
    return { group, name, words, address, value: run.pooled(address, layers), half: run.half(address, layers) };
  })).filter(({ value }) => value !== null);
}

const SOURCE_COLORS = {
  zeros: "var(--c2)", "widths of activations": "var(--c1)", "widths of weights": "var(--c6)", terms: "var(--c3)", combined: "var(--c4)", differences: "var(--c5)",
};

/** Ticks of a logarithmic axis that leave room for their labels. */
function logTicks(domain, room) {
  const all = [0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000, 2000, 5000, 1e4];
  const inside = all.filter((tick) => tick >= domain[0] && tick <= domain[1]);
  const places = inside.map((tick) => (room * Math.log(tick / domain[0])) / Math.log(domain[1] / domain[0]));
  let last = -Infinity;
  return inside.filter((_, place) => places[place] - last >= 38 && ((last = places[place]), true));
}

new Figure(byId("potentials"), {
  id: "potentials",
  title: "Potentials by source",
  draw(width) {
    const rows = ladder(currentRun());
    const finite = rows.filter(({ value }) => Number.isFinite(value));
    if (rows.length === 0) return null;
    const wide = width >= 620;
    const marginLeft = wide ? 292 : 76;
    const top = Math.max(...finite.map(({ value, half }) => value + (half ?? 0)), 2);
    const domain = [Math.min(1, ...finite.map(({ value }) => value * 0.95)), top * 1.5];
    const row = (name) => rows.find((row) => row.name === name);
    return [plot("Potentials by source, on a logarithmic axis", {
      width, height: rows.length * 24 + 50, marginLeft, marginRight: 16, marginTop: 8, marginBottom: 36,
      x: { type: "log", domain, ticks: logTicks(domain, width - marginLeft - 16), tickFormat: (tick) => `${tick}×`, label: "dense work / work left →", grid: true },
      y: { domain: rows.map(({ name }) => name), label: null, axis: null, padding: 0.22 },
      marks: [
        Plot.barX(rows, { y: "name", x1: 1, x2: ({ value }) => (Number.isFinite(value) ? value : domain[1]), fill: ({ group }) => SOURCE_COLORS[group], rx: 1 }),
        Plot.ruleX([1], { stroke: "currentColor", strokeOpacity: 0.6 }),
        Plot.ruleY(finite.filter(({ half }) => half), { y: "name", x1: ({ value, half }) => Math.max(value - half, domain[0]), x2: ({ value, half }) => value + half, stroke: "currentColor", strokeWidth: 1.5 }),
        Plot.text(finite, { y: "name", x: ({ value, half }) => Math.max(value + (half ?? 0), 1), text: ({ value }) => show.times(value), textAnchor: "start", dx: 6, fill: "currentColor", fontWeight: 600 }),
        Plot.text(rows.filter(({ value }) => value === Infinity), { y: "name", x: domain[1], text: () => "∞", textAnchor: "start", dx: 3, fill: "currentColor", fontWeight: 600 }),
        Plot.text(rows, { y: "name", frameAnchor: "left", dx: -marginLeft + 2, text: "name", textAnchor: "start", fontWeight: 600, fill: "currentColor" }),
        ...(wide ? [Plot.text(rows, { y: "name", frameAnchor: "left", dx: -marginLeft + 78, text: ({ name }) => row(name).words, textAnchor: "start", fill: "var(--muted)" })] : []),
      ],
    })];
  },
  legend: () => SOURCES.map(([group]) => ({ name: group, color: SOURCE_COLORS[group] })).filter(({ name }) => ladder(currentRun()).some(({ group }) => group === name)),
  says() {
    const rows = ladder(currentRun()).filter(({ value }) => Number.isFinite(value));
    const at = (name) => rows.find((row) => row.name === name)?.value;
    const best = rows.filter(({ group }) => group !== "combined").reduce((best, row) => (best === null || row.value > best.value ? row : best), null);
    const words = `Bounds for hardware that exploits one source perfectly and pays nothing for it: no design does better, and real ones do worse.`;
    return `${words}${at("W+A") ? ` Skipping zeros leaves ${show.times(at("W+A"))} less work` : ""}${at("W+A") && best ? "; " : ""}${best ? `${best.name} (${best.words}) is the largest, ${show.times(best.value)}.` : ""}${rows.some(({ half }) => half) ? " Lines across the ends are 95 % intervals over inputs." : ""}`;
  },
  table: () => [["source", "what", "potential", "±"], ...ladder(currentRun()).map(({ name, words, value, half }) => [name, words, value, half])],
});
