// What is looked at in a page, by the test of pages; each function returns what is wrong.

/** Charts without a drawing or without marks. */
function emptyCharts() {
  const shown = [...document.querySelectorAll("figure")].filter((figure) => figure.checkVisibility());
  if (shown.length === 0) return ["no figure at all"];
  return shown.flatMap((figure) => {
    const svgs = [...figure.querySelectorAll(".canvas svg")].filter((svg) => !svg.parentElement.closest("svg"));
    const marks = "rect, path, circle, line, text, image";
    const faults = svgs.flatMap((svg) => [
      svg.querySelectorAll(`g[aria-label] :is(${marks}), image`).length < 2 && "has no marks",
      !svg.getAttribute("aria-label") && "has no name",
      svg.getAttribute("role") !== "img" && "is no image for readers",
    ].filter((fault) => fault));
    if (svgs.length === 0) faults.push("has no drawing");
    if (!figure.querySelector("figcaption").textContent.trim()) faults.push("says nothing");
    return faults.map((fault) => `${figure.id} ${fault}`);
  });
}

/** Numbers that are none, in words and in drawings. */
function strayNumbers() {
  const stray = /\b(NaN|undefined|Infinity|\[object)/;
  const wrong = [];
  for (const element of document.body.querySelectorAll("*")) {
    if (element.closest("script, noscript")) continue;
    for (const { name, value } of element.attributes) if (stray.test(value)) wrong.push(`${element.tagName} ${name}="${value.slice(0, 80)}"`);
    for (const node of element.childNodes) if (node.nodeType === 3 && stray.test(node.data)) wrong.push(node.data.slice(0, 80));
  }
  return wrong;
}

/** What stands beside the page: neither the page nor what is in it may be wider than the window, but in boxes that scroll. */
function overflow() {
  const wrong = [];
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) wrong.push(`the page is ${document.documentElement.scrollWidth} px wide in ${width} px`);
  for (const element of document.body.querySelectorAll("*")) {
    if (element.closest("script, noscript, .table-scroll, .as-table, #runs, .hidden, .skip, .tip, pre, .tokens")) continue;
    if (!element.checkVisibility() || element.childElementCount > 0) continue;
    const { left, right, width: own } = element.getBoundingClientRect();
    if (own > 0 && (left < -1 || right > width + 1)) wrong.push(`${element.tagName} "${element.textContent.slice(0, 30)}" from ${left.toFixed(0)} to ${right.toFixed(0)}`);
  }
  return wrong;
}

function parsed(color) {
  const context = (parsed.context ??= Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true }));
  context.clearRect(0, 0, 1, 1);
  context.fillStyle = "#000";
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
  return [red, green, blue, alpha / 255];
}

function over([red, green, blue, alpha], below) {
  return [red, green, blue].map((part, place) => part * alpha + below[place] * (1 - alpha));
}

function luminance(color) {
  const [red, green, blue] = color.map((part) => (part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** What an element paints behind what is above it. */
function paint(element) {
  const style = getComputedStyle(element);
  if (!(element instanceof SVGElement)) return parsed(style.backgroundColor);
  if (["rect", "circle", "path"].includes(element.tagName) && style.fill !== "none") {
    const [red, green, blue, alpha] = parsed(style.fill);
    return [red, green, blue, alpha * Number(style.fillOpacity) * Number(style.opacity)];
  }
  return [0, 0, 0, 0];
}

/** Words that stand out too little from what is behind them. The whole page must be in the window. */
function contrast(least) {
  const wrong = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let words = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("script, noscript, title, style, .hidden, .skip, .tip") || !element.checkVisibility({ visibilityProperty: true })) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const { left, top, width, height } = range.getBoundingClientRect();
    const [x, y] = [left + width / 2, top + height / 2];
    if (width === 0 || x < 0 || y < 0 || x > innerWidth || y > innerHeight) continue;
    const stack = document.elementsFromPoint(x, y);
    const place = stack.findIndex((other) => other === element || element.contains(other));
    // Hidden below something else, as what is scrolled away in a box.
    if (place < 0 && !(element instanceof SVGElement)) continue;
    const behind = stack.slice(place < 0 ? 0 : place).filter((other) => !(other instanceof SVGElement && other.tagName === "text")).reverse();
    const background = behind.reduce((below, other) => over(paint(other), below), [255, 255, 255]);
    const style = getComputedStyle(element);
    const color = over(parsed(element instanceof SVGElement ? style.fill : style.color), background);
    const [light, dark] = [luminance(color), luminance(background)].sort((one, other) => other - one);
    const ratio = (light + 0.05) / (dark + 0.05);
    words += 1;
    if (ratio < least) wrong.set(`${style.color} ${style.fill} on ${background.map(Math.round)}`, `"${node.data.trim().slice(0, 30)}" stands out by ${ratio.toFixed(2)} from ${background.map(Math.round)}`);
  }
  return words < 50 ? [`only ${words} words were seen`] : [...wrong.values()];
}

/** Files that a figure saves. */
function savedFiles() {
  return figures.filter((figure) => figure.element.checkVisibility() && figure.canvas.querySelector("svg")).flatMap((figure) => {
    const svg = figure.toSvg();
    const broken = new DOMParser().parseFromString(svg, "image/svg+xml").querySelector("parsererror");
    const [names, ...rows] = figure.table();
    return [
      broken && "saves broken SVG", /var\(|NaN|undefined/.test(svg) && "saves SVG with colours or numbers that are none",
      rows.length === 0 && "has no rows", rows.some((row) => row.length !== names.length) && "has rows of other lengths than its head",
    ].filter((fault) => fault).map((fault) => `${figure.id} ${fault}`);
  });
}
