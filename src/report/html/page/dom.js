// Elements. Text from the data is set as text, never as markup.

/** An element with attributes (functions are listeners) and children; null and false are left out. */
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "style") element.style.cssText = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function byId(id) {
  return document.getElementById(id);
}

/** A group of buttons of which one is pressed. */
function switchOf(label, options, current, chosen) {
  const buttons = Object.entries(options).map(([value, name]) =>
    el("button", { type: "button", "aria-pressed": String(value === current()), "data-value": value, click: () => chosen(value) }, name),
  );
  const update = () => buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.value === current())));
  listeners.change.push(update);
  return el("div", { class: "switch", role: "group", "aria-label": label }, buttons);
}

/** Swatches with their names. */
function legend(items) {
  return el("ul", { class: "legend" }, items.map((item) =>
    el("li", {}, el("span", { class: `swatch ${item.shape ?? ""}`, style: `--swatch:${item.color}`, "aria-hidden": "true" }), item.name)));
}

/** Saves text or a blob as a file. */
function download(name, type, content) {
  const link = el("a", { href: URL.createObjectURL(new Blob([content], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function csv(rows) {
  const field = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => `${row.map(field).join(",")}\n`).join("");
}

/** A name as part of a file's name. */
function slug(name) {
  return name.toLowerCase().replace(/[^a-z0-9._-]+/g, "-").replace(/^[-.]+|-+$/g, "") || "run";
}

/** Copies text, and says so on the button. */
async function copy(button, content) {
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(content);
    button.textContent = "copied";
  } catch {
    // Pages from disk may not write to the clipboard in every browser.
    const area = el("textarea", { "aria-hidden": "true" });
    area.value = content;
    document.body.append(area);
    area.select();
    button.textContent = document.execCommand("copy") ? "copied" : "not allowed here";
    area.remove();
  }
  setTimeout(() => (button.textContent = said), 1500);
}
