"""Head metrics against pencil and closed forms, and what every registered metric promises."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.metrics import METRICS, ON_DATA, ON_PROBES, ON_SAMPLE, AttentionMap, metric_names
from analysis.metrics.over_inputs import score_batch, score_input
from analysis.metrics.tokens import TokenFacts, Tokens
from analysis.types import Band

PENCIL = np.array([[[1, 0, 0, 0], [0.75, 0.25, 0, 0], [0.5, 0.25, 0.25, 0], [0.25, 0.25, 0.25, 0.25]]])
BOTH_WAYS = np.array([[[0.5, 0.5, 0, 0], [0, 0, 1, 0], [0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1]]])
WORDS = Tokens(
    identity=np.array([[0, 1, 2, 1]]),
    special=np.array([[True, False, False, False]]),
    cls=np.array([[True, False, False, False]]),
    separator=np.array([[False, False, False, True]]),
    punctuation=np.array([[False, False, True, False]]),
    sentence=np.array([[-1, 0, 0, 1]]),
    segment=np.array([[-1, 0, 1, 1]]),
    label=np.array([[-1, 3, 3, 4]]),
)
CAUSAL = AttentionMap.of_one(PENCIL, Band(right=0).allowed(4), WORDS)
FULL = AttentionMap.of_one(BOTH_WAYS, Band().allowed(4), WORDS)
PATCHES = Tokens(row=np.array([[-1, 0, 0, 1, 1]]), column=np.array([[-1, 0, 1, 0, 1]]))
"""CLS and a square of four patches."""


def _score(attended: AttentionMap, name: str) -> tuple[float, float]:
    value, null = score_input(attended, [name])[name]
    return value[0], null[0]


@pytest.mark.parametrize(
    ("name", "value", "null"),
    [
        # Row 0 has one allowed key and is left out of all of them.
        ("entropy", (0.8112781245 + 1.5 + 2) / 3, (1 + np.log2(3) + 2) / 3),
        ("entropy_share", (0.8112781245 + 1.5 / np.log2(3) + 1) / 3, 1),
        ("effective_keys", (2**0.8112781245 + 2**1.5 + 4) / 3, (2 + 3 + 4) / 3),
        # 0.75 + 0.25 are needed for 0.9, then all three, then all four.
        ("keys_for_mass", (2 + 3 + 4) / 3, (2 + 3 + 4) / 3),
        ("dominant_key", 0, 0),
        ("attention_distance", (0.75 + (0.5 * 2 + 0.25) + 0.25 * (3 + 2 + 1)) / 3, (0.5 + 1 + 1.5) / 3),
        ("self_token", (0.25 + 0.25 + 0.25) / 3, (1 / 2 + 1 / 3 + 1 / 4) / 3),
        ("previous_token", (0.75 + 0.25 + 0.25) / 3, (1 / 2 + 1 / 3 + 1 / 4) / 3),
        ("first_token", (0.75 + 0.5 + 0.25) / 3, (1 / 2 + 1 / 3 + 1 / 4) / 3),
        ("special_share", (0.75 + 0.5 + 0.25) / 3, (1 / 2 + 1 / 3 + 1 / 4) / 3),
        ("cls_share", (0.75 + 0.5 + 0.25) / 3, (1 / 2 + 1 / 3 + 1 / 4) / 3),
        # Only query 3 sees the separator, queries 2 and 3 the punctuation mark.
        ("separator_share", 0.25, 0.25),
        ("punctuation_share", (0.25 + 0.25) / 2, (1 / 3 + 1 / 4) / 2),
        # Query 3 has the token of query 1; no other token returns.
        ("same_token", 0.25, 0.25),
        # Query 2 stays in its sentence with position 1, but sees no other sentence; query 3 is alone in its own.
        ("same_sentence", np.nan, np.nan),
        # Query 2 sees segment 0 and is alone in its own; query 3 has position 2.
        ("same_segment", 0.25, 0.25),
        ("same_label", np.nan, np.nan),
    ],
)
def test_four_causal_tokens_worked_out_by_hand(name, value, null):
    assert _score(CAUSAL, name) == pytest.approx((value, null), abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "value", "null"),
    [
        ("entropy", (1 + 0 + 2 - 0.7 * np.log2(0.7) - 0.3 * np.log2(0.1)) / 4, 2),
        ("dominant_key", 1 / 4, 0),
        ("keys_for_mass", (2 + 1 + 4 + 3) / 4, 4),
        ("attention_distance", (0.5 + 1 + 0.25 * (2 + 1 + 1) + 0.7 * 3 + 0.1 * 2 + 0.1) / 4, (6 + 4 + 4 + 6) / 16),
        ("next_token", (0.5 + 1 + 0.25) / 3, 0.25),
        ("last_token", (0 + 0 + 0.25) / 3, 0.25),
        ("cls_share", (0.5 + 0 + 0.25 + 0.7) / 4, 0.25),
        ("separator_share", (0 + 0 + 0.25 + 0.1) / 4, 0.25),
        ("same_token", (0 + 0.1) / 2, 0.25),
        # Queries 1 and 2 have each other and see sentence 1; query 3 is alone in its own.
        ("same_sentence", (1 + 0.25) / 2, 0.25),
        ("same_segment", (0.25 + 0.1) / 2, 0.25),
        ("same_label", (1 + 0.25) / 2, 0.25),
    ],
)
def test_four_tokens_that_look_both_ways_worked_out_by_hand(name, value, null):
    assert _score(FULL, name) == pytest.approx((value, null), abs=1e-6)


def test_mutual_information_by_hand_and_its_limits():
    # p(k) of the two rows below is (3/4, 1/4); MI = H(3/4, 1/4) - mean row entropy = 0.8113 - 0.5.
    two = AttentionMap.of_one(np.array([[[1, 0], [0.5, 0.5]]]), Band().allowed(2))
    assert _score(two, "nmi")[0] == pytest.approx((0.8112781 - 0.5) / np.sqrt(0.8112781), abs=1e-6)
    full = Band().allowed(6)
    assert _score(AttentionMap.of_one(np.eye(6)[None], full), "nmi")[0] == pytest.approx(1, abs=1e-6)
    collapsed = np.tile([0.5, 0.2, 0.1, 0.1, 0.1, 0], (6, 1))
    value, null = _score(AttentionMap.of_one(collapsed[None], full), "nmi")
    assert value == pytest.approx(0, abs=1e-6)
    assert null > 0.1  # the same rows with their peaks moved about
    sink = np.zeros((1, 6, 6))
    sink[..., 0] = 1
    assert _score(AttentionMap.of_one(sink, full), "nmi")[0] == 0


def test_closed_forms_on_full_attention():
    n = 6
    full = np.ones((n, n), dtype=bool)
    uniform = AttentionMap.of_one(np.full((1, n, n), 1 / n), full)
    assert _score(uniform, "entropy") == pytest.approx((np.log2(n), np.log2(n)), abs=1e-6)
    assert _score(uniform, "effective_keys") == pytest.approx((n, n), abs=1e-5)
    assert _score(uniform, "keys_for_mass") == (n, n)
    assert _score(uniform, "nmi") == pytest.approx((0, 0), abs=1e-6)
    for name in ("self_token", "previous_token", "next_token", "first_token", "last_token"):
        assert _score(uniform, name) == pytest.approx((1 / n, 1 / n))
    identity = AttentionMap.of_one(np.eye(n)[None], full)
    assert _score(identity, "self_token")[0] == 1
    assert _score(identity, "entropy")[0] == 0
    assert _score(identity, "attention_distance")[0] == 0
    assert _score(identity, "dominant_key")[0] == 1
    shifted = AttentionMap.of_one(np.eye(n, k=-1)[None] + np.eye(n)[0] * np.eye(n)[0][:, None], full)
    assert _score(shifted, "previous_token")[0] == 1
    ahead = AttentionMap.of_one(np.eye(n, k=1)[None] + np.eye(n)[-1] * np.eye(n)[-1][:, None], full)
    assert _score(ahead, "next_token")[0] == 1
    assert _score(ahead, "attention_distance")[0] == pytest.approx((n - 1) / n)


def test_ten_equal_weights_need_nine_for_nine_tenths():
    attended = AttentionMap.of_one(np.full((1, 10, 10), 0.1), np.ones((10, 10), dtype=bool))
    assert _score(attended, "keys_for_mass") == (9, 9)


def test_four_patches_and_cls_by_hand():
    """CLS takes half of every row; what is left is scaled to sum to 1."""
    attention = np.full((1, 5, 5), 0.1)
    attention[0, :, 0] = 0.5
    attention[0, 1:, 1:] = 0.5 * np.array([[0, 1, 0, 0], [0.5, 0, 0, 0.5], [0, 0, 1, 0], [0.25] * 4])
    attention[0, 0, 1:] = 0.125
    image = AttentionMap.of_one(attention, Band().allowed(5), PATCHES)
    # 1 step; twice half a step; none; a quarter each of 1.41, 1, 1 and 0.
    steps = (1 + 1 + 0 + (np.sqrt(2) + 2) / 4) / 4
    assert _score(image, "attention_distance") == pytest.approx((steps, (np.sqrt(2) + 2) / 4), abs=1e-6)
    # Weights as they are, own patch left out: 0.5, 0.25, 0, 0.125 along rows and 0, 0.25, 0, 0.125 along columns.
    assert _score(image, "same_row") == pytest.approx((0.875 / 4, 1 / 5), abs=1e-6)
    assert _score(image, "same_column") == pytest.approx((0.375 / 4, 1 / 5), abs=1e-6)
    inside = attention[0, 1:, 1:] * 2
    plain = AttentionMap.of_one(inside[None], Band().allowed(4))
    assert _score(image, "nmi")[0] == pytest.approx(_score(plain, "nmi")[0], abs=1e-6)


def _grid(side: int) -> Tokens:
    return Tokens(row=np.repeat(np.arange(side), side)[None], column=np.tile(np.arange(side), side)[None])


def test_a_head_that_looks_one_patch_to_the_left_is_offset_local_and_one_that_looks_all_round_is_not():
    side = 7
    tokens, n = _grid(side), side * side
    row, column = tokens.row[0], tokens.column[0]
    down, right = row[None] - row[:, None], column[None] - column[:, None]
    left = ((down == 0) & (right == -1)).astype(float)
    left[column == 0, np.flatnonzero(column == 0)] = 1  # nothing to the left: itself
    box = (np.maximum(abs(down), abs(right)) <= 1).astype(float)
    box /= box.sum(axis=1, keepdims=True)
    heads = np.stack([left, np.eye(n), box])
    value, null = score_input(AttentionMap.of_one(heads, np.ones((n, n), dtype=bool), tokens), ["offset_local"])[
        "offset_local"
    ]
    # The six columns that have a left neighbour fill the left box; the first column looks at itself, which both have.
    assert value == pytest.approx([6 / 7, 0, 0], abs=0.03)
    assert value[0] == pytest.approx(6 / 7, abs=1e-6)
    # The same weights, moved about row by row, favour no side much.
    assert (null < 0.2).all()


def test_images_of_two_sizes_are_scored_as_alone():
    small, large = _grid(3), _grid(4)
    rng = np.random.default_rng(5)
    maps = [rng.dirichlet(np.ones(n), size=(2, n)).astype(np.float32) for n in (9, 16)]
    attention, allowed = np.zeros((2, 2, 16, 16), np.float32), np.zeros((2, 16, 16), bool)
    facts = TokenFacts(
        np.array([0, 9, 25]),
        {name: np.concatenate([getattr(small, name)[0], getattr(large, name)[0]]) for name in ("row", "column")},
    )
    for place, one in enumerate(maps):
        attention[place, :, : one.shape[1], : one.shape[1]] = one
        allowed[place, : one.shape[1], : one.shape[1]] = True
    names = ["attention_distance", "same_row", "offset_local", "nmi", "entropy", "same_column"]
    together = score_batch(AttentionMap(attention, allowed, facts.batch([0, 1], 16)), names)
    for place, (one, tokens) in enumerate(zip(maps, (small, large), strict=True)):
        alone = score_input(AttentionMap.of_one(one, np.ones(one.shape[1:], dtype=bool), tokens), names)
        for name in names:
            assert together[name][0][place] == pytest.approx(alone[name][0], abs=1e-6), name
            assert together[name][1][place] == pytest.approx(alone[name][1], abs=1e-6), name


@pytest.mark.parametrize("name", ["entropy", "entropy_share", "effective_keys", "keys_for_mass", "dominant_key", "nmi"])
def test_renaming_the_keys_changes_no_measure_of_spread(name):
    rng = np.random.default_rng(4)
    weights = rng.dirichlet(np.full(9, 0.3), size=(3, 9)).astype(np.float32)
    full = np.ones((9, 9), dtype=bool)
    renamed = weights[..., rng.permutation(9)]
    before, after = (score_input(AttentionMap.of_one(part, full), [name])[name][0] for part in (weights, renamed))
    assert after == pytest.approx(before, abs=1e-6)
    # And each row by itself, but for the measure that compares rows.
    apart = rng.permuted(weights, axis=-1)
    moved = score_input(AttentionMap.of_one(apart, full), [name])[name][0]
    assert (moved == pytest.approx(before, abs=1e-6)) is (name != "nmi")


def test_a_learned_sink_is_one_more_outcome_of_the_entropy():
    halves = AttentionMap.of_one(np.full((1, 2, 2), 0.25), np.ones((2, 2), dtype=bool))
    assert _score(halves, "entropy")[0] == pytest.approx(1.5)  # 1/4, 1/4 and the sink's 1/2


def test_a_window_that_does_not_reach_the_first_token_leaves_the_row_out():
    allowed = Band(left=1, right=0).allowed(4)
    attention = allowed / allowed.sum(axis=1, keepdims=True)
    value, _ = _score(AttentionMap.of_one(attention[None], allowed), "first_token")
    assert value == pytest.approx(0.5)  # only query 1 reaches position 0


@pytest.mark.parametrize("name", ["cls_share", "separator_share", "same_row", "same_label", "offset_local"])
def test_what_the_tokens_do_not_have_is_absent(name):
    unknown = replace(FULL, tokens=Tokens())
    assert np.isnan(_score(unknown, name)).all()


@pytest.mark.parametrize("name", ["next_token", "last_token"])
def test_causal_attention_has_nothing_ahead(name):
    assert np.isnan(_score(CAUSAL, name)).all()


IMAGES_ONLY = ("same_row", "same_column", "offset_local")


@pytest.mark.parametrize("name", metric_names(ON_DATA))
class TestEveryMetricOnData:
    def _random(self, name: str, n_tokens: int, band: Band) -> AttentionMap:
        """Random rows of five heads on one input whose tokens are of every kind; patches only where they are needed."""
        rng = np.random.default_rng(3)
        allowed = band.allowed(n_tokens)
        weights = rng.gamma(0.3, size=(5, n_tokens, n_tokens)) * allowed
        numbers = {field: rng.integers(0, 3, (1, n_tokens)) for field in ("identity", "sentence", "segment", "label")}
        place = np.arange(n_tokens)[None]
        flags = {"special": place == 0, "cls": place == 0, "separator": place == 1, "punctuation": place == 2}
        flags["written"] = place >= 4
        side = int(np.ceil(np.sqrt(n_tokens)))
        grid = {"row": place // side, "column": place % side} if name in IMAGES_ONLY else {}
        tokens = Tokens(**numbers, **flags, **grid)
        return AttentionMap.of_one(weights / weights.sum(axis=-1, keepdims=True), allowed, tokens)

    @pytest.mark.parametrize("band", [Band(), Band(right=0), Band(left=4, right=0), Band(4, 4)])
    def test_gives_one_finite_figure_per_head_and_leaves_its_input_alone(self, name, band):
        attended = self._random(name, 9, band)
        before = attended.attention.copy()
        value, null = score_input(attended, [name])[name]
        assert value.shape == null.shape == (5,)
        is_told = not (band.right == 0 and name in ("next_token", "last_token"))
        assert (np.isfinite(value) == is_told).all()
        assert (np.isfinite(null) == is_told).all()
        assert (attended.attention == before).all()

    def test_a_single_token_says_nothing(self, name):
        one = AttentionMap.of_one(np.ones((2, 1, 1)), np.ones((1, 1), dtype=bool), Tokens(row=np.zeros((1, 1), int)))
        one = replace(one, tokens=one.tokens._replace(column=np.zeros((1, 1), int)))
        value, null = score_input(one, [name])[name]
        assert np.isnan(value).all()
        assert np.isnan(null).all()

    def test_heads_are_scored_apart(self, name):
        attended = self._random(name, 7, Band())
        together = score_input(attended, [name])[name][0]
        alone = score_input(replace(attended, attention=attended.attention[:, 2:3]), [name])[name][0]
        assert together[2] == pytest.approx(alone[0], abs=1e-6)

    def test_padding_changes_nothing(self, name):
        attended = self._random(name, 7, Band())
        padded = [(0, 0), (0, 0), (0, 3), (0, 3)]
        fields = {
            field: np.pad(values, [(0, 0), (0, 3)], constant_values=False if values.dtype == bool else -1)
            for field, values in attended.tokens._asdict().items()
            if values is not None
        }
        wider = AttentionMap(
            np.pad(attended.attention, padded), np.pad(attended.allowed, [(0, 0), (0, 3), (0, 3)]), Tokens(**fields)
        )
        for plain, with_padding in zip(score_input(attended, [name])[name], score_input(wider, [name])[name]):
            assert with_padding == pytest.approx(plain, abs=1e-6)

    def test_the_null_is_the_mean_over_permuted_keys_unless_it_is_a_stated_closed_form(self, name):
        if METRICS[name].closed_null or name in ("nmi", "offset_local"):
            assert "Null:" in METRICS[name].compute.__doc__ or "the null is" in METRICS[name].compute.__doc__
            return
        attended = self._random(name, 8, Band())
        generator = np.random.default_rng(0)
        copies = 600
        weights = np.tile(attended.attention, (copies, 1, 1, 1))
        many = Tokens(**{k: np.tile(v, (copies, 1)) for k, v in attended.tokens._asdict().items() if v is not None})
        permuted = generator.permuted(weights, axis=-1)
        value = score_batch(AttentionMap(permuted, np.tile(attended.allowed, (copies, 1, 1)), many), [name])[name][0]
        null = score_input(attended, [name])[name][1]
        assert value.mean(axis=0) == pytest.approx(null, abs=0.08 if name == "attention_distance" else 0.015)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_is_described_for_the_page(name):
    entry = METRICS[name]
    assert entry.title
    assert entry.unit
    assert entry.high
    assert entry.group in ("spread", "position", "structure", "in-context", "homogeneity")
    assert entry.measured in (ON_DATA, ON_PROBES, ON_SAMPLE)
    assert "Returns" in entry.compute.__doc__
    assert "Source" in entry.compute.__doc__


def test_the_names_that_are_promised_are_there():
    promised = (
        "entropy attention_distance self_token previous_token next_token first_token last_token cls_share "
        "special_share same_token induction duplicate_token nmi"
    )
    assert set(promised.split()) <= set(METRICS)


@pytest.mark.parametrize("name", ["previous_token", "next_token", "last_token"])
def test_neighbours_in_the_order_of_reading_mean_nothing_in_an_image(name):
    image = AttentionMap.of_one(np.full((1, 5, 5), 0.2), Band().allowed(5), PATCHES)
    assert np.isnan(_score(image, name)).all()
    assert np.isfinite(_score(replace(image, tokens=Tokens()), name)).all()
