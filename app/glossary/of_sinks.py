"""The words of sinks."""

from app.glossary.term import Term

_GU = "Gu et al. 2024, “When Attention Sink Emerges in Language Models”"
_SECONDARY = "“On the Existence and Behaviour of Secondary Attention Sinks”"
_SUN = "Sun et al. 2024, “Massive Activations in Large Language Models”"
_SEE = "Kang et al. 2025, “See What You Are Told”"
_FRAMES = "“What are you sinking? A geometric approach on attention sink”, 2025"

OF_SINKS = (
    Term(
        "primary sink",
        "The token of an input that receives most attention from other tokens over all heads of the tower, found by "
        "attention and not taken to be the first.",
        f"after {_SECONDARY}",
        ("primary sinks",),
    ),
    Term(
        "sink score",
        "Mean attention a token receives from the queries that see it, 0 to 1; the null is what it would receive if "
        "every query looked evenly at all it sees.",
        _GU,
        ("sink scores", "attention received"),
    ),
    Term(
        "sink rate",
        "Share of heads and tokens in which the sink score passes the threshold, 0 to 1.",
        _GU,
        ("sink rates",),
    ),
    Term(
        "share on sinks",
        "How much of all attention of a head lies on the tokens that are its sinks, 0 to 1; mean over inputs.",
        "",
        ("attention on sinks",),
    ),
    Term(
        "residual state",
        "What a token carries from layer to layer: the vector to which every layer adds.",
        "",
        ("residual states", "state", "states", "state points", "states point"),
    ),
    Term(
        "level of a sink",
        "In which layer a token's state begins to point where the primary sink's points, and for how "
        "many layers it does.",
        _SECONDARY,
        (
            "levels of sinks",
            "levels",
            "points the same way",
            "point the same way",
            "point where its state points",
            "points where its state points",
        ),
    ),
    Term(
        "secondary sink",
        "A token other than the primary sink whose state points where its state points, for more than a few layers but "
        "not as long.",
        _SECONDARY,
        ("secondary sinks",),
    ),
    Term(
        "massive dimension",
        "One of the few numbers of a residual state that are far larger than the rest; the ratio is its size over the "
        "root mean square of the state, at most the square root of the width.",
        _SUN,
        ("massive dimensions", "massive activations", "massive activation"),
    ),
    Term(
        "visual sink",
        "A patch whose state is massive in the dimensions in which the primary sink's state is.",
        _SEE,
        ("visual sinks",),
    ),
    Term(
        "large norm",
        "A patch whose state is much longer than the median patch's of its image and layer: what registers replace.",
        "after Darcet et al. 2024, “Vision Transformers Need Registers”",
        ("large norms",),
    ),
    Term(
        "learned sink",
        "A logit of the model's own that joins every softmax and takes attention without being a token.",
        "OpenAI 2025, gpt-oss model card",
        ("learned sinks",),
    ),
    Term(
        "geometry of sinks",
        "How long the key and the value of the primary sink are, and the angle between its key and the mean query, "
        "beside those of all other tokens.",
        f"after {_GU}",
    ),
    Term(
        "reference frame",
        "Whether attention is anchored to one token (centralised), to both ends (bidirectional) or to several "
        "(distributed).",
        _FRAMES,
        ("reference frames",),
    ),
    Term(
        "relation of the MLP",
        "Whether the tokens to which the MLP in front adds a longer vector become stronger sinks, or live longer, as a "
        "rank correlation from -1 to 1.",
        _SECONDARY,
    ),
    Term(
        "weakening",
        "Whether the primary sink receives less in inputs where secondary sinks live in the same layer.",
        f"the question is that of {_SECONDARY}",
    ),
)
