"""Train the demo vision model: a ViT of 6 layers x 6 heads that names the largest object of a scene (24 classes).

Two choices give it heads worth looking at: position embeddings start as two-dimensional sinusoids, so neighbours are
alike from the start (local heads), and during training every patch must also tell what it shows: background, clutter or
which of the 24 objects (object-following heads). That second output is thrown away afterwards. The last phase charges
a small price for looking at many patches at once and, in the first two layers, for looking far: the heads become clean.

    python data/demo/train_vision.py [--out data/demo/vision]
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
from generate_scenes import CLASSES, SIDE, Scene, make_scene
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

N_LAYERS, N_HEADS, WIDTH, IMAGE, PATCH = 6, 6, 144, 64, 8
MODEL_SEED, HELD_OUT_SEED, N_TRAIN = 0, 10_000, 12_000
GRID = IMAGE // PATCH


def make_processor() -> ViTImageProcessorPil:
    return ViTImageProcessorPil(
        size=dict(height=IMAGE, width=IMAGE), resample=Image.Resampling.BILINEAR,
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )


def make_model(seed: int) -> ViTForImageClassification:
    torch.manual_seed(seed)
    model = ViTForImageClassification(ViTConfig(
        hidden_size=WIDTH, num_hidden_layers=N_LAYERS, num_attention_heads=N_HEADS, intermediate_size=4 * WIDTH,
        image_size=IMAGE, patch_size=PATCH, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        id2label=dict(enumerate(CLASSES)), label2id={name: i for i, name in enumerate(CLASSES)},
    ))
    model.set_attn_implementation("eager")  # the backward pass of the fused kernel is slow in bfloat16 on a CPU
    row, column = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    rates = torch.linspace(0.3, 1.6, WIDTH // 4)
    angle = torch.cat([row.reshape(-1, 1) * rates, column.reshape(-1, 1) * rates], dim=1)
    model.vit.embeddings.position_embeddings.data[0, 1:] = 0.2 * torch.cat([angle.sin(), angle.cos()], dim=1)
    return model


def encode(scenes: list[Scene], processor: ViTImageProcessorPil) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pixels [scene, 3, 64, 64], label ids [scene], and for every patch the commonest thing in it [scene, row, column].

    Patch ids: 0 to 23 a class, 24 background, 25 clutter.
    """
    pixels = processor([scene.pixels for scene in scenes], return_tensors="pt")["pixel_values"]
    ids = {name: i for i, name in enumerate([*CLASSES, "background", "clutter"])}
    labels = torch.tensor([ids[scene.label] for scene in scenes])
    cell, patches = SIDE // GRID, []
    for scene in scenes:
        cells = scene.mask.reshape(GRID, cell, GRID, cell).transpose(0, 2, 1, 3).reshape(GRID, GRID, -1)
        counts = np.stack([(cells == i).sum(-1) for i in range(len(scene.names))], axis=-1)
        patches.append(np.array([ids[name] for name in scene.names])[counts.argmax(-1)])
    return pixels, labels, torch.from_numpy(np.stack(patches))


def make_scenes(seed: int, n: int) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [make_scene(rng) for _ in range(n)]


def turned(pixels: torch.Tensor, patches: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch mirrored and turned by a quarter, the same for all of its scenes: no class changes by it."""
    quarter, mirror = int(rng.integers(4)), rng.random() < 0.5
    pixels, patches = torch.rot90(pixels, quarter, (-2, -1)), torch.rot90(patches, quarter, (-2, -1))
    return (pixels.flip(-1), patches.flip(-1)) if mirror else (pixels, patches)


@dataclass
class Phase:
    """`seed` of the scenes and of their order; prices in nats, mean over heads and queries: for each nat of entropy of
    the attention, and in the first two layers for each patch of distance beyond the neighbours.
    """

    seed: int
    steps: int
    rate: float
    price_of_spreading: float = 0.0
    price_of_distance: float = 0.0

    def rate_at(self, step: int) -> float:
        fall = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.rate * min(1, (step + 1) / 100) * (0.02 + 0.98 * fall)

    def price(self, attentions: tuple[torch.Tensor, ...]) -> torch.Tensor:
        weights = torch.stack(attentions)[..., 1:, :].float()  # layer, image, head, query (no CLS), key
        spot = torch.cartesian_prod(torch.arange(GRID), torch.arange(GRID)).float()
        beyond = F.pad(F.relu(torch.cdist(spot, spot) - 1.5), (1, 0))  # looking at CLS is free
        spreading = -(weights * (weights + 1e-9).log()).sum(-1).mean()
        return self.price_of_spreading * spreading + self.price_of_distance * (weights[:2] * beyond).sum(-1).mean()


PHASES = [Phase(0, 1600, 1.5e-3), Phase(1, 700, 8e-4)]
PHASES += [Phase(2, 800, 1e-3, price_of_spreading=0.06, price_of_distance=0.06)]


def train(model: ViTForImageClassification, data: tuple, phase: Phase, report) -> None:
    """Muon for the matrices, AdamW for the rest, batches of 64; `report(step, loss)` is called every 100 steps."""
    rng, (pixels, labels, patches) = np.random.default_rng(phase.seed), data
    patch_head = torch.nn.Linear(WIDTH, len(CLASSES) + 2)
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "layer" in name]
    others = [p for p in [*model.parameters(), *patch_head.parameters()] if not any(p is m for m in matrices)]
    optimizers = [torch.optim.Muon(matrices, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
                  torch.optim.AdamW(others, weight_decay=0.01)]
    for step in range(phase.steps):
        for group in [g for optimizer in optimizers for g in optimizer.param_groups]:
            group["lr"] = phase.rate_at(step)
        chosen = torch.from_numpy(rng.integers(len(pixels), size=64))
        seen, patch_ids = turned(pixels[chosen], patches[chosen], rng)
        with torch.autocast("cpu", torch.bfloat16):
            out = model.vit(seen, output_attentions=True)
            hidden = out.last_hidden_state
            named, patch_named = model.classifier(hidden[:, 0]), patch_head(hidden[:, 1:])
        loss = F.cross_entropy(named.float(), labels[chosen])
        total = loss + 0.5 * F.cross_entropy(patch_named.float().flatten(0, 1), patch_ids.flatten())
        if phase.price_of_spreading:
            total = total + phase.price(out.attentions)
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % 100 == 99 or step == phase.steps - 1:
            report(step + 1, loss.item())


@torch.no_grad()
def accuracy(model: ViTForImageClassification, data: tuple) -> float:
    model.eval()
    right = torch.cat([model(block).logits.argmax(-1) for block in data[0].split(100)]) == data[1]
    model.train()
    return right.float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "vision")
    given, start = parser.parse_args(), time.time()
    torch.set_num_threads(2)
    processor, model = make_processor(), make_model(MODEL_SEED)
    held_out = encode(make_scenes(HELD_OUT_SEED, 1000), processor)

    def report(step: int, loss: float) -> None:
        line = dict(step=step, seconds=round(time.time() - start), train_loss=round(loss, 4))
        if step % 500 == 0 or step == phase.steps:
            line["held_out_accuracy"] = round(accuracy(model, held_out), 4)
            model.save_pretrained(given.out)
            processor.save_pretrained(given.out)
            (given.out / "training.json").write_text(json.dumps(line, indent=1) + "\n")
        print(json.dumps(line), flush=True)

    for phase in PHASES:
        train(model, encode(make_scenes(phase.seed, N_TRAIN), processor), phase, report)


if __name__ == "__main__":
    main()
