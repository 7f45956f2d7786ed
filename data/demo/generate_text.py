"""Seeded English for the demo language model: small stories with a cast of names that come back.

Why stories of this kind: a name or a phrase that returns later in the text is what an induction head is for, and a
topic that colours the nouns and verbs gives the joint query-key map something to group by. Everything is drawn from
one `random.Random(seed)`, so the same seed always writes the same text.

    python data/demo/generate_text.py            writes sentences.csv (prose.csv holds the part written by hand)
"""

import csv
import random
from pathlib import Path

FOLDER = Path(__file__).parent
SENTENCES_SEED = 20_000  # training uses seeds below 10,000

SHE = "Alice Clara Dora Elena Fatima Grace Hana Ines Julia Leila Mary Nadia Olga Ruth Sofia Tara".split()
HE = "Adam Boris Carlos David Emil Felix Hugo Ivan Jonas Karim Leo Martin Nils Oscar Peter Samuel".split()
TOWNS = "Paris London Cairo Lisbon Tokyo Madrid Oslo Vienna Delhi Boston Athens Prague".split()

TOPICS = {  # nouns, verbs (past, taking an object), adjectives, places
    "kitchen": [
        "bread soup knife bowl apple cheese spoon oven cake pepper onion plate".split(),
        "baked cooked tasted sliced served burned".split(),
        "warm sweet salty fresh sour golden".split(),
        ["the kitchen", "the bakery", "the small cafe"],
    ],
    "garden": [
        "rose tree fence seed flower ladder bee leaf root pond basket shovel".split(),
        "planted watered cut picked measured covered".split(),
        "green tall wild muddy quiet yellow".split(),
        ["the garden", "the orchard", "the old park"],
    ],
    "sea": [
        "boat net sail fish rope anchor shell wave island lamp harbour whale".split(),
        "caught pulled lifted followed steered washed".split(),
        "deep blue cold salty broken silver".split(),
        ["the harbour", "the beach", "the lighthouse"],
    ],
    "school": [
        "book pencil letter map lesson word page question desk story answer number".split(),
        "read wrote copied learned explained forgot".split(),
        "long simple clever wrong short strange".split(),
        ["the school", "the library", "the museum"],
    ],
    "market": [
        "coin price coat bag ring box hat chair carpet clock glass ticket".split(),
        "bought sold counted paid packed carried".split(),
        "cheap heavy rich tiny red useful".split(),
        ["the market", "the bank", "the corner shop"],
    ],
    "music": [
        "song drum piano violin stage dance voice concert bell tune flute singer".split(),
        "played sang practised heard recorded loved".split(),
        "loud soft slow cheerful famous sad".split(),
        ["the theatre", "the concert hall", "the square"],
    ],
    "travel": [
        "train road bridge ticket mountain suitcase wheel hotel river camera car tent".split(),
        "crossed missed painted reached photographed found".split(),
        "narrow empty high dusty dark fast".split(),
        ["the station", "the airport", "the village"],
    ],
    "weather": [
        "storm cloud snow wind roof window rain umbrella sun shadow coat fire".split(),
        "watched noticed feared described fixed opened".split(),
        "grey wet bright heavy frozen calm".split(),
        ["the hill", "the valley", "the farm"],
    ],
}
ANIMALS = "dog cat horse bird goat rabbit fox mouse cow duck".split()
PEOPLE = "teacher doctor baker farmer sailor painter driver neighbour child stranger queen guard".split()
TRAITS = "old young kind angry tired happy brave lazy proud shy hungry careful".split()
MOVES = "walked ran travelled drove hurried returned".split()
RESTS = "slept laughed waited cried smiled worked".split()
HOW = "slowly quickly quietly carefully happily badly".split()
ALONE = "together alone again early".split()
WHEN = ["in the morning", "at night", "after lunch", "on Monday", "on Friday", "in winter", "last summer"]
WHEN += ["before dinner", "every day", "a year ago"]
NUMBERS = "two three four five six seven ten twenty".split()

PLURALS = dict(knife="knives", leaf="leaves", fish="fish", box="boxes", glass="glasses", bread="loaves of bread")

TEMPLATES = [
    "{A} went to {place} with {B}.",
    "{A} and {B} {move} to {place} {when}.",
    "{When}, {A} {verb} the {noun} near {place}.",
    "When {A} and {B} {move} to {place}, {A} gave the {noun} to {B}.",
    "Then {B} gave the {noun} back to {A}.",
    "After {A} {verb} the {adj} {noun}, {B} {verb2} the {noun2}.",
    "{B} had {a_adj_noun} and {number} {many2}.",
    "The {trait} {person} {verb} {a_adj_noun} {when}.",
    "{A} lives in {town}, but {B} lives in {town2}.",
    "The {animal} {rest} under the {noun} while {A} {rest2} {alone}.",
    "{A} saw that the {noun} was {adj} and the {noun2} was {adj2}.",
    "{B} never {verb} the {noun} because {heB} was {trait}.",
    '"Where is the {noun}?" asked {A}.',
    '"It is in {place}," said {B}.',
    '{A} said, "I {verb} the {noun}, and you {verb2} the {noun2}."',
    "Did {A} really see {a_adj_noun} in {place}?",
    "If {B} comes to {town}, {A} will show {himB} the {adj} {noun}.",
    "{HeA} {rest} {how}, and {heA} {verb} the {noun} {when}.",
    "{B}, who was {trait}, {verb} the {noun} that {A} {verb2}.",
    "There were {number} {many} and only one {noun2} in {place}.",
    "The {person} from {town} asked {A} about the {adj} {noun}.",
    "{A} was more {trait} than {B}, but {B} was not {trait2}.",
    "Nobody in {town} {verb} the {noun} as {how} as {A}.",
    "{B} looked for {hisB} {animal}, and the {animal} looked for {B}.",
    "First {A} {verb} the {noun}, then {heA} {verb2} the {noun2}.",
    "{A} wanted to find the {noun}, so {heA} {move} to {place}.",
    "Neither {A} nor {B} could see the {animal} behind the {noun}.",
    "The {noun} of {A} was {adj}; the {noun} of {B} was {adj2}.",
    "It was {a_adj} day in {town}, and {A} {rest} {alone}.",
    "{A} called {B}, {B} called the {person}, and the {person} called {A}.",
]
NAME_TEMPLATES = [0, 3, 4, 8, 13, 21, 26, 29]  # those in which names carry the sentence


def make_story(rng: random.Random, n_sentences: int, topic: str | None = None, only: list[int] | None = None) -> str:
    """One story: a topic, a cast of two, and `n_sentences` sentences; names and nouns return inside it."""
    topic = topic or rng.choice(list(TOPICS))
    nouns, verbs, adjectives, places = TOPICS[topic]
    women, men = [(name, ["she", "her", "her"]) for name in SHE], [(name, ["he", "him", "his"]) for name in HE]
    cast = rng.sample(women + men, 2)
    few_nouns, few_places = rng.sample(nouns, min(5, n_sentences + 2)), rng.sample(places, 2)
    sentences = []
    for _ in range(n_sentences):
        if sentences and rng.random() < 0.12:  # somebody says it again, word for word
            sentences.append(rng.choice(sentences))
            continue
        rng.shuffle(cast)
        template = TEMPLATES[rng.choice(only)] if only else rng.choice(TEMPLATES)
        sentences.append(template.format(**_fill(rng, cast, few_nouns, verbs, adjectives, few_places)))
    return " ".join(sentences)


def _fill(rng: random.Random, cast: list, nouns: list, verbs: list, adjectives: list, places: list) -> dict[str, str]:
    """Words for every slot that a template may have."""
    (a, (he_a, _, _)), (b, (he_b, him_b, his_b)) = cast
    pools = dict(noun=nouns, verb=verbs, adj=adjectives, town=TOWNS, trait=TRAITS, rest=RESTS)
    words = {}
    for slot, pool in pools.items():
        words[slot], words[slot + "2"] = rng.sample(pool, 2)
    many, many2 = (PLURALS.get(words[slot], words[slot] + "s") for slot in ("noun", "noun2"))
    adj = words["adj"]
    when, article = rng.choice(WHEN), "an" if adj[0] in "aeiou" and adj != "useful" else "a"
    return words | dict(
        many=many, many2=many2,
        A=a, B=b, heA=he_a, HeA=he_a.capitalize(), heB=he_b, himB=him_b, hisB=his_b,
        a_adj=f"{article} {adj}", a_adj_noun=f"{article} {adj} {words['noun']}",
        when=when, When=when[0].upper() + when[1:],
        how=rng.choice(HOW), alone=rng.choice(ALONE), place=rng.choice(places), number=rng.choice(NUMBERS),
        animal=rng.choice(ANIMALS), person=rng.choice(PEOPLE), move=rng.choice(MOVES),
    )


def make_stories(seed: int, n_stories: int, sentences: tuple[int, int] = (2, 9)) -> list[str]:
    """`n_stories` stories of random topics with a number of sentences drawn between the two bounds."""
    rng = random.Random(seed)
    return [make_story(rng, rng.randint(*sentences)) for _ in range(n_stories)]


def make_table(seed: int = SENTENCES_SEED) -> list[dict[str, str]]:
    """Rows of sentences.csv: stories, sentences with names and repetitions of every topic, and prose.csv."""
    rng = random.Random(seed)
    rows = []
    for topic in TOPICS:
        texts = [(make_story(rng, rng.choice([1, 1, 2]), topic), "story") for _ in range(9)]
        texts += [(make_story(rng, 2, topic, NAME_TEMPLATES), "names") for _ in range(4)]
        texts += [(" ".join([make_story(rng, 1, topic)] * 2), "repetition") for _ in range(2)]
        rows += [dict(text=text, topic=topic, genre=genre) for text, genre in texts]
    with open(FOLDER / "prose.csv", newline="", encoding="utf-8") as file:
        rows += list(csv.DictReader(file))
    return rows


def main() -> None:
    rows = make_table()
    with open(FOLDER / "sentences.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["text", "topic", "genre"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} sentences")


if __name__ == "__main__":
    main()
