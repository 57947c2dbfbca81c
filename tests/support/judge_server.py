"""A judge behind a real HTTP server: log-probabilities in the shapes that servers send, and in their absence.

    async with JudgeServer(lambda first, second: 0.9, dialect="vllm") as server:
        ...  # asked for labels K and Q, it says K with 0.9

`dialect` is `openai` (alternatives, no more than `most`), `vllm` (a tokenizer beside the API, and the log-probabilities
of the tokens that are named), `llama.cpp` (a tokenizer of another shape), `mute` (accepts and sends none) or
`refusing` (refuses to be asked for any).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Literal, Self

from aiohttp import web

Dialect = Literal["openai", "vllm", "llama.cpp", "mute", "refusing"]
Prefer = Callable[[str, str], float]
_SHOWN = re.compile(r"\[(\w+) response (\w+) begins\]\n(.*?)\n\[\1 ends\]", re.DOTALL)
OTHERS = {"The": 0.03, "Both": 0.02}
"""What the judge would rather say than a label, and how likely."""


class JudgeServer:
    """Prefers the first response with the probability that `prefer` gives for the two texts."""

    def __init__(self, prefer: Prefer, dialect: Dialect = "openai", *, most: int = 20) -> None:
        self.prefer = prefer
        self.dialect: Dialect = dialect
        self.most = most
        self.asked: list[dict[str, Any]] = []
        self.tokenized: list[str] = []
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/tokenize", self._tokenize)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v1"
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._runner.cleanup()

    @property
    def model(self) -> str:
        """The model's name for `--judge`."""
        return f"{self.url}#judge"

    async def _chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body)
        if refusal := self._refusal(body):
            return web.json_response(
                {"error": {"message": refusal, "type": "invalid_request_error"}}, status=400
            )
        prompt = body["messages"][-1]["content"]
        (_, one, first), (_, other, second) = _SHOWN.findall(prompt)
        chances = self._chances(one, other, self.prefer(first, second))
        said = max(chances, key=lambda token: chances[token])
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": said},
            "finish_reason": "length" if body.get("max_tokens") == 1 else "stop",
            "logprobs": None,
        }
        if body.get("logprobs") and self.dialect != "mute":
            choice["logprobs"] = {"content": [self._token(said, chances, body)]}
        usage = {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}
        return web.json_response({"id": "1", "model": "judge", "choices": [choice], "usage": usage})

    def _refusal(self, body: dict[str, Any]) -> str | None:
        if self.dialect == "refusing" and "logprobs" in body:
            return "logprobs are not supported with this model"
        if self.dialect == "openai" and "logprob_token_ids" in body:
            return "Unrecognized request argument supplied: logprob_token_ids"
        if body.get("top_logprobs", 0) > self.most:
            return f"Invalid value: 'top_logprobs' must be less than or equal to {self.most}"
        return None

    @staticmethod
    def _chances(one: str, other: str, first: float) -> dict[str, float]:
        """A token's chances: each label mostly as it is, a little with a space before it."""
        left = 1 - sum(OTHERS.values())
        shares = ((one, first), (other, 1 - first))
        labels = {
            f"{space}{label}": left * share * part
            for label, share in shares
            for space, part in (("", 0.9), (" ", 0.1))
        }
        return labels | OTHERS

    def _token(self, said: str, chances: dict[str, float], body: dict[str, Any]) -> dict[str, Any]:
        named = body.get("logprob_token_ids") if self.dialect == "vllm" else None
        if named:
            shown = {said, *(token for token in chances if _id(token) in named)}
        else:
            shown = set(sorted(chances, key=lambda token: -chances[token])[: body.get("top_logprobs", 0)])
        alternatives = [_entry(token, chances[token]) for token in sorted(shown) if chances[token] > 0]
        return _entry(said, chances[said]) | {"top_logprobs": alternatives}

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.dialect == "llama.cpp":
            return web.json_response({"tokens": [_id(letter) for letter in body.get("content", "")]})
        if self.dialect != "vllm":
            return web.json_response({"detail": "Not Found"}, status=404)
        self.tokenized.append(body["prompt"])
        text = body["prompt"]
        whole = re.fullmatch(r" ?[A-Za-z]", text)
        tokens = [_id(text)] if whole else [_id(letter) for letter in text]
        return web.json_response({"count": len(tokens), "max_model_len": 4096, "tokens": tokens})


def _id(token: str) -> int:
    return int.from_bytes(token.encode()[:6])


def _entry(token: str, chance: float) -> dict[str, Any]:
    return {"token": token, "logprob": math.log(chance), "bytes": list(token.encode())}
