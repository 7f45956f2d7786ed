"""What turns texts and images into a model's inputs: its tokenizer, its image processor, its limit on tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.errors import ModelError, first_line

VOCABULARY_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
"""Without one of these transformers makes an empty tokenizer and says nothing."""


def load_tokenizer(folder: Path, name: str) -> Any:
    from transformers import AutoTokenizer

    if not any(path.is_file() for pattern in VOCABULARY_FILES for path in folder.glob(pattern)):
        raise ModelError(
            f"{name} has no tokenizer: expected one of {', '.join(VOCABULARY_FILES)} beside the weights; save it there "
            "with tokenizer.save_pretrained(folder)."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, KeyError, OSError, ImportError, AttributeError) as error:
        raise ModelError(f"{name} has no tokenizer that loads: {first_line(error)}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"{name} has no fast tokenizer (tokenizer.json), which is needed to find tokens in the text.")
    return tokenizer


def load_image_processor(folder: Path, name: str) -> Any:
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(folder, trust_remote_code=False, local_files_only=True, backend="pil")
    except (ValueError, KeyError, OSError, ImportError, AttributeError) as error:
        raise ModelError(
            f"{name} has no image processor that loads (preprocessor_config.json): {first_line(error)}"
        ) from error


def max_tokens(module: Any, tokenizer: Any) -> int | None:
    """The smallest limit that config, position table and tokenizer name; placeholders such as 1e30 do not count."""
    names = ("max_position_embeddings", "n_positions", "max_sequence_length", "n_ctx")
    config = module.config.get_text_config() if hasattr(module.config, "get_text_config") else module.config
    limits = [limit for name in names if isinstance(limit := getattr(config, name, None), int) and limit > 0]
    for part_name, part in module.named_modules():
        if "position" in part_name and getattr(part, "padding_idx", None) is not None and part.num_embeddings in limits:
            limits.append(part.num_embeddings - part.padding_idx - 1)  # RoBERTa counts positions from padding_idx + 1
    if isinstance(tokenizer.model_max_length, int) and 0 < tokenizer.model_max_length < 10**7:
        limits.append(tokenizer.model_max_length)
    return min(limits, default=None)
