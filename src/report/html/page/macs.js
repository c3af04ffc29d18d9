// Where the MACs go: a column a layer, as wide as its share of all MACs, stacked by class.

new Figure(byId("macs"), {
  id: "macs",
  title: "Where the MACs go",
  draw(width) {
    const run = currentRun();
    const total = sum(run.all.map((layer) => macsOf(run, layer)));
    if (total === 0) return null;
    const edges = [0];
    run.all.forEach((layer) => edges.push(edges.at(-1) + macsOf(run, layer) / total));
    const opacity = emphasis(run);
    const cells = run.all.flatMap((layer) => {
      let from = 0;
      return CLASSES.map(({ key, color }) => {
        const share = (state.padding || key !== "macs.padding" ? run.value(key, layer) : 0) ?? 0;
        const cell = { color, opacity: opacity(layer), x1: edges[layer], x2: edges[layer + 1], y1: from, y2: from + share };
        from += share;
        return cell;
      });
    }).filter(({ x1, x2, y1, y2 }) => x2 > x1 && y2 > y1);
    const inner = width - LEFT - RIGHT;
    const middle = (layer) => ((edges[layer] + edges[layer + 1]) / 2) * inner;
    const { layers: named, names } = labelled(run, width, middle);
    const marginBottom = nameRoom(named, names);
    const gap = run.count > 100 ? 0 : 0.5;
    this.axis = {
      span: (layer) => [LEFT + edges[layer] * inner, LEFT + edges[layer + 1] * inner],
      at: (x) => (x < LEFT || x > LEFT + inner ? null : Math.max(edges.findIndex((edge) => edge * inner > x - LEFT) - 1, 0)),
    };
    return [plot("MACs by class, a column a layer, as wide as its share of all MACs", {
      width, height: 330 + marginBottom, marginLeft: LEFT, marginRight: RIGHT, marginTop: 22, marginBottom,
      x: { domain: [0, 1], axis: null },
      y: { domain: [0, 1], label: "↑ share of the layer's MACs", tickFormat: (share) => `${100 * share} %`, ticks: 5 },
      marks: [
        cellsMark(cells, gap),
        nameMarks(named, names, (layer) => (edges[layer] + edges[layer + 1]) / 2),
      ],
    })];
  },
  legend: () => shares(currentRun(), currentRun().all).filter(({ share }) => share > 0),
  says() {
    const run = currentRun();
    const total = sum(run.all.map((layer) => macsOf(run, layer)));
    const heaviest = largest(run, run.all, (layer) => macsOf(run, layer));
    const lost = (layer) => macsOf(run, layer) * (1 - (run.value("macs.effectual", layer) ?? 1));
    const worst = largest(run, run.all, lost);
    const all = sum(run.all.map(lost));
    let sentence = `Wide columns are where the work is, colour is what of it is ineffectual. ${run.names[heaviest[0]]} has the most MACs, ${show.percent(heaviest[1] / total)} of all`;
    if (worst && all > 0) sentence += `; the most ineffectual ones are in ${run.names[worst[0]]}, ${show.percent(worst[1] / all)} of all ineffectual ones`;
    return `${sentence}.`;
  },
  table() {
    const run = currentRun();
    const classes = classesOf(run);
    return [["layer", "MACs", ...classes.map(({ name }) => name)],
      ...run.all.map((layer) => [run.names[layer], macsOf(run, layer), ...classes.map(({ key }) => run.fraction(key, layer)?.above ?? null)])];
  },
});

/** MACs of a layer, with padding counted or without. */
function macsOf(run, layer) {
  return run.fraction("macs.effectual", layer)?.below ?? run.value("macs", layer) ?? 0;
}
