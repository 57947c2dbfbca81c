"""The questions under way at a server, and the last that ended, kept so that several may watch each from its beginning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from moa.graph.plan import Plan
from moa.run.conversation import Question, read_conversation
from moa.run.events import Event, TextArrived
from moa.run.reply import Reply
from moa.serve.context import Context
from moa.serve.keys import Tenant
from moa.serve.viewer.bell import Bell
from moa.serve.viewer.run import finished, shown_messages
from moa.serve.viewer.written import written

Json = dict[str, Any]
ENDED = 20
"""Questions that stay after they have ended."""
OF_ONE = 1 << 20
"""Characters that are kept of one question."""
OF_ALL = 1 << 24
"""Characters that are kept of all of them."""
EVENTS = 10_000
"""Events of one question after which only the beginnings and ends of its nodes are kept."""
NOT_KEPT = "[too long to be kept here]"
SHORT = 300
"""Characters of a question in a list."""
State = str
"""`running`, `done`, `failed`, or `stopped` for one that was given up."""


class _Text:
    """What a node that is at work has written so far."""

    __slots__ = ("full", "kept", "restarts", "text", "thoughts")

    def __init__(self) -> None:
        self.restarts = 0
        self.kept = 0
        self.full = False
        """Whether there was no room for a piece, and so is none for what follows it."""
        self.text: list[str] = []
        self.thoughts: list[str] = []


class _Read(NamedTuple):
    """How far one watcher has read such a text."""

    restarts: int = -1
    text: int = 0
    thoughts: int = 0


class Reader:
    """How far one watcher of a question is."""

    def __init__(self) -> None:
        self.events = 0
        self.texts: dict[str, _Read] = {}


class Visitors:
    """What those who look with one key share: a bell for their list, and how many there are."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.count = 0


class Live:
    """One question: what has happened to it, however many watch, and however slowly."""

    def __init__(
        self, id: str, context: Context, plan: Plan, question: Question, board: Board, visitors: Visitors
    ) -> None:
        self.id = id
        self.tenant = context.tenant
        self.plan = plan
        self.graph = context.model or plan.name
        self.state: State = "running"
        self.bell = Bell()
        self.kept = 0
        self.done = 0
        self.began, self.when = board.timer(), board.clock()
        self._took = 0.0
        self._board = board
        self._visitors = visitors
        turns = shown_messages(read_conversation(question))
        words = next((turn["text"] for turn in reversed(turns) if turn["role"] == "user"), "")
        self.title = " ".join(words[: 4 * SHORT].split())[:SHORT]
        self.question = self._messages(turns)
        self._events: list[Json] = []
        self._texts: dict[str, _Text] = {}

    @property
    def seconds(self) -> float:
        """How long it takes, or took."""
        return round(self._took if self.state != "running" else self._board.timer() - self.began, 4)

    def hear(self, event: Event) -> None:
        """Take in an event; those who watch are told by their own tasks."""
        if isinstance(event, TextArrived):
            self._hear_text(event)
        elif (told := written(event, self.seconds, detailed=self._board.detailed)) is not None:
            self._note(told)
        else:
            return
        self.bell.ring()

    def end(self, reply: Reply | None) -> None:
        """It is over."""
        self._took, self.state = self.seconds, "done" if reply is not None else "stopped"
        if reply is None:
            message = "given up: whoever asked has left, or the server was stopped"
            self._events.append({"type": "refusal", "message": message, "at": self._took})
        else:
            self.state = "done" if reply.error is None else "failed"
            self._events.append({"type": "reply", "run": self._record(reply)})
        self._texts.clear()
        self.bell.ring()
        self._board.ended(self)
        self._visitors.bell.ring()

    def row(self) -> Json:
        """It in a list."""
        return {
            "id": self.id,
            "graph": self.graph,
            "title": self.title,
            "when": self.when,
            "seconds": self.seconds,
            "state": self.state,
            "done": self.done,
            "nodes": len(self.plan.nodes),
        }

    def news(self, reader: Reader) -> list[Json]:
        """What this reader has not read yet, in the order in which it can be understood."""
        told = self._events[reader.events :]
        reader.events = len(self._events)
        return [*told, *self._fresh_texts(reader)] if self._texts else told

    def _fresh_texts(self, reader: Reader) -> Iterator[Json]:
        for node, text in self._texts.items():
            read = reader.texts.get(node, _Read())
            begun = read.restarts == text.restarts
            whole, thoughts = _joined(text.text), _joined(text.thoughts)
            fresh = whole[read.text :] if begun else whole
            thought = thoughts[read.thoughts :] if begun else thoughts
            reader.texts[node] = _Read(text.restarts, len(whole), len(thoughts))
            if fresh or thought or not begun:
                told = {"type": "text", "node": node, "text": fresh, "restart": not begun}
                yield {**told, "reasoning": thought}

    def _hear_text(self, event: TextArrived) -> None:
        text = self._texts.get(event.node)
        if text is None:
            text = self._texts[event.node] = _Text()
        if event.restart:
            self._give_back(text)
            text.restarts += 1
        count = len(event.text) + len(event.reasoning)
        text.full = text.full or not self._take(count)
        if not text.full:
            text.kept += count
            if event.text:
                text.text.append(event.text)
            if event.reasoning:
                text.thoughts.append(event.reasoning)

    def _note(self, told: Json) -> None:
        kind = told["type"]
        if kind == "finished":
            if (text := self._texts.pop(told["node"], None)) is not None:
                self._give_back(text)
            told["text"] = self._fit(told["text"])
            self.done += 1
            self._visitors.bell.ring()
        elif kind == "prompt":
            told["messages"] = self._messages(told["messages"])
        if len(self._events) < EVENTS or kind in ("started", "finished"):
            self._events.append(told)

    def _record(self, reply: Reply) -> Json:
        """The whole of it, with those texts that are kept."""
        run = finished(reply, detailed=self._board.detailed)
        known = {each["node"]: each["text"] for each in self._events if each["type"] == "finished"}
        for node in run["nodes"]:
            node["text"] = known.get(node["id"], node["text"])
            node.update({name: self._fit(node[name]) for name in ("reasoning", "calls")})
        if run["answer"] is not None:
            run["answer"] = known.get(self.plan.answer, run["answer"])
        return run

    def _messages(self, messages: list[Json]) -> list[Json]:
        return [{**message, "text": self._fit(message["text"])} for message in messages]

    def _fit(self, text: str | None) -> str | None:
        """The text where there is room for it."""
        return text if not text or self._take(len(text)) else NOT_KEPT

    def _take(self, count: int) -> bool:
        if self.kept + count > OF_ONE or not self._board.take(count):
            return False
        self.kept += count
        return True

    def _give_back(self, text: _Text) -> None:
        self.kept -= text.kept
        self._board.kept -= text.kept
        text.kept = 0
        text.text.clear()
        text.thoughts.clear()


class Board:
    """All questions under way and the last that ended; of each only what its own key asked is shown to a key.

    Args:
        timer: seconds that only go forward.
        clock: seconds since the epoch.
        new_id: makes ids.
        detailed: whether errors name the servers behind.
    """

    def __init__(
        self,
        timer: Callable[[], float],
        clock: Callable[[], float],
        new_id: Callable[[], str],
        *,
        detailed: bool,
    ) -> None:
        self.timer = timer
        self.clock = clock
        self.detailed = detailed
        self.closed = False
        self.kept = 0
        self._new_id = new_id
        self._running: dict[str, Live] = {}
        self._ended: dict[str, Live] = {}
        self._visitors: dict[Tenant, Visitors] = {}

    def begin(self, context: Context, plan: Plan, question: Question) -> Live:
        """A question is put to a plan."""
        visitors = self.visitors(context.tenant)
        live = Live(self._new_id(), context, plan, question, self, visitors)
        self._running[live.id] = live
        visitors.bell.ring()
        return live

    def ended(self, live: Live) -> None:
        """It stays for a while, and makes the oldest go."""
        del self._running[live.id]
        self._ended[live.id] = live
        while len(self._ended) > ENDED:
            self._forget()

    def take(self, count: int) -> bool:
        """Whether there is room for so many characters more; those that ended make room."""
        while self.kept + count > OF_ALL and self._ended:
            self._forget()
        if self.kept + count > OF_ALL:
            return False
        self.kept += count
        return True

    def rows(self, tenant: Tenant) -> list[Live]:
        """What a key may see, the newest first, those under way before the others."""
        return [
            live
            for several in (self._running, self._ended)
            for live in reversed(several.values())
            if live.tenant is tenant
        ]

    def find(self, tenant: Tenant, id: str) -> Live | None:
        """One of them."""
        live = self._running.get(id) or self._ended.get(id)
        return live if live is not None and live.tenant is tenant else None

    def visitors(self, tenant: Tenant) -> Visitors:
        """Those who look with a key."""
        return self._visitors.setdefault(tenant, Visitors())

    def close(self) -> None:
        """Send all who look home."""
        self.closed = True
        for visitors in self._visitors.values():
            visitors.bell.ring()
        for live in (*self._running.values(), *self._ended.values()):
            live.bell.ring()

    def _forget(self) -> None:
        oldest = self._ended.pop(next(iter(self._ended)))
        self.kept -= oldest.kept


def _joined(pieces: list[str]) -> str:
    """The pieces as one text, and from now on one piece."""
    if len(pieces) > 1:
        pieces[:] = ["".join(pieces)]
    return pieces[0] if pieces else ""
