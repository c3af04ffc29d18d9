// Starts the page: the bar above, the line below, keys, and the first drawing.

recall();

const THEMES = { auto: "auto", light: "light", dark: "dark" };
let theme = "auto";

function setTheme(chosen) {
  theme = chosen;
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  // Pictures of pixels have the colours of the theme in themselves.
  notify("change");
}

if (RUNS.length > 1) {
  byId("runs").append(...RUNS.map((run, place) => {
    const button = el("button", { type: "button", click: () => choose({ run: place }) },
      el("span", { class: `swatch ${NETWORK_CLASSES[run.class].symbol}`, style: `--swatch:${NETWORK_CLASSES[run.class].color}`, "aria-hidden": "true" }), run.label);
    listeners.change.push(() => {
      button.setAttribute("aria-pressed", String(state.run === place));
      if (state.run === place) button.parentElement.scrollLeft = button.offsetLeft - 60;
    });
    return button;
  }));
}

const filter = el("input", { type: "search", id: "filter", placeholder: "filter layers  /", "aria-label": "Filter layers by name or kind", value: state.filter, input: () => choose({ filter: filter.value }) });
const rangeButton = el("button", { type: "button", class: "chip", click: () => choose({ range: null }) });
listeners.change.push(() => {
  rangeButton.hidden = state.range === null;
  if (state.range) rangeButton.textContent = `layers ${state.range[0] + 1} to ${Math.min(state.range[1] + 1, currentRun().count)} ×`;
  if (filter.value !== state.filter) filter.value = state.filter;
});
const operands = Object.fromEntries(Object.entries(OPERANDS).filter(([letter]) => RUNS.some((run) => run.has(`${letter}.zeros`))));
byId("controls").append(
  switchOf("Padding", { with: "with padding", without: "without" }, () => (state.padding ? "with" : "without"), (value) => choose({ padding: value === "with" })),
  switchOf("Operand", operands, () => state.operand, (operand) => choose({ operand })),
  filter, rangeButton,
  switchOf("Theme", THEMES, () => theme, setTheme));

const numbered = ["macs", "networks", "depth", "widths", "potentials", "traffic", "sequences", "channels"];

/** Measures all figures, then draws them: measuring between drawings would lay the page out each time. */
function drawFigures() {
  figures.forEach((figure) => (figure.element.hidden = false));
  const widths = figures.map((figure) => figure.measure());
  figures.forEach((figure, place) => figure.update(widths[place]));
}

function draw() {
  drawHead();
  for (const id of numbered) byId(id).hidden = false;
  drawFigures();
  for (const id of numbered) {
    const own = figures.filter((figure) => figure.element.closest("section").id === id);
    byId(id).hidden = own.length === 0 || own.every((figure) => figure.element.hidden && !figure.lazy);
  }
  byId("channels").hidden = !byId(`channels-${state.run}`) || byId(`channels-${state.run}`).textContent === "{}";
  drawTable();
  fillChooser();
  drawExamples();
  drawAbout();
  document.title = `${currentRun().label} · deadweight`;
}

function drawSelected() {
  const run = currentRun();
  const { layer } = state;
  byId("readout").hidden = layer === null;
  document.body.classList.toggle("has-readout", layer !== null);
  figures.forEach((figure) => figure.mark());
  markRow();
  if (layer === null) return;
  const total = run.value("macs", run.network);
  const [macs, effectual] = [run.value("macs", layer), run.value("macs.effectual", layer)];
  const facts = [
    `${run.names[layer]} (${layer + 1} of ${run.count})`,
    macs !== null && total ? `${show.percent(macs / total)} of all MACs` : null,
    effectual !== null ? `${show.percent(1 - effectual)} ineffectual` : null,
    ...["a.zeros", "a.width.g16", "potential.W+A", "potential.We+Ae"].map((address) => (metricOf(address) && run.value(address, layer) !== null ? `${heading(address)} ${text(metricOf(address), run.value(address, layer))}` : null)),
  ];
  byId("selected").replaceChildren(...facts.filter((fact) => fact).map((fact, place) => el(place === 0 ? "b" : "span", {}, fact)).flatMap((fact) => [fact, " "]));
}

listeners.change.push(draw);
listeners.select.push(drawSelected);
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("unselect").addEventListener("click", () => select(null));

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, textarea, select");
  if (event.key === "Escape") {
    if (typing) typing.blur();
    if (state.filter || state.range) choose({ filter: "", range: null });
    else select(null);
  } else if (typing) {
    // Letters are for the field.
  } else if (event.key === "/") {
    event.preventDefault();
    filter.focus();
  } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    if (event.target.closest(".table-scroll, .as-table, pre")) return;
    event.preventDefault();
    step(event.key === "ArrowRight" ? 1 : -1);
  } else if (event.key === "t") {
    const element = event.target.closest("figure") ?? document.querySelector("figure:hover");
    figures.find((figure) => figure.element === element)?.toggle();
  }
});
addEventListener("hashchange", () => {
  recall();
  notify("change");
  notify("select");
});
// On paper all is unfolded, and figures are as wide as a sheet.
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((details) => (details.open = true));
  document.body.classList.add("on-paper");
  drawFigures();
});
addEventListener("afterprint", () => {
  document.body.classList.remove("on-paper");
  drawFigures();
});

notify("change");
notify("select");
requestAnimationFrame(() => requestAnimationFrame(() => performance.mark("drawn")));
