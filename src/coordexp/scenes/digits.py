"""Digit scenes: real handwriting on real photos, with exact boxes, composed on the fly.

The digits are scikit-learn's `load_digits`, every fifth of which is held out; the photos are its
`load_sample_images`, the right-hand part of which is held out. A scene of one split never shows a
digit or a pixel of a photo that belongs to the other.

Boxes are tight around the visible ink, in continuous pixel edges: a digit whose ink covers the
columns 3, 4, 5 has x1 = 3 and x2 = 6.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from coordexp.data.files.jsonl import write_jsonl

Split = Literal["train", "heldout"]
Box = tuple[int, int, int, int]

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SCENE_SIZE = 128
MAX_OBJECTS = 6
HELDOUT_EVERY = 5
PHOTO_SPLIT_COLUMN = 448
"""Photo columns left of this one are for training, the rest are held out."""

_MIN_DIGIT, _MAX_DIGIT = 24, 56
_CANVAS_MARGIN = 3
_INK_THRESHOLD = 0.5
_DIM_SHARE, _PHOTO_SHARE = 0.6, 0.65
_PLACEMENT_TRIES = 40


@dataclass(frozen=True)
class Handwriting:
    """How much a digit may be bent before it is drawn; zeros draw it as it was written."""

    rotation_degrees: float
    shear: float
    ink_level: float


AS_WRITTEN = Handwriting(rotation_degrees=0.0, shear=0.0, ink_level=0.0)
BENT = Handwriting(rotation_degrees=12.0, shear=0.2, ink_level=0.08)
"""For pretraining: about 1,400 training digits are few."""


@dataclass(frozen=True)
class Digit:
    """One object of a scene: its class index and its tight box in pixels."""

    label: int
    box: Box


@dataclass(frozen=True)
class Scene:
    """An image and what is written on it, in reading order (y1, then x1)."""

    image: UInt8[np.ndarray, "H W 3"]
    digits: tuple[Digit, ...]


class SceneComposer:
    """Draws scenes of one split; the same generator state gives the same scene."""

    def __init__(self, split: Split, *, handwriting: Handwriting = AS_WRITTEN) -> None:
        self.split = split
        self.handwriting = handwriting
        self.glyphs, self.labels = digits_of(split)
        self.photos = [Image.fromarray(photo) for photo in photos_of(split)]

    def compose(self, rng: np.random.Generator, *, count: int) -> Scene:
        """Return a scene of `count` digits, or fewer where the last ones found no room."""
        ground, ink_is_light = self._ground(rng)
        largest = max(_MIN_DIGIT + 8, _MAX_DIGIT - 4 * max(0, count - 3))
        digits: list[Digit] = []
        for _ in range(count):
            pick = int(rng.integers(len(self.glyphs)))
            height = int(rng.integers(_MIN_DIGIT, largest + 1))
            ink = draw_ink(self.glyphs[pick], height, rng, handwriting=self.handwriting)
            place = _free_place(ink.shape, [digit.box for digit in digits], rng)
            if place is None:
                continue
            x, y = place
            h, w = ink.shape
            _paint(ground[y : y + h, x : x + w], ink, _ink_colour(rng, light=ink_is_light))
            digits.append(Digit(label=int(self.labels[pick]), box=(x, y, x + w, y + h)))
        digits.sort(key=lambda digit: (digit.box[1], digit.box[0]))
        image = np.rint(np.clip(ground, 0.0, 1.0) * 255).astype(np.uint8)
        return Scene(image=image, digits=tuple(digits))

    def _ground(self, rng: np.random.Generator) -> tuple[Float32[np.ndarray, "H W 3"], bool]:
        """Return a dim or a pale ground, and whether ink on it must be light."""
        dim = bool(rng.random() < _DIM_SHARE)
        strength = float(rng.uniform(0.25, 0.5))
        on_photo = rng.random() < _PHOTO_SHARE
        texture = self._photo_crop(rng) if on_photo else _plain_texture(rng)
        ground = texture * strength if dim else 1.0 - (1.0 - texture) * strength
        return ground.astype(np.float32), dim

    def _photo_crop(self, rng: np.random.Generator) -> Float[np.ndarray, "H W 3"]:
        photo = self.photos[int(rng.integers(len(self.photos)))]
        side = int(rng.integers(SCENE_SIZE // 2, min(photo.size) + 1))
        x = int(rng.integers(0, photo.width - side + 1))
        y = int(rng.integers(0, photo.height - side + 1))
        crop = photo.resize(
            (SCENE_SIZE, SCENE_SIZE), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side)
        )
        return np.asarray(crop, dtype=np.float32) / 255


def digits_of(split: Split) -> tuple[Float[np.ndarray, "n 8 8"], Int[np.ndarray, " n"]]:
    """Return the 8x8 digits of a split, in [0, 1], and their labels."""
    chosen = digit_indices(split)
    data = load_digits()
    return data.images[chosen] / 16.0, data.target[chosen]


def digit_indices(split: Split) -> Int[np.ndarray, " n"]:
    """Return which of the digits of `load_digits` belong to a split."""
    heldout = np.arange(len(load_digits().target)) % HELDOUT_EVERY == 0
    return np.flatnonzero(heldout if split == "heldout" else ~heldout)


def photos_of(split: Split) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Return the part of each photo that belongs to a split."""
    columns = slice(PHOTO_SPLIT_COLUMN) if split == "train" else slice(PHOTO_SPLIT_COLUMN, None)
    return [np.ascontiguousarray(photo[:, columns]) for photo in load_sample_images().images]


def draw_ink(
    glyph: Float[np.ndarray, "8 8"],
    height: int,
    rng: np.random.Generator,
    *,
    handwriting: Handwriting,
) -> Float[np.ndarray, "h w"]:
    """Return the opacity of a digit about `height` pixels high, cropped to its visible ink."""
    width = height * rng.uniform(0.85, 1.2)
    angle = np.deg2rad(rng.uniform(-1, 1) * handwriting.rotation_degrees)
    shear = rng.uniform(-1, 1) * handwriting.shear
    level = 0.42 + rng.uniform(-1, 1) * handwriting.ink_level
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # Pixels of the drawing back to pixels of the glyph: PIL's affine transform maps that way.
    back = np.diag([8 / width, 8 / height]) @ turn @ np.array([[1.0, shear], [0.0, 1.0]])
    side = int(np.ceil(max(height, width) * 1.5)) + 2 * _CANVAS_MARGIN
    padded = np.pad(glyph, 2)
    shift = np.full(2, padded.shape[0] / 2) - back @ np.full(2, side / 2)
    drawn = Image.fromarray(padded.astype(np.float32)).transform(
        (side, side),
        Image.Transform.AFFINE,
        (back[0, 0], back[0, 1], shift[0], back[1, 0], back[1, 1], shift[1]),
        Image.Resampling.BICUBIC,
    )
    opacity: Float[np.ndarray, "h w"] = np.clip((np.asarray(drawn) - level) / 0.4 + 0.5, 0.0, 1.0)
    rows = np.flatnonzero((opacity > _INK_THRESHOLD).any(axis=1))
    columns = np.flatnonzero((opacity > _INK_THRESHOLD).any(axis=0))
    tight: Float[np.ndarray, "h w"] = opacity[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return tight


def _plain_texture(rng: np.random.Generator) -> Float[np.ndarray, "H W 3"]:
    ramp = np.linspace(-1, 1, SCENE_SIZE)
    slope_x, slope_y = rng.uniform(-0.2, 0.2, 2)
    plane = (slope_x * ramp[None, :] + slope_y * ramp[:, None])[..., None]
    noise = rng.standard_normal((SCENE_SIZE, SCENE_SIZE, 1), dtype=np.float32)
    clean: Float[np.ndarray, "H W 3"] = rng.uniform(0, 1, 3) + plane
    texture: Float[np.ndarray, "H W 3"] = np.clip(clean + rng.uniform(0, 0.1) * noise, 0.0, 1.0)
    return texture


def _ink_colour(rng: np.random.Generator, *, light: bool) -> Float[np.ndarray, " 3"]:
    tint = rng.uniform(0, 0.35, 3)
    return 1.0 - tint if light else tint


def _paint(
    patch: Float[np.ndarray, "h w 3"],
    ink: Float[np.ndarray, "h w"],
    colour: Float[np.ndarray, " 3"],
) -> None:
    """Lay ink over a patch of the ground, in place."""
    patch += ink[..., None] * (colour - patch)


def _free_place(
    shape: tuple[int, ...], taken: list[Box], rng: np.random.Generator
) -> tuple[int, int] | None:
    """Return a corner (x, y) where nothing is written yet, or None after many tries."""
    h, w = shape
    for _ in range(_PLACEMENT_TRIES):
        x = int(rng.integers(0, SCENE_SIZE - w + 1))
        y = int(rng.integers(0, SCENE_SIZE - h + 1))
        if all(x >= x2 or x + w <= x1 or y >= y2 or y + h <= y1 for x1, y1, x2, y2 in taken):
            return x, y
    return None


def write_scenes(directory: Path, *, split: Split, count: int, seed: int) -> Path:
    """Write `count` scenes of 1 to 6 digits as records and PNGs; return the JSONL's path.

    The same arguments write the same bytes. The file is `<split>.jsonl`, its images are beside it
    under `<split>_images/`.
    """
    (directory / "images").mkdir(parents=True, exist_ok=True)
    composer = SceneComposer(split)
    rng = np.random.default_rng([seed, 0 if split == "train" else 1])

    def paint(number: int) -> dict[str, object]:
        scene = composer.compose(rng, count=int(rng.integers(1, MAX_OBJECTS + 1)))
        name = f"images/{split}_{number:06d}.png"
        Image.fromarray(scene.image).save(directory / name)
        return scene_to_record(scene, name)

    path = directory / f"{split}.jsonl"
    write_jsonl(path, map(paint, range(1, count + 1)))
    return path


def scene_to_record(scene: Scene, image: str) -> dict[str, object]:
    """Return the ordinary record of a scene, in pixels."""
    height, width = scene.image.shape[:2]
    objects = [
        {"desc": CLASS_NAMES[digit.label], "bbox_2d": list(digit.box)} for digit in scene.digits
    ]
    return {"images": [image], "width": width, "height": height, "objects": objects}
