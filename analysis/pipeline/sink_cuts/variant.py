"""Which sinks are cut from which heads, and what becomes of their attention; and what the results are called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.errors import UnknownName, UserError
from analysis.sinks import USUAL, SinkRule
from analysis.sinks.image_centric import IMAGE_SHARE, SINK_PART
from analysis.types import head_name

if TYPE_CHECKING:
    from analysis.types import Site

MODES = ("mask", "redistribute")
KEEP = 0.6
"""Share of their attention that sinks keep, as published."""

FOUND, SPECIAL, POSITION, TOKEN = "found", "special", "position", "token"
ALL, IMAGE_CENTRIC = "all", "image-centric"

_HEAD = re.compile(r"L(\d+)H(\d+)", re.IGNORECASE)
_MOST_NAMED = 4


@dataclass(frozen=True)
class CutVariant:
    """One way to cut sinks.

    Attributes:
        sinks: ``found``: in each head and input by `rule`; ``special``: all special tokens; ``position:0``; or
            ``token:.``, all tokens that read so.
        heads: ``all``; names such as ``L2H3,L4H1``; or ``image-centric``: only where a head looks at the image and not
            mostly at sinks in it, the last layer left out.
        mode: ``mask``: the sinks get nothing, and the softmax spreads over the others; ``redistribute``: they keep a
            part of what they have, and the rest goes to all other keys, in image-centric heads to patches that are no
            sinks, in proportion to what those have.
        keep: Share that sinks keep when redistributing, 0 up to but not 1.
        rule: From how much attention on a token is a sink, where sinks are found.
        image_share: Of image-centric heads; see `analysis.sinks.image_centric`.
        sink_part: Of image-centric heads; see `analysis.sinks.image_centric`.
        by: ``layer``: the sinks are cut in one layer at a time; None: in all chosen heads at once.
    """

    sinks: str = FOUND
    heads: str = ALL
    mode: str = "mask"
    keep: float | None = None
    rule: SinkRule = USUAL
    image_share: float = IMAGE_SHARE
    sink_part: float = SINK_PART
    by: str | None = None

    def check(self, modality: str) -> None:
        """Say what cannot be read or does not go together.

        Raises:
            UserError: An unknown word, a number out of range, or a variant that means nothing for this kind of input.
        """
        kind, value = self.sinks_asked
        unreadable = kind not in (FOUND, SPECIAL, POSITION, TOKEN) or (value is None) != (kind in (FOUND, SPECIAL))
        if unreadable or (kind == POSITION and not str(value).isdecimal()) or value == "":
            raise UserError(
                f"--sinks expects found, special, position:N (counted from 0) or token:TEXT; got {self.sinks[:80]!r}."
            )
        if self.mode not in MODES:
            raise UserError(f"The mode {self.mode!r} is not known: choose {' or '.join(MODES)}.")
        if self.mode == "mask" and self.keep is not None:
            raise UserError("Masked sinks keep nothing: leave out --keep, or choose --mode redistribute.")
        if not 0 <= self.kept < 1:
            raise UserError(f"--keep is {self.keep:g}; give the share that sinks keep, from 0 up to but not 1.")
        for name, share in (("--image-share", self.image_share), ("--sink-part", self.sink_part)):
            if not 0 <= share <= 1:
                raise UserError(f"{name} is {share:g}; give a share from 0 to 1.")
        if self.by not in (None, "layer"):
            raise UserError(f"Sinks can be cut by layer, or in all chosen heads at once; got --by {self.by!r}.")
        if self.heads == IMAGE_CENTRIC and modality != "vision":
            raise UserError(
                "Image-centric heads are of images, and this run holds texts: choose --heads all or names such as L2H3."
            )
        if self.heads not in (ALL, IMAGE_CENTRIC):
            self.named_heads()

    @property
    def sinks_asked(self) -> tuple[str, str | None]:
        """The kind of sinks, and the position or text that it names."""
        kind, colon, value = self.sinks.partition(":")
        return kind, value if colon else None

    @property
    def kept(self) -> float:
        """Share of their attention that sinks keep."""
        if self.mode == "mask":
            return 0.0
        return KEEP if self.keep is None else self.keep

    def named_heads(self) -> list[tuple[int, int]]:
        """Layer and head of every head that is named, rising.

        Raises:
            UserError: They cannot be read.
        """
        found = [_HEAD.fullmatch(part.strip()) for part in self.heads.split(",")]
        if not all(found):
            raise UserError(f"--heads expects all, image-centric or names such as L2H3,L4H1; got {self.heads[:80]!r}.")
        return sorted({(int(match[1]), int(match[2])) for match in found})

    def heads_of(self, sites: Sequence[Site]) -> dict[str, list[int]]:
        """The heads that are meant, by site key; sites without any are left out.

        Raises:
            UnknownName: A head that there is not.
        """
        if self.heads == IMAGE_CENTRIC:
            last = {site.stack_label: site.depth for site in sites}
            sites = [site for site in sites if site.depth < last[site.stack_label]]
        if self.heads in (ALL, IMAGE_CENTRIC):
            return {site.key: list(range(site.n_heads)) for site in sites}
        named = self.named_heads()
        known = {(site.depth, head) for site in sites for head in range(site.n_heads)}
        if missing := [head_name(*head) for head in named if head not in known]:
            first, last = head_name(*min(known)), head_name(*max(known))
            raise UnknownName(f"There is no head {missing[0]} whose attention can be cut; known: {first} to {last}.")
        chosen = {site.key: [head for depth, head in named if depth == site.depth] for site in sites}
        return {key: heads for key, heads in chosen.items() if heads}

    @property
    def name(self) -> str:
        """Made of all settings that are not the usual ones; letters, digits, ``-``, ``_`` and ``.``."""
        kind, value = self.sinks_asked
        parts = [kind] if value is None else [kind, str(int(value)) if kind == POSITION else _plain(value)]
        if kind == FOUND:
            parts += [f"t{self.rule.threshold:g}"] * (self.rule.threshold != USUAL.threshold)
            parts += [f"q{self.rule.min_queries}"] * (self.rule.min_queries != USUAL.min_queries)
            parts += ["own"] * self.rule.counts_own
        parts.append(self._heads_name())
        if self.heads == IMAGE_CENTRIC:
            parts += [f"i{self.image_share:g}"] * (self.image_share != IMAGE_SHARE)
            parts += [f"p{self.sink_part:g}"] * (self.sink_part != SINK_PART)
        parts.append(self.mode if self.mode == "mask" else f"{self.mode}-{self.kept:g}")
        return "-".join(["cut", *parts, *(["by-layer"] if self.by else [])])

    def _heads_name(self) -> str:
        if self.heads in (ALL, IMAGE_CENTRIC):
            return self.heads
        names = [head_name(*head) for head in self.named_heads()]
        return "-".join(names) if len(names) <= _MOST_NAMED else f"{len(names)}-heads-{_digest('-'.join(names))}"


def _plain(text: str) -> str:
    """A token's text in letters that a file name may have, as in ``x2e`` for a full stop."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else f"x{ord(letter):x}" for letter in text)
    return plain if len(plain) <= 16 else _digest(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
