"""What a bundle shows, as messages for the browser: those of the app, with what heads share said once."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.provenance import certificate_sentences, made_by
from analysis.types import Site
from app import cache
from app.cache import atlas, head_figures, whole
from app.charts.fidelity import fidelity_note, fidelity_rows, fidelity_short, sample_note
from app.charts.head_measures import in_families
from app.charts.head_table import summary
from app.charts.image_attention import patch_table
from app.components import pack, unpack
from app.components.scatter import spread
from app.palette import VIRIDIS
from app.sentences import stack_title
from app.state import EXPLAINED, KIND_COLOUR, Selection, resolve
from app.views.atlas import HINT
from app.views.atlas_parts import limits, matrix_message, score_words
from app.views.head import head_sentence, hint
from app.views.head_parts.picture import LINE_NAMES, SIZES, extra_message, map_message, patches_message, words_of
from app.views.input_parts.one_input import read_one
from app.views.input_parts.sources import StoredInput

FORMAT = 1
"""Of the data, as the viewer beside it reads them."""

OF_ONE_HEAD = ("name", "low", "high", "caution", "walk", "alt", "dims")
"""What the header of a head's map says of this head alone; the rest is said once, with the tokens."""


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
        return 2 + n_atlases + n_maps * n_heads + len(self.held) + self._has_patches

    def messages(self) -> Iterator[tuple[str, bytes]]:
        """Name and message of each file."""
        yield "about", self._about()
        yield "tokens", self._tokens()
        for place, name in enumerate(self.facts.maps or [None]):
            for colour in self.colours if name else [KIND_COLOUR]:
                yield f"atlas/{place}-{self.colours.index(colour)}", self._atlas(name, colour)
            for site in self.mapped if name else []:
                for head in range(site.n_heads):
                    yield f"head/{place}/{site.index}-{head}", self._head(name, site, head)
        for input_id in self.held:
            yield f"input/{input_id}", self._input(input_id)
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
            "scores": [self._of_score(name, table) for name in self._scores(table)],
            "heads": self._heads(table), "hint": HINT, "hints": hint(facts.sites[0]), "ramp": VIRIDIS,
            "lines": list(LINE_NAMES.items()), "is_text": bool(texts),
            "inputs": [
                {"id": each, "n_tokens": n, "held": each in self.held, "text": str(texts.get(each, ""))[:120]}
                for each, n in facts.n_tokens.items()
            ],
        }  # fmt: skip
        return pack(header, {})

    def _of_map(self, name: str) -> dict[str, Any]:
        known = cache.projection(self.facts.run, name)
        return {"name": name, **{word: known[word] for word in ("method", "target", "dims")}}

    def _of_site(self, site: Site) -> dict[str, Any]:
        return {
            "index": site.index, "label": site.label, "depth": site.depth, "stack": stack_title(site.stack_label),
            "n_heads": site.n_heads, "mapped": site in self.mapped, "is_cross": site.is_cross,
            "query_sequence": site.query_sequence, "key_sequence": site.key_sequence,
        }  # fmt: skip

    def _scores(self, table: pd.DataFrame) -> list[str]:
        return [*([EXPLAINED] if EXPLAINED in table else []), *in_families(self.facts.scores)]

    def _of_score(self, name: str, table: pd.DataFrame) -> dict[str, Any]:
        words = score_words(name)
        low, high = limits(table[name])
        title = words["title"].replace("_", " ")
        return {"name": name, "title": title, "unit": words["unit"], "meaning": words["high"], "low": low, "high": high}

    def _heads(self, table: pd.DataFrame) -> list[dict[str, Any]]:
        """One row a head: where it is, what it does in words, its names, its scores in the order of ``scores``."""
        labels, scores = head_figures.labels(self.facts.run), self._scores(table)
        rows = []
        for row in table.to_dict("records"):
            mine = labels[(labels["site"] == row["site"]) & (labels["head"] == row["head"])]
            names = [[each.label, round(each.strength, 2), each.because] for each in mine.itertuples()]
            values = [_figure(row[name]) for name in scores]
            rows.append(
                {"site": row["site"], "head": row["head"], "name": row["name"], "says": head_sentence(row),
                 "names": sorted(names, key=lambda each: -each[1]), "scores": values}
            )  # fmt: skip
        return rows

    # ---- what is drawn

    def _tokens(self) -> bytes:
        """What all heads share: tokens, texts, and the colours of all points."""
        run_id, tokens = self.facts.run, cache.tokens(self.facts.run)
        header, sections = {"n": len(tokens)}, {}
        if self.mapped:
            header, sections = self._first_map()
        columns = {name: tokens[name] for name in ("input_id", "position", "row", "column") if name in tokens}
        sections |= {f"at_{name}": values.fillna(-1).to_numpy(np.int32) for name, values in columns.items()}
        sections["special"] = tokens["is_special"].to_numpy(np.uint8)
        header["colours"] = []
        for place, name in enumerate(self.colours):
            colouring = atlas.colouring(run_id, name)
            header["colours"].append(colouring.as_dict())
            both = [colouring.queries, colouring.keys]
            sections[f"values{place}"] = np.concatenate(both if name == KIND_COLOUR else both[:1]).astype(np.float32)
        header["sizes"] = list(SIZES.items())
        if not self.mapped:
            words, texts = pd.factorize(tokens["text"].astype(str))
            header |= {"texts": list(texts), "input_texts": {str(i): t for i, t in cache.input_texts(run_id).items()}}
            sections["words"] = words.astype(np.uint32)
        return pack(header, sections)

    def _first_map(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        site, name = self.mapped[0], self.facts.maps[0]
        selection = self.selection.having(map=name, site=site.label, head=0, colour=KIND_COLOUR)
        header, sections = unpack(map_message(selection, self.facts, site, self._figures(name, site, 0)))
        left = {*OF_ONE_HEAD, "sections", "digest", "view", "frame", "site", "head", "colour", "size", "size_choices"}
        kept = {name: values for name, values in sections.items() if name not in ("places", "values")}
        return {name: value for name, value in header.items() if name not in left}, kept

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

    # ---- one input

    def _input(self, input_id: int) -> bytes:
        """One input with the attention of all heads: float32 [head, query, key] a site, and where it is allowed."""
        run, source, site = self.run, StoredInput(self.facts.run, input_id), self.facts.sites[0]
        header: dict[str, Any] = {"id": input_id, "n": len(source.tokens), "spans": {}}
        sections: dict[str, np.ndarray | bytes] = {}
        weights = run.shares_all(input_id)
        for each in self.facts.sites:
            places = run.query_positions(each, input_id), run.key_positions(each, input_id)
            header["spans"][str(each.index)] = [[int(of.min()), int(of.max()) + 1] for of in places]
            sections[f"weights{each.index}"] = whole.matrix(run, each, input_id, weights[each.key]).astype(np.float32)
            allowed = whole.matrix(run, each, input_id, run.allowed(each, input_id))
            sections[f"allowed{each.index}"] = allowed.astype(np.uint8)
        one = read_one(self.selection.having(input=input_id, site=site.label, head=0), source, [(site, 0)])
        if one.is_image:
            table = patch_table(np.zeros(len(source.tokens)), source.tokens)
            picture = base64.b64encode(source.image()).decode()
            image = f"data:image/png;base64,{picture}"
            header |= {"image": image, "boxes": _boxes(table), "names": list(table["name"])}
        else:
            header |= {"labels": one.labels, "pieces": [list(vars(piece).values()) for piece in one.pieces()]}
        return pack(header, sections)


def _boxes(table: pd.DataFrame) -> list[list[float]]:
    """Left, top, right and bottom of every token, in patches, and 1 where it is a patch of the picture."""
    columns = ["left", "top", "right", "bottom", "is_patch"]
    return table[columns].astype(float).round(4).to_numpy().tolist()


def _figure(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(f"{value:.4g}")
