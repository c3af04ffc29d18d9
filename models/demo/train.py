"""Trains the built-in denoiser, segmenter and language model; README.md beside it says on what.

    python train.py SKIMAGE_DATA DIGITS_CSV KJV_TXT OUT

Needs torch, numpy, pillow, safetensors and transformers. Seeded; another CPU or version may round differently.
"""

import json
import re
import sys
import time
from collections import OrderedDict

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

TRAIN = ["astronaut", "chelsea", "coffee", "rocket", "brick", "grass", "gravel"]
SIGMA = 25 / 255
# Characters that the transformer sees.
WINDOW = 128


def grey(folder, name):
    end = "jpg" if name == "rocket" else "png"
    return np.array(Image.open(f"{folder}/{name}.{end}").convert("L"), dtype=np.float32)


def crops(images, count, size, rng):
    """Random crops, turned and mirrored."""
    out = np.empty((count, size, size), np.float32)
    for i in range(count):
        image = images[rng.integers(len(images))]
        y, x = (rng.integers(extent - size + 1) for extent in image.shape)
        crop = np.rot90(image[y : y + size, x : x + size], rng.integers(4))
        out[i] = crop if rng.integers(2) else crop[:, ::-1]
    return torch.from_numpy(out) / 255


def train(net, batches, loss, steps, rate, name):
    optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    start, mean = time.time(), 0.0
    for step, batch in zip(range(steps), batches):
        optimiser.zero_grad()
        value = loss(net, batch)
        value.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        mean = 0.98 * mean + 0.02 * value.item() if step else value.item()
        if step % 200 == 199:
            print(f"{name}: step {step + 1}, loss {mean:.4f}, {time.time() - start:.0f} s", flush=True)


def arrays(net, rename=lambda name: name):
    kept = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    return {rename(name): value.numpy().astype(np.float32) for name, value in kept.items()}


def denoiser(folder, out, rng):
    """DnCNN, 7 layers of 24 channels: output is the noise. Names of KAIR: model.0, model.2, ..."""
    layers = [nn.Conv2d(1, 24, 3, padding=1), nn.ReLU()]
    for _ in range(5):
        layers += [nn.Conv2d(24, 24, 3, padding=1), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Conv2d(24, 1, 3, padding=1))
    images = [grey(folder, name) for name in TRAIN]

    def batches():
        while True:
            clean = crops(images, 32, 48, rng)[:, None]
            noise = torch.from_numpy(rng.normal(0, SIGMA, clean.shape).astype(np.float32))
            yield clean + noise, noise

    train(net, batches(), lambda net, batch: F.mse_loss(net(batch[0]), batch[1]) * 1e3, 2400, 3e-3, "photos")
    camera = grey(folder, "camera").astype(np.uint8)
    # Four parts of a photograph that was not trained on: face and camera, tripod and grass, towers, coat.
    places = [(60, 180), (300, 230), (180, 350), (250, 100)]
    stored = np.stack([camera[y : y + 128, x : x + 128] for y, x in places])
    with torch.no_grad():
        x = torch.from_numpy(stored).float()[:, None] / 255
        noisy = x + torch.from_numpy(rng.normal(0, SIGMA, x.shape).astype(np.float32))
        for what, y in (("noisy", noisy), ("restored", noisy - net(noisy))):
            error = ((y.clip(0, 1) - x) ** 2).mean((1, 2, 3))
            print(f"photos: {what} PSNR {(-10 * error.log10()).mean():.2f} dB")
    save_file(arrays(net, lambda name: f"model.{name}"), f"{out}/photos.safetensors")
    save_file({"images": stored}, f"{out}/photos_inputs.safetensors")


def segmenter(folder, digits, out, rng):
    """Handwritten digits strewn over photographs: which pixel is of which digit, or of none (0)."""
    table = np.loadtxt(digits, delimiter=",", dtype=np.float32)
    cells, labels = table[:, :64].reshape(-1, 8, 8), table[:, 64].astype(int)
    images = [grey(folder, name) for name in TRAIN + ["camera"]]

    def scene(first, last, backgrounds):
        y, x = (rng.integers(extent - 63) for extent in backgrounds.shape)
        picture = 40 + 0.5 * backgrounds[y : y + 64, x : x + 64]
        mask = np.zeros((64, 64), np.uint8)
        for _ in range(rng.integers(2, 5)):
            i = rng.integers(first, last)
            size = int(rng.integers(20, 33))
            glyph = Image.fromarray((cells[i] * 255 / 16).astype(np.uint8)).resize((size, size), Image.BILINEAR)
            glyph = np.array(glyph, np.float32) / 255
            y, x = rng.integers(64 - size + 1, size=2)
            if mask[y : y + size, x : x + size].any():
                continue
            part = picture[y : y + size, x : x + size]
            part[:] = part * (1 - glyph) + 250 * glyph
            mask[y : y + size, x : x + size][glyph > 0.4] = labels[i] + 1
        return picture.astype(np.uint8), mask

    widths, dilations = [24, 24, 32, 32, 32, 32], [1, 1, 2, 4, 8, 1]
    parts, channels = [], 1
    for i, (width, dilation) in enumerate(zip(widths, dilations), 1):
        parts += [(f"conv{i}", nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation, bias=False))]
        parts += [(f"bn{i}", nn.BatchNorm2d(width)), (f"relu{i}", nn.ReLU())]
        channels = width
    net = nn.Sequential(OrderedDict(parts + [("classifier", nn.Conv2d(channels, 11, 1))]))

    def stack(count, first, last, backgrounds):
        scenes = [scene(first, last, backgrounds[rng.integers(len(backgrounds))]) for _ in range(count)]
        return np.stack([s[0] for s in scenes]), np.stack([s[1] for s in scenes])

    weights = torch.tensor([0.3] + [1.0] * 10)

    def loss(net, batch):
        x, y = (torch.from_numpy(part) for part in batch)
        return F.cross_entropy(net((x.float()[:, None] / 255 - 0.35) / 0.25), y.long(), weights)

    def batches():
        while True:
            yield stack(24, 0, 1437, images[:-1])

    train(net, batches(), loss, 1800, 1e-2, "scenes")
    net.eval()
    stored, masks = stack(8, 1437, len(cells), images[-1:])
    more = [stack(8, 1437, len(cells), images[-1:]) for _ in range(16)]
    with torch.no_grad():
        for name, (x, y) in (("stored", (stored, masks)), ("held out", [np.concatenate(p) for p in zip(*more)])):
            got = net((torch.from_numpy(x).float()[:, None] / 255 - 0.35) / 0.25).argmax(1).numpy()
            union = [((got == c) | (y == c)).sum() for c in range(11)]
            iou = [((got == c) & (y == c)).sum() / u for c, u in enumerate(union) if u]
            print(f"scenes, {name}: pixels right {(got == y).mean():.4f}, mean IoU {np.mean(iou):.4f}")
    save_file(arrays(net), f"{out}/scenes.safetensors")
    save_file({"images": stored, "masks": masks}, f"{out}/scenes_inputs.safetensors")


class Language(nn.Module):
    """One LSTM layer of 160 over characters; names of PyTorch's word_language_model."""

    def __init__(self, tokens):
        super().__init__()
        self.encoder = nn.Embedding(tokens, 32)
        self.rnn = nn.LSTM(32, 160)
        self.decoder = nn.Linear(160, tokens)

    def forward(self, x, state=None):
        y, state = self.rnn(self.encoder(x), state)
        return self.decoder(y), state


def verses(path):
    """The verses one a line, without their numbers; headings are left out. Also the characters' numbers, the text in these, and
    where the last hundredth begins, which is held out."""
    text = "\n".join(re.findall(r"^ +\d+ (.*)$", open(path).read(), re.MULTILINE)) + "\n"
    number = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = np.array([number[c] for c in text])
    cut = len(ids) * 99 // 100
    while text[cut - 1] != "\n":
        cut += 1
    return text, number, ids, cut


def language(text, out, rng):
    text, number, ids, cut = verses(text)
    net = Language(len(number))
    streams = 48
    ordered = torch.from_numpy(ids[: cut // streams * streams].reshape(streams, -1).T.copy())
    state = [None]

    def batches():
        place = 0
        while True:
            if place + 97 > len(ordered):
                place, state[0] = 0, None
            yield ordered[place : place + 96], ordered[place + 1 : place + 97]
            place += 96

    def loss(net, batch):
        x, y = batch
        scores, after = net(x, state[0])
        state[0] = tuple(part.detach() for part in after)
        return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))

    train(net, batches(), loss, 1600, 5e-3, "verses")
    held = torch.from_numpy(ids[cut:])[:, None]
    with torch.no_grad():
        scores, _ = net(held[:-1])
        bits = F.cross_entropy(scores[:, 0], held[1:, 0]).item() / np.log(2)
        print(f"verses: {bits:.3f} bits a character on {len(held)} held out")
    save_file(arrays(net), f"{out}/verses.safetensors")
    open(f"{out}/verses_vocab.json", "w").write(json.dumps(number))
    # The first 2,000 characters held out are stored.
    end = cut + 2000
    while text[end - 1] != "\n":
        end += 1
    open(f"{out}/verses_text.txt", "w").write(text[cut:end])


def transformer(text, out, rng):
    """Four layers of 64 over the same characters; names of transformers' Llama."""
    _, number, ids, cut = verses(text)
    config = LlamaConfig(
        vocab_size=len(number),
        hidden_size=64,
        intermediate_size=172,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
    )
    net = LlamaForCausalLM(config)

    def batches():
        while True:
            starts = rng.integers(cut - WINDOW, size=32)
            yield torch.from_numpy(np.stack([ids[start : start + WINDOW + 1] for start in starts]))

    def loss(net, batch):
        return F.cross_entropy(net(batch[:, :-1]).logits.flatten(0, 1), batch[:, 1:].flatten())

    train(net, batches(), loss, 3000, 5e-3, "chapters")
    net.eval()
    held = torch.from_numpy(ids[cut : cut + (len(ids) - cut - 1) // WINDOW * WINDOW + 1])
    windows = held[:-1].reshape(-1, WINDOW), held[1:].reshape(-1, WINDOW)
    with torch.no_grad():
        bits = F.cross_entropy(net(windows[0]).logits.flatten(0, 1), windows[1].flatten()).item() / np.log(2)
    count = sum(value.numel() for value in net.parameters())
    print(f"chapters: {bits:.3f} bits a character on {len(held) - 1} held out, windows of {WINDOW}; {count} parameters")
    kept = arrays(net)
    kept.pop("lm_head.weight")  # Tied.
    save_file(kept, f"{out}/chapters.safetensors")


def main(folder, digits, text, out):
    jobs = [
        lambda rng: segmenter(folder, digits, out, rng),
        lambda rng: denoiser(folder, out, rng),
        lambda rng: language(text, out, rng),
        lambda rng: transformer(text, out, rng),
    ]
    for seed, job in enumerate(jobs, 1):
        torch.manual_seed(seed)
        job(np.random.default_rng(seed))


if __name__ == "__main__":
    main(*sys.argv[1:])
