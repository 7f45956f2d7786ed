"""Memory of the server over 500 actions: head, layer, page, input, colour and search changed by turns.

An action is one look over the websocket, as of a browser that follows links; after every 25 a new session begins.
Caches fill up to their bounds at first: the warm-up is as long as they take.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import numpy as np

from tests.e2e.serving import served
from tests.faults.sessions import Visitor, resident_mb, server_pid
from tests.store.synthetic import WORDS, make_synthetic_run

N_ACTIONS, WARM_UP, EVERY, OF_A_SESSION = 500, 250, 50, 25
PAGES = ("", "head", "input", "heads", "sinks", "runs")
COLOURS = ("kind", "position", "position_mod_4", "is_special")


def run(quick: bool = False) -> str:
    """Measure and return a markdown table."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        for name, seed in (("one", 0), ("two", 1)):
            make_synthetic_run(runs, name, n_layers=6, n_heads=12, n_inputs=30, n_tokens=60, d_head=32, seed=seed)
        with served(runs, Path(folder) / "log.txt") as address:
            sizes = resident(address, 100 if quick else N_ACTIONS, 50 if quick else WARM_UP)
    slope = np.polyfit(np.arange(len(sizes)) * EVERY, sizes, 1)[0]
    rows = [(f"after {EVERY * place} actions", f"{size:.0f} MB") for place, size in enumerate(sizes)]
    rows.append(("growth over all, by a straight line", f"{100 * slope:+.1f} MB in 100 actions"))
    return "\n".join(
        ["| resident memory of the server | measured |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]
    )


def resident(address: str, n_actions: int, warm_up: int, every: int = EVERY) -> list[float]:
    """MB after the warm-up, and after every so many actions from there."""
    chosen, pid, sizes = random.Random(0), server_pid(address), []
    look = {"run": "one", "site": "text.enc.self.0", "head": "0", "input": "0", "colour": "kind", "find": ""}
    for start in range(0, warm_up + n_actions, OF_A_SESSION):
        with Visitor(address) as visitor:
            for number in range(start, start + OF_A_SESSION):
                if number >= warm_up and (number - warm_up) % every == 0:
                    sizes.append(resident_mb(pid))
                page = act(look, chosen)
                answer = visitor.look(page, "&".join(f"{name}={value}" for name, value in look.items() if value))
                assert not answer.errors, answer.errors
    return [*sizes, resident_mb(pid)]


def act(look: dict[str, str], chosen: random.Random) -> str:
    """Change one thing of the address, and give the page to look at."""
    values = {
        "run": ("one", "two"),
        "site": [f"text.enc.self.{layer}" for layer in range(6)],
        "head": [str(head) for head in range(12)],
        "input": [str(number) for number in range(30)],
        "colour": COLOURS,
        "find": ["", *WORDS],
    }
    name = chosen.choice([*values, "head", "head", "input"])
    look[name] = chosen.choice(values[name])
    return chosen.choice(PAGES)


if __name__ == "__main__":
    print(run())
