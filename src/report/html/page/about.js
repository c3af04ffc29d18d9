// Provenance: what was measured, on what, in which numbers, by what; the command; definitions; how to cite.

function drawAbout() {
  const run = currentRun();
  const { model, format, tool } = run;
  const facts = [
    ...run.facts,
    ["preprocessing", run.preprocessing],
    ["inputs", `sha256 ${run.inputs_sha256} (sum of the digests of the inputs)`],
    ["calibration", format.calibration_inputs > 0 ? `${plural(format.calibration_inputs, "input")}, sha256 ${format.calibration_sha256}` : format.precision ? `none: ${format.precision.name} states the bits` : "none: the numbers are those that are stored"],
    ["weights", model.source + (model.licence ? `; licence: ${model.licence}` : "")],
    ...model.files.map(({ name, bytes, sha256 }) => ["file", `${name}, ${bytes.toLocaleString("en")} bytes, sha256 ${sha256}`]),
    ["options", Object.entries(run.options).map(([name, value]) => `${name} ${value}`).join(", ")],
    ["program", `${tool.name} ${tool.version}, ${tool.backend} engine`],
    ...run.notes.map((note) => ["note", note]),
  ];
  const copyButton = el("button", { type: "button", click: () => copy(copyButton, run.command) }, "Copy");
  const bibtex = `@misc{deadweight,\n  title  = {deadweight: the ineffectual work of ${run.label}},\n  note   = {deadweight ${tool.version}, ${format.name}, ${plural(run.inputs, "input")}, inputs ${run.inputs_sha256.slice(0, 16)}},\n}`;
  const citeButton = el("button", { type: "button", click: () => copy(citeButton, bibtex) }, "Copy");
  const section = byId("about");
  const open = new Set([...section.querySelectorAll("details[open]")].map((details) => details.id));
  const definitions = Object.entries(METRICS).sort(([, one], [, other]) => one.place - other.place);
  section.replaceChildren(el("h2", {}, "Where these numbers come from"),
    el("dl", { class: "facts" }, facts.filter(([, fact]) => fact).map(([name, fact]) => [el("dt", {}, name), el("dd", {}, fact)])),
    el("div", { class: "figure-head" }, el("h3", {}, "The command"), el("div", { class: "tools" }, copyButton)), el("pre", { tabindex: 0, "aria-label": "The command" }, run.command),
    el("div", { class: "figure-head" }, el("h3", {}, "How to cite"), el("div", { class: "tools" }, citeButton)), el("pre", { tabindex: 0, "aria-label": "How to cite" }, bibtex),
    el("details", { id: "definitions", class: "wide", open: open.has("definitions") }, el("summary", {}, el("h3", {}, `Definitions of ${definitions.length} metrics`)),
      el("dl", { class: "facts" }, definitions.map(([name, metric]) => [el("dt", {}, name), el("dd", {}, `${metric.definition}. ${metric.formula}; ${metric.unit}.${designs(metric) ? ` Known from ${designs(metric)}.` : ""}`)]))),
    el("p", { class: "caption" }, `Ratios are sums over sums, never means of ratios. Intervals are of 95 % over inputs. Made by deadweight ${DATA.version}; this page loads nothing.`));
}
