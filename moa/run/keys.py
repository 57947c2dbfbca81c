"""The key of a sample: what makes two questions to a model the same question.

The *base* of a request is the SHA-256 of the model's identity, the messages and the sampling, written as
canonical JSON in which every long text is replaced by its own SHA-256. So a prompt that six models are
asked is read once, and texts are addressed as the store addresses them. The key of a sample is the base
and the sample's number: the work is done once, however many samples are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring as _quoted
from math import isfinite
from typing import Any, Generic, TypeVar

from moa.errors import UsageError

REFERENCE = "#"
"""`{"#": digest}` stands for a long text; a user's own object with that key is wrapped once more."""
LONG = 128
"""Texts of this many characters are addressed by their digest, shorter ones stay where they are."""

_EXACT = 2.0**53
"""Up to here a float without a fraction and the integer of the same value are one number."""
_REMEMBERED = 1 << 16
"""Longer texts (images) are hashed each time rather than kept in memory."""

_CONSTANTS = {None: "null", True: "true", False: "false"}
_KIN: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (float, float.__float__),
    (Mapping, dict),
    (list, list),
    (tuple, list),
)

Texts = dict[str, str]
"""Texts by their digest."""
T = TypeVar("T")


class Written(Generic[T]):
    """A JSON value that is read once, however many keys and rows it goes into; it must not change."""

    __slots__ = ("json", "texts", "value")

    def __init__(self, value: T) -> None:
        self.value = value
        self.texts: Texts = {}
        self.json = condensed(value, self.texts)
        """The value's condensed form; its long texts are in `texts`."""


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no escapes that JSON does not need.

    Numbers that are equal are written alike (`1.0` is `1`, `-0.0` is `0`), and a tuple is a list. Raises
    `UsageError` for what JSON cannot hold: NaN, infinities, keys that are not strings, other types.
    """
    return _written(value, None)


def condensed(value: Any, texts: Texts | None = None) -> str:
    """The canonical JSON of a value with every long text replaced by `{"#": digest}`.

    Adds the texts to `texts`; `expanded` is the way back. Raises as `canonical` does.
    """
    return _written(value, {} if texts is None else texts)


def expanded(value: Any, find: Callable[[str], str]) -> Any:
    """A value read from `condensed` JSON, with the texts put back that `find` finds by their digest."""
    if isinstance(value, list):
        return [expanded(item, find) for item in value]
    if not isinstance(value, dict):
        return value
    inner = value.get(REFERENCE)
    if isinstance(inner, str):
        return find(inner)
    if REFERENCE in value:
        value = inner
    return {key: expanded(item, find) for key, item in value.items()}


def digest(text: str) -> str:
    """The SHA-256 of a text in hex; lone surrogates, which JSON can hold and UTF-8 cannot, pass."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


_remembered_digest = lru_cache(maxsize=512)(digest)


def text_digest(text: str) -> str:
    """`digest` that remembers: the same prompts and answers come back again and again."""
    return _remembered_digest(text) if len(text) <= _REMEMBERED else digest(text)


def base_key(
    identity: str,
    messages: Sequence[Any] | Written[tuple[Any, ...]],
    params: Mapping[str, Any] | Written[Mapping[str, Any]],
) -> str:
    """The key that all samples of one request share, in hex.

    `identity` names the model and where it is; never a key to it.
    """
    if type(messages) is Written and type(params) is Written:
        return digest(f"[{_condensed_name(identity)},{messages.json},{params.json}]")
    return digest(condensed((identity, messages, params)))


@lru_cache(maxsize=1024)
def _condensed_name(identity: str) -> str:
    return condensed(identity)


def sample_key(base: str, sample: int) -> str:
    """The key of one sample of a request: its base, a dot and the sample's number."""
    return f"{base}.{sample}"


def split_key(key: str) -> tuple[str, int]:
    """The base and the number that make a key; raises `ValueError` for what is not one."""
    base, _, sample = key.rpartition(".")
    return base, int(sample)


def request_key(identity: str, messages: Sequence[Any], params: Mapping[str, Any], sample: int) -> str:
    """The key of one sample, where only one is wanted; `sample_key(base_key(...), sample)`."""
    return sample_key(base_key(identity, messages, params), sample)


def _written(value: Any, texts: Texts | None) -> str:
    try:
        return _write(value, texts)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"a request must be plain JSON: {error}") from None


def _write(value: Any, texts: Texts | None) -> str:
    """One walk for what `json.dumps` would need two: makes equal numbers alike and takes long texts out."""
    kind = type(value)
    if kind is str:
        return _quoted(value) if texts is None or len(value) < LONG else _reference(value, texts)
    if kind is dict:
        return _write_object(value, texts)
    if kind is list or kind is tuple:
        return f"[{','.join([_write(item, texts) for item in value])}]"
    if kind is float:
        return _write_float(value)
    if kind is Written:
        return _write_again(value, texts)
    return _CONSTANTS[value] if value is None or kind is bool else _write_kin(value, texts)


def _write_object(value: Mapping[Any, Any], texts: Texts | None) -> str:
    fields = []
    for key in sorted(value):
        item = value[key]
        short = type(item) is str and len(item) < LONG
        fields.append(f"{_name(key)}:{_quoted(item) if short else _write(item, texts)}")
    written = f"{{{','.join(fields)}}}"
    return f'{{"{REFERENCE}":{written}}}' if texts is not None and REFERENCE in value else written


@lru_cache(maxsize=1024)
def _name(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the key {key!r} is not a string")
    return _quoted(key)


def _write_again(value: Written[Any], texts: Texts | None) -> str:
    if texts is None:
        return _write(value.value, None)
    texts |= value.texts
    return value.json


def _write_float(value: float) -> str:
    if value.is_integer() and abs(value) < _EXACT:
        return int.__repr__(int(value))
    if not isfinite(value):
        raise ValueError(f"{value} is not a number that JSON knows")
    return float.__repr__(value)


def _write_kin(value: Any, texts: Texts | None) -> str:
    """Integers, and kin of the JSON types, such as enumerations and read-only mappings."""
    if isinstance(value, int):
        return int.__repr__(value)
    for kin, plain in _KIN:
        if isinstance(value, kin):
            return _write(plain(value), texts)
    raise TypeError(f"{type(value).__name__} is not a JSON type")


def _reference(text: str, texts: Texts) -> str:
    address = text_digest(text)
    texts[address] = text
    return f'{{"{REFERENCE}":"{address}"}}'
