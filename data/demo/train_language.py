"""Train the demo language model: a GPT-2 of 4 layers x 8 heads with its own byte-level BPE, small enough for git.

What it is for: a newcomer should meet a previous-token head, induction heads and first-token sinks at once, offline.
Four choices make them appear within minutes on a CPU. Half of the rows are random spans that return, and only their
return is scored, because what cannot be predicted is noise. Position embeddings start as sinusoids, so "one back" is
the same direction everywhere. Short rows lie at random positions, so that all are learned. Last, the second phase
charges a small price for attention: in the first layer for looking at many tokens at once, above it for looking
anywhere but at the first token. Heads that earn less than the price come to rest on the first token, the others become
clean. Large models arrive there by themselves, a small one would take hours.

    python data/demo/train_language.py [--out data/demo/language]
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from generate_text import make_stories, make_table
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

BOS, EOS, N_SPECIAL = 0, 1, 2
N_TYPES, N_POSITIONS, N_LAYERS, N_HEADS, WIDTH = 1536, 256, 4, 8, 192
TRAIN_SEED, HELD_OUT_SEED, N_STORIES = 0, 10_000, 10_000


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE (any UTF-8 text is fine) that puts `<bos>` in front by itself: sinks show on plain text."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=N_TYPES, special_tokens=["<bos>", "<eos>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    ))
    core.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", BOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<bos>", eos_token="<eos>", pad_token="<eos>",
        model_max_length=N_POSITIONS, padding_side="right", clean_up_tokenization_spaces=False,
    )


def make_model(seed: int) -> GPT2LMHeadModel:
    """A GPT-2 before training, with sinusoids for positions."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=N_TYPES, n_positions=N_POSITIONS, n_embd=WIDTH, n_layer=N_LAYERS, n_head=N_HEADS,
        bos_token_id=BOS, eos_token_id=EOS, pad_token_id=EOS, activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )
    model = GPT2LMHeadModel(config)
    model.set_attn_implementation("eager")  # the backward pass of the fused kernel is slow in bfloat16 on a CPU
    angle = torch.arange(N_POSITIONS)[:, None] / 500 ** torch.linspace(0, 1, WIDTH // 2)[None]
    model.transformer.wpe.weight.data = 0.04 * torch.cat([angle.sin(), angle.cos()], dim=1)
    return model


class Batches:
    """Rows of ids with targets (-100 = not scored) and positions, all from one generator."""

    def __init__(self, stream: np.ndarray, seed: int):
        self.stream, self.rng = stream, np.random.default_rng(seed)

    def draw(self, n_rows: int, length: int, span: tuple[int, int]) -> tuple[torch.Tensor, ...]:
        """Ids, targets and positions [row, position]: half random spans that return (`span` = bounds of their length
        in tokens), half stories. The first occurrence of a span is no target.
        """
        rows = np.empty((n_rows, length), np.int64)
        scored = np.ones((n_rows, length), bool)
        for i in range(n_rows):
            rows[i, 0] = BOS
            if i % 2:
                start = self.rng.integers(len(self.stream) - length)
                rows[i, 1:] = self.stream[start:start + length - 1]
            else:
                rows[i, 1:], scored[i, 1:] = self._spans(length - 1, span)
                scored[i, 0] = False
        targets = np.where(scored, rows, -100)
        offset = self.rng.integers(0, N_POSITIONS - length + 1, n_rows) * (self.rng.random(n_rows) < 0.6)
        positions = np.arange(length)[None] + offset[:, None] * (np.arange(length) > 0)[None]
        return torch.from_numpy(rows), torch.from_numpy(targets), torch.from_numpy(positions)

    def _spans(self, length: int, bounds: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """A random span again and again, after a random lead, and which of its tokens can be known."""
        n, lead = self.rng.integers(bounds[0], bounds[1] + 1), self.rng.integers(0, 6)
        random = self.rng.integers(N_SPECIAL, N_TYPES, lead + n)
        ids = np.concatenate([random, np.tile(random[lead:], math.ceil(length / n))])[:length]
        return ids, np.arange(length) > lead + n


def make_stream(tokenizer: PreTrainedTokenizerFast, seed: int, n_stories: int) -> np.ndarray:
    encoded = tokenizer([text + " " for text in make_stories(seed, n_stories)], add_special_tokens=False)["input_ids"]
    return np.concatenate([np.asarray(ids) for ids in encoded])


@dataclass
class Phase:
    """`rate` is held, or falls along a cosine when `falling`. Prices are in nats, mean over heads and queries:
    `price_of_looking` for attention wholly elsewhere than on the first token (above the first layer),
    `price_of_spreading` for each nat of entropy of the attention (first layer).
    """

    steps: int
    rate: float
    falling: bool = False
    price_of_looking: float = 0.0
    price_of_spreading: float = 0.0

    def rate_at(self, step: int) -> float:
        fall = 0.5 * (1 + math.cos(math.pi * step / self.steps)) if self.falling else 1.0
        return self.rate * min(1, (step + 1) / 50) * max(fall, 0.02)

    def price(self, attentions: tuple[torch.Tensor, ...]) -> torch.Tensor:
        weights = torch.stack(attentions)[..., 1:, :].float()  # layer, row, head, query, key
        spreading = -(weights[0] * (weights[0] + 1e-9).log()).sum(-1).mean()
        looking = 1 - weights[1:, ..., 0].mean()
        return self.price_of_looking * looking + self.price_of_spreading * spreading


PHASES = [Phase(1000, 1.7e-3), Phase(600, 1e-3, falling=True, price_of_looking=0.06, price_of_spreading=0.15)]


def train(model: GPT2LMHeadModel, batches: Batches, phase: Phase, report) -> None:
    """Muon for the matrices, AdamW for the rest; every eighth batch is long. `report(step, loss)` every 100 steps."""
    matrices = [p for p in model.transformer.h.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is m for m in matrices)]
    optimizers = [torch.optim.Muon(matrices, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
                  torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.01)]
    for step in range(phase.steps):
        for group in [g for optimizer in optimizers for g in optimizer.param_groups]:
            group["lr"] = phase.rate_at(step)
        size = (12, 256, (20, 120)) if step % 8 == 7 else (48, 64, (6, 28))
        ids, targets, positions = batches.draw(*size)
        with torch.autocast("cpu", torch.bfloat16):
            out = model(ids, position_ids=positions, use_cache=False, output_attentions=True)
        loss = F.cross_entropy(out.logits[:, :-1].float().flatten(0, 1), targets[:, 1:].flatten())
        total = loss + phase.price(out.attentions) if phase.falling else loss
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % 100 == 99:
            report(step + 1, loss.item())


@torch.no_grad()
def measure(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, stream: np.ndarray) -> dict:
    """Scores of every head [layer, head] in 0 to 1, and the held-out loss on stories (nats a token)."""
    model.eval()
    ids = torch.from_numpy(np.random.default_rng(7).integers(N_SPECIAL, N_TYPES, (8, 50)))
    ids = torch.cat([torch.full((8, 1), BOS), ids, ids], dim=1)
    out = model(ids, output_attentions=True)
    on_random = torch.stack(out.attentions).mean(1)  # layer, head, query, key
    copied = (out.logits[:, 51:-1].argmax(-1) == ids[:, 52:]).float().mean()
    back = torch.zeros(N_LAYERS, N_HEADS)
    sink, n = torch.zeros(N_LAYERS, N_HEADS), 0
    for row in make_table():
        text = torch.tensor([tokenizer(row["text"])["input_ids"]])
        attention = torch.stack(model(text, output_attentions=True).attentions)[:, 0]
        back += attention.diagonal(-1, 2, 3).sum(-1)
        sink += attention[:, :, 1:, 0].sum(-1)
        n += attention.shape[-1] - 1
    text = torch.from_numpy(np.concatenate([np.full((64, 1), BOS), stream[:64 * 127].reshape(64, 127)], axis=1))
    loss = model(text, labels=text).loss
    model.train()
    return dict(
        held_out_loss=float(loss), copied=float(copied),
        previous_token=(back / n).tolist(), previous_on_random=on_random.diagonal(-1, 2, 3).mean(-1).tolist(),
        sink=(sink / n).tolist(), induction=on_random.diagonal(1 - 50, 2, 3)[..., 2:].mean(-1).tolist(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "language")
    given, start = parser.parse_args(), time.time()
    torch.set_num_threads(2)
    stories = make_stories(TRAIN_SEED, N_STORIES)
    beyond = [row["text"] for row in make_table() if row["genre"] != "story"]  # for the vocabulary, never trained on
    tokenizer = train_tokenizer(stories + beyond * 20)
    stream, held_out = make_stream(tokenizer, TRAIN_SEED, N_STORIES), make_stream(tokenizer, HELD_OUT_SEED, 400)
    model = make_model(TRAIN_SEED)

    def report(step: int, loss: float) -> None:
        line = dict(step=step, seconds=round(time.time() - start), train_loss=round(loss, 3))
        if step % 500 == 0 or step == phase.steps:
            scores = measure(model, tokenizer, held_out)
            line |= {name: round(float(np.max(value)), 3) for name, value in scores.items()}
            line["n_sinks"] = int((np.array(scores["sink"]) > 0.3).sum())
            model.save_pretrained(given.out)
            tokenizer.save_pretrained(given.out)
            (given.out / "training.json").write_text(json.dumps({**line, **scores}, indent=1) + "\n")
        print(json.dumps(line), flush=True)

    for i, phase in enumerate(PHASES):
        train(model, Batches(stream, TRAIN_SEED + i), phase, report)


if __name__ == "__main__":
    main()
