"""Tiny random models of sounds on disk, with their feature extractors, and sounds for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

RATE = 16000


def chirp(seconds: float, silent_from: float | None = None, click_at: float | None = None) -> np.ndarray:
    """A tone that rises from 200 to 2,000 Hz, silent behind `silent_from`; or silence with one click."""
    time = np.arange(round(seconds * RATE)) / RATE
    if click_at is not None:
        samples = np.zeros(len(time), dtype=np.float32)
        samples[round(click_at * RATE)] = 1
        return samples
    samples = 0.5 * np.sin(2 * np.pi * (200 * time + 900 * time**2 / seconds))
    if silent_from is not None:
        samples[time >= silent_from] = 0
    return samples.astype(np.float32)


def save_sounds(folder: Path, lengths: dict[str, float]) -> Path:
    """WAV files by name and seconds, 16 kHz."""
    from scipy.io import wavfile

    folder.mkdir(parents=True, exist_ok=True)
    for name, seconds in lengths.items():
        wavfile.write(folder / name, RATE, (chirp(seconds, 0.6 * seconds) * 32767).astype(np.int16))
    return folder


def save_tiny_wav2vec2(folder: Path, kind: str = "Wav2Vec2") -> Path:
    """A random wav2vec 2, HuBERT or WavLM of 2 layers of 4 heads with the convolutions of the real ones: a frame every
    20 ms."""
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=32, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, apply_spec_augment=False,
    )  # fmt: skip
    model = getattr(transformers, f"{kind}Model")(config)
    return _save_sharp(model, transformers.Wav2Vec2FeatureExtractor(), folder)


def save_tiny_ast(folder: Path) -> Path:
    """A random AST of 2 layers of 4 heads over 128 mel columns of 16 bands: patches of 8 x 8, every 4 x 4."""
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    config = ASTConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, patch_size=8,
        frequency_stride=4, time_stride=4, max_length=128, num_mel_bins=16,
    )  # fmt: skip
    return _save_sharp(ASTModel(config), ASTFeatureExtractor(num_mel_bins=16, max_length=128), folder)


def _save_sharp(model, extractor, folder: Path) -> Path:
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and ("encoder" in name or "layer" in name):
                parameter.normal_(0, 0.25)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def save_tiny_whisper(folder: Path, with_head: bool = True) -> Path:
    """A random Whisper of 2 + 2 layers of 4 heads that hears 2 seconds in 16 bands, with a byte-level tokenizer."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperModel

    from tests.model_folders import byte_tokenizer

    tokenizer = byte_tokenizer()
    config = WhisperConfig(
        vocab_size=len(tokenizer), d_model=32, num_mel_bins=16, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48,
        max_source_positions=100, max_target_positions=64, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.bos_token_id, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    model = (WhisperForConditionalGeneration if with_head else WhisperModel)(config)
    return _save_sharp(model, WhisperFeatureExtractor(feature_size=16, chunk_length=2), folder)
