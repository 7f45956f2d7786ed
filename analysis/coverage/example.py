"""A made-up input for any tiny model, by the names of what its forward takes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from analysis.coverage.media import Inputs, media
from analysis.coverage.sides import SIDES
from analysis.coverage.takes import Takes
from analysis.models.forward import forward_module

N_TOKENS, N_ANSWER_TOKENS = 16, 7
_FEATURES = {"pixel": "get_image_features", "pixel_videos": "get_video_features", "sound": "get_audio_features"}
_PLACEHOLDERS = {
    "pixel": ("image_token_id", "image_token_index", "img_token_id", "media_token_id", "image_patch_id", "im_patch_id"),
    "pixel_videos": ("video_token_id", "video_token_index"),
    "sound": ("audio_token_id", "audio_token_index", "speech_token_id"),
}


def examples(model: torch.nn.Module, seed: int = 0) -> Iterator[dict[str, Tensor]]:
    """Inputs that a model may take, the fullest first: with its images or sounds, then without.

    Texts hold as many placeholder tokens as the model makes of the image or sound beside them.
    """
    takes = Takes(model, seed)
    for sounds_or_images in media(takes):
        yield from _with_text(takes, sounds_or_images)
    text = _text(takes)
    if text or not takes.required or takes.required <= set(SIDES):
        yield _with_sides(takes, text)
        yield text
    if "input_ids" in text and takes.number("num_codebooks") is not None:
        count = takes.number("num_codebooks")
        yield {"input_ids": takes.words(N_TOKENS * count).reshape(count, N_TOKENS)}
    if "decoder_input_ids" in text:
        yield {name: value for name, value in text.items() if not name.startswith("decoder_")}


def _with_text(takes: Takes, found: Inputs) -> Iterator[Inputs]:
    if "input_ids" in takes.names:
        kind = "sound" if "input_features" in found or "input_values" in found else "pixel"
        kind = "pixel_videos" if "pixel_values_videos" in found else kind
        token = takes.number(*_PLACEHOLDERS[kind])
        if token is not None:
            for count in _placeholder_counts(takes, found, kind, token):
                yield _with_sides(takes, {**_text(takes, token, count, kind), **found})
    yield _with_sides(takes, {**_text(takes), **found})
    if "input_ids" in takes.names:
        yield _with_sides(takes, found)


def _with_sides(takes: Takes, found: Inputs) -> Inputs:
    """An input with what else the model takes or needs, made by name."""
    found = dict(found)
    for name, (make, always) in SIDES.items():
        if name in takes.names and name not in found and (always or name in takes.required):
            made = make(takes, found)
            if made is not None:
                found[name] = made
    return found


def _placeholder_counts(takes: Takes, found: Inputs, kind: str, token: int) -> Iterator[int]:
    """How many tokens the text must hold for an image or sound: by the model's own features, or by its complaint."""
    counted = set()
    get_features = getattr(takes.model, _FEATURES[kind], None)
    if get_features is not None:
        known = inspect.signature(get_features).parameters
        try:
            with torch.inference_mode():
                features = get_features(**{name: value for name, value in found.items() if name in known})
            counted.add(_rows(features))
        except Exception:  # counted from the complaint below
            pass
    if not counted:
        try:
            forward_module(takes.model, _with_sides(takes, {**_text(takes, token, 1, kind), **found}))
        except Exception as error:  # the complaint is what is wanted
            numbers = re.findall(r"(?:features|embeddings)\D{0,25}?(\d+)", str(error))
            counted.update(int(number) for number in numbers if 0 < int(number) < 4000)
    yield from sorted(counted)


def _rows(features: Any) -> int:
    features = getattr(features, "pooler_output", features)
    if isinstance(features, Tensor):
        return features.shape[:-1].numel()
    return sum(_rows(each) for each in features)


def _text(takes: Takes, placeholder: int | None = None, count: int = 0, kind: str = "pixel") -> Inputs:
    names = takes.names
    if "input_ids" not in names:
        return {"decoder_input_ids": takes.words(N_ANSWER_TOKENS)} if "decoder_input_ids" in names else {}
    ids = takes.words(N_TOKENS)
    if takes.number("num_codebooks") is not None and hasattr(
        getattr(takes.model, "embed_tokens", None), "audio_tokens_offsets"
    ):
        count = takes.number("num_codebooks") + 1
        return {"input_ids": takes.words(N_TOKENS * count).reshape(1, N_TOKENS, count)}
    if placeholder is not None:
        prefix = {"pixel": "vision|image|boi", "pixel_videos": "vision|video|boi", "sound": "audio|boa"}[kind]
        start, end = (_marker(takes, prefix, word) for word in ("start|bo", "end|eo"))
        ids = torch.cat([ids[:, :4], start, torch.full((1, count), placeholder), end, ids[:, 4:]], dim=1)
    found = {"input_ids": ids}
    if "attention_mask" in names:
        found["attention_mask"] = torch.ones_like(ids)
    if placeholder is not None and "mm_token_type_ids" in names:
        found["mm_token_type_ids"] = (ids == placeholder).long() * {"pixel": 1, "pixel_videos": 2, "sound": 3}[kind]
    if "decoder_input_ids" in names and getattr(takes.config, "is_encoder_decoder", False):
        found["decoder_input_ids"] = takes.words(N_ANSWER_TOKENS)
    return found


def _marker(takes: Takes, kinds: str, places: str) -> Tensor:
    """The token that opens or closes an image or sound in the text, if the config names one."""
    pattern = re.compile(rf"({kinds})_({places})_token_(id|index)|({places})[ia]_token_(id|index)")
    for part in takes.parts():
        for name, value in vars(part).items():
            if isinstance(value, int) and pattern.fullmatch(name):
                return torch.tensor([[value]])
    return torch.zeros(1, 0, dtype=torch.long)
