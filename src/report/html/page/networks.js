// Across networks: how much of each is ineffectual, and what each source could gain, classes of networks side by side.

const COMPARED = ["A", "W+A", "Ap.g16", "Ae", "We+Ae"];

/** The runs by class, in each class those with the largest gain first. */
function orderedRuns() {
  const classes = Object.keys(NETWORK_CLASSES);
  const gain = (run) => ["We+Ae", "W+A+Ap", "W+A"].map((name) => run.pooled(potential(name), run.all)).find((value) => value !== null) ?? 0;
  return [...RUNS].sort((one, other) => classes.indexOf(one.class) - classes.indexOf(other.class) || gain(other) - gain(one));
}

function classLegend() {
  const present = new Set(RUNS.map((run) => run.class));
  return Object.entries(NETWORK_CLASSES).filter(([name]) => present.has(name)).map(([name, { color, symbol }]) => ({ name, color, shape: symbol }));
}

/** A margin that holds the names of the runs. */
function nameMargin(width) {
  const longest = Math.max(...RUNS.map((run) => run.label.length));
  return Math.min(longest * 6.6 + 14, width * 0.36);
}

function nameIn(margin) {
  const length = Math.max(Math.floor((margin - 14) / 6.6), 6);
  return (run) => short(run.label, length);
}

if (RUNS.length > 1) {
  const section = byId("networks");
  section.hidden = false;

  new Figure(section, {
    id: "networks-macs",
    title: "Across networks: what is ineffectual",
    draw(width) {
      const runs = orderedRuns();
      const marginLeft = nameMargin(width);
      const name = nameIn(marginLeft);
      const cells = runs.flatMap((run) => {
        let from = 0;
        return shares(run, run.all).map(({ color, share }) => ({ run, color, x1: from, x2: (from += share) }));
      }).filter(({ x1, x2 }) => x2 > x1);
      const lost = runs.map((run) => ({ run, share: 1 - (run.pooled("macs.effectual", run.all) ?? 1), half: run.half("macs.effectual", run.all) }));
      return [plot("Classes of MACs by network", {
        width, height: runs.length * 30 + 44, marginLeft, marginRight: 56, marginTop: 8, marginBottom: 36,
        x: { domain: [0, 1], label: "share of the network's MACs →", tickFormat: (share) => `${100 * share} %`, ticks: width < 500 ? 3 : 6 },
        y: { domain: runs, label: null, tickFormat: name, tickSize: 0, padding: 0.28 },
        marks: [
          Plot.barX(cells, { y: "run", x1: "x1", x2: "x2", fill: "color", insetLeft: 0.5, insetRight: 0.5 }),
          Plot.ruleY(lost.filter(({ half }) => half), { y: "run", x1: ({ share, half }) => Math.max(share - half, 0), x2: ({ share, half }) => Math.min(share + half, 1), stroke: "currentColor", strokeWidth: 1.5 }),
          Plot.text(lost, { y: "run", x: 1, text: ({ share }) => show.percent(share), textAnchor: "start", dx: 6, fontWeight: 600, fill: "currentColor" }),
        ],
      })];
    },
    legend: () => CLASSES.filter(({ key }) => state.padding || key !== "macs.padding").map((mac) => (mac.key === "macs.padding" && RUNS.some((run) => run.kinds.includes("attention")) ? { ...mac, name: "padding and masked pairs" } : mac)),
    says() {
      const lost = RUNS.map((run) => [run, 1 - (run.pooled("macs.effectual", run.all) ?? 1)]).sort((one, other) => other[1] - one[1]);
      return `Of ${lost[0][0].label}'s MACs ${show.percent(lost[0][1])} are ineffectual, of ${lost.at(-1)[0].label}'s ${show.percent(lost.at(-1)[1])}. Lines across the ends are 95 % intervals over inputs.`;
    },
    table() {
      const classes = CLASSES.filter(({ key }) => state.padding || key !== "macs.padding");
      return [["network", "class", ...classes.map(({ name }) => `${name} (share of MACs)`)],
        ...orderedRuns().map((run) => [run.label, run.class, ...classes.map(({ key }) => run.pooled(key, run.all))])];
    },
  });

  new Figure(section, {
    id: "networks-potentials",
    title: "Across networks: potentials by source",
    draw(width) {
      const runs = orderedRuns();
      const points = comparedPoints(runs);
      const finite = points.filter(({ value }) => Number.isFinite(value));
      if (finite.length === 0) return null;
      const names = COMPARED.filter((name) => finite.some((point) => point.name === name));
      const margin = nameMargin(width);
      const name = nameIn(margin);
      const marks = (points, x) => {
        const color = ({ run }) => NETWORK_CLASSES[run.class].color;
        const end = ({ value, half, ...point }) => x({ ...point, value: value + (half ?? 0) });
        return [
          Plot.ruleY(points, { y: "run", x1: (point) => x({ ...point, value: 1 }), x2: x, stroke: color, strokeOpacity: 0.45, strokeWidth: 3 }),
          Plot.ruleY(points.filter(({ half }) => half), { y: "run", x1: (point) => x({ ...point, value: Math.max(point.value - point.half, 1) }), x2: end, stroke: "currentColor", strokeWidth: 1.5 }),
          Plot.dot(points, { y: "run", x, fill: color, r: 5, symbol: ({ run }) => NETWORK_CLASSES[run.class].symbol }),
          Plot.text(points, { y: "run", x: end, text: ({ value }) => show.times(value), textAnchor: "start", dx: 9, fontSize: 11, fill: "currentColor" }),
        ];
      };
      const rows = { domain: runs, label: null, tickFormat: name, tickSize: 0, padding: 0.2 };
      const common = { width, marginLeft: margin, symbol: { type: "identity" }, y: rows };
      const most = (name) => Math.max(...finite.filter((point) => point.name === name).map(({ value, half }) => value + (half ?? 0)), 1.2);
      const ticks = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500];
      if (width < 760) {
        return names.flatMap((source) => {
          const domain = [1, Math.max(...names.map(most)) * 1.7];
          return [panel(`${source}: ${sourceWords(source)}`), plot(`Potential ${source} by network, on a logarithmic axis`, {
            ...common, height: runs.length * 24 + 30, marginRight: 12, marginTop: 4, marginBottom: 26,
            x: { type: "log", domain, ticks: logTicks(domain, width - margin), tickFormat: (tick) => `${tick}×`, label: null, grid: true },
            marks: [Plot.ruleX([1], { stroke: "currentColor", strokeOpacity: 0.5 }), ...marks(finite.filter(({ name }) => name === source), ({ value }) => value)],
          })];
        });
      }
      // One panel a source, each as wide as its largest potential asks for, so that a factor is of one length in all of them.
      const room = 66;
      const decade = (width - margin - names.length * room) / sum(names.map((name) => Math.log10(most(name))));
      const starts = new Map();
      let start = 0;
      for (const name of names) {
        starts.set(name, start);
        start += Math.log10(most(name)) * decade + room;
      }
      const x = ({ name, value }) => starts.get(name) + Math.log10(value) * decade;
      const marked = names.flatMap((name) => {
        let last = -Infinity;
        return ticks.filter((tick) => tick <= most(name) * 1.15).map((value) => ({ name, value }))
          .filter((tick) => x(tick) - last >= 30 && ((last = x(tick)), true));
      });
      return [plot("Potentials by source and network, on a logarithmic axis", {
        ...common, height: runs.length * 26 + 78, marginRight: 0, marginTop: 46, marginBottom: 30,
        x: { domain: [0, width - margin], axis: null },
        marks: [
          Plot.ruleX(marked, { x, stroke: "currentColor", strokeOpacity: ({ value }) => (value === 1 ? 0.5 : 0.1) }),
          Plot.text(marked, { x, frameAnchor: "bottom", dy: 14, text: ({ value }) => `${value}×`, fontSize: 11, fill: "var(--muted)" }),
          Plot.text(names, { x: (name) => starts.get(name), frameAnchor: "top", textAnchor: "start", dy: -40, text: (name) => name, fontWeight: 600, fontSize: 13, fill: "currentColor" }),
          Plot.text(names, { x: (name) => starts.get(name), frameAnchor: "top", textAnchor: "start", dy: -24, text: sourceWords, fontSize: 11, fill: "var(--muted)", lineWidth: 10, lineAnchor: "top" }),
          ...marks(finite, x),
        ],
      })];
    },
    legend: classLegend,
    says() {
      const points = comparedPoints(RUNS).filter(({ value }) => Number.isFinite(value));
      const best = points.reduce((best, point) => (best === null || point.value > best.value ? point : best), null);
      const zeros = points.filter(({ name }) => name === "W+A").sort((one, other) => other.value - one.value)[0];
      return `How many times less work is left if only one source is exploited; lines across the dots are 95 % intervals over inputs. ${zeros ? `Skipping zeros gains most in ${zeros.run.label} (${show.times(zeros.value)}); ` : ""}the largest bound of all is ${best.name} of ${best.run.label}, ${show.times(best.value)}.`;
    },
    table() {
      return [["network", "class", ...COMPARED.flatMap((name) => [name, `${name} ±`])],
        ...orderedRuns().map((run) => [run.label, run.class, ...COMPARED.flatMap((name) => [run.pooled(potential(name), run.all), run.half(potential(name), run.all)])])];
    },
  });
}

function comparedPoints(runs) {
  return COMPARED.flatMap((name) => runs.map((run) => ({ run, name, value: run.pooled(potential(name), run.all), half: run.half(potential(name), run.all) })))
    .filter(({ value }) => value !== null);
}

/** What a source leaves out, in words. */
function sourceWords(name) {
  return SOURCES.map(([, names]) => names[name]).find((words) => words) ?? name;
}
