"""Tables and lines: what is read, what is left out and why, and what is refused with which words."""

import json

import pandas as pd
import pytest

from analysis.errors import InputError
from analysis.inputs import read_data
from analysis.inputs import rows as rows_module


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_lines_of_a_txt_are_inputs_and_blank_ones_are_counted(tmp_path):
    raw = read_data(write(tmp_path / "a.txt", "\ufefffirst\r\n\r\n  \nsecond line \nthird\u2028still third"))
    assert raw.rows == ["first", "second line ", "third\u2028still third"]
    assert raw.row_names == ["line 1", "line 4", "line 5"]
    assert (raw.name, raw.modality, len(raw)) == ("a.txt", "text", 3)
    assert raw.notes == ["2 blank lines were left out."]
    assert raw.skipped == []


def test_limit_takes_the_first_ones(tmp_path):
    path = write(tmp_path / "a.txt", "one\n\ntwo\nthree\n")
    assert read_data(path, limit=2, seed=5).rows == ["one", "two"]
    with pytest.raises(InputError, match="limit on inputs is 0"):
        read_data(path, limit=0)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_with_its_mark_is_read(tmp_path, encoding):
    assert read_data(write(tmp_path / "a.txt", ("\ufeffשלום\nb").encode(encoding))).rows == ["שלום", "b"]


def test_bytes_that_are_not_utf8_are_replaced_and_counted(tmp_path):
    raw = read_data(write(tmp_path / "a.txt", b"caf\xe9\nfine \xef\xbf\xbd\n"))
    assert raw.rows == ["caf\ufffd", "fine \ufffd"]
    assert raw.notes == ["1 of 2 texts held bytes that are not UTF-8, shown as \ufffd."]


def test_a_line_with_nul_is_skipped_and_a_file_of_them_refused(tmp_path):
    raw = read_data(write(tmp_path / "a.txt", b"good\nb\0d\n"))
    assert raw.rows == ["good"]
    assert raw.skipped[0].name == "line 2 (b\ufffdd)"
    assert "NUL" in raw.skipped[0].reason
    with pytest.raises(InputError, match="NUL character"):
        read_data(write(tmp_path / "b.txt", "no mark".encode("utf-16-le")))


def test_an_endless_line_is_skipped_without_being_held(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_module, "MAX_CHARACTERS", 1000)
    raw = read_data(write(tmp_path / "a.txt", "ok\n" + "x" * 5_000_000 + "\nalso ok\n" + "y" * 1000))
    assert raw.rows == ["ok", "also ok", "y" * 1000]
    assert raw.skipped[0].name == "line 2"
    assert "5,000,001 characters" in raw.skipped[0].reason
    with pytest.raises(InputError, match="without a line end"):
        read_data(write(tmp_path / "b.txt", "z" * 5000))


def test_a_header_without_end_is_refused_and_not_searched_for_hours(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"no column text, image or audio; it has: 'xxx"):
        read_data(write(tmp_path / "a.csv", "x" * 200_000 + "\ntext\n"))  # longer than the csv module's own limit
    with pytest.raises(InputError, match="100,001 columns in its first row; at most 10,000"):
        read_data(write(tmp_path / "b.csv", "text" + "," * 100_000 + "\na\n"))
    assert len(read_data(write(tmp_path / "c.csv", "text" + ",a" * 9_000 + "\nb\n"))) == 1
    monkeypatch.setattr(rows_module, "MAX_ROW_CHARACTERS", 1000)
    with pytest.raises(InputError, match=r"line 1.* because 2,000,000 characters without a line end"):
        read_data(write(tmp_path / "d.csv", "x" * 2_000_000))


def test_nul_and_broken_utf8_in_names_and_labels_are_shown_as_such(tmp_path):
    raw = read_data(write(tmp_path / "a.csv", b"text,la\0bel,\xffx\nok,v\0w,\xfe\n"))
    assert raw.user_columns == {"label": ["v\ufffdw"], "\ufffdx": ["\ufffd"]}


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ('{"image": {"bytes": 5}}', "bytes of the image are a int"),
        ('{"image": {"bytes": [1, 2]}}', "bytes of the image are a list"),
        ('{"audio": {"bytes": {"a": 1}}}', "bytes of the sound are a dict"),
        ('{"image": {"path": "/etc/passwd"}}', "outside the folder"),
        ('{"audio": {"path": "../a.wav"}}', "outside the folder"),
        ('{"image": "a.png", "mask_labels": {"²": "x"}}', "no such file"),
        ('{"image": "a.png", "mask_labels": {"%s": "x"}}' % ("9" * 5000), "no such file"),
        ('{"image": "a.png", "mask_labels": "%s"}' % ("[" * 5000), "no such file"),
        ('{"text": "a", "n": %s}' % ("9" * 5000), "not JSON"),
    ],
)
def test_cells_of_the_wrong_kind_are_a_reason_not_a_crash(tmp_path, cells, words):
    with pytest.raises(InputError, match=f"1 left out, .*{words}"):
        read_data(write(tmp_path / "a.jsonl", cells))


def test_a_file_name_that_is_no_text_goes_into_no_table(tmp_path):
    path = tmp_path / b"\xff\x1b[2J.txt".decode("utf-8", "surrogateescape")
    assert read_data(write(path, "a")).name == "\ufffd\ufffd[2J.txt"


def test_csv_with_quotes_newlines_and_extra_columns(tmp_path):
    raw = read_data(
        write(tmp_path / "a.csv", '\ufeffid,Text,topic\n1,"He said ""no"",\nthen left",a\n2,,b\n3,plain,c\n')
    )
    assert raw.rows == ['He said "no",\nthen left', "plain"]
    assert raw.user_columns == {"id": [1, 3], "topic": ["a", "c"]}
    assert raw.notes == ["1 blank line was left out."]


@pytest.mark.parametrize(("name", "mark"), [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t")])
def test_other_separators(tmp_path, name, mark):
    raw = read_data(write(tmp_path / name, f"text{mark}n\nx, y{mark}3\n"))
    assert raw.rows == ["x, y"]
    assert raw.user_columns == {"n": [3]}


def test_a_row_with_too_many_cells_is_skipped_not_cut(tmp_path):
    raw = read_data(write(tmp_path / "a.csv", "text,n\nHello, world,1\nfine,2\n"))
    assert raw.rows == ["fine"]
    assert "3 cells under 2 column names" in raw.skipped[0].reason


def test_jsonl_with_bad_lines(tmp_path):
    lines = ['{"text": "a", "n": 1.5}', "{broken", '"only a string"', '{"n": 2}', '{"text": ["list"]}']
    lines += ['{"text": "b\\ud83d\\ude42", "deep": {"x": [1]}}', '{"text": "half \\ud800"}', "[" * 100_000]
    raw = read_data(write(tmp_path / "a.jsonl", "\n".join(lines)))
    assert raw.rows == ["a", "b🙂", "half \ufffd"]
    assert raw.user_columns == {"n": [1.5, None, None], "deep": [None, '{"x": [1]}', None]}
    assert [name for name, _ in raw.skipped] == ["line 2", "line 3", "line 5", "line 8"]
    assert raw.notes[0] == "1 blank line was left out."


def test_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"text": ["a", None, "c"], "when": pd.to_datetime(["2024-01-02"] * 3), "ok": [True] * 3}).to_parquet(
        path
    )
    raw = read_data(path)
    assert raw.rows == ["a", "c"]
    assert raw.user_columns == {"when": ["2024-01-02 00:00:00"] * 2, "ok": ["true"] * 2}
    write(tmp_path / "b.parquet", b"PAR1 not really")
    with pytest.raises(InputError, match="not a Parquet file"):
        read_data(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", "is empty"),
        ("a.txt", b"\n \n", "holds no input; give"),
        ("a.csv", b"title,body\nx,y\n", "no column text, image or audio; it has: 'title', 'body'"),
        ("a.csv", b"text\n", "holds no input"),
        ("a.csv", b"PK\x03\x04rest", "a zip archive or an Excel workbook"),
        ("a.txt", b"\x89PNG\r\n", "a PNG image"),
        ("a.xlsx", b"PK\x03\x04", "its ending is .xlsx"),
        ("a", b"text", "its ending is missing"),
        ("a.jsonl", b"{\n[\n", "2 left out, the first .line 1. because not JSON"),
        ("a.jsonl", b'{"body": 1}', "it has: 'body'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path, name, content, words):
    with pytest.raises(InputError, match=words):
        read_data(write(tmp_path / name, content))


@pytest.mark.parametrize("data", ["nowhere.txt", "a\0b", "x" * 5000, "demo-nothing"])
def test_missing_data_names_what_could_be_given(data):
    with pytest.raises(InputError):
        read_data(data)


def test_missing_data_message():
    with pytest.raises(InputError, match=r"no data at 'nowhere.txt'.*demo-sentences, demo-scenes"):
        read_data("nowhere.txt")


def test_quotes_that_do_not_balance_are_told(tmp_path):
    raw = read_data(write(tmp_path / "a.csv", 'text,n\nfine,1\n"a "b" c",2\nalso fine,3\n"open,4\nrow,5\n'))
    assert raw.rows == ["fine", "also fine"]
    assert [name for name, _ in raw.skipped] == ["line 3", "line 6"]
    assert all("quotation marks" in reason for _, reason in raw.skipped)


def test_tab_separated_files_without_quoting(tmp_path):
    raw = read_data(write(tmp_path / "a.tsv", 'text\tn\n"open \t1\n"No" he said\t2\n'))
    assert raw.rows == ['"open ', '"No" he said']
    assert read_data(write(tmp_path / "b.tsv", 'text\tn\n"a\tb"\t1\n')).rows == ["a\tb"]


def test_the_hash_is_of_the_content_not_of_the_file(tmp_path):
    first = read_data(write(tmp_path / "a.csv", "text,n\nx,1\ny,2\n"))
    same = read_data(write(tmp_path / "b.jsonl", '{"text": "x", "n": 1}\n{"text": "y", "n": 2}\n'))
    assert first.data_hash == same.data_hash
    assert first.data_hash.startswith("sha256:")
    others = ["text,n\nx,1\ny,3\n", "text,n\ny,2\nx,1\n", "text,n\nxy,1\n", "text,m\nx,1\ny,2\n"]
    hashes = {read_data(write(tmp_path / "c.csv", other)).data_hash for other in others}
    assert len(hashes | {first.data_hash}) == 5


def test_user_columns_never_clash_with_ours(tmp_path):
    raw = read_data(write(tmp_path / "a.csv", "text,position,Kind,a,A,a,\nx,p,k,1,2,3,4\n"))
    assert list(raw.user_columns) == ["user_position", "user_Kind", "a", "A_2", "a_2_2", "column_7"]
    assert len(raw.notes) == 4


def test_numbers_are_numbers_and_codes_stay_codes(tmp_path):
    raw = read_data(write(tmp_path / "a.csv", "text,int,float,code,mixed,none\nx,1,1.5,007,1,\ny,-2,1e3,12,b,\n"))
    assert raw.user_columns == {"int": [1, -2], "float": [1.5, 1000.0], "code": ["007", "12"], "mixed": ["1", "b"]}


def test_the_bundled_sentences():
    raw = read_data("demo-sentences", limit=5)
    assert raw.name == "demo-sentences"
    assert len(raw) == 5
    assert "topic" in raw.user_columns


def test_text_of_data_with_both_columns(tmp_path):
    path = write(tmp_path / "a.jsonl", json.dumps({"image": "missing.png", "text": "caption"}))
    assert read_data(path, modality="text").rows == ["caption"]
    with pytest.raises(InputError, match="no such file"):
        read_data(path)
