"""The words of the page but for the measures of heads."""

from analysis.sinks import USUAL
from app.glossary.term import Term

_VASWANI = "Vaswani et al. 2017, “Attention Is All You Need”, section 3.2"
_ATTENTION_VIZ = "Yeh et al. 2023, “AttentionViz”"

WORDS = (
    Term(
        "query",
        "The vector by which a token looks for others in one head: its products with the keys, after a "
        "softmax, are the attention weights.",
        _VASWANI,
        ("queries",),
    ),
    Term(
        "key",
        "The vector by which a token can be found in one head: the better it fits a query, the more attention "
        "that query pays to the token.",
        _VASWANI,
        ("keys",),
    ),
    Term(
        "attention",
        "How one token spreads its weight over the tokens it may see, in one head: weights from 0 to 1 that sum to 1.",
        _VASWANI,
        ("attention weights", "attention weight"),
    ),
    Term(
        "head",
        "One attention pattern of a layer, with its own queries and keys; L2H4 is head 4 of layer 2, counted from 0.",
        _VASWANI,
        ("heads", "attention head", "attention heads"),
    ),
    Term(
        "layer",
        "One floor of the model; the output of each is the input of the next, and layer 0 sees the tokens first.",
        "",
        ("layers",),
    ),
    Term(
        "attention site",
        "One place of the model where attention is computed: all heads of one layer.",
        "",
        ("attention sites", "site", "sites"),
    ),
    Term(
        "stack",
        "One tower of the model: the attention sites that follow one another on the same tokens.",
        "",
        ("stacks", "tower", "towers"),
    ),
    Term("run", "One model on one set of texts or images, with everything computed from it.", "", ("runs",)),
    Term("input", "One text or image of the run.", "", ("inputs",)),
    Term(
        "token",
        "One position of an input: a word or part of one, a patch of an image, or a special token.",
        "",
        ("tokens",),
    ),
    Term(
        "special token",
        "A token that stands for no text or patch, such as a beginning, an end, CLS or a register.",
        "Devlin et al. 2019, “BERT”, for CLS; Darcet et al. 2023 for registers",
        ("special tokens", "CLS", "register", "registers"),
    ),
    Term(
        "point", "The query or the key of one token in one head, drawn in that head's map.", _ATTENTION_VIZ, ("points",)
    ),
    Term(
        "map",
        "All queries and keys of a head in one picture, placed so that a query lies near the keys it pays "
        "attention to, as far as two or three dimensions can show it.",
        _ATTENTION_VIZ,
        ("maps", "joint map"),
    ),
    Term(
        "name of a head",
        "What a head is called by what it does, such as previous-token or induction, where a measure passes chance and "
        "a stated threshold; a head may have several names or none.",
        "",
        ("have a name", "names of heads"),
    ),
    Term(
        "likeness",
        "How alike two heads are in what they attend to, by their scores and profiles less their nulls: like heads lie "
        "near each other, and groups of them are clusters.",
        "ours; clusters by Ward's method",
    ),
    Term(
        "null",
        "What a measure gives when the same attention weights are permuted over the keys each query may see: what "
        "chance alone would give.",
        "",
        ("its null", "less its null"),
    ),
    Term("fidelity", "How much of what a head does can be read off its map; every map says it in figures.", ""),
    Term(
        "map explains",
        "Share of a head's attention that distance on the map accounts for, 1 − KL(attention ‖ map) / "
        "KL(attention ‖ uniform): 0 % is no better than uniform, less is worse, 100 % is exact.",
        "",
        ("maps explain", "KL explained", "explains", "explained"),
    ),
    Term(
        "keys alone",
        "What the popularity of keys explains without any map: a map must beat it to say which token attends to which.",
        "",
        ("popularity of keys", "popularity of keys alone"),
    ),
    Term(
        "weight of the three nearest keys",
        "How much of a query's attention lies on the three keys nearest to it on the map: 0 % is what chance gives, "
        "100 % what its three strongest keys hold.",
        "",
    ),
    Term(
        "recall",
        "Of the three keys with the most weight, special tokens left out, the share that is among the three "
        "nearest on the map.",
        "",
    ),
    Term(
        "neighbours kept",
        "Of the 15 nearest queries (or keys) in the head's own space, the share that is among the 15 "
        "nearest on the map: 0 % none, 100 % all.",
        "",
        ("neighbours",),
    ),
    Term(
        "mix",
        "Share of the other kind, keys around queries and queries around keys, among the 15 nearest points on "
        "the map: near 0 % the two form separate clouds.",
        "",
    ),
    Term(
        "sink",
        "A token that draws much attention from most tokens of its input, whatever they say; often the first.",
        "Xiao et al. 2023, “Efficient Streaming Language Models with Attention Sinks”",
        ("sinks", "attention sink"),
    ),
    Term(
        "hidden sinks",
        "Sinks taken out of the attention that is drawn, each head's own, and rows scaled to sum to 1; a sink is here "
        f"a key that {USUAL.min_queries} or more other tokens see and give {USUAL.threshold:g} or more of their "
        "attention on average.",
        "threshold of Gu et al. 2024, “When Attention Sink Emerges in Language Models”",
        ("sinks hidden", "hidden sink", "without sinks", "is hidden"),
    ),
    Term(
        "first token",
        "Mean weight that tokens put on the first token of their input, 0 to 1: near 1 the head mostly rests there.",
        "Xiao et al. 2023",
    ),
    Term(
        "previous token",
        "Mean weight that tokens put on the token just before them, 0 to 1: near 1 the head looks one step back.",
        "Zheng et al. 2024, “Attention Heads of Large Language Models: A Survey”",
    ),
    Term("own token", "Mean weight that tokens put on themselves, 0 to 1.", "", ("self", "the token itself")),
    Term(
        "entropy",
        "How spread a token's attention is, in bits: 0 is all on one token, log2 n is even over n tokens.",
        "Shannon 1948",
    ),
    Term(
        "induction",
        "Looking for an earlier place where the same token stood and attending to what came after it, "
        "which lets a model continue a pattern it has just seen.",
        "Olsson et al. 2022, “In-context Learning and Induction Heads”",
        ("induction head", "induction heads"),
    ),
    Term(
        "value norm",
        "Length of the vector that a token hands on when it is attended to: a large weight on a short "
        "vector moves little.",
        "Kobayashi et al. 2020, “Attention is Not Only a Weight”",
        ("value norms",),
    ),
    Term(
        "certificate",
        "What was checked when the run was captured: that the model's outputs did not change, and how "
        "closely the recorded attention equals the model's own.",
        "",
        ("certificates",),
    ),
    Term(
        "capture",
        "Running the model over the data and recording the queries and keys of every head.",
        "",
        ("captured",),
    ),
    Term("colour", "What the colour of a point says: query or key, or a column of the token table.", ""),
    Term(
        "atlas",
        "The map made for attention: queries are drawn to the keys they attend to, and neighbours are kept.",
        "",
    ),
    Term(
        "linear",
        "The quick map: one plane of the head's own space, chosen so that distance tells attention; new tokens "
        "can be placed in it exactly.",
        "",
    ),
    Term("umap", "A map that keeps neighbours, as AttentionViz draws it, for comparison.", "McInnes et al. 2018"),
    Term(
        "tsne",
        "A map that keeps neighbours and separates groups, for comparison.",
        "van der Maaten and Hinton 2008",
        ("t-SNE",),
    ),
    Term("pca", "The plane in which the vectors vary most, for comparison.", "Pearson 1901"),
)
