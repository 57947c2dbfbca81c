"""The folder of an experiment, and the files in it that grow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moa.errors import UsageError
from moa.evaluate.folder import Folder, line_of, read_lines, write_lines
from moa.evaluate.journal import Journal
from moa.evaluate.records import Answer, Item, Verdict
from tests.evaluate.folders import answer, failed, item, preferences, write_folder


def groups(count: int) -> list[tuple[Verdict, ...]]:
    return [tuple(preferences(number, "one", 0.5)) for number in range(count)]


def journal(path: Path, *, anew: bool = False) -> Journal[Verdict]:
    return Journal(path / "one.jsonl", Verdict, anew=anew)


def write_groups(path: Path, found: list[tuple[Verdict, ...]]) -> bytes:
    with journal(path) as file:
        for number, group in enumerate(found):
            assert file.recorded(f"q{number}") == ()
            file.write(group, known=False)
    return (path / "one.jsonl").read_bytes()


def test_what_is_recorded_comes_back_item_by_item(tmp_path: Path) -> None:
    whole = write_groups(tmp_path, groups(3))
    with journal(tmp_path) as file:
        assert [file.recorded(f"q{number}") for number in range(5)] == [*groups(3), (), ()]
        file.write(groups(1)[0], known=True)
        file.write(groups(4)[3], known=False)
    assert (tmp_path / "one.jsonl").read_bytes() == whole + b"".join(map(line_of, groups(4)[3]))


@pytest.mark.parametrize("lost", [1, 20, 400])
def test_a_torn_end_is_cut_off_and_written_again(tmp_path: Path, lost: int) -> None:
    whole = write_groups(tmp_path, groups(3))
    path = tmp_path / "one.jsonl"
    path.write_bytes(whole[:-lost])
    with journal(tmp_path) as file:
        known = [bool(file.recorded(f"q{number}")) for number in range(3)]
        assert known == [True, True, False]
        file.write(groups(3)[2], known=False)
    assert path.read_bytes() == whole


def test_an_item_of_which_a_verdict_is_missing_is_written_again(tmp_path: Path) -> None:
    whole = write_groups(tmp_path, groups(3))
    path = tmp_path / "one.jsonl"
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    with journal(tmp_path) as file:
        assert [len(file.recorded(f"q{number}")) for number in range(3)] == [2, 2, 0]
        file.write(groups(3)[2], known=False)
    assert path.read_bytes() == whole


def test_a_file_about_other_items_is_refused(tmp_path: Path) -> None:
    write_groups(tmp_path, groups(2))
    with journal(tmp_path) as file:
        file.recorded("q0")
        with pytest.raises(UsageError, match=r"one.jsonl:3: is about the item 'q1' where 'other' is due"):
            file.recorded("other")


def test_a_line_that_is_no_verdict_is_named(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text('{"item": "q0"}\n')
    with pytest.raises(UsageError, match=r"one.jsonl:1: entrant: Field required"), journal(tmp_path):
        pass


def test_anew_replaces_the_file_only_at_the_end(tmp_path: Path) -> None:
    whole = write_groups(tmp_path, groups(2))
    path = tmp_path / "one.jsonl"
    with pytest.raises(KeyboardInterrupt), journal(tmp_path, anew=True) as file:
        file.write(groups(1)[0], known=True)
        raise KeyboardInterrupt
    assert path.read_bytes() == whole and len(list(tmp_path.iterdir())) == 1
    with journal(tmp_path, anew=True) as file:
        assert file.recorded("q0") == groups(1)[0]
        file.write(groups(1)[0], known=True)
        assert path.read_bytes() == whole
    assert path.read_bytes() == b"".join(map(line_of, groups(1)[0]))


def test_a_killed_draft_is_thrown_away(tmp_path: Path) -> None:
    whole = write_groups(tmp_path, groups(2))
    (tmp_path / ".one.jsonl.draft").write_text("half a li")
    with journal(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["one.jsonl"]
    assert (tmp_path / "one.jsonl").read_bytes() == whole


def test_a_folder_gives_back_what_was_written(tmp_path: Path) -> None:
    items = [item(0), item(1)]
    folder = write_folder(
        tmp_path, items, {"one": [answer(0, "one"), failed(1, "one")]}, {"one": groups(1)[0]}
    )
    assert list(folder.items()) == items
    assert list(folder.answers("one")) == [answer(0, "one"), failed(1, "one")]
    assert list(folder.verdicts("one")) == list(groups(1)[0])
    assert list(folder.answers("nobody")) == []
    assert folder.experiment.entrants[0].name == "one"


def test_outputs_leave_out_what_failed(tmp_path: Path) -> None:
    items = [item(0), item(1), item(2, fields={"dataset": "mine"})]
    answers = {"one": [failed(0, "one"), answer(1, "one"), answer(2, "one", outputs=("halb \ud83d",))]}
    folder = write_folder(tmp_path, items, answers, {})
    folder.write_outputs("one")
    assert json.loads(folder.outputs_path("one").read_text()) == [
        {"instruction": "Question 1?", "output": "one says 1", "generator": "one", "dataset": "all"},
        {"instruction": "Question 2?", "output": "halb \ud83d", "generator": "one", "dataset": "mine"},
    ]


def test_outputs_of_nobody_are_an_empty_list(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, [item(0)], {"one": [failed(0, "one")]}, {})
    folder.write_outputs("one")
    assert json.loads(folder.outputs_path("one").read_text()) == []


def test_texts_survive_whatever_they_hold(tmp_path: Path) -> None:
    hostile = answer(0, "one", outputs=("\u2028 \x00 \ud83d </script> ü\n\r",))
    write_lines(tmp_path / "a.jsonl", [hostile, hostile])
    assert list(read_lines(tmp_path / "a.jsonl", Answer)) == [hostile, hostile]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write .*file"):
        write_lines(tmp_path / "file" / "items.jsonl", [item(0)])
    with pytest.raises(UsageError, match="cannot write"), Journal(tmp_path / "file" / "a.jsonl", Answer):
        pass


def test_a_file_where_a_folder_should_be_is_no_experiment(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is no experiment"):
        _ = Folder(tmp_path / "file").experiment
    (tmp_path / "experiment.json").write_text('{"version": 1}')
    with pytest.raises(UsageError, match=r"experiment.json: moa: Field required"):
        _ = Folder(tmp_path).experiment


def test_an_item_says_what_it_is() -> None:
    assert Item(id="1", turns=("Why?", "And?")).instruction == "Why?"
