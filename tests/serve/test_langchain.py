"""LangChain's own OpenAI client against the server."""

from __future__ import annotations

import pytest

from tests.serve.serving import serving

langchain = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")


async def test_langchain_asks_whole_and_streamed() -> None:
    async with serving() as server:
        chat = langchain.ChatOpenAI(
            model="duo", base_url=f"{server.url}/v1", api_key="none", max_retries=0, seed=3
        )
        whole = await chat.ainvoke("Why?")
        pieces = [piece async for piece in chat.astream("Why?", stream_usage=True)]
    assert whole.content.startswith("Why? #")
    assert "".join(str(piece.content) for piece in pieces) == whole.content
    assert whole.usage_metadata["output_tokens"] == 15
    assert [piece.usage_metadata["output_tokens"] for piece in pieces if piece.usage_metadata] == [15]
