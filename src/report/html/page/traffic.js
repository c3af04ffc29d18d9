// Traffic by scheme: what is left of the bits of values if a scheme stores them.

function stored(run) {
  const layers = activeLayers(run);
  return Object.entries(OPERANDS).flatMap(([letter, operand]) => Object.keys(SCHEMES).map((scheme) => {
    const address = `${letter}.traffic.${scheme}`;
    const known = layers.filter((layer) => run.value(address, layer) !== null).length;
    return { operand, scheme, value: run.pooled(address, layers), half: run.half(address, layers), known, of: layers.length };
  })).filter(({ value }) => value !== null);
}

new Figure(byId("traffic"), {
  id: "traffic",
  title: "Traffic by scheme",
  draw(width) {
    const rows = stored(currentRun());
    if (rows.length === 0) return null;
    const operands = [...new Set(rows.map(({ operand }) => operand))];
    const schemes = Object.keys(SCHEMES).filter((scheme) => rows.some((row) => row.scheme === scheme));
    const wide = width >= 760;
    const marginLeft = wide ? 262 : 96;
    const most = Math.max(...rows.map(({ value }) => value), 1) * (wide ? 1.22 : 1.02);
    const partial = ({ known, of }) => (known < of ? " *" : "");
    const drawing = (rows, facet, last) => {
      const of = (options) => ({ y: "scheme", ...(facet && { fx: "operand" }), ...options });
      return {
        width, marginLeft, marginRight: wide ? 14 : 52, marginTop: wide ? 24 : 4, marginBottom: last ? 36 : 4, height: schemes.length * 22 + (wide ? 24 : 4) + (last ? 36 : 4),
        x: { domain: [0, most], axis: last ? "bottom" : null, label: "share of the bits of dense storage →", tickFormat: (share) => `${Math.round(100 * share)} %`, ticks: [0, 0.5, 1].filter((tick) => tick < most), grid: true },
        y: { domain: schemes, axis: null, padding: 0.2 },
        marks: [
          Plot.barX(rows, of({ x: "value", fill: ({ scheme }) => SCHEME_COLORS[scheme] })),
          Plot.ruleX([1], { stroke: "currentColor", strokeDasharray: "3 3" }),
          Plot.text(rows, of({ x: "value", text: (row) => show.percent(row.value) + partial(row), textAnchor: "start", dx: 5, fill: "currentColor", stroke: "var(--card)", strokeWidth: 4 })),
        ],
      };
    };
    if (!wide) {
      return operands.flatMap((operand, place) => {
        const own = rows.filter((row) => row.operand === operand);
        const options = drawing(own, false, place === operands.length - 1);
        options.marks.push(Plot.text(schemes, { y: (scheme) => scheme, frameAnchor: "left", dx: -marginLeft + 2, textAnchor: "start", fill: "var(--muted)" }));
        return [panel(operand), plot(`Bits that schemes store ${operand} in, over those of dense storage`, options)];
      });
    }
    const options = drawing(rows, true, true);
    options.marks.push(
      Plot.text(operands, { fx: (operand) => operand, frameAnchor: "top-left", dy: -18, textAnchor: "start", fontWeight: 600, fill: "currentColor" }),
      Plot.text(schemes, { fx: () => operands[0], y: (scheme) => scheme, frameAnchor: "left", dx: -marginLeft + 2, textAnchor: "start", text: (scheme) => SCHEMES[scheme], fill: "var(--muted)" }));
    return [plot("Bits that schemes store values in, over those of dense storage", { ...options, fx: { domain: operands, axis: null, label: null, padding: 0.05 } })];
  },
  says() {
    const rows = stored(currentRun());
    const real = rows.filter(({ scheme, operand }) => scheme !== "entropy" && operand === "activations").sort((one, other) => one.value - other.value)[0];
    const bound = rows.find(({ scheme, operand }) => scheme === "entropy" && operand === "activations");
    return `What moves if values are stored like this, of what dense storage moves (dashed line).${real ? ` For activations ${SCHEMES[real.scheme]} is the smallest, ${show.percent(real.value)}` : ""}${real && bound ? `; no code without memory goes below ${show.percent(bound.value)}` : ""}.${rows.some(({ known, of }) => known < of) ? " * Of the layers for which it was counted." : ""}`;
  },
  table: () => [["operand", "scheme", "share of dense bits", "±", "layers"], ...stored(currentRun()).map(({ operand, scheme, value, half, known }) => [operand, scheme, value, half, known])],
});
