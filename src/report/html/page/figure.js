// A figure: its title, its drawing, a sentence that says what to see, and its numbers as a table, as CSV and as SVG.

const figures = [];

const PLOT_STYLE = { background: "none", color: "inherit", fontFamily: "inherit", fontSize: "12px", overflow: "visible" };

/** The head of one of several drawings of a figure: what it shows, and its colours. */
function panel(words, items = []) {
  const head = el("div", { class: "panel" }, el("span", {}, words), items.length > 1 && legend(items));
  head.panel = { words, items };
  return head;
}

/** A drawing by Observable Plot, with an accessible name. */
function plot(label, options) {
  const svg = Plot.plot({ ariaLabel: label, ...options, style: PLOT_STYLE });
  svg.setAttribute("role", "img");
  return svg;
}

class Figure {
  /**
   * - `title`, `id`; `controls`: elements beside the title
   * - `draw(width)`: SVG elements below one another, or null where there is nothing to draw; those over layers set `axis`
   * - `legend()`: names and colours; `says()`: the sentence; `table()`: names of columns, then rows
   * - `lazy`: drawn only when its section is opened
   */
  constructor(section, { id, title, controls = [], draw, legend = () => [], says, table, lazy = false }) {
    Object.assign(this, { id, title, draw, legend, says, table, lazy, axis: null, width: 0, asTable: false });
    this.key = el("div", { class: "key" });
    this.canvas = el("div", { class: "canvas", tabindex: 0, role: "group", "aria-label": `${title}: chart` });
    this.rows = el("div", { class: "as-table", tabindex: 0, role: "region", "aria-label": `${title}: table`, hidden: true });
    this.caption = el("figcaption");
    this.tableButton = el("button", { type: "button", "aria-pressed": "false", click: () => this.toggle() }, "Table");
    const tools = el("div", { class: "tools" }, this.tableButton,
      el("button", { type: "button", click: () => this.saveSvg(), "aria-label": `Save ${title} as SVG` }, "SVG"),
      el("button", { type: "button", click: () => this.saveCsv(), "aria-label": `Save the data of ${title} as CSV` }, "CSV"));
    this.element = el("figure", { id: `figure-${id}` },
      el("div", { class: "figure-head" }, el("h2", {}, title), ...controls, tools), this.key, this.canvas, this.rows, this.caption);
    section.append(this.element);
    this.chosen = el("div", { class: "cursor chosen", hidden: true });
    this.hovered = el("div", { class: "cursor hovered", hidden: true });
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    this.canvas.addEventListener("pointerleave", () => hover(null));
    this.canvas.addEventListener("pointerdown", (event) => this.press(event));
    new ResizeObserver(() => this.width && Math.abs(this.canvas.clientWidth - this.width) > 1 && this.update()).observe(this.canvas);
    figures.push(this);
  }

  /** Draws anew, in a width that is known already or is measured. */
  update(width = this.measure()) {
    if (this.lazy && !this.element.closest("details")?.open) return;
    this.axis = null;
    const drawn = this.draw(width);
    this.element.hidden = !drawn;
    this.width = drawn ? width : 0;
    if (!drawn) return;
    this.canvas.replaceChildren(...drawn, this.hovered, this.chosen);
    this.key.replaceChildren(...(this.legend().length > 1 ? [legend(this.legend())] : []));
    this.caption.textContent = this.says();
    if (this.asTable) this.fillTable();
    this.mark();
  }

  /** The width that there is for the drawing; a figure that is hidden has none, so that it is shown. */
  measure() {
    this.element.hidden = false;
    return this.canvas.clientWidth || this.element.clientWidth || 320;
  }

  /** Shows where the chosen layer and the one under the pointer are. */
  mark() {
    const at = (cursor, layer) => {
      cursor.hidden = layer === null || !this.axis;
      if (cursor.hidden) return;
      const [left, right] = this.axis.span(layer);
      cursor.style.left = `${left}px`;
      cursor.style.width = `${Math.max(right - left, 1)}px`;
    };
    at(this.chosen, state.layer);
    at(this.hovered, hovered);
  }

  layerAt(event) {
    const left = event.clientX - this.canvas.getBoundingClientRect().left;
    return this.axis?.at(left) ?? null;
  }

  move(event) {
    const layer = this.layerAt(event);
    if (!this.axis || this.dragged) return;
    hover(layer, event);
  }

  /** A click selects a layer; dragging over several looks at these alone. */
  press(event) {
    const first = this.layerAt(event);
    if (first === null || event.button !== 0) return;
    const start = event.clientX;
    let last = first;
    const follow = (event) => {
      if (Math.abs(event.clientX - start) < 8) return;
      this.dragged = true;
      last = this.layerAt(event) ?? last;
      const [left] = this.axis.span(Math.min(first, last));
      const [, right] = this.axis.span(Math.max(first, last));
      Object.assign(this.hovered.style, { left: `${left}px`, width: `${right - left}px` });
      this.hovered.hidden = false;
    };
    const end = (event) => {
      removeEventListener("pointermove", follow);
      removeEventListener("pointerup", end);
      removeEventListener("pointercancel", end);
      if (event.type === "pointerup") {
        if (this.dragged) choose({ range: [Math.min(first, last), Math.max(first, last)] });
        else select(state.layer === first ? null : first);
      }
      this.dragged = false;
    };
    addEventListener("pointermove", follow);
    addEventListener("pointerup", end);
    addEventListener("pointercancel", end);
  }

  toggle() {
    const focused = this.element.contains(document.activeElement) && document.activeElement !== this.tableButton;
    this.asTable = !this.asTable;
    this.tableButton.setAttribute("aria-pressed", String(this.asTable));
    this.canvas.hidden = this.asTable;
    this.key.hidden = this.asTable;
    this.rows.hidden = !this.asTable;
    if (this.asTable) this.fillTable();
    else this.update();
    if (focused) (this.asTable ? this.rows : this.canvas).focus({ preventScroll: true });
  }

  fillTable() {
    const [names, ...rows] = this.table();
    const cell = (value, place) => el(place === 0 ? "th" : "td", place === 0 ? { scope: "row" } : {},
      typeof value === "number" ? significant(value, 5) : value ?? "–");
    this.rows.replaceChildren(el("table", {},
      el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map(cell))))));
  }

  saveCsv() {
    download(`${slug(currentRun().label)}-${this.id}.csv`, "text/csv", csv(this.table()));
  }

  /** The drawing as a file: colours of the light theme, with title and legend. */
  saveSvg() {
    download(`${slug(currentRun().label)}-${this.id}.svg`, "image/svg+xml", this.toSvg());
  }

  toSvg() {
    const parts = [...this.canvas.children].filter((part) => part.panel || part.tagName === "svg");
    const width = Math.max(...parts.map((part) => Number(part.getAttribute("width") ?? 0)));
    const root = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const add = (tag, attributes, content) => {
      const child = document.createElementNS("http://www.w3.org/2000/svg", tag);
      Object.entries(attributes).forEach(([name, value]) => child.setAttribute(name, value));
      if (content) child.textContent = content;
      root.append(child);
    };
    add("title", {}, `${currentRun().label}: ${this.title}`);
    add("rect", { width: "100%", height: "100%", fill: "#fff" });
    let y = 0;
    const line = (words, items) => {
      let x = 8;
      y += 20;
      if (words) add("text", { x, y, "font-size": 13, "font-weight": 600, fill: "currentColor" }, words);
      x += words.length * 8 + (words ? 16 : 0);
      for (const { name, color } of items) {
        if (x > 8 && x + 14 + 6.5 * name.length > width) [x, y] = [8, y + 17];
        add("rect", { x, y: y - 9, width: 10, height: 10, fill: color });
        add("text", { x: x + 14, y, "font-size": 12, fill: "currentColor" }, name);
        x += 30 + 6.5 * name.length;
      }
      y += 6;
    };
    line(`${currentRun().label}: ${this.title}`, []);
    if (this.legend().length > 1) line("", this.legend());
    for (const part of parts) {
      if (part.panel) {
        line(part.panel.words, part.panel.items);
        continue;
      }
      const copied = part.cloneNode(true);
      copied.setAttribute("y", y);
      root.append(copied);
      y += Number(part.getAttribute("height")) + 4;
    }
    const attributes = { width, height: y, viewBox: `0 0 ${width} ${y}`, color: "var(--fg)", "font-family": "sans-serif" };
    Object.entries(attributes).forEach(([name, value]) => root.setAttribute(name, value));
    const html = document.documentElement;
    const theme = html.dataset.theme;
    html.dataset.theme = "light";
    const colors = getComputedStyle(html);
    const plain = new XMLSerializer().serializeToString(root).replace(/var\((--[\w-]+)\)/g, (_, name) => colors.getPropertyValue(name).trim());
    if (theme === undefined) delete html.dataset.theme;
    else html.dataset.theme = theme;
    return plain;
  }
}

let hovered = null;

/** Marks a layer in all figures over layers, and says what it is beside the pointer. */
function hover(layer, event) {
  if (layer !== hovered) {
    hovered = layer;
    figures.forEach((figure) => figure.mark());
  }
  const tip = byId("tip");
  tip.hidden = layer === null;
  if (layer === null) return;
  if (tip.dataset.layer !== `${state.run}-${layer}-${state.padding}`) {
    tip.dataset.layer = `${state.run}-${layer}-${state.padding}`;
    tip.replaceChildren(...describe(currentRun(), layer));
  }
  const { width, height } = tip.getBoundingClientRect();
  const left = event.clientX + 16 + width > innerWidth ? event.clientX - 16 - width : event.clientX + 16;
  tip.style.left = `${Math.max(left, 4)}px`;
  tip.style.top = `${Math.max(Math.min(event.clientY + 16, innerHeight - height - 4), 4)}px`;
}

/** What a layer is, and its main numbers. */
function describe(run, layer) {
  const total = run.value("macs", run.network);
  const line = (color, name, value) => el("li", {}, el("span", { class: "swatch", style: `--swatch:${color}` }), el("span", {}, name), el("b", {}, value));
  const classes = classesOf(run)
    .map(({ key, name, color }) => ({ name, color, share: run.value(key, layer) }))
    .filter(({ share }) => share !== null && share > 0)
    .map(({ name, color, share }) => line(color, name, show.percent(share)));
  const others = [["a.width.g16", "bits, group of 16"], ["a.terms", "terms per activation"], ["potential.W+A", "W+A"], ["potential.We+Ae", "We+Ae"]]
    .map(([address, name]) => [name, metricOf(address), run.value(address, layer)])
    .filter(([, metric, value]) => metric && value !== null)
    .map(([name, metric, value]) => line("transparent", name, text(metric, value)));
  const macs = run.value("macs", layer);
  return [
    el("b", {}, run.names[layer]),
    el("p", {}, `${run.kinds[layer]}${run.shapes[layer] ? `, ${run.shapes[layer]}` : ""}`),
    el("p", {}, macs === null ? "no MACs" : `${show.percent(macs / total)} of all MACs`),
    el("ul", {}, classes, others),
  ];
}
