"""Bundles: what their scripts hold is what the run holds, and the run comes back out of them to the byte."""

import base64
import gzip
import re

import numpy as np
import pandas as pd
import pytest

from analysis.cli import main
from analysis.errors import UserError
from analysis.pipeline.without_sinks import heads_without_sinks
from analysis.projection.thumbnails import pixel_indices
from analysis.store import import_run, open_run
from app.bundle import chosen
from app.bundle.__main__ import make_parser
from app.bundle.chosen import chosen_inputs
from app.bundle.making import make_bundle
from app.bundle.of_tokens import _beyond_colours
from app.charts.colouring import by_column
from app.components import unpack
from tests.sinks.made import make_run_with_sinks
from tests.store.synthetic import make_synthetic_run
from tests.store.synthetic_pairs import make_pair_run

PX = 16
"""Width of the thumbnails of synthetic runs."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    make_synthetic_run(folder, "text", n_heads=4, n_kv_heads=2, causal=True)
    make_synthetic_run(folder, "vision", modality="vision", n_inputs=3)
    make_pair_run(folder, "pairs")
    return folder


@pytest.fixture(autouse=True)
def here(runs, monkeypatch):
    monkeypatch.setenv("QK_ATLAS_RUNS", str(runs))


def message(folder, name):
    """What the script of this name hands to the viewer."""
    said = re.fullmatch(r'QKATLAS\.take\("([^"]+)","([\w+/=]+)"\);\n', (folder / "data" / f"{name}.js").read_text())
    assert said[1] == name
    return unpack(gzip.decompress(base64.b64decode(said[2])))


@pytest.mark.parametrize("name", ["text", "vision", "pairs"])
def test_attention_and_places_are_those_of_the_run(runs, tmp_path, name):
    with open_run(runs / name) as run:
        folder = make_bundle(run, tmp_path / "out")
        about, _ = message(folder, "about")
        assert [each["id"] for each in about["inputs"] if each["held"]] == run.inputs()["input_id"].tolist()
        assert {map_["name"] for map_ in about["maps"]} == set(run.projections()["name"])
        for site in run.sites:
            for input_id in run.inputs()["input_id"]:
                header, sections = message(folder, f"input/{input_id}")
                n, spans = header["n"], header["spans"][str(site.index)]
                weights = sections[f"weights{site.index}"].reshape(site.n_heads, n, n)
                part = (slice(*spans[0]), slice(*spans[1]))
                for head in range(site.n_heads):
                    np.testing.assert_array_equal(weights[head][part], run.attention(site, head, input_id))
                assert weights.sum() == pytest.approx(weights[:, *part].sum())
                allowed = sections[f"allowed{site.index}"].reshape(n, n)[part]
                np.testing.assert_array_equal(allowed, run.allowed(site, input_id))
        site = run.mapped_sites[-1]
        _, sections = message(folder, f"head/0/{site.index}-1")
        told = run.coordinates(about["maps"][0]["name"], site=site, head=1)
        told = told.sort_values(["kind", "input_id", "position"], ascending=[False, True, True])
        places = sections["places"].reshape(-1, about["maps"][0]["dims"])
        places = places[places[:, 0] < 1e9]  # tokens of another sequence are far away
        np.testing.assert_array_equal(places, told[["x", "y"]].to_numpy(np.float32))
        if name == "text":
            norms = np.linalg.norm(run.queries(site, 1), axis=1)
            np.testing.assert_allclose(sections["query_norm"], norms, rtol=1e-6)
            _, tokens = message(folder, "tokens")
            np.testing.assert_array_equal(tokens["at_position"], run.tokens()["position"])


def test_what_the_pages_compute_of_heads_and_inputs_goes_along_as_the_run_has_it(runs, tmp_path):
    with open_run(runs / "text") as run:
        folder = make_bundle(run, tmp_path / "out", [1, 4])
        tokens, site = run.tokens(), run.sites[-1]
        table = run.coordinates("atlas-2d", site=site, head=1)
        table = table.sort_values(["kind", "input_id", "position"], ascending=[False, True, True])
        _, pixels = message(folder, "pixels/0")
        wanted = pixel_indices(table[["x", "y"]].to_numpy(), PX)
        np.testing.assert_array_equal(pixels[f"site{site.index}"].reshape(site.n_heads, -1)[1], wanted)
        header, sections = message(folder, "input/4")
        mine = (tokens["input_id"] == 4).to_numpy()
        norms = sections[f"norms{site.index}"].reshape(site.n_heads, -1)
        np.testing.assert_allclose(norms[1], run.value_norms(site, 1)[mine], rtol=1e-6)
        np.testing.assert_array_equal(sections["special"], tokens.loc[mine, "is_special"])
        np.testing.assert_array_equal(sections["word_of"], np.arange(mine.sum()))  # every token is a word of its own
        scores = run.head_input_scores("first_token").query("input_id == 4").set_index(["site", "head"])["value"]
        places = [(each.key, head) for each in run.sites for head in range(each.n_heads)]
        np.testing.assert_array_equal(header["scores"]["first_token"], scores.loc[places])
        about, _ = message(folder, "about")
        fidelity = run.fidelity("atlas-2d").set_index(["site", "head"])["kl_explained"]
        np.testing.assert_array_equal(about["maps"][0]["explains"], fidelity.loc[places])


def test_values_that_have_no_colour_of_their_own_are_named(runs, tmp_path):
    """Of a column of more values than colours every value can be searched for, and numbers on a circle as they are."""
    rare = by_column(pd.Series([f"value {at % 12}" for at in range(40)]), "categorical", "rare")
    names, found = _beyond_colours(pd.Series([f"value {at % 12}" for at in range(40)]), rare)
    assert names == [f"value {at}" for at in range(12)]
    assert found["codes"].tolist() == [at % 12 for at in range(40)]
    turned = pd.Series([10.0, 370.0, np.nan])
    names, found = _beyond_colours(turned, by_column(turned, "cyclic", "hue", "degrees"))
    np.testing.assert_array_equal(found["numbers"], np.array([10, 370, np.nan], dtype=np.float32))
    plain = pd.Series(["a", "b", "a"])
    assert _beyond_colours(plain, by_column(plain, "categorical", "few")) == ([], {})


def test_heads_without_their_sinks_go_along(runs, tmp_path):
    make_run_with_sinks(runs, "sinks", n_inputs=4, n_tokens=20, n_heads=4, causal=True)
    with open_run(runs / "sinks") as run:
        folder = make_bundle(run, tmp_path / "out", [0])
        found = heads_without_sinks(run, ["previous_token"]).heads.set_index(["site", "head"])
        places = [(each.key, head) for each in run.sites for head in range(each.n_heads)]
    told, _ = message(folder, "sinks")
    np.testing.assert_array_equal(told["hidden"], found.loc[places, "hidden"])
    np.testing.assert_array_equal(told["scores"]["previous_token"], found.loc[places, "previous_token"])
    assert any("is hidden; rows are scaled to sum to 1." in each for each in told["of_heads"])
    about, _ = message(folder, "about")
    maps = {each["name"]: each for each in about["maps"]}
    assert maps["atlas-2d"]["without_sinks"] == "atlas-2d-without-sinks"
    assert maps["atlas-2d"]["sinks"] == "The map itself is of the whole attention."
    assert maps["atlas-2d-without-sinks"]["sinks"] == ""


@pytest.mark.parametrize("target", ["out", "out.zip"])
def test_the_run_in_it_comes_back_to_the_byte(runs, tmp_path, target):
    assert main(["export", "text", "--out", str(runs), "--to", str(tmp_path / "first"), "--format", "run"]) == 0
    with open_run(runs / "text") as run:
        made = make_bundle(run, tmp_path / target)
    back = import_run(made, tmp_path / "elsewhere")
    files = sorted(path.name for path in back.iterdir())
    assert files == sorted(path.name for path in (runs / "text").iterdir())
    assert all((back / name).read_bytes() == (runs / "text" / name).read_bytes() for name in files)


def test_the_first_inputs_go_along_up_to_a_size(runs, monkeypatch):
    with open_run(runs / "text") as run:
        lengths = run.lengths_of("")
        n_heads = sum(site.n_heads for site in run.sites)
        monkeypatch.setattr(chosen, "ATTENTION_BYTES", 4 * n_heads * (lengths[0] ** 2 + lengths[1] ** 2))
        assert chosen_inputs(run) == [0, 1]
        assert chosen_inputs(run, [4, 2, 4]) == [2, 4]
        monkeypatch.setattr(chosen, "LONGEST_INPUT_BYTES", 4 * n_heads * max(lengths.values()) ** 2 - 1)
        longest = max(lengths, key=lengths.get)
        with pytest.raises(UserError, match=rf"Input {longest} has {lengths[longest]} tokens.*leave it out"):
            chosen_inputs(run, [longest])


def test_what_cannot_be_made_is_said_in_one_sentence_and_leaves_nothing(runs, tmp_path, monkeypatch):
    make_synthetic_run(tmp_path / "far", "text", n_inputs=2)
    with open_run(tmp_path / "far" / "text") as other, pytest.raises(UserError, match="not in the folder of the runs"):
        make_bundle(other, tmp_path / "out")
    with open_run(runs / "text") as run:
        with pytest.raises(UserError, match="has no input 9; it has 0 to 5"):
            make_bundle(run, tmp_path / "out", [0, 9])
        (tmp_path / "used").mkdir()
        (tmp_path / "used" / "mine.txt").write_text("mine")
        with pytest.raises(UserError, match="not empty"):
            make_bundle(run, tmp_path / "used")

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("app.bundle.making.write_data", full)
        with pytest.raises(UserError, match="No space left"):
            make_bundle(run, tmp_path / "out.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "used"]


def test_the_command_makes_one_and_refuses_what_goes_with_other_formats(runs, tmp_path, capsys, monkeypatch):
    said = ["export", "text", "--out", str(runs), "--to", str(tmp_path / "out"), "--format", "bundle"]
    assert main([*said, "--top-k", "3"]) == 2
    assert "leave --attention and --top-k out" in capsys.readouterr().err
    commands = []
    monkeypatch.setattr("os.execv", lambda _, command: commands.append(command[1:]))
    monkeypatch.chdir(tmp_path)
    assert main([*said, "--inputs", "0-2"]) == 2  # where the process would have become the page's command
    assert commands[0][:2] == ["-m", "app.bundle"]
    options = make_parser().parse_args(commands[0][2:])
    assert (options.run, options.inputs, options.out) == ("text", "0-2", str(runs))
    options.command(options)
    assert [each["held"] for each in message(tmp_path / "out", "about")[0]["inputs"][:4]] == [True, True, True, False]
    assert "index.html" in capsys.readouterr().out
