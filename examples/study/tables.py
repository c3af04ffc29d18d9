"""The tables of the study's pages, each from the collected figures."""

import runs

NONE = "–"


class Figures:
    """Collected figures by key, printed as the tables and the words of the pages print them."""

    def __init__(self, results):
        self.results = results

    def entry(self, key, name):
        """A figure of the network, with the ends of its interval if it has such."""
        found = self.results[key]["figures"].get(name)
        return None if found is None or found[0] is None else found

    def value(self, key, name):
        found = self.entry(key, name)
        return found and found[0]

    def of(self, key, kind, name):
        """A ratio over the layers of a kind."""
        return self.results[key]["kinds"].get(kind, {}).get(name, [None])[0]

    def linear(self, key, name):
        """A figure of the network; where some of its layers have none (attention), that of its linear layers."""
        value = self.value(key, name)
        return self.of(key, "linear", name) if value is None else value

    def answers(self, key):
        """The task's figure, as the program prints it."""
        return self.results[key]["answers"].replace("%", " %").split(", top-5")[0]

    def percent(self, key, name):
        return percent(self.value(key, name))

    def ratio(self, key, name):
        return ratio(self.value(key, name))

    def interval(self, key, name):
        """A ratio, half its 95 % interval behind it."""
        found = self.entry(key, name)
        if found is None:
            return NONE
        decimals = places(found[0])
        half = f" ± {(found[2] - found[1]) / 2:.{decimals}f}" if len(found) == 3 else ""
        return f"{found[0]:.{decimals}f}{half}"

    def number(self, key, name):
        value = self.value(key, name)
        return NONE if value is None else f"{value:.2f}"


def places(value):
    return 2 if value < 10 else 1


def percent(value):
    return NONE if value is None else f"{100 * value:.1f} %"


def ratio(value):
    return NONE if value is None else f"{value:.{places(value)}f}"


def size(count):
    """As the program prints a number of MACs."""
    unit = next((unit for unit in (10**9, 10**6) if count >= unit), 10**3)
    return f"{count / unit:.4g} {dict([(10**9, 'G'), (10**6, 'M'), (10**3, 'k')])[unit]}"


def table(columns, rows):
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def by_class(columns, cells):
    """A row a network, a line a class between them."""
    rows = []
    for name, networks in runs.CLASSES.items():
        rows.append([f"**{name}**", *[""] * (len(columns) - 1)])
        rows += [[title, *cells(key)] for key, title, _, _ in networks]
    return table(columns, rows)


def sources(f):
    columns = ["network", "inputs", "MACs", "bits act, wt", "padding", "zero act", "of them rounded", "zero wt", "effectual", "answers"]

    def cells(key):
        run = f.results[key]
        zeros, rounded = (f.value(key, f"a.zeros{which}") for which in ("", ".rounded"))
        bits = ", ".join(str(bit) for bit in run["bits"])
        macs = size(f.value(key, "macs.per_input"))
        shares = [f.percent(key, name) for name in ("macs.padding", "a.zeros")]
        share = percent(rounded / zeros) if rounded is not None and zeros else NONE
        others = [f.percent(key, name) for name in ("w.zeros", "macs.effectual")]
        return [str(run["inputs"]), macs, bits, *shares, share, *others, f.answers(key) or NONE]

    return by_class(columns, cells)


def potentials(f):
    names = ["A", "W", "W+A", "Ap.layer", "Ap.g16", "Ap.value", "Wp.g16", "Wp+Ap", "Ae", "We", "We+Ae", "W+Ap", "W+Ae"]
    return by_class(["network", *names], lambda key: [f.interval(key, name) for name in names])


def widths(f):
    names = ["a.width", "a.width.g16", "a.width.g64", "a.width.g256", "a.trimmed", "w.width", "w.width.g16", "w.trimmed"]
    heads = ["act, value", "g16", "g64", "g256", "value, trimmed", "weight, value", "g16", "value, trimmed"]
    return by_class(["network", *heads], lambda key: [f.number(key, name) for name in names])


def terms(f):
    encoders = ["popcount", "runs", "naf", "booth4"]
    names = [f"{operand}.terms.{encoder}" for operand in "aw" for encoder in encoders]
    heads = ["act, ones", "runs", "naf", "booth4", "weight, ones", "runs", "naf", "booth4", "zero bits act", "zero bits wt"]
    bits = ["a.zero_bits", "w.zero_bits"]
    cells = lambda key: [f.number(key, name) for name in names] + [f.percent(key, name) for name in bits]
    return by_class(["network", *heads], cells)


def traffic(f):
    schemes = ["layer", "group", "shapeshifter", "zvc", "rlc", "delta", "entropy"]
    names = [f"a.traffic.{scheme}" for scheme in schemes]
    names += [f"w.traffic.{scheme}" for scheme in ("group", "shapeshifter", "zvc", "entropy")]
    heads = ["act, " + schemes[0], *schemes[1:], "weight, group", "shapeshifter", "zvc", "entropy"]
    return by_class(["network", *heads], lambda key: [percent(f.linear(key, name)) for name in names])


def beyond(f):
    names = ["output", "a.nm.2of4", "a.nm.2of4.chance", "w.nm.2of4", "w.nm.2of4.chance", "w.planes", "w.planes.chance"]
    heads = ["Ae", "delta.Ae", "output", "act 2:4", "by chance", "weight 2:4", "by chance", "weight planes", "by chance"]
    deltas = lambda key: [ratio(f.value(key, name)) for name in ("Ae", "delta.Ae")]
    return by_class(["network", *heads], lambda key: [*deltas(key), *(percent(f.linear(key, name)) for name in names)])


def attention(f, keys):
    names = ["macs", "a.zeros", "macs.padding", "macs.effectual"]
    names += [f"attention.{name}" for name in ("dead", "below256", "keys90", "keys99")]
    heads = ["MACs", "zero act", "masked", "effectual", "dead, of all pairs", "p below 1/256", "keys of 90 %", "of 99 %", "A", "Ap.g16", "We+Ae"]
    rows = []
    for key in keys:
        for kind in (kind for kind in f.results[key]["kinds"] if kind.startswith("attention")):
            cells = [percent(f.of(key, kind, name)) for name in names]
            cells += [ratio(f.of(key, kind, name)) for name in ("A", "Ap.g16", "We+Ae")]
            rows.append([titles()[key], kind.removeprefix("attention "), *cells])
    return table(["network", "product", *heads], rows)


def kinds(f, keys):
    columns = ["network", "kind of layer", "MACs", "zero act", "effectual", "A", "Ap.g16", "Ae", "We+Ae"]
    rows = []
    for key in keys:
        for i, kind in enumerate(f.results[key]["kinds"]):
            shares = [percent(f.of(key, kind, name)) for name in ("macs", "a.zeros", "macs.effectual")]
            potential = [ratio(f.of(key, kind, name)) for name in ("A", "Ap.g16", "Ae", "We+Ae")]
            rows.append(["" if i else titles()[key], kind, *shares, *potential])
    return table(columns, rows)


def titles():
    return {key: title for networks in runs.CLASSES.values() for key, title, _, _ in networks}


def formats(f):
    names = ["W+A", "Ap.g16", "Ae", "We+Ae"]
    columns = ["network", "format", "zero act", "zero wt", "effectual", "g16 act", "terms act", "wt", *names, "entropy act", "wt"]
    rows = []
    for key in runs.IN_FORMATS:
        for run in [key, *(f"{key}.{number}" for number in runs.FORMATS)]:
            shares = [f.percent(run, name) for name in ("a.zeros", "w.zeros", "macs.effectual")]
            entropy = [f.percent(run, f"{operand}.traffic.entropy") for operand in "aw"]
            cells = [f.results[run]["format"], *shares, *(f.number(run, name) for name in ("a.width.g16", "a.terms", "w.terms")), *(f.ratio(run, name) for name in names), *entropy]
            rows.append([titles()[key] if run == key else "", *cells])
    return table(columns, rows)


def precisions(f):
    columns = ["network", "figure", "inputs", "full, found", "bits act, mean and widest", "bits weight"]
    rows = []
    for key in runs.PRECISION:
        of = f.results[f"{key}.precision"]
        bits = [f"{of[which]:.2f}, {widest}" for which, widest in zip(("activations", "weights"), of["widest"])]
        rows.append([titles()[key], of["figure"], str(of["inputs"]), f"{of['full']:.4g}, {of['found']:.4g}", *bits])
    return table(columns, rows)


def profiles(f):
    """In 16 bits that the layer's largest value fills, and in the bits that were found."""
    columns = ["network", "format", "zero act", "zero wt", "Ap.layer", "Ap.g16", "Ae", "We+Ae", "W+A", "zero bits act", "act, ShapeShifter"]
    rows = []
    for key in runs.PRECISION:
        for run in (key, f"{key}.profile"):
            shares = [f.percent(run, f"{operand}.zeros") for operand in "aw"]
            potential = [f.ratio(run, name) for name in ("Ap.layer", "Ap.g16", "Ae", "We+Ae", "W+A")]
            bits = [f.percent(run, "a.zero_bits"), percent(f.linear(run, "a.traffic.shapeshifter"))]
            rows.append([titles()[key] if run == key else "", f.results[run]["format"], *shares, *potential, *bits])
    return table(columns, rows)


def designs(f):
    columns = ["network", "design", "reached", "over dense", "potential", "work", "floor", "shape", "waits"]
    rows = []
    for key in runs.DESIGNS:
        of = f.results[f"{key}.designs"]
        for i, name in enumerate(name for name in of if isinstance(of[name], dict)):
            design = of[name]
            over = ratio(design["reached"] / of["dense"]["reached"])
            shares = [percent(design[part]) for part in ("work", "floor", "shape", "imbalance")]
            potential = ratio(design["potential"])
            rows.append(["" if i else titles()[key], name, f"{design['reached']:.3g}", over, potential, *shares])
    return table(columns, rows)


def gains(f):
    """What each design reaches over the dense one, a network a column."""
    shown = ("resnet50", "mobilenetv2", "dncnn", "charrnn", "minilm")
    names = [name for name in f.results["resnet50.designs"] if isinstance(f.results["resnet50.designs"][name], dict)]
    over = lambda key, of: of["reached"] / f.results[f"{key}.designs"]["dense"]["reached"]
    rows = [[name, *(ratio(over(key, f.results[f"{key}.designs"][name])) for key in shown)] for name in names]
    return table(["design", *(titles()[key] for key in shown)], rows)


def levels(f, which, chosen, names):
    columns = ["network", "level", "zero act", "zero wt", *names, "figure", "value"]
    rows = []
    for key in chosen:
        for i, level in enumerate(f.results[f"{key}.{which}"]["levels"]):
            shares = [percent(level.get(name)) for name in ("a.zeros", "w.zeros")]
            potential = [ratio(level.get(name)) for name in names]
            value = f"{level['value']:.4g}"
            rows.append(["" if i else titles()[key], str(level["level"]), *shares, *potential, level["figure"], value])
    return table(columns, rows)


def again(f):
    columns = ["network", "inputs", "zero act", "effectual", "W+A", "Ap.g16", "Ae", "We+Ae"]
    rows = []
    for key in runs.AGAIN:
        for run in (key, f"{key}.again"):
            shares = [f.percent(run, name) for name in ("a.zeros", "macs.effectual")]
            potential = [f.interval(run, name) for name in ("W+A", "Ap.g16", "Ae", "We+Ae")]
            inputs = f"{f.results[run]['inputs']}, {'other data' if run != key else 'as above'}"
            rows.append([titles()[key] if run == key else "", inputs, *shares, *potential])
    return table(columns, rows)


def counted(f):
    of = f.results["numpy"]
    rows = [[name, str(of["numpy"][name]), str(of["deadweight"][name])] for name in of["numpy"]]
    return table(["", "numpy", "deadweight"], rows)


def commands(f):
    """Every command that gave a figure, as it is typed in OUT/inputs."""
    return "```sh\n" + "\n".join(of["command"] for of in f.results.values() if "command" in of) + "\n```"


def files(f):
    """Where the weights are from, and their licences."""
    rows = [[f"`{file}`", of["from"], of["licence"]] for file, of in f.results["sources"].items()]
    return table(["file", "weights from", "licence"], rows)
