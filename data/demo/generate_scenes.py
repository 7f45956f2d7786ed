"""Seeded scenes for the demo vision model: one large coloured shape to name, small objects and clutter, and a mask.

The label is the colour and shape of the largest object. Since every pixel knows which object it belongs to, attention
can be held against objects ("does this patch look at its own object?"), which photographs without masks do not allow.

    python data/demo/generate_scenes.py          writes scenes/*.png, scenes/masks/*.png and scenes.csv
"""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

FOLDER = Path(__file__).parent
SCENES_SEED = 20_000  # training uses seeds below 10,000
SIDE = 128  # pixels; the model's processor halves it

COLOURS = dict(
    red=(214, 48, 44), orange=(240, 140, 30), yellow=(240, 218, 50),
    green=(56, 160, 66), blue=(46, 96, 214), purple=(150, 62, 180),
)
SHAPES = ["circle", "square", "triangle", "star"]
CLASSES = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]


@dataclass
class Scene:
    """pixels: uint8 [SIDE, SIDE, 3]; mask: uint8 [SIDE, SIDE], index into `names` (0 background, 1 what to name)."""

    pixels: np.ndarray
    mask: np.ndarray
    names: list[str]

    @property
    def label(self) -> str:
        return self.names[1]


def make_scene(rng: np.random.Generator, label: str | None = None) -> Scene:
    """One scene: texture, clutter strokes, up to two small objects, the large one last so that it is whole, noise."""
    image, mask = Image.fromarray(_texture(rng)), Image.new("L", (SIDE, SIDE))
    label = label or CLASSES[rng.integers(len(CLASSES))]
    names = ["background", label]
    strokes = int(rng.integers(2, 6))
    names.append("clutter")
    for _ in range(strokes):
        ends, width, grey = rng.uniform(0, SIDE, 4).tolist(), int(rng.integers(2, 5)), int(rng.integers(20, 236))
        ImageDraw.Draw(image).line(ends, fill=(grey, grey, grey), width=width)
        ImageDraw.Draw(mask).line(ends, fill=2, width=width)
    radius = rng.uniform(22, 38)
    centre = rng.uniform(radius, SIDE - radius, 2)
    for _ in range(int(rng.integers(1, 3))):
        other = CLASSES[rng.integers(len(CLASSES))]
        small = rng.uniform(9, 14)
        spot = _spot_away_from(rng, centre, radius + small, small)
        if other != label and other not in names and spot is not None:
            names.append(other)
            _draw(rng, image, mask, other, spot, small, len(names) - 1)
    _draw(rng, image, mask, label, centre, radius, 1)
    noise = rng.normal(0, rng.uniform(2, 14), (SIDE // 2, SIDE // 2, 3)).repeat(2, 0).repeat(2, 1)
    return Scene(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8), np.asarray(mask), names)


def _texture(rng: np.random.Generator) -> np.ndarray:
    """A dull background [SIDE, SIDE, 3]: a gradient, stripes, a chequerboard or blotches of two greyish colours."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    turn, period, kind = rng.uniform(0, math.pi), rng.uniform(6, 16), rng.integers(4)
    along = x * math.cos(turn) + y * math.sin(turn)
    if kind == 0:
        mix = along
    elif kind == 1:
        mix = 0.5 + 0.5 * np.sin(2 * math.pi * period * along)
    elif kind == 2:
        mix = ((x * period // 2 + y * period // 2) % 2 == 0).astype(float)
    else:
        blotches = Image.fromarray(rng.integers(0, 256, (9, 9), np.uint8))
        mix = np.asarray(blotches.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 255
    grey = rng.uniform(40, 215, (2, 1)) + rng.uniform(-18, 18, (2, 3))
    grey[1] = 0.5 * (grey[0] + grey[1])  # never as strong as an object
    return np.clip(grey[0] + np.clip(mix, 0, 1)[..., None] * (grey[1] - grey[0]), 0, 255).astype(np.uint8)


def _spot_away_from(
    rng: np.random.Generator, centre: np.ndarray, distance: float, margin: float
) -> np.ndarray | None:
    """A point at least `distance` from `centre`, or None after ten tries."""
    for _ in range(10):
        spot = rng.uniform(margin, SIDE - margin, 2)
        if np.hypot(*(spot - centre)) > distance:
            return spot
    return None


def _draw(
    rng: np.random.Generator, image: Image.Image, mask: Image.Image, name: str, centre: np.ndarray, radius: float,
    value: int,
) -> None:
    """Draw `name` ("red star") in its own shade, turned, half of the time outlined; write `value` into the mask."""
    colour, shape = name.split()
    varied = np.array(COLOURS[colour]) * rng.uniform(0.82, 1.08) + rng.uniform(-10, 10, 3)
    shade = tuple(int(c) for c in np.clip(varied, 0, 255))
    outline = tuple(c // 2 for c in shade) if rng.random() < 0.5 else shade
    points = _outline_of(shape, centre, radius, rng.uniform(0, 2 * math.pi))
    ImageDraw.Draw(image).polygon(points, fill=shade, outline=outline, width=2)
    ImageDraw.Draw(mask).polygon(points, fill=value, outline=value)


def _outline_of(shape: str, centre: np.ndarray, radius: float, turn: float) -> list[tuple[float, float]]:
    """Corner points in pixels; a circle is a polygon of 40 corners, a star has every second corner pulled in."""
    n = dict(circle=40, square=4, triangle=3, star=10)[shape]
    reach = [radius * (0.45 if shape == "star" and i % 2 else 1.0) for i in range(n)]
    angles = [turn + 2 * math.pi * i / n for i in range(n)]
    x, y = centre.tolist()
    return [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(reach, angles, strict=True)]


def main() -> None:
    rng = np.random.default_rng(SCENES_SEED)
    (FOLDER / "scenes" / "masks").mkdir(parents=True, exist_ok=True)
    with open(FOLDER / "scenes.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "label", "colour", "shape", "mask", "mask_labels"])
        for i in range(60):
            scene = make_scene(rng, CLASSES[i % len(CLASSES)])
            image, mask = f"scenes/{i:03}.png", f"scenes/masks/{i:03}.png"
            Image.fromarray(scene.pixels).save(FOLDER / image, optimize=True)
            Image.fromarray(scene.mask).save(FOLDER / mask, optimize=True)
            writer.writerow([image, scene.label, *scene.label.split(), mask, json.dumps(scene.names)])


if __name__ == "__main__":
    main()
