// The table of layers: sorted, filtered, with columns of all metrics, to be copied and saved as CSV.

const WANTED = ["macs.per_input", "macs.effectual", "a.zeros", "w.zeros", "a.width.g16", "a.terms", "potential.W+A", "potential.Ap.g16", "potential.Ae", "potential.We+Ae"];
let tableColumns = null;
let sorted = { by: null, down: true };

const tableSection = byId("layers");
const tableCount = el("span", { class: "count", role: "status" });
const tableElement = el("table", { class: "layers" });
const tableScroll = el("div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": "Layers" }, tableElement);
const chooserList = el("div", { class: "chooser-list" });
const chooserSearch = el("input", { type: "search", placeholder: "metric", "aria-label": "Find a metric", input: fillChooser });
const copyButton = el("button", { type: "button", click: () => copy(copyButton, csv(tableRows())) }, "Copy as CSV");
tableSection.append(
  el("div", { class: "figure-head" }, el("h2", {}, "Layers"), tableCount,
    el("div", { class: "tools" }, copyButton,
      el("button", { type: "button", click: () => download(`${slug(currentRun().label)}-layers.csv`, "text/csv", csv(tableRows())) }, "Save as CSV"),
      el("button", { type: "button", click: () => download(`${slug(currentRun().label)}-all.csv`, "text/csv", csv(allRows())) }, "Save all metrics"))),
  el("details", { class: "chooser", toggle: fillChooser }, el("summary", {}, "Columns"), chooserSearch, chooserList),
  tableScroll,
  el("p", { class: "caption" }, "Sort by the heads of columns, select a layer by its row: it is marked in all figures. The last row is the network, or the sum of the layers that are shown."));

function columnsOf(run) {
  return (tableColumns ?? WANTED).filter((address) => run.any(address));
}

function heading(address) {
  const { heading, letter } = metricOf(address);
  return letter ? `${heading} ${{ a: "act", w: "wt", o: "out" }[letter]}` : heading;
}

/** The layers as they are shown. */
function shownLayers(run) {
  const layers = activeLayers(run);
  if (sorted.by === null) return layers;
  const key = (layer) => (sorted.by === "layer" ? run.names[layer] : sorted.by === "kind" ? run.kinds[layer] : run.value(sorted.by, layer));
  const order = (one, other) => {
    const [a, b] = [key(one), key(other)];
    // What has no number is last, whichever way.
    if (a === null || b === null) return (a === null) - (b === null);
    const less = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
    return (sorted.down ? -less : less) || one - other;
  };
  return [...layers].sort(order);
}

function drawTable() {
  const run = currentRun();
  const columns = columnsOf(run);
  const layers = shownLayers(run);
  const sorting = (by, name, title) => el("th", { scope: "col", "aria-sort": sorted.by !== by ? null : sorted.down ? "descending" : "ascending", class: by === "layer" || by === "kind" ? "text" : null },
    el("button", { type: "button", "data-by": by, title, click: () => sortBy(by) }, name, el("span", { class: "arrow", "aria-hidden": "true" }, sorted.by !== by ? "" : sorted.down ? " ▼" : " ▲")));
  const most = new Map(columns.map((address) => [address, Math.max(...run.all.map((layer) => run.value(address, layer)).filter((value) => Number.isFinite(value)), 0)]));
  const cell = (address, value, bare) => {
    const metric = metricOf(address);
    const share = metric.show === "percent" ? value : value / most.get(address);
    const bar = bare || value === null || !(share >= 0) ? null : `--share:${Math.min(share, 1)}`;
    return el("td", { style: bar, class: bar && "bar-cell" }, text(metric, value));
  };
  const row = (layer) => el("tr", { "data-layer": layer, "aria-selected": String(layer === state.layer) },
    el("th", { scope: "row", title: run.names[layer] }, innerWidth < 640 ? short(run.names[layer], 20) : run.names[layer]), el("td", { class: "text" }, run.kinds[layer]),
    columns.map((address) => cell(address, run.value(address, layer))));
  const total = el("tr", {}, el("th", { scope: "row" }, isFiltered() ? `${layers.length} layers` : "network"), el("td", { class: "text" }, ""),
    columns.map((address) => cell(address, run.pooled(address, layers), true)));
  tableElement.replaceChildren(
    el("caption", { class: "hidden" }, `Layers of ${run.label}`),
    el("thead", {}, el("tr", {}, sorting("layer", "layer", "name in the checkpoint"), sorting("kind", "kind", "kind of layer"),
      columns.map((address) => sorting(address, heading(address), metricOf(address).definition)))),
    el("tbody", {}, layers.map(row)), el("tfoot", {}, total));
  tableCount.textContent = isFiltered() ? `${layers.length} of ${run.count}` : String(run.count);
}

function sortBy(by) {
  sorted = sorted.by !== by ? { by, down: by !== "layer" && by !== "kind" } : sorted.down === (by !== "layer" && by !== "kind") ? { by, down: !sorted.down } : { by: null, down: true };
  drawTable();
  tableElement.querySelector(`button[data-by="${CSS.escape(by)}"]`)?.focus();
}

function fillChooser() {
  const run = currentRun();
  if (!tableSection.querySelector(".chooser").open) return;
  const chosen = new Set(columnsOf(run));
  const wanted = chooserSearch.value.toLowerCase();
  chooserList.replaceChildren(...run.addresses().filter((address) => address.toLowerCase().includes(wanted)).map((address) => {
    const box = el("input", { type: "checkbox", change: () => {
      const now = new Set(columnsOf(currentRun()));
      if (box.checked) now.add(address);
      else now.delete(address);
      tableColumns = currentRun().addresses().filter((address) => now.has(address));
      drawTable();
    } });
    box.checked = chosen.has(address);
    return el("label", { title: metricOf(address).definition }, box, address);
  }));
}

/** What is shown, as rows of numbers in full. */
function tableRows() {
  const run = currentRun();
  const columns = columnsOf(run);
  return [["layer", "kind", ...columns], ...shownLayers(run).map((layer) => [run.names[layer], run.kinds[layer], ...columns.map((address) => run.value(address, layer))]),
    [isFiltered() ? "sum" : "network", "", ...columns.map((address) => run.pooled(address, shownLayers(run)))]];
}

/** All metrics of all layers of all runs. */
function allRows() {
  const addresses = [...new Set(RUNS.flatMap((run) => run.addresses()))];
  return [["network", "layer", "kind", "shape", ...addresses],
    ...RUNS.flatMap((run) => [...run.all, run.network].map((scope) => [run.label, run.names[scope] ?? "network", run.kinds[scope] ?? "", run.shapes[scope] ?? "", ...addresses.map((address) => run.value(address, scope))]))];
}

function markRow() {
  for (const row of tableElement.tBodies[0]?.rows ?? []) {
    const chosen = Number(row.dataset.layer) === state.layer;
    row.setAttribute("aria-selected", String(chosen));
    // Only the table scrolls: the page stays where it is.
    if (chosen) tableScroll.scrollTop = Math.max(0, row.offsetTop - tableScroll.clientHeight / 2);
  }
}

tableElement.addEventListener("click", (event) => {
  const row = event.target.closest("tbody tr");
  if (row) select(Number(row.dataset.layer) === state.layer ? null : Number(row.dataset.layer));
});
tableElement.addEventListener("pointerover", (event) => {
  const layer = event.target.closest("tbody tr")?.dataset.layer;
  hovered = layer === undefined ? null : Number(layer);
  figures.forEach((figure) => figure.mark());
});
