"""What a reader sees of tokens, for each way of writing bytes and spaces into a vocabulary."""

import numpy as np
import pytest

from analysis.inputs.token_text import classify, join_pieces, read_tokens


def shown(tokenizer, text):
    ids = np.array(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int32)
    return read_tokens(tokenizer, ids)[0].tolist()


def test_word_pieces_have_no_marks(bert_tokenizer):
    assert shown(bert_tokenizer, "embeddings") == ["em", "bed", "ding", "s"]
    assert shown(bert_tokenizer, "# ## 🙂") == ["#", "#", "#", "[UNK]"]


def test_byte_level_tokens_keep_their_spaces(gpt_tokenizer):
    pieces = shown(gpt_tokenizer, "hello the fox\n\tend")
    assert "".join(pieces) == "hello the fox\n\tend"
    assert " the" in pieces
    assert not set("ĠĊĉ") & set("".join(pieces))


def test_split_characters_show_their_place(gpt_tokenizer):
    assert shown(gpt_tokenizer, "é🙂") == ["é[1/2]", "é[2/2]", *(f"🙂[{place}/4]" for place in (1, 2, 3, 4))]
    assert shown(gpt_tokenizer, "ש")[:1] == ["ש[1/2]"]


def test_all_text_comes_back_without_the_places(gpt_tokenizer):
    text = "naïve שלום 🙂🙂 日本 Ġ ▁"
    ids = np.array(gpt_tokenizer(text)["input_ids"])
    firsts = [
        piece.replace("[1/2]", "").replace("[1/3]", "").replace("[1/4]", "")
        for piece in read_tokens(gpt_tokenizer, ids)[0]
    ]
    assert "".join(piece for piece in firsts if "[" not in piece) == text


def test_sentence_pieces_and_byte_tokens(unigram_tokenizer):
    assert shown(unigram_tokenizer, "the fox é") == [" the", " fox", " ", "é[1/2]", "é[2/2]"]


def test_spaces_replaced_by_the_normaliser_and_decoded_by_parts():
    """The layout of Llama 2: no pre-tokenizer, ``▁`` prepended and replaced, unknown characters as bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abc", "▁a", "▁ab", "▁abc"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    merges = [("▁", "a"), ("▁a", "b"), ("▁ab", "c")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(parts)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    assert shown(wrapped, "abc abé ab") == [" abc", " ab", "é[1/2]", "é[2/2]", " ab"]


def test_end_of_word_marks():
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=60, end_of_word_suffix="</w>", special_tokens=["<unk>"])
    tokenizer.train_from_iterator(["cats catsup cats"] * 5, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    assert "cats</w>" in wrapped.convert_ids_to_tokens(wrapped("cats")["input_ids"])
    assert shown(wrapped, "cats") == ["cats"]


def test_pieces_that_mix_whole_and_split_characters():
    assert join_pieces([b" a\xd7", b"\x9cb"])[0] == [" aל[1/2]", "ל[2/2]b"]
    assert join_pieces([b"\xf0\x9f", b"\x99\x82\xc3", b"\xa9"])[0] == ["🙂[1/2]", "🙂[2/2]é[1/2]", "é[2/2]"]


def test_bytes_that_make_no_character():
    assert join_pieces([b"\xf0\x9f", b"a"])[0] == ["\\xf0\\x9f", "a"]
    assert join_pieces([b"\x80"]) == (["\\x80"], ["\ufffd"])
    assert join_pieces([b"\xff", b"\xc3", b"\xa9"])[1] == ["\ufffd", "é", "é"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (" the", "word"),
        ("'s", "word"),
        ("שלום", "word"),
        ("\u093f", "word"),
        ("3.14", "number"),
        ("½", "number"),
        ("...", "punctuation"),
        ("«", "punctuation"),
        ("$", "symbol"),
        ("🙂", "symbol"),
        ("\ufffd", "symbol"),
        ("\n ", "whitespace"),
        ("x2", "word"),
    ],
)
def test_classes(text, kind):
    assert classify(text) == kind
