"""What a bundle shows, as messages for the browser: those of the app, with what heads share said once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from analysis.provenance import certificate_sentences, made_by
from analysis.types import Site
from app import cache
from app.bundle.of_heads import exactly, pixels_message, sinks_message
from app.bundle.of_inputs import input_messages
from app.bundle.of_tokens import tokens_message
from app.cache import head_figures
from app.charts.fidelity import fidelity_note, fidelity_rows, fidelity_short, sample_note
from app.charts.head_measures import in_families
from app.charts.head_table import summary
from app.components import pack, unpack
from app.components.scatter import spread
from app.palette import TWILIGHT, VIRIDIS
from app.sentences import stack_title
from app.state import EXPLAINED, KIND_COLOUR, Selection, resolve
from app.views.atlas import HINT
from app.views.atlas_parts import matrix_message, score_words
from app.views.head import head_sentence, hint
from app.views.head_parts.map_choice import sinks_in_map
from app.views.head_parts.picture import LINE_NAMES, extra_message, patches_message, size_choices, words_of

FORMAT = 2
"""Of the data, as the viewer beside it reads them."""


class Contents:
    """All messages of a bundle of one run.

    Args:
        run_id: A run in the folder of the runs.
        held: Inputs whose attention goes along.
    """

    def __init__(self, run_id: str, held: Sequence[int]) -> None:
        self.facts = cache.facts(run_id)
        self.run = cache.run(run_id)
        self.selection, _ = resolve(Selection().having(run=run_id), self.facts)
        self.held = list(held)
        self.mapped = [site for site in self.facts.sites if site.has_vectors and self.facts.maps]
        self.colours = [KIND_COLOUR, *self.facts.columns]

    @property
    def n_files(self) -> int:
        """How many messages there are."""
        n_heads = sum(site.n_heads for site in self.mapped)
        n_maps = len(self.facts.maps)
        n_atlases = max(n_maps, 1) * (len(self.colours) if n_maps else 1)
        return 3 + n_atlases + n_maps * (n_heads + 1) + len(self.held) + self._has_patches

    def messages(self) -> Iterator[tuple[str, bytes]]:
        """Name and message of each file."""
        yield "about", self._about()
        yield "tokens", tokens_message(self.selection, self.facts, self.colours, self.mapped)
        yield "sinks", sinks_message(self.selection, self.facts)
        for place, name in enumerate(self.facts.maps or [None]):
            for colour in self.colours if name else [KIND_COLOUR]:
                yield f"atlas/{place}-{self.colours.index(colour)}", self._atlas(name, colour)
            if name:
                yield f"pixels/{place}", pixels_message(self.facts, name)
            for site in self.mapped if name else []:
                for head in range(site.n_heads):
                    yield f"head/{place}/{site.index}-{head}", self._head(name, site, head)
        for input_id, message in input_messages(self.selection, self.facts, self.held):
            yield f"input/{input_id}", message
        if self._has_patches:
            yield "patches", patches_message(self.selection)

    @property
    def _has_patches(self) -> bool:
        return bool(self.mapped) and not cache.input_texts(self.facts.run)

    # ---- what is known of the run

    def _about(self) -> bytes:
        facts, manifest = self.facts, self.run.manifest
        texts, table = cache.input_texts(facts.run), cache.heads(facts.run, self.selection.map)
        header = {
            "format": FORMAT, "run": facts.run, "made": list(made_by(manifest)),
            "exactly": certificate_sentences(self.run.certificate), "notes": list(manifest.get("notes") or []),
            "summary": summary(table), "maps": [self._of_map(name) for name in facts.maps],
            "sites": [self._of_site(site) for site in facts.sites],
            "colours": [[name, name.replace("_", " ")] for name in self.colours],
            "scores": [self._of_score(name) for name in self._scores(table)],
            "heads": self._heads(table), "hint": HINT, "hints": hint(facts.sites[0]), "ramp": VIRIDIS,
            "circle": TWILIGHT, "head_scores": [self._of_score(name) for name in facts.scores],
            "sizes": list(size_choices(self.selection)), "has_written": "written" in cache.tokens(facts.run),
            "lines": list(LINE_NAMES.items()), "is_text": bool(texts),
            "inputs": [
                {"id": each, "n_tokens": n, "held": each in self.held, "text": str(texts.get(each, ""))[:120]}
                for each, n in facts.n_tokens.items()
            ],
        }  # fmt: skip
        return pack(header, {})

    def _of_map(self, name: str) -> dict[str, Any]:
        """What a map is, and how much of each head's attention it explains, in the order of ``heads``."""
        known, table = cache.projection(self.facts.run, name), cache.heads(self.facts.run, name)
        return {
            "name": name, **{word: known[word] for word in ("method", "target", "dims")},
            "without_sinks": self.facts.without_sinks.get(name),
            "sinks": sinks_in_map(self.selection.having(map=name)),
            "explains": exactly(table[EXPLAINED]) if EXPLAINED in table else None, "summary": summary(table),
        }  # fmt: skip

    def _of_site(self, site: Site) -> dict[str, Any]:
        return {
            "index": site.index, "label": site.label, "depth": site.depth, "stack": stack_title(site.stack_label),
            "n_heads": site.n_heads, "mapped": site in self.mapped, "is_cross": site.is_cross,
            "query_sequence": site.query_sequence, "key_sequence": site.key_sequence,
        }  # fmt: skip

    def _scores(self, table: pd.DataFrame) -> list[str]:
        return [*([EXPLAINED] if EXPLAINED in table else []), *in_families(self.facts.scores)]

    def _of_score(self, name: str) -> dict[str, Any]:
        words = score_words(name)
        return {
            "name": name,
            "title": words["title"].replace("_", " "),
            "unit": words["unit"],
            "meaning": words["high"],
        }

    def _heads(self, table: pd.DataFrame) -> list[dict[str, Any]]:
        """One row a head: where it is, what it does in words, its names, its scores in the order of ``scores``."""
        labels, scores = head_figures.labels(self.facts.run), self._scores(table)
        rows = []
        for row in table.to_dict("records"):
            mine = labels[(labels["site"] == row["site"]) & (labels["head"] == row["head"])]
            names = [[each.label, round(each.strength, 2), each.because] for each in mine.itertuples()]
            values = exactly(row[name] for name in scores)
            rows.append(
                {"site": row["site"], "head": row["head"], "name": row["name"], "says": head_sentence(row),
                 "names": sorted(names, key=lambda each: -each[1]), "scores": values}
            )  # fmt: skip
        return rows

    # ---- what is drawn

    def _atlas(self, map_name: str | None, colour: str) -> bytes:
        selection = self.selection.having(map=map_name, colour=colour)
        heads = cache.heads(self.facts.run, map_name)
        return matrix_message(selection, self.facts, heads, None, "layer", None)

    def _head(self, map_name: str, site: Site, head: int) -> bytes:
        """Places and ties of one head, and how far its map can be believed."""
        selection = self.selection.having(map=map_name, site=site.label, head=head)
        figures = self._figures(map_name, site, head)
        places, extent = spread(*cache.points(self.facts.run, map_name, site.label, head))
        _, more = unpack(extra_message(selection))
        target = cache.projection(self.facts.run, map_name)["target"]
        parameters = cache.head_parameters(self.facts.run, map_name, site.label, head)
        notes = [note for note in (fidelity_note(figures), sample_note(parameters)) if note]
        said = {"fidelity": [fidelity_short(figures, target), *notes], "figures": fidelity_rows(figures, target)}
        return pack({**words_of(selection, self.facts, site, figures), **extent, **said}, {"places": places, **more})

    def _figures(self, map_name: str, site: Site, head: int) -> dict[str, Any]:
        heads = cache.heads(self.facts.run, map_name)
        return heads[(heads["site"] == site.label) & (heads["head"] == head)].iloc[0].to_dict()
