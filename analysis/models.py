"""Load a model and its tokenizer or image processor by bundled name, local folder or hub id, safely.

Safe means: no code from the model's folder is run, weights come as safetensors only, a hub id is checked before
anything is looked up and is never taken for a path, and the exact revision is recorded.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.errors import InputError, ModelError

DEMO = Path(__file__).resolve().parents[1] / "data" / "demo"
BUNDLED_MODELS = {"demo-language": DEMO / "language", "demo-vision": DEMO / "vision"}
"""Models that come with the project, so that the first run needs no network."""

HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
DTYPES = ("float32", "float16", "bfloat16")
HARMLESS_KEY = re.compile(
    r"^(.*_model\.)?(pooler|head|classifier|lm_head|text_projection|visual_projection|logit_scale|logit_bias)\b"
    r"|(mask_token|position_ids)$"
)
"""Weights a file may lack: they act after the last attention call, or only in training."""

HASHED_BYTES = 2**31
"""Weights up to this size are fingerprinted whole; of larger files the first and last 64 MiB and the size count."""


@dataclass(frozen=True)
class ImageLayout:
    """Which token of an image is what.

    Attributes:
        prefix: Names of the tokens before the patches, in order, as in ``("CLS", "REG0", "REG1")``.
        rows: Patch rows; patches follow the prefix row by row.
        columns: Patch columns.
        patch_height: Pixels of the processed image.
        patch_width: Pixels of the processed image.
    """

    prefix: tuple[str, ...]
    rows: int
    columns: int
    patch_height: int
    patch_width: int


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run, with what reads its input.

    Attributes:
        module: The tower for the modality, in eval mode, on `device`.
        processor: Fast tokenizer (text) or image processor (vision).
        name: Bundled name, hub id, or a folder's base name.
        revision: Commit of the hub, or ``sha256:...`` over a folder's files.
        modality: ``text`` or ``vision``.
        max_tokens: Longest input in tokens; None when the model has no limit or takes images.
    """

    module: Any
    processor: Any
    name: str
    revision: str
    modality: str
    model_type: str
    n_parameters: int
    max_tokens: int | None
    dtype: str
    device: str

    def image_layout(self, height: int, width: int, n_tokens: int) -> ImageLayout:
        """Names and grid of the tokens of one processed image.

        Args:
            height: Pixels after the image processor.
            width: Pixels after the image processor.
            n_tokens: How many tokens the model makes of it.

        Raises:
            ModelError: The tokens are not one grid of patches behind a few special ones.
        """
        (patch_height, patch_width), rows, columns = _patch_grid(self.module, height, width)
        n_prefix = n_tokens - rows * columns
        if n_prefix < 0:
            raise ModelError(
                f"{self.name} makes {n_tokens} tokens of a {height} x {width} image, fewer than its {rows} x {columns} "
                "patches: models that merge patches cannot be laid out as a grid."
            )
        prefix = _prefix_names(self.module, n_prefix)
        return ImageLayout(prefix, rows, columns, patch_height, patch_width)


def load_model(
    name: str | Path,
    *,
    modality: str | None = None,
    device: str | None = None,
    dtype: str = "float32",
    revision: str | None = None,
) -> LoadedModel:
    """Load a model for looking at its attention: no head on top, in eval mode.

    Args:
        name: A bundled name (``demo-language``), a folder with ``config.json`` and safetensors, or a hub id.
        modality: ``text`` or ``vision``; chooses the tower of a two-tower model. By default what the model reads.
        device: As torch names it; by default the GPU where there is one.
        dtype: ``float32``, ``float16`` or ``bfloat16``.
        revision: Branch, tag or commit on the hub; not for folders.

    Raises:
        ModelError: Nothing by that name, no safetensors, no fast tokenizer, own code needed, network away.
        InputError: The model does not read this modality.
    """
    import torch

    if dtype not in DTYPES:
        raise ModelError(f"There is no dtype {dtype!r} here; known: {', '.join(DTYPES)}.")
    if modality not in (None, "text", "vision"):
        raise InputError(f"There is no modality {modality!r}; known: text, vision.")
    folder, shown, found_revision = find_model(str(name), revision)
    config = _load_config(folder, shown)
    whole = _load_weights(folder, shown, dtype)
    module, modality = _tower(whole, modality, shown)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    module = module.to(device).eval().requires_grad_(False)
    processor = _load_tokenizer(folder, shown) if modality == "text" else _load_image_processor(folder, shown)
    return LoadedModel(
        module=module,
        processor=processor,
        name=shown,
        revision=found_revision,
        modality=modality,
        model_type=config.model_type,
        n_parameters=sum(parameter.numel() for parameter in module.parameters()),
        max_tokens=_max_tokens(module, processor) if modality == "text" else None,
        dtype=dtype,
        device=str(device),
    )


def find_model(name: str, revision: str | None = None) -> tuple[Path, str, str]:
    """Where a model's files are, the name to show for it, and its exact revision.

    Returns:
        Folder, shown name, and commit or fingerprint.

    Raises:
        ModelError: Nothing by that name, with what to do about it.
    """
    if name in BUNDLED_MODELS:
        folder = BUNDLED_MODELS[name]
        if not (folder / "config.json").is_file():
            raise ModelError(f"The bundled model {name} is not in this copy of the project: fetch data/demo again.")
        return folder, name, fingerprint(folder)
    folder = Path(name).expanduser()
    if _looks_like_path(name) or (folder / "config.json").is_file():
        _check_folder(folder, name)
        if revision is not None:
            raise ModelError(f"A folder has no revisions: leave out revision {revision!r}, or give a hub id.")
        return folder, folder.resolve().name, fingerprint(folder)
    if not HUB_ID.fullmatch(name) or ".." in name or "--" in name:
        raise ModelError(
            f"{name!r} is neither a bundled model ({', '.join(BUNDLED_MODELS)}), nor a folder, nor a hub id "
            "such as google-bert/bert-base-uncased."
        )
    snapshot = _fetch(name, revision)
    _check_folder(snapshot, name)
    return snapshot, name, snapshot.name


def fingerprint(folder: Path) -> str:
    """``sha256:...`` over the names, sizes and contents of a model folder's files, bounded in time for huge ones."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in HUB_FILES for path in folder.glob(pattern)):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            for block in _blocks(file, size):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def _blocks(file: Any, size: int, block: int = 2**24) -> Iterator[bytes]:
    if size > HASHED_BYTES:
        yield file.read(2**26)
        file.seek(size - 2**26)
    while data := file.read(block):
        yield data


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or name.endswith("/")


def _check_folder(folder: Path, name: str) -> None:
    if not folder.is_dir():
        raise ModelError(f"There is no folder {name}: check the path, or give a hub id such as openai-community/gpt2.")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{name} holds no config.json: give the folder that save_pretrained wrote.")
    if not any(folder.glob("*.safetensors")):
        others = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.h5") for path in folder.glob(pattern))
        found = f"only {', '.join(others[:3])}, a format that can run code when opened" if others else "no weights"
        raise ModelError(
            f"{name} holds {found}; expected *.safetensors: convert the model with "
            "save_pretrained(folder, safe_serialization=True)."
        )


def _fetch(name: str, revision: str | None) -> Path:
    """The hub's files for one commit, downloaded or from the cache; the folder is named after the commit."""
    from huggingface_hub import errors, snapshot_download

    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    try:
        return Path(
            snapshot_download(
                name, revision=revision, allow_patterns=HUB_FILES, ignore_patterns=["*/*", "consolidated*"]
            )
        )
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{name} is gated: accept its terms on the hub, then log in with `hf auth login` or set HF_TOKEN."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{name} has no revision {revision!r} on the hub: give a branch, tag or commit.") from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"The hub has no model {name}, or it is private: check the spelling, log in with `hf auth login`, "
            "or give a local folder."
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HfHubHTTPError, OSError) as error:
        why = "HF_HUB_OFFLINE is set" if offline else "the hub cannot be reached"
        raise ModelError(
            f"{name} is not on this machine and {why}: connect to the network, unset HF_HUB_OFFLINE, "
            f"or give a local folder; bundled models need neither ({', '.join(BUNDLED_MODELS)})."
        ) from error


def _load_config(folder: Path, name: str) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, KeyError, OSError) as error:
        raise ModelError(f"{name} has a config.json that transformers does not know: {_first_line(error)}") from error
    return config


def _load_weights(folder: Path, name: str, dtype: str) -> Any:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModel

    try:
        with _quiet():
            model, found = AutoModel.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                trust_remote_code=False,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except (ValueError, KeyError, OSError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{name} does not load: {_first_line(error)}") from error
    missing = sorted(key for key in found["missing_keys"] if not HARMLESS_KEY.search(key))
    if missing:
        raise ModelError(
            f"{name} lacks {len(missing)} weights of a {type(model).__name__}, as {', '.join(missing[:3])}: "
            "they would be random, and so would the attention; give a folder that holds the whole model."
        )
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no report of unused weights while loading: what matters of it is checked."""
    from transformers.utils import logging

    level, shows_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shows_bar:
            logging.enable_progress_bar()


def _tower(model: Any, modality: str | None, name: str) -> tuple[Any, str]:
    """The part of the model that reads one modality, by itself: encoder of an encoder-decoder, tower of a pair."""
    from transformers import PreTrainedModel

    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    reads = modalities(model)
    modality = modality or reads[0]
    if reads == (modality,):
        return model, modality
    for _, part in model.named_modules():
        if part is not model and isinstance(part, PreTrainedModel) and modalities(part) == (modality,):
            return part, modality
    raise InputError(
        f"{name} reads {' and '.join(reads)}, but the data is {modality}: give it {' or '.join(reads)} data."
    )


def modalities(model: Any) -> tuple[str, ...]:
    """What a `PreTrainedModel` reads, in our words: ``text``, ``vision``, ``audio``."""
    declared = getattr(model, "input_modalities", "text")
    declared = (declared,) if isinstance(declared, str) else tuple(declared)
    words = {"image": "vision", "video": "vision"}
    reads = tuple(dict.fromkeys(words.get(word, word) for word in declared))
    if len(reads) == 1 and getattr(model, "main_input_name", "").startswith("pixel_values"):
        return ("vision",)
    return reads


def _load_tokenizer(folder: Path, name: str) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, KeyError, OSError, ImportError, AttributeError) as error:
        raise ModelError(f"{name} has no tokenizer that loads: {_first_line(error)}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"{name} has no fast tokenizer (tokenizer.json), which is needed to find tokens in the text.")
    return tokenizer


def _load_image_processor(folder: Path, name: str) -> Any:
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(folder, trust_remote_code=False, local_files_only=True, backend="pil")
    except (ValueError, KeyError, OSError, ImportError, AttributeError) as error:
        raise ModelError(
            f"{name} has no image processor that loads (preprocessor_config.json): {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _max_tokens(module: Any, tokenizer: Any) -> int | None:
    """The smallest limit that config, position table and tokenizer name; placeholders such as 1e30 do not count."""
    names = ("max_position_embeddings", "n_positions", "max_sequence_length", "n_ctx")
    limits = [limit for name in names if isinstance(limit := getattr(module.config, name, None), int) and limit > 0]
    for part_name, part in module.named_modules():
        if "position" in part_name and getattr(part, "padding_idx", None) is not None and part.num_embeddings in limits:
            limits.append(part.num_embeddings - part.padding_idx - 1)  # RoBERTa counts positions from padding_idx + 1
    if isinstance(tokenizer.model_max_length, int) and 0 < tokenizer.model_max_length < 10**7:
        limits.append(tokenizer.model_max_length)
    return min(limits, default=None)


def _patch_grid(module: Any, height: int, width: int) -> tuple[tuple[int, int], int, int]:
    """Patch size in pixels, rows and columns: from the patch convolution, else from the config."""
    import torch

    channels = getattr(module.config, "num_channels", 3)
    for part in module.modules():
        if isinstance(part, torch.nn.Conv2d) and part.in_channels == channels and part.kernel_size[0] > 1:
            sizes = zip(
                (height, width), part.kernel_size, part.stride, part.padding if part.padding != "valid" else (0, 0)
            )
            rows, columns = ((pixels + 2 * pad - kernel) // stride + 1 for pixels, kernel, stride, pad in sizes)
            return tuple(part.stride), rows, columns
    patch = getattr(module.config, "patch_size", None)
    if patch is None:
        raise ModelError(f"{type(module).__name__} names no patch size: its tokens cannot be laid out on the image.")
    patch = (patch, patch) if isinstance(patch, int) else tuple(patch)
    return patch, height // patch[0], width // patch[1]


def _prefix_names(module: Any, n_prefix: int) -> tuple[str, ...]:
    """Names of the tokens before the patches, from the model's learned tokens; numbered when those do not add up."""
    words = {"cls_token": "CLS", "class_embedding": "CLS", "distillation_token": "DIST"}
    names, n_registers = [], 0
    for path, parameter in module.named_parameters():
        last = path.rsplit(".", 1)[-1]
        if last in words:
            names.append(words[last])
        elif last == "register_tokens":
            n_registers = parameter.shape[-2]
    names = sorted(dict.fromkeys(names)) + [f"REG{index}" for index in range(n_registers)]
    return tuple(names) if len(names) == n_prefix else tuple(f"EXTRA{index}" for index in range(n_prefix))
