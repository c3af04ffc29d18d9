// What figures over layers share: places on the axis, its labels, and what of the layers is looked at.

const LEFT = 46;
const RIGHT = 14;

/** Names of layers for axes: without the words that all begin with, and short. */
function axisNames(run, width) {
  const [first] = run.names;
  let common = 0;
  while (common < first.length && run.names.every((name) => name[common] === first[common])) common += 1;
  const prefix = run.count > 1 ? Math.max(first.lastIndexOf(".", common - 1), first.lastIndexOf("/", common - 1)) + 1 : 0;
  return run.names.map((name) => short(name.slice(prefix), width < 600 ? 15 : 22));
}

/** Where a layer stands in a network of blocks: the first number in its name, and the rest. */
function blockOf(name) {
  const match = /(?:^|\.)(\d+)(?:\.|$)/.exec(name);
  return match ? { block: Number(match[1]), role: name.slice(match.index + match[0].length) || name } : null;
}

/** The layers whose names stand on an axis, a `gap` apart at least: of many in blocks the first of each block, named by the block. */
function labelled(run, width, middle, gap = 13) {
  const names = axisNames(run, width);
  const fits = (layers) => {
    let last = -Infinity;
    return layers.filter((layer) => middle(layer) - last >= gap && ((last = middle(layer)), true));
  };
  const blocks = run.names.map((name) => /^(.*?\d+)(?:\.|$)/.exec(name)?.[1] ?? name);
  const firsts = run.all.filter((layer) => blocks[layer] !== blocks[layer - 1]);
  if (fits(run.all).length === run.count || firsts.length * 2 > run.count) return { layers: fits(run.all), names };
  return { layers: fits(firsts), names: blocks.map((name) => short(name, 20)) };
}

const TURN = -58;

/** The names of some layers below a drawing, aslant; `place` is where a layer is on the x scale. */
function nameMarks(layers, names, place) {
  return Plot.text(layers, { x: place, frameAnchor: "bottom", text: (layer) => names[layer], rotate: TURN, textAnchor: "end", dy: 9, dx: 3, fontSize: 11, fill: "var(--muted)" });
}

/** The room that names need below a drawing. */
function nameRoom(layers, names) {
  return 16 + 5.4 * Math.max(...layers.map((layer) => names[layer].length), 3);
}

/** The x axis of a drawing whose layers all have one width; `named` says whether their names stand below. */
function layerScale(run, width, named) {
  const { layers: shown, names } = labelled(run, width, (layer) => ((width - LEFT - RIGHT) * layer) / run.count);
  return {
    options: { width, marginLeft: LEFT, marginRight: RIGHT, marginBottom: named ? nameRoom(shown, names) : 8, x: { domain: [0, run.count], axis: null, label: null } },
    marks: named ? [nameMarks(shown, names, (layer) => layer + 0.5)] : [],
  };
}

/** Rectangles `{ x1, x2, y1, y2, color, opacity }` on both scales, one path for each colour and opacity: thousands of them cost little. */
function cellsMark(cells, inset) {
  return (_, { x, y }) => {
    const paths = new Map();
    for (const { x1, x2, y1, y2, color, opacity } of cells) {
      const key = `${color} ${(Math.ceil(opacity * 32) / 32).toFixed(3)}`;
      const [left, right] = [x(x1) + inset, Math.max(x(x2) - inset, x(x1) + inset)];
      if (!paths.has(key)) paths.set(key, []);
      paths.get(key).push(`M${left.toFixed(1)} ${y(y2).toFixed(1)}H${right.toFixed(1)}V${y(y1).toFixed(1)}H${left.toFixed(1)}Z`);
    }
    const group = document.createElementNS("http://www.w3.org/2000/svg", "g");
    group.setAttribute("aria-label", "cells");
    for (const [key, parts] of paths) {
      const [color, opacity] = key.split(" ");
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      Object.entries({ d: parts.join(""), fill: color, "fill-opacity": opacity }).forEach(([name, value]) => path.setAttribute(name, value));
      group.append(path);
    }
    return group;
  };
}

/** Where layers of one width are, for pointer and marks. */
function evenAxis(run, width) {
  const inner = width - LEFT - RIGHT;
  const place = (layer) => LEFT + (inner * layer) / run.count;
  return {
    span: (layer) => [place(layer), place(layer + 1)],
    at: (x) => (x < LEFT || x > LEFT + inner ? null : Math.min(Math.floor(((x - LEFT) / inner) * run.count), run.count - 1)),
  };
}

/** Opacity by layer: those that the filter leaves out are faint. */
function emphasis(run) {
  if (!isFiltered()) return () => 1;
  const active = new Set(activeLayers(run));
  return (layer) => (active.has(layer) ? 1 : 0.2);
}

/** The layer with the largest number, as `[layer, number]`; null where none has one. */
function largest(run, layers, number) {
  let best = null;
  for (const layer of layers) {
    const value = number(layer);
    if (value !== null && Number.isFinite(value) && (best === null || value > best[1])) best = [layer, value];
  }
  return best;
}

/** A ratio over the first and over the last third of the layers that have it, which tells how it goes along the depth. */
function trend(run, layers, address) {
  const known = layers.filter((layer) => run.value(address, layer) !== null);
  const third = Math.floor(known.length / 3);
  if (third === 0) return null;
  const ends = [known.slice(0, third), known.slice(-third)].map((part) => run.pooled(address, part));
  return ends.includes(null) ? null : ends;
}
