"""Tiny random language models that see, on disk with their processors, and pictures with texts for them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from analysis.models.seeing import without_videos

SIDE = 32
"""Pixels of a picture, both ways, but for Qwen2-VL, which takes any."""

LLAVA_CHAT = (
    "{% for m in messages %}{{ m['role'].upper() }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
QWEN_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_pictures(folder: Path, rows: int = 3, size: tuple[int, int] = (SIDE, SIDE), **columns: list) -> Path:
    """A .jsonl file of pictures of noise with texts, the pictures beside it."""
    from PIL import Image

    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for row in range(rows):
        pixels = rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{row}.png")
        texts = ["What does the fox see?", "Is the dog there?", "The quick brown fox."]
        cells = {"image": f"{row}.png", "text": texts[row % 3], "topic": ["fox", "dog"][row % 2]}
        lines.append(json.dumps({**cells, **{name: values[row] for name, values in columns.items()}}))
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def save_tiny_llava(folder: Path, chat: bool = True) -> Path:
    """CLIP with a CLS token that is dropped, patches of 8 pixels, and a Llama: 16 image tokens."""
    import transformers as hf

    tokenizer = _tokenizer(["<image>"])
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37, image_size=SIDE,
            patch_size=8,
        ),
        text_config=_llama(tokenizer), image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
    )  # fmt: skip
    images = hf.CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    processor = hf.LlavaProcessor(
        images, tokenizer, patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=LLAVA_CHAT if chat else None,
    )  # fmt: skip
    return _save(hf.LlavaForConditionalGeneration(config), processor, folder)


def save_tiny_qwen(folder: Path, version: str = "2") -> Path:
    """Qwen2-VL: patches of 8 pixels of which 2 x 2 make an image token, and a language model with grouped queries."""
    import transformers as hf

    special = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = _tokenizer(special)
    number = tokenizer.convert_tokens_to_ids
    rope = {"type": "mrope", "rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10_000.0}
    text = dict(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, rope_parameters=rope, rope_scaling=rope,
    )  # fmt: skip
    tokens = dict(
        image_token_id=number("<|image_pad|>"), video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"), vision_end_token_id=number("<|vision_end|>"),
    )  # fmt: skip
    if version == "2":
        vision = dict(depth=2, embed_dim=32, hidden_size=32, num_heads=4, mlp_ratio=2, patch_size=8)
        config = hf.Qwen2VLConfig(vision_config=vision, text_config=text, **tokens)
        model, kind = hf.Qwen2VLForConditionalGeneration(config), hf.Qwen2VLProcessor
    else:
        vision = dict(
            depth=2, hidden_size=32, out_hidden_size=32, num_heads=4, intermediate_size=48, patch_size=8,
            window_size=32, fullatt_block_indexes=[1],
        )  # fmt: skip
        config = hf.Qwen2_5_VLConfig(vision_config=vision, text_config=text, **tokens)
        model, kind = hf.Qwen2_5_VLForConditionalGeneration(config), hf.Qwen2_5_VLProcessor
    images = hf.Qwen2VLImageProcessorPil(
        patch_size=8, merge_size=2, size={"shortest_edge": 16 * 16, "longest_edge": 64 * 64}
    )
    processor = without_videos(kind)(images, tokenizer, chat_template=QWEN_CHAT)
    return _save(model, processor, folder)


def save_tiny_smolvlm(folder: Path, splits: bool = True, kind: str = "SmolVLM") -> Path:
    """SmolVLM, or Idefics3: crops of 32 pixels and the whole picture behind them, each 2 x 2 image tokens of 4 x 4
    patches."""
    import transformers as hf

    special = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"]
    special += [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = _tokenizer(special)
    config = getattr(hf, f"{kind}Config")(
        vision_config=dict(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37, image_size=SIDE,
            patch_size=8,
        ),
        text_config=_llama(tokenizer), image_token_id=tokenizer.convert_tokens_to_ids("<image>"), scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    images = getattr(hf, f"{kind}ImageProcessorPil")(
        size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE}, do_image_splitting=splits
    )
    chat = LLAVA_CHAT.replace("<image>\n", "<image>").replace("ASSISTANT:", "Assistant:")
    videos = [None] if kind == "SmolVLM" else []
    processor = without_videos(getattr(hf, f"{kind}Processor"))(
        images, tokenizer, *videos, image_seq_len=4, chat_template=chat
    )
    return _save(getattr(hf, f"{kind}ForConditionalGeneration")(config), processor, folder)


def save_tiny_gemma(folder: Path) -> Path:
    """Gemma 3: SigLIP, 4 x 4 patches averaged to 2 x 2 image tokens, which see each other in the language model."""
    import transformers as hf

    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = _tokenizer([], extra_special_tokens=named)
    number = tokenizer.convert_tokens_to_ids
    config = hf.Gemma3Config(
        vision_config=dict(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37, image_size=SIDE,
            patch_size=8, vision_use_head=False,
        ),
        text_config=dict(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=8, max_position_embeddings=256,
            layer_types=["sliding_attention", "full_attention"], pad_token_id=tokenizer.pad_token_id,
        ),
        mm_tokens_per_image=4, image_token_index=number("<image_soft_token>"),
        boi_token_index=number("<start_of_image>"), eoi_token_index=number("<end_of_image>"),
    )  # fmt: skip
    images = hf.Gemma3ImageProcessorPil(size={"height": SIDE, "width": SIDE})
    processor = hf.Gemma3Processor(images, tokenizer, image_seq_length=4)
    return _save(hf.Gemma3ForConditionalGeneration(config), processor, folder)


def save_tiny_blip(folder: Path) -> Path:
    """BLIP that writes captions: a ViT of 4 x 4 patches behind a CLS token, at which a text decoder looks by
    cross-attention. Its weights are none of the class that AutoModel would take."""
    import transformers as hf

    tokenizer = _tokenizer([])
    size = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37)
    config = hf.BlipConfig(
        text_config=dict(
            vocab_size=len(tokenizer), encoder_hidden_size=32, max_position_embeddings=64,
            bos_token_id=tokenizer.bos_token_id, sep_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id, **size,
        ),
        vision_config=dict(image_size=SIDE, patch_size=8, **size),
    )  # fmt: skip
    images = hf.BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return _save(hf.BlipForConditionalGeneration(config), hf.BlipProcessor(images, tokenizer), folder)


def _llama(tokenizer) -> dict:
    return dict(
        model_type="llama", vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip


def _tokenizer(special: list[str], **named):
    from transformers import PreTrainedTokenizerFast

    from tests.model_folders import byte_tokenizer

    plain = byte_tokenizer()
    names = dict(pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain.backend_tokenizer, **names, **named)
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.model_max_length = 512
    return tokenizer


def _save(model, processor, folder: Path) -> Path:
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                fan_in = parameter[0].numel() if parameter.ndim > 2 else parameter.shape[-1]
                parameter.normal_(0, 1.4 * fan_in**-0.5)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
