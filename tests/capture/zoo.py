"""Tiny models of every family with random but sharp attention, so that a wrong mask or scale shows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import transformers as hf

from analysis.models import LoadedModel

VOCABULARY = 99
_TEXT = dict(vocab_size=VOCABULARY, bos_token_id=1, eos_token_id=2, pad_token_id=0)
_BERT = dict(
    **_TEXT,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=37,
    max_position_embeddings=64,
)
_LLAMA = dict(**_BERT, num_key_value_heads=2, head_dim=8)
_IMAGE = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=37,
    image_size=32,
    patch_size=8,
    num_channels=3,
)


def _clip(config: type, model: type) -> hf.PreTrainedModel:
    text = {**_BERT, "projection_dim": 16}
    vision = {**_IMAGE, "projection_dim": 16}
    return model(config(text_config=text, vision_config=vision, projection_dim=16))


def _bart() -> hf.PreTrainedModel:
    shared = dict(encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4)
    sizes = dict(d_model=32, encoder_ffn_dim=37, decoder_ffn_dim=37, max_position_embeddings=64)
    return hf.BartModel(hf.BartConfig(**_TEXT, **shared, **sizes, decoder_start_token_id=2))


def _t5() -> hf.PreTrainedModel:
    sizes = dict(d_model=32, d_kv=8, d_ff=37, num_layers=2, num_decoder_layers=2, num_heads=4)
    return hf.T5Model(hf.T5Config(vocab_size=VOCABULARY, **sizes, decoder_start_token_id=0))


TEXT_MODELS: dict[str, Callable[[], hf.PreTrainedModel]] = {
    "bert": lambda: hf.BertModel(hf.BertConfig(**_BERT)),
    "roberta": lambda: hf.RobertaModel(hf.RobertaConfig(**_BERT)),
    "distilbert": lambda: hf.DistilBertModel(
        hf.DistilBertConfig(**_TEXT, dim=32, n_layers=2, n_heads=4, hidden_dim=37, max_position_embeddings=64)
    ),
    "electra": lambda: hf.ElectraModel(hf.ElectraConfig(**_BERT, embedding_size=16)),
    "albert": lambda: hf.AlbertModel(hf.AlbertConfig(**_BERT, embedding_size=16)),
    "gpt2": lambda: hf.GPT2Model(hf.GPT2Config(**_TEXT, n_embd=32, n_layer=2, n_head=4, n_positions=64)),
    "gpt_neox": lambda: hf.GPTNeoXModel(hf.GPTNeoXConfig(**_BERT)),
    "opt": lambda: hf.OPTModel(
        hf.OPTConfig(
            **_TEXT,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            ffn_dim=37,
            max_position_embeddings=64,
            word_embed_proj_dim=32,
        )
    ),
    "llama": lambda: hf.LlamaModel(hf.LlamaConfig(**_LLAMA)),
    "mistral": lambda: hf.MistralModel(hf.MistralConfig(**_LLAMA, sliding_window=5)),
    "qwen2": lambda: hf.Qwen2Model(hf.Qwen2Config(**_LLAMA)),
    "qwen3": lambda: hf.Qwen3Model(hf.Qwen3Config(**_LLAMA)),
    "gemma2": lambda: hf.Gemma2Model(
        hf.Gemma2Config(**_LLAMA, sliding_window=5, attn_logit_softcapping=2.0, query_pre_attn_scalar=8)
    ),
    "gemma3": lambda: hf.Gemma3TextModel(
        hf.Gemma3TextConfig(
            **_LLAMA,
            sliding_window=5,
            query_pre_attn_scalar=8,
            layer_types=["sliding_attention", "full_attention"],
        )
    ),
    "modernbert": lambda: hf.ModernBertModel(
        hf.ModernBertConfig(**_BERT, local_attention=6, global_attn_every_n_layers=2, cls_token_id=1, sep_token_id=2)
    ),
    "gpt_oss": lambda: hf.GptOssModel(
        hf.GptOssConfig(
            **{**_LLAMA, "intermediate_size": 32}, sliding_window=5, num_local_experts=4, num_experts_per_tok=2
        )
    ),
    "t5": lambda: _t5().get_encoder(),
    "bart": lambda: _bart().get_encoder(),
    "clip_text": lambda: _clip(hf.CLIPConfig, hf.CLIPModel).text_model,
    "siglip_text": lambda: _clip(hf.SiglipConfig, hf.SiglipModel).text_model,
}

IMAGE_MODELS: dict[str, Callable[[], hf.PreTrainedModel]] = {
    "vit": lambda: hf.ViTModel(hf.ViTConfig(**_IMAGE)),
    "deit": lambda: hf.DeiTModel(hf.DeiTConfig(**_IMAGE)),
    "dinov2": lambda: hf.Dinov2Model(hf.Dinov2Config(**_IMAGE)),
    "dinov2_with_registers": lambda: hf.Dinov2WithRegistersModel(
        hf.Dinov2WithRegistersConfig(**_IMAGE, num_register_tokens=3)
    ),
    "beit": lambda: hf.BeitModel(hf.BeitConfig(**_IMAGE, use_relative_position_bias=True)),
    "clip_vision": lambda: _clip(hf.CLIPConfig, hf.CLIPModel).vision_model,
    "siglip_vision": lambda: _clip(hf.SiglipConfig, hf.SiglipModel).vision_model,
}

WHOLE: dict[str, Callable[[], hf.PreTrainedModel]] = {
    "t5": _t5,
    "bart": _bart,
    **dict.fromkeys(("clip_text", "clip_vision"), lambda: _clip(hf.CLIPConfig, hf.CLIPModel)),
    **dict.fromkeys(("siglip_text", "siglip_vision"), lambda: _clip(hf.SiglipConfig, hf.SiglipModel)),
}

MODELS = {**TEXT_MODELS, **IMAGE_MODELS}


def make_model(name: str, seed: int = 0) -> hf.PreTrainedModel:
    """A seeded tiny model in eval mode whose weights are large enough that attention is far from uniform."""
    torch.manual_seed(seed)
    model = MODELS[name]().eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            parameter.normal_(0, 0.25)
        else:
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def make_whole(name: str, seed: int = 0) -> hf.PreTrainedModel:
    """The model as people save it: with both towers, or encoder and decoder, where the family has them."""
    if name in WHOLE:
        torch.manual_seed(seed)
        return WHOLE[name]().eval()
    return make_model(name, seed)


def load(name: str, seed: int = 0) -> LoadedModel:
    """The tiny model as `load_model` would hand it out, without a processor."""
    model = make_model(name, seed)
    modality = "text" if name in TEXT_MODELS else "vision"
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    return LoadedModel(model, None, name, "none", modality, name, n_parameters, 64, "float32", "cpu")


def make_input(name: str, n_tokens: int = 12, seed: int = 0) -> dict[str, np.ndarray]:
    """One encoded input: tokens without specials, or an image of 32 x 32 pixels."""
    generator = np.random.default_rng(seed)
    if name in IMAGE_MODELS:
        return {"pixel_values": generator.normal(size=(3, 32, 32)).astype(np.float32)}
    ids = generator.integers(3, VOCABULARY, n_tokens)
    return {"input_ids": ids, "attention_mask": np.ones(n_tokens, dtype=np.int64)}
