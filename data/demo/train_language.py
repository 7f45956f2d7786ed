"""Train the demo language model: a GPT-2 of 4 layers x 8 heads with its own byte-level BPE, small enough for git.

What it is for: a newcomer should meet a previous-token head, induction heads and first-token sinks at once, offline.
They arise here as in large models, from next-token prediction alone: no price, no special start, every token scored.
Three choices make them appear within minutes on a CPU: few token types, short rows behind a fixed first token, and
two thirds of the rows are random spans of 6 to 45 tokens that return, which nothing but induction can predict.

    python data/demo/train_language.py [--out data/demo/language]
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from generate_text import make_stories, make_table
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

BOS, EOS, N_SPECIAL = 0, 1, 2
N_TYPES, N_POSITIONS, N_LAYERS, N_HEADS, WIDTH = 512, 128, 4, 8, 192
N_STEPS, N_ROWS, RATE, SHORTEST_SPAN, LONGEST_SPAN = 2300, 24, 1e-3, 6, 45
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
    """A GPT-2 before training, initialised as GPT-2 is."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=N_TYPES, n_positions=N_POSITIONS, n_embd=WIDTH, n_layer=N_LAYERS, n_head=N_HEADS,
        bos_token_id=BOS, eos_token_id=EOS, pad_token_id=EOS, activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )
    model = GPT2LMHeadModel(config)
    model.set_attn_implementation("eager")  # the backward pass of the fused kernel is slow in bfloat16 on a CPU
    return model


def draw_rows(stream: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Ids [row, position], each row behind `<bos>`: a stretch of the stories, or a random span again and again."""
    rows = np.full((N_ROWS, N_POSITIONS), BOS, np.int64)
    n = N_POSITIONS - 1
    for row in rows:
        if rng.random() < 1 / 3:
            start = rng.integers(len(stream) - n)
            row[1:] = stream[start:start + n]
        else:
            span = rng.integers(N_SPECIAL, N_TYPES, rng.integers(SHORTEST_SPAN, LONGEST_SPAN + 1))
            row[1:] = np.resize(span, n)
    return torch.from_numpy(rows)


def make_stream(tokenizer: PreTrainedTokenizerFast, seed: int, n_stories: int) -> np.ndarray:
    encoded = tokenizer([text + " " for text in make_stories(seed, n_stories)], add_special_tokens=False)["input_ids"]
    return np.concatenate([np.asarray(ids) for ids in encoded])


def train(model: GPT2LMHeadModel, stream: np.ndarray, report) -> None:
    """AdamW with warm-up and a cosine; calls `report(step, loss)` every 100 steps."""
    matrices, others = ([p for p in model.parameters() if (p.ndim == 2) is flat] for flat in (True, False))
    groups = [dict(params=matrices, weight_decay=0.1), dict(params=others, weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    rng = np.random.default_rng(TRAIN_SEED)
    for step in range(N_STEPS):
        falling = max(0.02, 0.5 * (1 + math.cos(math.pi * step / N_STEPS)))
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 100) * falling
        ids = draw_rows(stream, rng)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(ids, use_cache=False).logits
        loss = F.cross_entropy(logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
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
        if step % 500 == 0 or step == N_STEPS:
            scores = measure(model, tokenizer, held_out)
            line |= {name: round(float(np.max(value)), 3) for name, value in scores.items()}
            line["n_sinks"] = int((np.array(scores["sink"]) > 0.3).sum())
            model.save_pretrained(given.out)
            tokenizer.save_pretrained(given.out)
            (given.out / "training.json").write_text(json.dumps({**line, **scores}, indent=1) + "\n")
        print(json.dumps(line), flush=True)

    train(model, stream, report)


if __name__ == "__main__":
    main()
