"""Texts to the token table: offsets, special tokens, cutting, computed columns, tensors."""

import time

import numpy as np
import pytest

from analysis.errors import InputError
from analysis.inputs import encode, read_data
from tests.inputs.conftest import TextModel


def encoded(tmp_path, text, tokenizer, **model):
    path = tmp_path / "data.csv" if text.startswith("text") else tmp_path / "data.txt"
    path.write_text(text, encoding="utf-8")
    return encode(read_data(path), TextModel(tokenizer, **model))


def test_the_token_table_of_a_sentence(tmp_path, bert_tokenizer):
    tokens = encoded(tmp_path, "Hello, embeddings 42!", bert_tokenizer).tokens
    assert tokens["text"].tolist() == ["[CLS]", "hello", ",", "em", "bed", "ding", "s", "42", "!", "[SEP]"]
    assert tokens["is_special"].tolist() == [True] + [False] * 8 + [True]
    assert tokens["position"].tolist() == list(range(10))
    assert tokens["position_from_end"].tolist() == list(range(9, -1, -1))
    assert tokens["position_share"].tolist() == pytest.approx([p / 9 for p in range(10)])
    assert tokens["char_start"].dropna().tolist() == [0, 5, 7, 9, 12, 16, 18, 20]
    assert tokens["char_end"].dropna().tolist() == [5, 6, 9, 12, 16, 17, 20, 21]
    assert tokens["char_start"].isna().tolist() == tokens["is_special"].tolist()
    assert tokens["length"].dropna().tolist() == [5, 1, 2, 3, 4, 1, 2, 1]
    words = ["special", "word", "punctuation", "word", "word", "word", "word", "number", "punctuation", "special"]
    assert tokens["word_class"].tolist() == words
    starts = [False, True, False, True, False, False, False, True, False, False]
    assert tokens["is_word_start"].tolist() == starts


def test_frequency_counts_over_the_whole_data(tmp_path, bert_tokenizer):
    tokens = encoded(tmp_path, "fox fox dog\nFox cat\n", bert_tokenizer).tokens
    assert dict(zip(tokens["text"], tokens["frequency"])) == {"[CLS]": 2, "fox": 3, "dog": 1, "cat": 1, "[SEP]": 2}


def test_offsets_point_at_the_token_in_the_text(tmp_path, gpt_tokenizer, bert_tokenizer):
    text = "Hello the fox, naïve שלום 🙂 end"
    for tokenizer in (gpt_tokenizer, bert_tokenizer):
        tokens = encoded(tmp_path, text, tokenizer).tokens
        for shown, start, end in tokens.loc[~tokens["is_special"], ["text", "char_start", "char_end"]].to_numpy():
            if "[" not in shown:
                covered = text[start:end].strip().lower()
                assert covered.replace("ï", "i") == shown.strip().lower().replace("ï", "i")


def test_right_to_left_text(tmp_path, bert_tokenizer, gpt_tokenizer):
    tokens = encoded(tmp_path, "שלום עולם", gpt_tokenizer).tokens
    assert tokens["text"].tolist()[0] == "ש[1/2]"
    assert set(tokens["word_class"]) - {"whitespace"} == {"word"}
    first_halves = tokens[tokens["is_word_start"]]
    assert set(first_halves["char_start"]) <= {0, 4, 5}
    whole = encoded(tmp_path, "שלום", bert_tokenizer).tokens
    assert "".join(whole["text"][1:-1]) == "שלום"
    assert whole["char_start"].dropna().tolist() == [0, 1, 2, 3]


def test_unknown_words_are_content(tmp_path, bert_tokenizer):
    tokens = encoded(tmp_path, "a 🙂", bert_tokenizer).tokens
    assert tokens["text"].tolist() == ["[CLS]", "a", "[UNK]", "[SEP]"]
    assert tokens["word_class"].tolist() == ["special", "word", "unknown", "special"]
    assert tokens["is_special"].tolist() == [True, False, False, True]
    assert tokens["char_start"].tolist()[2] == 2


def test_a_special_token_spelled_in_the_text_is_special(tmp_path, bert_tokenizer, gpt_tokenizer):
    tokens = encoded(tmp_path, "a [SEP] b", bert_tokenizer).tokens
    assert tokens["is_special"].tolist() == [True, False, True, False, True]
    assert tokens[["char_start", "char_end"]].dropna().to_numpy().tolist() == [[0, 1], [2, 7], [8, 9]]
    tokens = encoded(tmp_path, "a<|end|>b", gpt_tokenizer).tokens
    assert tokens["text"].tolist() == ["a", "<|end|>", "b"]
    assert tokens["is_special"].tolist() == [False, True, False]


def test_over_long_texts_keep_their_last_special_token(tmp_path, bert_tokenizer):
    inputs = encoded(tmp_path, "one two three four five six\nshort one\n", bert_tokenizer, max_tokens=6)
    assert inputs.tokens["text"].tolist() == [
        "[CLS]",
        "one",
        "two",
        "three",
        "four",
        "[SEP]",
        "[CLS]",
        "short",
        "one",
        "[SEP]",
    ]
    assert inputs.inputs["n_tokens"].tolist() == [6, 4]
    assert inputs.inputs["n_cut"].tolist() == [2, 0]
    assert inputs.n_cut_inputs == 1
    assert len(inputs.tensors(0)["input_ids"]) == 6
    assert inputs.tokens["frequency"].tolist()[0] == 2


def test_a_very_long_text(tmp_path, bert_tokenizer, gpt_tokenizer):
    text = "word " * 100_000
    inputs = encoded(tmp_path, text, bert_tokenizer)
    assert inputs.inputs[["n_tokens", "n_cut"]].to_numpy().tolist() == [[512, 99_490]]
    assert encoded(tmp_path, text, gpt_tokenizer, max_tokens=100).n_tokens(0) == 100


def test_one_token(tmp_path, gpt_tokenizer):
    inputs = encoded(tmp_path, "a", gpt_tokenizer)
    row = inputs.tokens.iloc[0]
    assert (len(inputs.tokens), row["position_share"], row["position_from_end"]) == (1, 0.0, 0)


def test_texts_without_tokens_are_skipped(tmp_path, unigram_tokenizer):
    from tokenizers import Tokenizer, models, normalizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Replace("b", "")
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")
    inputs = encoded(tmp_path, "text,n\na,1\nb,2\na,3\n", wrapped)
    assert len(inputs) == 2
    assert inputs.skipped == [("row 2", "the tokenizer makes no token of it")]
    assert inputs.inputs["n"].tolist() == [1, 3]
    assert inputs.tokens["n"].tolist() == [1, 3]
    assert inputs.inputs["input_id"].tolist() == [0, 1]
    assert inputs.tensors(1)["input_ids"].tolist() == [0]
    with pytest.raises(InputError, match="no token of any text"):
        encoded(tmp_path, "b\nbb", wrapped)


def test_the_space_that_a_tokenizer_adds_is_not_shown(tmp_path, unigram_tokenizer):
    assert encoded(tmp_path, "the fox", unigram_tokenizer).tokens["text"].tolist() == ["the", " fox", "</s>"]
    assert encoded(tmp_path, " the fox", unigram_tokenizer).tokens["text"].tolist()[0].startswith(" ")


def test_tensors_are_the_tokenizers_own(tmp_path, bert_tokenizer, gpt_tokenizer):
    lines = ["The quick fox.", "Hello, 🙂 naïve world"]
    for tokenizer in (bert_tokenizer, gpt_tokenizer):
        inputs = encoded(tmp_path, "\n".join(lines), tokenizer)
        for input_id, line in enumerate(lines):
            expected = tokenizer(line)
            tensors = inputs.tensors(input_id)
            assert set(tensors) == set(expected)
            for name, values in expected.items():
                assert tensors[name].dtype == np.int64
                assert tensors[name].tolist() == values


def test_user_columns_ride_along(tmp_path, bert_tokenizer):
    rows = "".join(f"fox {n},{n},{'long ' * 50},t{n % 2}\n" for n in range(20))
    inputs = encoded(tmp_path, "text,score,essay,topic\n" + rows, bert_tokenizer)
    assert inputs.inputs["score"].tolist() == list(range(20))
    assert inputs.tokens.groupby("input_id")["topic"].nunique().max() == 1
    assert inputs.tokens.loc[inputs.tokens["input_id"] == 3, "topic"].unique().tolist() == ["t1"]
    assert "essay" in inputs.inputs
    assert "essay" not in inputs.tokens
    kinds = {name: column.kind for name, column in inputs.token_columns.items()}
    assert (kinds["score"], kinds["topic"]) == ("sequential", "categorical")
    assert any("essay" in note for note in inputs.notes)


def test_every_described_column_is_there_and_the_order_holds(tmp_path, bert_tokenizer):
    inputs = encoded(tmp_path, "a b\nc d e\n", bert_tokenizer)
    assert set(inputs.token_columns) <= set(inputs.tokens)
    assert all(column.name == name and column.description for name, column in inputs.token_columns.items())
    first = ["input_id", "position", "text", "char_start", "char_end", "is_special", "segment", "row", "column"]
    assert list(inputs.tokens)[:9] == first
    assert inputs.tokens[["input_id", "position"]].to_numpy().tolist() == [[0, p] for p in range(4)] + [
        [1, p] for p in range(5)
    ]
    assert len(inputs) == 2
    assert inputs.n_tokens(1) == 5


def test_a_model_of_images_gets_no_texts(tmp_path, bert_tokenizer):
    with pytest.raises(InputError, match="holds texts and stand-in reads images"):
        encoded(tmp_path, "a", bert_tokenizer, modality="vision")


def test_ten_thousand_texts_take_seconds(tmp_path, bert_tokenizer):
    lines = "\n".join(f"The quick brown fox number {n} jumps over the lazy dog, 🙂 again." for n in range(10_000))
    begin = time.process_time()
    inputs = encoded(tmp_path, lines, bert_tokenizer)
    assert len(inputs) == 10_000
    assert time.process_time() - begin < 10
