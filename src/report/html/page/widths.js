// How many bits are enough: the share of values and of groups that fit in B bits, and a line to move along.

let chosenBits = 8;

function cumulative(run, letter) {
  const layers = activeLayers(run);
  return GROUPS.map((group) => ({ ...group, counts: run.histogram(`${letter}.${group.key}`, layers) })).filter(({ counts }) => counts)
    .map((group) => {
      const total = sum(group.counts);
      let fits = 0;
      return { ...group, shares: group.counts.map((count) => (fits += count) / total) };
    });
}

function shareThatFits({ shares }, bits) {
  return shares[Math.min(bits, shares.length - 1)];
}

const widthsFigure = new Figure(byId("widths"), {
  id: "widths",
  title: "How many bits are enough",
  draw(width) {
    const run = currentRun();
    const groups = cumulative(run, state.operand);
    if (groups.length === 0) return null;
    const bits = Math.max(run.value(`${state.operand}.bits`, run.network) ?? 16, ...groups.map(({ shares }) => shares.length - 1));
    chosenBits = Math.min(chosenBits, bits);
    const points = groups.flatMap(({ name, color, shares }) => Array.from({ length: bits + 1 }, (_, width) => ({ name, color, width, share: shareThatFits({ shares }, width) })));
    const svg = plot(`Share of ${OPERANDS[state.operand]} and of groups of them that fit, by bits`, {
      width, height: 300, marginLeft: LEFT, marginRight: RIGHT + 4, marginTop: 26, marginBottom: 38,
      x: { domain: [0, bits], ticks: Array.from({ length: bits + 1 }, (_, width) => width).filter((width) => width % (bits > 8 ? 2 : 1) === 0), tickFormat: (tick) => String(tick), label: "bits →" },
      y: { domain: [0, 1], label: "↑ share that fits", tickFormat: (share) => `${100 * share} %`, ticks: 5, grid: true },
      marks: [
        Plot.lineY(points, { x: "width", y: "share", z: "name", stroke: "color", strokeWidth: 2.25, curve: "step-after" }),
        Plot.ruleY([0], { stroke: "currentColor", strokeOpacity: 0.4 }),
      ],
    });
    this.scale = { left: LEFT, inner: width - LEFT - RIGHT - 4, bits };
    this.slider ??= bitSlider(this);
    this.list ??= el("ul", { class: "fits" });
    this.groups = groups;
    queueMicrotask(() => this.place());
    return [svg, this.slider, this.list];
  },
  legend: () => cumulative(currentRun(), state.operand),
  says() {
    const run = currentRun();
    const groups = cumulative(run, state.operand);
    const [single, g16] = [groups.find(({ name }) => name === "single values"), groups.find(({ name }) => name === "groups of 16")];
    const most = groups.at(-1);
    const enough = most.shares.findIndex((share) => share >= 0.99);
    return `Drag the line, or move it with the arrow keys. The larger a group, the more bits its largest member asks of all.${single && g16 ? ` 8 bits hold ${show.percent(shareThatFits(single, 8))} of the ${OPERANDS[state.operand]} but ${show.percent(shareThatFits(g16, 8))} of their groups of 16;` : ""} ${enough < 0 ? "no width" : `${enough} bits`} hold 99 % of ${most.name}.`;
  },
  table() {
    const groups = cumulative(currentRun(), state.operand);
    const places = Math.max(...groups.map(({ shares }) => shares.length));
    return [["bits", ...groups.map(({ name }) => name)], ...Array.from({ length: places }, (_, bits) => [bits, ...groups.map((group) => shareThatFits(group, bits))])];
  },
});

/** Puts the line where the chosen bits are, and says what fits. */
widthsFigure.place = function () {
  const { left, inner, bits } = this.scale;
  this.slider.style.left = `${left + (inner * chosenBits) / bits}px`;
  this.slider.setAttribute("aria-valuemax", bits);
  this.slider.setAttribute("aria-valuenow", chosenBits);
  const fits = this.groups.map((group) => `${show.percent(shareThatFits(group, chosenBits))} of ${group.name}`);
  this.slider.setAttribute("aria-valuetext", `${chosenBits} bits hold ${fits.join(", ")}`);
  this.slider.firstChild.textContent = `${chosenBits} bits`;
  this.list.replaceChildren(el("li", {}, `${plural(chosenBits, "bit")} hold`), ...this.groups.map((group) =>
    el("li", {}, el("span", { class: "swatch", style: `--swatch:${group.color}` }), el("b", {}, show.percent(shareThatFits(group, chosenBits))), ` of ${group.name}`)));
};

function bitSlider(figure) {
  const move = (bits) => {
    chosenBits = Math.min(Math.max(bits, 0), figure.scale.bits);
    figure.place();
  };
  const follow = (event) => {
    const { left, inner, bits } = figure.scale;
    move(Math.round(((event.clientX - figure.canvas.getBoundingClientRect().left - left) / inner) * bits));
  };
  const slider = el("div", {
    class: "bit-line", role: "slider", tabindex: 0, "aria-label": "Bits", "aria-valuemin": 0,
    pointerdown(event) {
      slider.setPointerCapture(event.pointerId);
      event.stopPropagation();
    },
    pointermove: (event) => slider.hasPointerCapture(event.pointerId) && follow(event),
    keydown(event) {
      const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 4, PageDown: -4, Home: -99, End: 99 }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      move(chosenBits + by);
    },
  }, el("span", {}));
  return slider;
}
