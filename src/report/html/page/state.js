// What is chosen: one network, one layer, how numbers are counted, which layers are looked at. It is kept in the address, so that
// a link shares the view.

const state = { run: 0, layer: null, padding: true, operand: "a", filter: "", range: null };

/** Called when what is drawn changes, and when only the layer does. */
const listeners = { change: [], select: [] };

function notify(event) {
  listeners[event].forEach((listener) => listener());
}

function currentRun() {
  return RUNS[state.run];
}

/** The layers that the filter and the range leave. */
function activeLayers(run = currentRun()) {
  const words = state.filter.toLowerCase().split(/\s+/).filter((word) => word);
  const matches = (layer) => words.every((word) => `${run.names[layer]} ${run.kinds[layer]}`.toLowerCase().includes(word));
  const [first, last] = state.range ?? [0, Infinity];
  return run.all.filter((layer) => layer >= first && layer <= last && matches(layer));
}

function isFiltered() {
  return state.filter !== "" || state.range !== null;
}

/** Changes some of what is chosen, draws, and keeps it in the address. */
function choose(changes) {
  if ("run" in changes && changes.run !== state.run) {
    // The same layer of another network is the one of its name.
    const name = state.layer === null ? null : currentRun().names[state.layer];
    const place = name === null ? -1 : RUNS[changes.run].names.indexOf(name);
    changes = { layer: place < 0 ? null : place, range: null, ...changes };
  }
  Object.assign(state, changes);
  notify("change");
  notify("select");
  keep();
}

/** Selects a layer, or none. */
function select(layer) {
  state.layer = layer;
  notify("select");
  keep();
}

/** Selects the layer so many places on, among those that are looked at. */
function step(by) {
  const layers = activeLayers();
  if (layers.length === 0) return;
  const place = layers.indexOf(state.layer);
  const next = place < 0 ? (by > 0 ? 0 : layers.length - 1) : Math.min(Math.max(place + by, 0), layers.length - 1);
  select(layers[next]);
}

function keep() {
  const words = new URLSearchParams();
  if (RUNS.length > 1) words.set("net", currentRun().label);
  if (state.layer !== null) words.set("layer", currentRun().names[state.layer]);
  if (!state.padding) words.set("padding", "without");
  if (state.operand !== "a") words.set("of", OPERANDS[state.operand]);
  if (state.filter) words.set("filter", state.filter);
  if (state.range) words.set("range", state.range.join("-"));
  const hash = words.toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

/** Chooses what the address says. */
function recall() {
  const words = new URLSearchParams(location.hash.slice(1));
  const run = RUNS.findIndex((run) => run.label === words.get("net"));
  state.run = run < 0 ? state.run : run;
  const layer = currentRun().names.indexOf(words.get("layer") ?? "");
  state.layer = layer < 0 ? null : layer;
  state.padding = words.get("padding") !== "without";
  state.operand = Object.keys(OPERANDS).find((letter) => OPERANDS[letter] === words.get("of")) ?? "a";
  state.filter = words.get("filter") ?? "";
  const range = /^(\d+)-(\d+)$/.exec(words.get("range") ?? "");
  state.range = range ? [Number(range[1]), Number(range[2])] : null;
}
