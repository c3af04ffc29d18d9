// The block of data, and how its numbers are found: a column holds one array over all scopes, which are the layers, the network,
// then gates and steps.

const DATA = JSON.parse(document.getElementById("data").textContent);
const METRICS = DATA.metrics;
const OPERANDS = { a: "activations", w: "weights", o: "outputs" };

/** The metric of an address, `a.zeros`, and the letter of its operand if it has one. */
function metricOf(address) {
  const [letter, ...rest] = address.split(".");
  const name = rest.join(".");
  if (letter in OPERANDS && name in METRICS) return { ...METRICS[name], name, letter };
  return address in METRICS ? { ...METRICS[address], name: address, letter: "" } : null;
}

/** One run: its names, and its numbers by address and scope. */
class Run {
  constructor(json, place) {
    Object.assign(this, json);
    this.place = place;
    this.names = json.layers.name;
    this.kinds = json.layers.kind;
    this.shapes = json.layers.shape;
    this.count = this.names.length;
    /** The scope of the network. */
    this.network = this.count;
    this.all = Array.from(this.names, (_, layer) => layer);
  }

  has(address) {
    return address in this.columns;
  }

  field(address, field, scope) {
    const place = this.columns[address]?.[field];
    return place === undefined ? null : this.arrays[place][scope] ?? null;
  }

  /** Sum above and sum below of a ratio, and half the width of its interval, with padding counted or without. */
  fraction(address, scope, padding = state.padding) {
    const without = !padding && this.columns[address]?.m !== undefined;
    const [n, d, h] = without ? "mei" : "ndh";
    const [above, below] = [this.field(address, n, scope), this.field(address, d, scope)];
    return above === null ? null : { above, below, half: this.field(address, h, scope) };
  }

  /** The number at an address: a count, a quotient of sums, or another; null where there is none, infinite over nothing. */
  value(address, scope, padding = state.padding) {
    const kind = metricOf(address)?.kind;
    if (kind === "number") return this.field(address, "v", scope);
    if (kind === "count") return this.field(address, "n", scope);
    const fraction = this.fraction(address, scope, padding);
    return fraction && quotient(fraction.above, fraction.below);
  }

  /** The number of several layers together: sums over sums. Of all layers it is the network's own. */
  pooled(address, layers, padding = state.padding) {
    const metric = metricOf(address);
    if (!metric || !this.has(address)) return null;
    if (layers.length === this.count) {
      const whole = this.value(address, this.network, padding);
      if (whole !== null) return whole;
    }
    if (metric.kind === "number") return null;
    if (metric.kind === "count") return sum(layers.map((layer) => this.field(address, "n", layer) ?? 0));
    const known = layers.map((layer) => this.fraction(address, layer, padding)).filter((fraction) => fraction);
    if (known.length === 0) return null;
    return quotient(sum(known.map((fraction) => fraction.above)), sum(known.map((fraction) => fraction.below)));
  }

  /** Half the width of the 95 % interval; of layers that were chosen it is not known. */
  half(address, layers, padding = state.padding) {
    return layers.length === this.count ? this.fraction(address, this.network, padding)?.half ?? null : null;
  }

  /** The histogram of several layers together. */
  histogram(address, layers) {
    const total = [];
    for (const layer of layers) {
      (this.field(address, "c", layer) ?? []).forEach((count, place) => (total[place] = (total[place] ?? 0) + count));
    }
    return total.length === 0 ? null : Array.from(total, (count) => count ?? 0);
  }

  /** Whether a layer has a number at an address. */
  any(address) {
    return this.has(address) && this.all.some((layer) => this.value(address, layer) !== null);
  }

  /** Addresses of all numbers that layers have, in the order of the metrics. */
  addresses() {
    const known = Object.keys(this.columns).filter((address) => metricOf(address)?.kind !== "histogram" && this.any(address));
    const key = (address) => {
      const metric = metricOf(address);
      return metric.place * 4 + " awo".indexOf(metric.letter || " ");
    };
    return known.sort((one, other) => key(one) - key(other));
  }
}

function quotient(above, below) {
  if (below === 0) return above === 0 ? null : Infinity;
  return above / below;
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

const RUNS = DATA.runs.map((run, place) => new Run(run, place));
