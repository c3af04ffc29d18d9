"""Writes imagenet1k.txt: the first lemma of each of the 1,000 synsets, from the files that the timm package carries."""

import collections
import pathlib

import timm

info = pathlib.Path(timm.__file__).parent / "data" / "_info"
synsets = (info / "imagenet_synsets.txt").read_text().split()
lemmas = dict(line.split("\t", 1) for line in (info / "imagenet_synset_to_lemma.txt").read_text().splitlines())
names = [lemmas[synset].split(",")[0].strip() for synset in synsets]

# Two pairs share their first lemma: what tells them apart is added in brackets.
remarks = {"n02012849": "bird", "n03126707": "machine", "n03710637": "tights", "n03710721": "tank suit"}
shared = {name for name, count in collections.Counter(names).items() if count > 1}
names = [f"{name} ({remarks[s]})" if name in shared else name for s, name in zip(synsets, names)]
assert len(set(names)) == 1000
(pathlib.Path(__file__).parent / "imagenet1k.txt").write_text("\n".join(names) + "\n")
