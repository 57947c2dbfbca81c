"""Tokens and windows: from the server where it knows, else estimated; asked once."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from moa.backends.base import Message
from moa.backends.counting import estimate, listed_window
from moa.backends.openai import OpenAICompatible
from moa.errors import MissingExtraError
from moa.spec.model import ModelSpec
from tests.support.asking import asking
from tests.support.faults import FaultServer, Json, Seen

MESSAGES: tuple[Message, ...] = ({"role": "user", "content": "Why is the sky blue?"},)


def vllm(seen: Seen) -> Json:
    return {"count": 10 + len(seen.body["messages"]), "max_model_len": 2048, "tokens": []}


def llama_template(seen: Seen) -> Json:
    return {
        "prompt": "".join(f"<{message['role']}>{message['content']}" for message in seen.body["messages"])
    }


def llama_tokenize(seen: Seen) -> Json:
    # Without `content` llama.cpp answers, but with nothing.
    return {"tokens": list(seen.body.get("content", ""))}


async def test_vllm_counts_messages() -> None:
    async with FaultServer(routes={"/tokenize": vllm}) as server, asking(server) as backend:
        assert await backend.count_tokens(MESSAGES) == 11
        assert await backend.count_tokens(MESSAGES * 2) == 12
        assert [seen.body["model"] for seen in server.others] == ["m", "m"]


async def test_llama_cpp_counts_the_templated_prompt() -> None:
    routes = {"/tokenize": llama_tokenize, "/apply-template": llama_template}
    async with FaultServer(routes=routes) as server, asking(server) as backend:
        assert await backend.count_tokens(MESSAGES) == len("<user>Why is the sky blue?")
        assert await backend.count_tokens(MESSAGES) == len("<user>Why is the sky blue?")
        assert [seen.path for seen in server.others] == ["/tokenize", *["/apply-template", "/tokenize"] * 2]


async def test_absence_is_remembered() -> None:
    async with FaultServer() as server, asking(server) as backend:
        counts = [await backend.count_tokens(MESSAGES) for _ in range(3)]
        assert counts == [estimate(MESSAGES)] * 3
        assert len(server.others) == 2


async def test_a_server_that_is_away_for_a_moment_is_asked_again() -> None:
    async with FaultServer() as server:
        url = server.url
    backend = OpenAICompatible(ModelSpec(name="mine", base_url=url, model="m"), environ={})
    assert await backend.count_tokens(MESSAGES) == estimate(MESSAGES)
    assert backend._counter is not None and backend._counter._way is None
    await backend.aclose()


async def test_hosted_providers_are_not_asked() -> None:
    spec = ModelSpec(name="x", provider="openai", model="m")
    backend = OpenAICompatible(spec, environ={"OPENAI_API_KEY": "abcdefghij"})
    assert await backend.count_tokens(MESSAGES) == estimate(MESSAGES)
    await backend.aclose()


async def test_a_tokenizer_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    async with FaultServer() as server, asking(server, tokenizer="somewhere") as backend:
        with pytest.raises(MissingExtraError, match="tokenizers"):
            await backend.count_tokens(MESSAGES)


async def test_a_tokenizer_counts_with_its_template(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tokenizer:
        @staticmethod
        def from_pretrained(name: str) -> Tokenizer:
            assert name == "somewhere"
            return Tokenizer()

        def apply_chat_template(self, messages: list[Message], **options: Any) -> str:
            assert options == {"tokenize": False, "add_generation_prompt": True}
            return "".join(message["content"] for message in messages) + "|"

        def __call__(self, text: str, **options: Any) -> dict[str, list[str]]:
            return {"input_ids": text.split(" ")}

    module = type(sys)("transformers")
    module.AutoTokenizer = Tokenizer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", module)
    async with FaultServer() as server, asking(server, tokenizer="somewhere") as backend:
        assert await backend.count_tokens(MESSAGES) == 5
        assert server.others == []


def test_an_estimate_is_rounded_up() -> None:
    empty = estimate(({"role": "user", "content": ""},))
    assert estimate(({"role": "user", "content": "a"},)) == empty + 1
    assert estimate(({"role": "user", "content": [{"type": "text", "text": "a" * 8}]},)) == empty + 3


@pytest.mark.parametrize(
    ("listed", "window"),
    [
        ([{"id": "m", "max_model_len": 2048}, {"id": "other", "max_model_len": 1}], 2048),
        ([{"id": "m", "meta": {"n_ctx": 512, "n_ctx_train": 8192}}], 512),
        ([{"id": "m", "context_length": 131072}], 131072),
        ([{"id": "file.gguf", "context_window": 4096}], 4096),
        ([{"id": "a", "max_model_len": 1}, {"id": "b", "max_model_len": 2}], None),
        ([{"id": "m"}], None),
        ([{"id": "m", "max_model_len": "many"}], None),
        ([], None),
    ],
)
async def test_windows_as_servers_say_them(listed: list[Json], window: int | None) -> None:
    assert listed_window(listed, "m") == window
    async with FaultServer(models=listed) as server, asking(server) as backend:
        assert [await backend.context_length() for _ in range(2)] == [window, window]
        assert len(server.others) == 1


async def test_a_configured_window_is_not_asked_for() -> None:
    async with (
        FaultServer(models=[{"id": "m", "max_model_len": 5}]) as server,
        asking(server, context=99) as backend,
    ):
        assert await backend.context_length() == 99
        assert server.others == []


async def test_a_server_without_a_list_has_an_unknown_window() -> None:
    async with FaultServer() as server, asking(server, base_url=f"{server.root}/elsewhere") as backend:
        assert await backend.context_length() is None
