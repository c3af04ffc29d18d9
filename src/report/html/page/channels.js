// Channels: how full each channel of each layer is. Their data are read only when the figure is opened.

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const channelData = new Map();

function channelsOf(run) {
  if (!channelData.has(run.place)) channelData.set(run.place, JSON.parse(byId(`channels-${run.place}`)?.textContent ?? "{}"));
  return channelData.get(run.place)[state.operand] ?? null;
}

/** Shares of a layer's channels in 63 steps, the fullest last. */
function fullness(word) {
  return Array.from(word, (letter) => LETTERS.indexOf(letter)).sort((one, other) => one - other);
}

const channelsDetails = el("details", { class: "wide", toggle: () => channelsFigure.update() },
  el("summary", {}, el("h2", {}, "Channels: which are full, which are dead")));
byId("channels").append(channelsDetails);

const channelsFigure = new Figure(channelsDetails, {
  id: "channels",
  title: "How full the channels are",
  lazy: true,
  draw(width) {
    const run = currentRun();
    const words = channelsOf(run);
    if (!words) return null;
    const layers = run.all.filter((layer) => words[layer]);
    const marginLeft = Math.min(190, width * 0.38);
    const across = Math.max(Math.floor(width - marginLeft - 60), 50);
    // A row a layer, its channels sorted and stretched over the width.
    const picture = el("canvas", { width: across, height: layers.length });
    const context = picture.getContext("2d");
    const colors = getComputedStyle(document.documentElement);
    const [heat, dead] = ["--heat", "--dead"].map((name) => rgb(colors.getPropertyValue(name)));
    const background = rgb(colors.getPropertyValue("--card"));
    const image = context.createImageData(across, layers.length);
    layers.forEach((layer, row) => {
      const steps = fullness(words[layer]);
      for (let x = 0; x < across; x++) {
        const step = steps[Math.floor((x * steps.length) / across)];
        const share = 0.08 + (0.92 * step) / 63;
        const color = step === 0 ? dead : heat.map((part, place) => part * share + background[place] * (1 - share));
        image.data.set([...color, 255], 4 * (row * across + x));
      }
    });
    context.putImageData(image, 0, 0);
    const each = Math.max(Math.min(18, 700 / layers.length), 4);
    const height = layers.length * each + 44;
    const names = layers.filter((_, row) => row % Math.ceil(12 / each) === 0);
    return [plot(`Share of values other than zero by channel of ${OPERANDS[state.operand]}, layer by layer`, {
      width, height, marginLeft, marginRight: 60, marginTop: 6, marginBottom: 38,
      x: { domain: [0, 1], label: "channels of the layer, emptiest first →", tickFormat: (share) => `${100 * share} %`, ticks: width < 500 ? 3 : 5 },
      y: { domain: [0, layers.length], reverse: true, axis: null },
      marks: [
        Plot.rect([0], { x1: 0, x2: 1, y1: 0, y2: layers.length, fill: "none" }),
        () => {
          const svg = document.createElementNS("http://www.w3.org/2000/svg", "image");
          Object.entries({ x: marginLeft, y: 6, width: width - marginLeft - 60, height: height - 44, preserveAspectRatio: "none", href: picture.toDataURL(), style: "image-rendering:pixelated" })
            .forEach(([name, value]) => svg.setAttribute(name, value));
          return svg;
        },
        Plot.text(names, { y: (layer) => layers.indexOf(layer) + 0.5, frameAnchor: "left", dx: -8, textAnchor: "end", text: (layer) => short(run.names[layer], Math.floor((marginLeft - 12) / 6.2)), fontSize: 11, fill: "var(--muted)" }),
        Plot.text(names, { y: (layer) => layers.indexOf(layer) + 0.5, frameAnchor: "right", dx: 6, textAnchor: "start", text: (layer) => { const dead = deadIn(words[layer]); return dead ? `${dead} dead` : ""; }, fontSize: 11, fill: "currentColor" }),
      ],
    })];
  },
  legend: () => [{ name: "full: no zero", color: "var(--heat)" }, { name: "nearly empty", color: "color-mix(in srgb, var(--heat) 12%, var(--card))" }, { name: "dead: never other than zero", color: "var(--dead)" }],
  says() {
    const run = currentRun();
    const words = channelsOf(run);
    const layers = run.all.filter((layer) => words[layer]);
    const [dead, all] = [sum(layers.map((layer) => deadIn(words[layer]))), sum(layers.map((layer) => words[layer].length))];
    const most = largest(run, layers, (layer) => deadIn(words[layer]));
    return `Each row is a layer with its channels of ${OPERANDS[state.operand]} from the emptiest to the fullest, stretched to one width. ${plural(dead, "channel")} of ${all.toLocaleString("en")} ${dead === 1 ? "was" : "were"} never other than zero${dead > 0 ? `, most of them in ${run.names[most[0]]} (${most[1]})` : ""}: a pruner can take these out.`;
  },
  table() {
    const run = currentRun();
    const words = channelsOf(run);
    return [["layer", "channels", "dead", "mean share other than zero"], ...run.all.filter((layer) => words[layer]).map((layer) => {
      const steps = fullness(words[layer]);
      return [run.names[layer], steps.length, deadIn(words[layer]), sum(steps) / steps.length / 63];
    })];
  },
});

function deadIn(word) {
  return Array.from(word).filter((letter) => letter === LETTERS[0]).length;
}

/** Red, green and blue of a colour as `#rrggbb`. */
function rgb(color) {
  return [1, 3, 5].map((place) => parseInt(color.trim().slice(place, place + 2), 16));
}
