"""Language models that see: which they are, and what makes their inputs of a text and a picture together."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from analysis.errors import ModelError, first_line
from analysis.models.forward import count_image_tokens
from analysis.models.layout import ImageLayout, image_layout
from analysis.models.loaded import LoadedModel
from analysis.models.towers import modalities, ready
from analysis.models.weights import ModelFiles
from analysis.types import IMAGE_PART, TEXT_PART, VISION_AND_TEXT, InputSequence


@dataclass(frozen=True)
class SeeingModel(LoadedModel):
    """A language model that takes pictures among its words, whole.

    Attributes:
        processor: Its tokenizer.
        sees_with: What makes its inputs of a text and a picture together.
        image_token: The number of the token whose places pictures take; -1 where the words look at the picture by
            cross-attention, and it takes no places among them.
    """

    sees_with: Any = None
    image_token: int = -1

    @cached_property
    def tower(self) -> Any:
        """The part that reads pictures by themselves.

        Raises:
            ModelError: It has none.
        """
        from transformers import PreTrainedModel

        for _, part in self.module.named_modules():
            if part is not self.module and isinstance(part, PreTrainedModel) and modalities(part) == ("vision",):
                return part
        raise ModelError(f"{self.name} has no vision tower of its own.")

    def tower_layout(self, height: int, width: int) -> ImageLayout:
        """Names and grid of the tower's tokens of one processed picture of this size in pixels.

        Raises:
            ModelError: The tower does not take this size, or its tokens are no grid behind a few special ones.
        """
        return image_layout(self.tower, height, width, self._count(height, width))

    def n_tower_tokens(self, arrays: Mapping[str, np.ndarray]) -> int:
        """The tower's tokens of one input, all crops of its picture together.

        Args:
            arrays: What the processor made, without the batch axis.
        """
        if "image_grid_thw" in arrays:
            return math.prod(np.ravel(arrays["image_grid_thw"]).tolist())
        shape = arrays["pixel_values"].shape
        return (shape[0] if len(shape) == 4 else 1) * self._count(*shape[-2:])

    def _count(self, height: int, width: int) -> int:
        if (height, width) not in self._counted:
            self._counted[height, width] = count_image_tokens(self.tower, self.name, height, width)
        return self._counted[height, width]

    @cached_property
    def _counted(self) -> dict[tuple[int, int], int]:
        return {}


def load_seeing(files: ModelFiles, whole: Any, device: str | None) -> SeeingModel:
    """A language model that sees, ready to run, from its weights.

    Raises:
        ModelError: No processor of texts and images lies beside them.
    """
    loaded = ready(files, whole, "text", device, modalities(whole))
    processor = load_processor(files.folder, files.name)
    parts = {**vars(loaded), "processor": processor.tokenizer, "modality": VISION_AND_TEXT}
    parts["sequences"] = InputSequence(IMAGE_PART, "vision"), InputSequence(TEXT_PART, "text")
    return SeeingModel(**parts, sees_with=processor, image_token=image_token(whole))


def sees(model: Any, reads: tuple[str, ...]) -> bool:
    """True where pictures take the places of tokens in a text, as told by the config, which names the token's number;
    or where a model that writes takes a picture beside its text, as BLIP does.

    Models of pairs that only compare a picture and a text, such as CLIP, do neither.
    """
    return {"vision", "text"} <= set(reads) and (image_token(model) >= 0 or _writes_beside(model))


def _writes_beside(model: Any) -> bool:
    takes = inspect.signature(model.forward).parameters
    is_one = {"pixel_values", "input_ids"} <= set(takes) and "decoder_input_ids" not in takes
    return is_one and model.can_generate() and not getattr(model.config, "is_encoder_decoder", False)


def image_token(model: Any) -> int:
    """The number of the token whose places pictures take; -1 where there is none."""
    numbers = (getattr(model.config, name, None) for name in ("image_token_id", "image_token_index"))
    return int(next((number for number in numbers if number is not None), -1))


def load_processor(folder: Path, name: str) -> Any:
    """The processor of texts and images together, without its part for videos where that part cannot be loaded.

    Raises:
        ModelError: There is none that loads.
    """
    from transformers import AutoProcessor

    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True, "backend": "pil"}
    try:
        try:
            processor = AutoProcessor.from_pretrained(folder, **options)
        except (ImportError, AttributeError, ValueError, OSError):
            processor = _without_videos(folder, options)
    except (ValueError, KeyError, OSError, ImportError, AttributeError, TypeError) as error:
        raise ModelError(
            f"{name} has no processor of texts and images that loads ({first_line(error)}): save it beside the "
            "weights with processor.save_pretrained(folder)."
        ) from error
    if not hasattr(processor, "image_processor") or not getattr(processor.tokenizer, "is_fast", False):
        raise ModelError(
            f"{name} has a {type(processor).__name__} beside its weights, and a processor of images with a fast "
            "tokenizer is needed: save it there with processor.save_pretrained(folder)."
        )
    return processor


def _without_videos(folder: Path, options: dict[str, Any]) -> Any:
    """The same processor that never sees a video; transformers makes processors of videos with torchvision only."""
    import json

    import transformers

    for file in ("processor_config.json", "tokenizer_config.json", "preprocessor_config.json"):
        path = folder / file
        named = json.loads(path.read_text(encoding="utf-8")).get("processor_class") if path.is_file() else None
        if kind := getattr(transformers, named or "", None):
            return without_videos(kind).from_pretrained(folder, **options)
    raise ModelError("no file beside the weights names the class of its processor")


class _NoVideos:
    """In the place of a processor of videos: some ask it for its settings before they know that no video comes."""

    def __getattr__(self, name: str) -> None:
        return None


def without_videos(kind: type) -> type:
    """A class of processors that takes an image processor and a tokenizer alone."""

    def get_attributes(cls: type) -> list[str]:
        return [name for name in kind.get_attributes() if "video" not in name]

    def from_args_and_dict(cls: type, args: list[Any], described: dict[str, Any], **more: Any) -> Any:
        parts = iter(args)
        whole = [None if "video" in name else next(parts) for name in kind.get_attributes()]
        made = kind.from_args_and_dict.__func__(cls, whole, described, **more)
        for name in kind.get_attributes():
            if "video" in name:
                setattr(made, name, _NoVideos())
        return made

    own = {"get_attributes": classmethod(get_attributes), "from_args_and_dict": classmethod(from_args_and_dict)}
    return type(kind.__name__, (kind,), own)
