"""Folders and tables of images: labels, bad files, and paths that try to leave the folder."""

import os
from pathlib import Path

import pandas as pd
import pytest

from analysis.errors import InputError
from analysis.inputs import read_data
from tests.inputs.conftest import plain, png


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "cats/2.png", "cats/1.png", "dogs/1.jpg", "dogs/deep/x.png"):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(plain((len(name), 0, 0)), "JPEG" if name.endswith("jpg") else "PNG"))
    return tmp_path / "pets"


def test_a_folder_and_its_sub_folders(folder):
    raw = read_data(folder)
    assert raw.row_names == ["b.png", "cats/1.png", "cats/2.png", "dogs/1.jpg"]
    assert raw.user_columns == {"label": [None, "cats", "cats", "dogs"]}
    assert (raw.name, raw.modality) == ("pets", "vision")
    assert raw.notes == ["1 folders more than one level down were not read."]


def test_a_limit_meets_every_sub_folder(folder):
    assert read_data(folder, limit=3).row_names == ["b.png", "cats/1.png", "dogs/1.jpg"]


def test_one_bad_file_is_listed_and_others_are_read(folder):
    (folder / "bad.png").write_bytes(b"not a picture")
    (folder / "vector.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0")
    (folder / "empty.png").write_bytes(b"")
    (folder / ".hidden.png").write_bytes(b"?")
    (folder / "notes.md").write_text("?")
    raw = read_data(folder)
    assert len(raw) == 4
    assert [name for name, _ in raw.skipped] == ["bad.png", "empty.png", "vector.jpg"]
    assert "1 files without an image's ending were passed over." in raw.notes


def test_content_decides_not_the_ending(folder):
    (folder / "really.jpg").write_bytes(png(plain((1, 1, 1)), "WEBP"))
    assert "really.jpg" in read_data(folder).row_names


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "only.md").write_text("x")
    with pytest.raises(InputError, match="holds no image; give"):
        read_data(tmp_path)
    (tmp_path / "bad.png").write_text("x")
    with pytest.raises(InputError, match=r"1 left out, the first \(bad.png\) because not an image"):
        read_data(tmp_path)


def test_one_image_is_data_too(folder):
    assert read_data(folder / "b.png").row_names == ["b.png"]


def test_a_table_of_paths(folder):
    (folder / "t.csv").write_text("image,age\ncats/1.png,3\n./cats/../b.png,4\ncats\\2.png,5\nnone.png,6\n")
    raw = read_data(folder / "t.csv")
    assert raw.row_names == ["row 1", "row 2", "row 3"]
    assert raw.user_columns == {"age": [3, 4, 5]}
    assert raw.skipped == [("row 4 (none.png)", "there is no such file")]


def test_rows_without_an_image_are_counted_as_such(folder):
    (folder / "t.csv").write_text("image,text\nb.png,a\n,no picture\n ,none here\n")
    assert "2 rows without an image were left out." in read_data(folder / "t.csv").notes


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("../secret.png", "outside the folder"),
        ("cats/../../secret.png", "outside the folder"),
        ("/etc/hostname", "outside the folder"),
        ("link.png", "outside the folder"),
        ("..\\secret.png", "outside the folder"),
        ("https://example.org/a.png", "a web address"),
        ("file:///etc/hostname", "a web address"),
        ("a\0b.png", "not a path"),
        ("x" * 2000, "not a path"),
        ("cats", "no such file"),
    ],
)
def test_paths_that_lead_away_are_refused_row_by_row(folder, value, words):
    (folder.parent / "secret.png").write_bytes(png(plain((9, 9, 9))))
    os.symlink(folder.parent / "secret.png", folder / "link.png")
    pd.DataFrame({"image": ["b.png", value]}).to_parquet(folder / "t.parquet")
    raw = read_data(folder / "t.parquet")
    assert raw.row_names == ["row 1"]
    assert len(raw.skipped) == 1
    assert words in raw.skipped[0].reason


def test_an_absolute_path_inside_the_folder_is_fine(folder):
    (folder / "t.csv").write_text(f"image\n{folder / 'b.png'}\n")
    assert len(read_data(folder / "t.csv")) == 1


def test_a_link_out_of_a_folder_is_refused(folder):
    (folder.parent / "secret.png").write_bytes(png(plain((9, 9, 9))))
    os.symlink(folder.parent / "secret.png", folder / "link.png")
    os.symlink(folder.parent, folder / "up")
    raw = read_data(folder)
    assert "link.png" not in raw.row_names
    assert {name for name, _ in raw.skipped} == {"link.png", "up/secret.png"}


def test_a_pipe_does_not_block(folder):
    os.mkfifo(folder / "pipe.png")
    assert read_data(folder).skipped == [("pipe.png", "there is no such file")]


def test_names_cannot_write_to_the_terminal(folder):
    (folder / "a\x1b[2Jb.png").write_bytes(b"bad")
    assert read_data(folder).skipped[0].name == "a\ufffd[2Jb.png"


def test_bytes_in_parquet(tmp_path):
    content = png(plain((7, 7, 7)))
    pd.DataFrame({"image": [{"bytes": content, "path": "x.png"}, {"bytes": b"?", "path": None}]}).to_parquet(
        tmp_path / "a.parquet"
    )
    raw = read_data(tmp_path / "a.parquet")
    assert raw.rows[0].name == "x.png"
    assert raw.rows[0].content == content
    assert raw.skipped[0].name == "row 2"
    pd.DataFrame({"image": [content]}).to_parquet(tmp_path / "b.parquet")
    assert read_data(tmp_path / "b.parquet").rows[0].content == content


def test_the_hash_covers_images_masks_and_columns(folder):
    def hash_of(rows):
        (folder / "t.csv").write_text("image,mask,n\n" + rows)
        return read_data(folder / "t.csv").data_hash

    (folder / "m.png").write_bytes(png(plain((1, 1, 1)).convert("L")))
    plain_hash = hash_of("b.png,m.png,1\n")
    assert plain_hash == hash_of("./b.png,m.png,1\n")
    assert len({plain_hash, hash_of("cats/1.png,m.png,1\n"), hash_of("b.png,,1\n"), hash_of("b.png,m.png,2\n")}) == 4


def test_the_bundled_scenes_have_masks_with_names():
    raw = read_data("demo-scenes", limit=3)
    assert raw.name == "demo-scenes"
    assert {"label", "colour", "shape"} <= set(raw.user_columns)
    assert not {"mask", "mask_labels"} & set(raw.user_columns)
    assert isinstance(raw.rows[0].mask, Path)
    assert raw.rows[0].mask_names[0] == "background"


def test_images_are_not_texts(folder):
    with pytest.raises(InputError, match="holds images, and texts are needed"):
        read_data(folder, modality="text")
