"""Runs found again in a store, which keeps requests alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import moa
from moa.errors import StoreError, UsageError
from moa.run.inventory import collect
from moa.serve.viewer.lineage import Key, Lineage, Turn, ancestry
from moa.serve.viewer.sources import open_sources
from moa.serve.viewer.stored import StoreSource
from tests.serve.serving import duo
from tests.support.backends import Scripted

QUESTION = "Why is the sky blue at noon?"


class Told:
    """Adds samples with numbers of their own."""

    def __init__(self) -> None:
        self.lineage = Lineage()
        self.count = 0

    def __call__(
        self, text: str, *said: str, question: str = QUESTION, at: float | None = None, user: str = ""
    ) -> Key:
        """A sample that is asked `question` after a system turn with `said`, or all of it in a turn of the user."""
        self.count += 1
        prompt = [Turn("user", user or question)]
        if said:
            listed = "\n".join(f"{number}. {text}" for number, text in enumerate(said, 1))
            prompt.insert(0, Turn("system", f"Responses from models:\n{listed}"))
        key = Key(self.count, 0)
        self.lineage.add(key, "m", self.count if at is None else at, prompt, text)
        return key

    def runs(self) -> list[list[Key]]:
        """The samples of each run, the last ones last."""
        return [[sample.key for sample in ancestry(run)] for run in self.lineage.runs()]


def test_a_layer_hears_all_of_the_layer_before() -> None:
    told = Told()
    drafts = [told(f"The draft with number {n} says this.\nAnd more.") for n in range(3)]
    texts = [told.lineage.samples[key].text for key in drafts]
    refined = [told(f"The refined text with number {n}.", *texts) for n in range(3)]
    answer = told("The whole.", *(told.lineage.samples[key].text for key in refined))
    assert told.runs() == [[*drafts, *refined, answer]]
    assert told.lineage.samples[answer].question == QUESTION


def test_two_runs_share_a_pool_of_drafts() -> None:
    told = Told()
    draft = told("A draft that is long enough to be told apart.")
    text = told.lineage.samples[draft].text
    one, other = told("One answer to it all.", text), told("Another answer to it all.", text, at=9.0)
    assert told.runs() == [[draft, other], [draft, one]], "the newest first"


def test_texts_in_a_turn_of_the_user_are_heard_too_and_those_of_the_conversation_are_not() -> None:
    told = Told()
    first = told("The sky scatters the blue of the light most.")
    text = told.lineage.samples[first].text
    told.lineage.add(Key(50, 0), "m", 50.0, [Turn("user", QUESTION), Turn("assistant", text), Turn("user", "And at night?")], "Then it is dark up there.")  # fmt: skip
    assert told.lineage.samples[Key(50, 0)].heard == (), "a conversation that goes on is a run of its own"
    critic = told(
        "No changes needed, none at all.",
        user=f"A user asked:\n\n{QUESTION}\n\nThis is the draft:\n\n{text}\n\nCheck it.",
    )
    assert [one.key for one in told.lineage.samples[critic].heard] == [first]


def test_short_texts_count_only_where_their_question_is_asked() -> None:
    told = Told()
    told("Paris", question="Which city is the capital of France?")
    own = told("Paris", question="Where is the Louvre?")
    answer = told("It stands in Paris, by the river.", "Paris", question="Where is the Louvre?")
    assert [one.key for one in told.lineage.samples[answer].heard] == [own]


def test_equal_drafts_are_as_many_as_the_prompt_repeats() -> None:
    told = Told()
    same = "All of us say the very same thing here."
    [_, *late] = [told(same) for _ in range(3)]
    answer = told("They agree, all of them.", same, same)
    assert [one.key for one in told.lineage.samples[answer].heard] == late


def test_samples_of_one_prompt_are_one_run_where_they_were_made_together() -> None:
    told = Told()
    for number, at in enumerate((1.0, 2.0, 500.0)):
        told(f"Answer number {number} of a vote.", at=at)
    assert told.runs() == [[Key(3, 0)], [Key(1, 0), Key(2, 0)]]


def names_in(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()]


async def test_a_store_is_read_and_never_written(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    async with moa.Runner(store=path, backends={"panel": Scripted(), "sink": Scripted()}) as runner:
        for question in ("Why is the sky blue?", "Why is grass green?"):
            await runner.run(duo(), question)
    before = path.read_bytes()
    path.chmod(0o400)
    source = StoreSource(path)
    page = source.page("", 0, 1)
    assert page.total == 2
    assert page.rows[0]["title"] == "Why is grass green?"
    id = page.rows[0]["choices"][0]["id"]
    run: Any = source.run(id)
    assert run["question"] == [{"role": "user", "text": "Why is grass green?"}]
    assert [node["id"] for node in run["nodes"]] == ["step 1[0]", "step 1[1]", "answer"]
    assert run["nodes"][2]["prompt"][0]["role"] == "system"
    assert {box["id"] for box in run["picture"]["boxes"]} == {"step 1[0]", "step 1[1]", "answer"}
    for other in ("", "1", "1.x", "999.0", "../1.0", "-1.0"):
        assert source.run(other) is None
    assert path.read_bytes() == before
    assert names_in(tmp_path) == ["s.sqlite"]


async def test_what_is_deleted_is_no_longer_found(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    async with moa.Runner(store=path, backends={"panel": Scripted(), "sink": Scripted()}) as runner:
        assert runner.store is not None
        await runner.run(duo(), "Why is the sky blue?")
        await runner.store.flush()
        source = StoreSource(path)
        assert source.page("", 0, 9).total == 1
        collect(path, before=None, model="lent sink")
        assert [row["note"] for row in source.page("", 0, 9).rows] == ["2 calls"], (
            "two drafts without an answer"
        )
        await runner.run(duo(), "Why is grass green?")
        await runner.store.flush()
        assert source.page("grass", 0, 9).rows[0]["note"] == "3 calls"


def test_what_is_neither_experiment_nor_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing at"):
        open_sources([tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="is no experiment"):
        open_sources([tmp_path])
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but long enough to be read as the head of one" * 9, encoding="utf-8")
    with pytest.raises(StoreError, match="is not a SQLite database"):
        open_sources([text])
