"""The folder in which commands are typed: links to the assets, and inputs that these have in another form."""

import json
import shutil
import struct
import wave
import zlib

LINKS = ("classify", "data", "denoise", "lstm", "nlp", "quant", "segment")

# Capitals of 5 by 7 pixels, a row a number.
GLYPHS = {
    "A": (14, 17, 17, 31, 17, 17, 17),
    "C": (14, 17, 16, 16, 16, 17, 14),
    "D": (30, 17, 17, 17, 17, 17, 30),
    "E": (31, 16, 16, 30, 16, 16, 31),
    "F": (31, 16, 16, 30, 16, 16, 16),
    "G": (14, 17, 16, 23, 17, 17, 15),
    "H": (17, 17, 17, 31, 17, 17, 17),
    "I": (14, 4, 4, 4, 4, 4, 14),
    "L": (16, 16, 16, 16, 16, 16, 31),
    "N": (17, 25, 21, 19, 17, 17, 17),
    "O": (14, 17, 17, 17, 17, 17, 14),
    "R": (30, 17, 17, 30, 20, 18, 17),
    "S": (15, 16, 16, 14, 1, 1, 30),
    "T": (31, 4, 4, 4, 4, 4, 4),
    "W": (17, 17, 17, 21, 21, 27, 17),
    "Z": (31, 1, 2, 4, 8, 16, 31),
    " ": (0, 0, 0, 0, 0, 0, 0),
}
LINES = ("DEAD WEIGHT", "NO ZEROS LEFT", "ACTIONS", "RATIO OF GAIN", "WIDE LANES", "LATE ANSWER", "SIGNED DIGITS", "NOTHING LOST")


def png(pixels):
    """Rows of grey pixels as the bytes of a PNG file."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", len(pixels[0]), len(pixels), 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(row) for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def line(text, scale=4):
    """A text as an image, dark on light, padded to the proportions of what readers of text lines take."""
    margin, rows = 2, []
    columns = max(6 * len(text), 70) + 2 * margin
    for y in range(7 + 2 * margin):
        row = [230] * columns
        for i, letter in enumerate(text):
            bits = GLYPHS[letter][y - margin] if margin <= y < 7 + margin else 0
            for x in range(5):
                if bits >> (4 - x) & 1:
                    row[margin + 6 * i + x] = 30
        rows += [[pixel for pixel in row for _ in range(scale)]] * scale
    return png(rows)


def tensor(path, name):
    """The floats of a tensor of a safetensors file."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    start, end = json.loads(data[8 : 8 + size])[name]["data_offsets"]
    return struct.unpack(f"<{(end - start) // 4}f", data[8 + size + start : 8 + size + end])


def halves(assets):
    """First and second halves of 200 paragraphs, as the reference of MiniLM cuts them."""
    paragraphs = (assets / "data/text/wikitext2-valid.txt").read_text().splitlines()
    words = [paragraph.split() for paragraph in paragraphs if not paragraph.strip().startswith("=")]
    words = [word for word in words if len(word) > 80][:200]
    return [[" ".join(half) + "\n" for half in (w[: len(w) // 2], w[len(w) // 2 :])] for w in words]


def prepare(folder, assets, fetched):
    """Makes the folder, unless it is there."""
    if folder.exists():
        return
    making = folder.with_suffix(".part")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    for name in LINKS:
        (making / name).symlink_to(assets / name)
    (making / "fetched").symlink_to(fetched)
    for image in json.loads((assets / "data/imagenet224/index.json").read_text())["images"]:
        of_class = making / "imagenet" / image["file"].split("_")[1].removesuffix(".png")
        of_class.mkdir(parents=True)
        (of_class / image["file"]).symlink_to(assets / "data/imagenet224" / image["file"])
    lines = ['labels = "imagenet1001"', "[input]", "channels = 3", "size = [224, 224]"]
    lines += [f"{name} = [0.5, 0.5, 0.5]" for name in ("mean", "std")]
    (making / "labels.toml").write_text("\n".join(lines))
    cases = json.loads((assets / "lstm/g2pm-bilstm.ref.json").read_text())["cases"][:100]
    (making / "sentences.txt").write_text("".join(case["sentence"] + "\n" for case in cases))
    pairs = halves(assets)
    (making / "firsts.txt").write_text("".join(first for first, _ in pairs))
    (making / "seconds.txt").write_text("".join(second for _, second in pairs))
    samples = [round(32767 * sample) for sample in tensor(assets / "lstm/silero-vad-16k.ref.safetensors", "audio")]
    with wave.open(str(making / "speech.wav"), "wb") as recording:
        recording.setparams((1, 2, 16000, len(samples), "NONE", ""))
        recording.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    (making / "lines").mkdir()
    for i, text in enumerate(LINES):
        (making / "lines" / f"{i}.png").write_bytes(line(text))
    making.rename(folder)
