"""Images to patches: what the model's processor makes of each image, and the columns computed from exactly that."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from PIL import Image

from analysis.errors import InputError, ModelError
from analysis.inputs.image_files import open_image, open_mask
from analysis.inputs.media_files import read_bytes
from analysis.inputs.patch_columns import PATCH_COLUMNS, describe_patches, main_objects
from analysis.inputs.records import ImageSource, RawData, Skipped, Unreadable
from analysis.inputs.table import EncodedRows, nullable, position_columns

if TYPE_CHECKING:
    from analysis.models import ImageLayout, LoadedModel

DROPPED = (
    "The model drops patches that it draws, and attends among the others alone: the draw is settled by each image, and "
    "tokens carry the places of the patches that were kept."
)
THUMBNAIL_PIXELS, SMALL_THUMBNAIL_PIXELS, MANY_IMAGES = 256, 128, 2_000
"""Thumbnails are held in memory and stored with the run: beyond `MANY_IMAGES` they are made smaller."""


@dataclass(frozen=True)
class SeenImage:
    """One image after the model's processor.

    Attributes:
        tensors: Model inputs without the batch axis.
        pixels: The same pixels before normalisation, 0 to 1.
        mask: Object numbers with the same geometry, or None.
        mask_problem: Why a mask that the data names could not be used.
    """

    tensors: dict[str, np.ndarray]
    pixels: Float[np.ndarray, "height width 3"]
    mask: Int[np.ndarray, "height width"] | None
    mask_problem: str | None


def encode_images(raw: RawData, model: LoadedModel) -> EncodedRows:
    """Describe every image as the model sees it; the pixels are not kept but read again by `read_tensors`.

    Args:
        raw: Rows of images.
        model: Its processor and image layout; it is run once for each size of image, to count its tokens.

    Raises:
        InputError: No image can be decoded.
        ModelError: Of no image the model makes a grid of patches behind a few special tokens.
    """
    kept, skipped, problems = [], [], []
    inputs, tokens, layouts = [], [], {}
    draws = getattr(model, "draws_patches", False)
    for index, source in enumerate(raw.rows):
        try:
            seen = see(source, model.processor)
        except Unreadable as reason:
            skipped.append(Skipped(source.name, str(reason)))
            continue
        if seen.mask_problem:
            problems.append(f"{source.name}: {seen.mask_problem}")
        size, places = seen.pixels.shape[:2], None
        if size not in layouts:
            layouts[size] = _layout(model, size)
        if isinstance(layouts[size], ModelError):
            skipped.append(Skipped(source.name, str(layouts[size])))
            continue
        if draws:
            places = model.kept_patches(model.with_noise(seen.tensors))
        kept.append(index)
        inputs.append(_describe_input(source, seen, len(raw)))
        parts = [_describe_tokens(seen, source, layout, places) for layout in layouts[size]]
        if hasattr(model, "n_object_queries"):
            parts.append(_object_queries(parts[0], model.n_object_queries(*size)))
        if len(parts) > 1:
            named = zip(model.sequences, parts, strict=True)
            parts = [{**part, "sequence": np.full(len(part["text"]), one.name, dtype=object)} for one, part in named]
        tokens.append({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    if not kept:
        if refusals := [layout for layout in layouts.values() if isinstance(layout, ModelError)]:
            raise refusals[0]
        raise InputError(
            f"No image of {raw.name} can be decoded: {len(skipped):,} left out, the first ({skipped[0].name}) "
            f"because {skipped[0].reason}."
        )
    starts = np.concatenate([[0], np.cumsum([len(part["text"]) for part in tokens])]).astype(np.int64)
    return EncodedRows(
        kept=np.array(kept),
        starts=starts,
        inputs=pd.DataFrame(inputs),
        tokens=_join(tokens, starts),
        columns=PATCH_COLUMNS,
        skipped=skipped,
        notes=[*_mask_notes(problems), *([DROPPED] if draws else [])],
        read_tensors=_tensor_reader([raw.rows[index] for index in kept], model),
    )


def see(source: ImageSource, processor: Any, *, with_mask: bool = True) -> SeenImage:
    """Decode an image and put it (and its mask) through the processor.

    Raises:
        Unreadable: The image is damaged, refused, or the processor fails on it.
    """
    image = open_image(read_bytes(source))
    try:
        features = processor(images=image, return_tensors="np")
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise Unreadable(f"the model's image processor fails on it ({str(error)[:120]})") from error
    tensors = {name: np.asarray(value)[0] for name, value in features.items()}
    if "pixel_values" not in tensors or tensors["pixel_values"].ndim != 3:
        raise Unreadable("the model's image processor does not make one picture of it (it cuts or flattens images)")
    mask, problem = None, source.mask_problem
    if with_mask and source.mask is not None:
        try:
            mask = _see_mask(source, image.size, processor)
        except Unreadable as reason:
            problem = str(reason)
    return SeenImage(tensors, undo_normalisation(tensors["pixel_values"], processor), mask, problem)


def undo_normalisation(
    pixel_values: Float[np.ndarray, "channel height width"], processor: Any
) -> Float[np.ndarray, "height width 3"]:
    """The processor's pixels as 0 to 1 in red, green, blue: what the model sees, in colours a person can judge."""
    pixels = np.moveaxis(pixel_values.astype(np.float32), 0, -1)
    if getattr(processor, "do_normalize", False):
        pixels = pixels * np.float32(processor.image_std) + np.float32(processor.image_mean)
    pixels = pixels / (255 * processor.rescale_factor if getattr(processor, "do_rescale", False) else 255)
    if getattr(processor, "do_flip_channel_order", False):
        pixels = pixels[..., ::-1]
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    return np.clip(pixels, 0, 1)


def _see_mask(source: ImageSource, size: tuple[int, int], processor: Any) -> Int[np.ndarray, "height width"]:
    """The mask with the image's geometry: same processor, nearest neighbour, no normalisation."""
    mask = open_mask(read_bytes(ImageSource(source.name, source.mask)))
    numbers = np.union1d([0], mask)
    if len(numbers) > 256:
        raise Unreadable(f"the mask holds {len(numbers)} object numbers; at most 255 and the background are read")
    coded = Image.fromarray(np.searchsorted(numbers, mask).astype(np.uint8))
    if coded.size != size:
        if abs(coded.size[0] * size[1] / (coded.size[1] * size[0]) - 1) > 0.02:
            raise Unreadable(
                f"the mask is {coded.size[0]} x {coded.size[1]} and the image {size[0]} x {size[1]} pixels"
            )
        coded = coded.resize(size, Image.Resampling.NEAREST)
    features = processor(
        images=coded.convert("RGB"),
        return_tensors="np",
        resample=Image.Resampling.NEAREST,
        do_normalize=False,
        do_rescale=False,
    )
    return numbers[np.rint(np.asarray(features["pixel_values"])[0, 0]).astype(np.int64)]


def _layout(model: LoadedModel, size: tuple[int, int]) -> list[ImageLayout] | ModelError:
    """The layout of images of this size, of each stage where patches merge, or why the model cannot be shown them."""
    try:
        if getattr(model, "draws_patches", False):
            return [_of_drawn(model, size)]
        if getattr(model, "has_stages", False):
            return _of_stages(model, size, len(model.sequences))
        return [model.image_layout(*size, model.n_image_tokens(*size))]
    except ModelError as refusal:
        return refusal


def _of_drawn(model: LoadedModel, size: tuple[int, int]) -> ImageLayout:
    blank = model.with_noise({"pixel_values": np.zeros((3, *size), dtype=np.float32)})
    return model.drawn_layout(*size, len(model.kept_patches(blank)))


def _of_stages(model: LoadedModel, size: tuple[int, int], n_stages: int) -> list[ImageLayout]:
    layouts = model.stage_layouts(*size)
    if len(layouts) != n_stages:
        raise ModelError(f"{model.name} has {len(layouts)} stages on {size[1]} x {size[0]} pixels, not {n_stages}.")
    return layouts


def picture_bytes(picture: Image.Image, n_images: int) -> bytes:
    """A thumbnail as PNG, smaller where a run has many images."""
    side = THUMBNAIL_PIXELS if n_images <= MANY_IMAGES else SMALL_THUMBNAIL_PIXELS
    picture = picture.copy()
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _describe_input(source: ImageSource, seen: SeenImage, n_images: int) -> dict[str, object]:
    height, width, _ = seen.pixels.shape
    picture = Image.fromarray(np.rint(seen.pixels * 255).astype(np.uint8))
    return {"name": source.name, "image": picture_bytes(picture, n_images), "width": width, "height": height}


def _describe_tokens(
    seen: SeenImage, source: ImageSource, layout: ImageLayout, places: Int[np.ndarray, " kept"] | None = None
) -> dict[str, np.ndarray]:
    """The columns of one image's tokens: the prefix (no place, no colour), then the patches row by row, or those of
    them that the model keeps, in its order."""
    n_prefix, grid = len(layout.prefix), (layout.rows, layout.columns, layout.patch_height, layout.patch_width)
    row, column = (index.ravel() for index in np.indices((layout.rows, layout.columns)))
    pixels = _filled(seen.pixels, layout)
    mask = None if seen.mask is None else _filled(seen.mask, layout)
    objects = [None] * len(row) if mask is None else main_objects(mask, source.mask_names, *grid)
    nothing = np.full(n_prefix, np.nan, dtype=np.float32)
    nowhere = np.full(n_prefix, -1)
    described = {
        "text": np.array([*layout.prefix, *(f"r{r}c{c}" for r, c in zip(row, column))], dtype=object),
        "is_special": np.arange(n_prefix + len(row)) < n_prefix,
        "row": np.concatenate([nowhere, row]),
        "column": np.concatenate([nowhere, column]),
        **{name: np.concatenate([nothing, values]) for name, values in describe_patches(pixels, *grid).items()},
        "object": np.array([*[None] * n_prefix, *objects], dtype=object),
    }
    if places is None:
        return described
    chosen = np.concatenate([np.arange(n_prefix), n_prefix + places])
    return {name: values[chosen] for name, values in described.items()}


def _object_queries(patches: dict[str, np.ndarray], n_queries: int) -> dict[str, np.ndarray]:
    """The tokens of a decoder that looks for objects: names, and nothing that a patch has."""
    empty = {"row": -1, "column": -1, "is_special": False, "object": None}
    columns = {name: np.full(n_queries, empty.get(name, np.nan), dtype=patches[name].dtype) for name in patches}
    return {**columns, "text": np.array([f"query {number}" for number in range(n_queries)], dtype=object)}


def _filled(pixels: np.ndarray, layout: ImageLayout) -> np.ndarray:
    """The picture with its last pixels repeated, where the model's patches reach over its edge."""
    ends = (layout.rows * layout.patch_height, layout.columns * layout.patch_width)
    more = [(0, max(0, end - size)) for end, size in zip(ends, pixels.shape)]
    return np.pad(pixels, more + [(0, 0)] * (pixels.ndim - 2), mode="edge") if any(map(any, more)) else pixels


def _join(tokens: list[dict[str, np.ndarray]], starts: np.ndarray) -> pd.DataFrame:
    columns = {name: np.concatenate([part[name] for part in tokens]) for name in tokens[0]}
    columns["row"], columns["column"] = (nullable(columns[name], columns[name] < 0) for name in ("row", "column"))
    columns["text"] = pd.array(columns["text"], dtype="str")
    objects = columns.pop("object")
    if any(name is not None for name in objects):
        columns["object"] = pd.array(objects, dtype="str")
    places = position_columns(starts)
    del places["position_from_end"]
    return pd.DataFrame({**columns, **places})


def _mask_notes(problems: list[str]) -> list[str]:
    return [f"{len(problems):,} masks could not be used, the first: {problems[0]}."] if problems else []


def _tensor_reader(sources: list[ImageSource], model: LoadedModel) -> Callable[[int], dict[str, np.ndarray]]:
    def read(input_id: int) -> dict[str, np.ndarray]:
        source = sources[input_id]
        try:
            tensors = see(source, model.processor, with_mask=False).tensors
            return model.with_noise(tensors) if getattr(model, "draws_patches", False) else tensors
        except Unreadable as reason:
            raise InputError(f"The image {source.name} could be read before and cannot now: {reason}.") from reason

    return read
