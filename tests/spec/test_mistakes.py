"""Every mistake in a file: its line, its column, and words that say what to write instead."""

from __future__ import annotations

import pytest

from moa.errors import SpecError
from moa.spec.agent import AgentSpec, Spec
from moa.spec.graph import GraphSpec
from moa.spec.loader import read_spec
from moa.spec.model import ModelsSpec

AGENT_KEYS = "name, description, source, system, user, inputs, vars, given, reads, pattern, sampling"
GRAPH_KEYS = "name, description, source, slots, nodes, answer, overflow, attack, vars"
NO_KEY = "a key never goes into a file:"
NAME_RULE = "is not a name: a letter, then letters, digits, `-` or `_`"
IN_A_GRAPH = "nodes:\n  a: {agent: proposer, model: x, %s}\n"


def problems(text: str, kind: type[Spec]) -> list[str]:
    """The mistakes in `text`, without the file's name."""
    with pytest.raises(SpecError) as caught:
        read_spec(text, "f", kind)
    return [str(problem).removeprefix("f:") for problem in caught.value.problems]


YAML = [
    ("", "1:1: the file is empty: expected `key: value` lines"),
    ("# nothing\n", "1:1: the file is empty: expected `key: value` lines"),
    ("- a\n", "1:1: the file is not a mapping: expected `key: value` lines"),
    ("just words", "1:1: the file is not a mapping: expected `key: value` lines"),
    ("name: a\n---\nname: b\n", "2:1: a second document: one file holds one"),
    ("name: a\n...\nname: b\n", "3:1: a second document: one file holds one"),
    ("name: [a\n", "2:1: expected `,` or the closing bracket"),
    ("name: 'a\n", "2:1: a quote, bracket or brace is never closed"),
    ("name: a: b\n", "1:8: a `:` that does not belong here: quote the text, or mend the indentation"),
    ("name: a\n\tsystem: b\n", "2:1: a tab: indent with spaces"),
    ("name: @x\n", "1:7: a character that cannot start a value: quote the text"),
    ("name: *x\n", "1:7: an alias `*name` without its anchor `&name`: quote the text if a star is meant"),
    ("system: |\n  a\n b\n", "3:2: this line does not fit the ones above: mend the indentation"),
    ("name: a\x07\n", "1:8: a character that YAML does not allow"),
    ("name: a\ndescription: b\nname: c\n", "3:1: duplicate key `name`: it is already on line 1"),
    ("name: !shout a\n", "1:7: the tag `!shout` is not allowed: remove it"),
    ("name: !!python/name:os.system a\n", "1:7: the tag `!!python/name:os.system` is not allowed: remove it"),
    ("vars: !!set {a}\n", "1:7: the tag `!!set` is not allowed: remove it"),
    ("? [a]\n: b\n", "1:3: a key must be text, not a list or a mapping"),
    ("1: a\n", '1:1: the key `1` without quotes is a number in YAML: write "1"'),
    ("on: a\n", '1:1: the key `on` without quotes is a boolean in YAML: write "on"'),
    (
        "vars: {2024-06-07: a}\n",
        '1:8: the key `2024-06-07` without quotes is a date in YAML: write "2024-06-07"',
    ),
    ("name: no\n", '1:7: `no` without quotes is a boolean in YAML: write "no" for the word, or false'),
    ("name: Yes\n", '1:7: `Yes` without quotes is a boolean in YAML: write "Yes" for the word, or true'),
    (
        "vars: {x: off}\n",
        '1:11: `off` without quotes is a boolean in YAML: write "off" for the word, or false',
    ),
    ("name: 1:30\n", '1:7: `1:30` without quotes is the number 90 in YAML: write "1:30" or 90'),
    ("name: 2024-06-07\n", '1:7: `2024-06-07` without quotes is a date in YAML: write "2024-06-07"'),
    ("name: 010\n", '1:7: `010` without quotes is the octal number 8 in YAML: write "010" or 8'),
    ("vars: {x: .inf}\n", "1:11: `.inf` is not a finite number: quote it if it is text"),
    (f"vars: {{x: {'9' * 30}}}\n", "1:11: a number with more than 63 bits: quote it if it is text"),
    (f"vars: {{x: {'9' * 5000}}}\n", "1:11: `" + "9" * 59 + "…` is not a whole number"),
    ("vars: &a {x: *a}\n", "1:7: an alias `*name` inside its own anchor `&name`"),
    (f"vars: {'[' * 80}\n", "1:65: not YAML: nested too deeply"),
]

AGENTS = [
    ("temprature: 1\n", "1:1: unknown key `temprature`; did you mean `temperature` under `sampling`?"),
    ("temperature: 1\n", "1:1: unknown key `temperature` here; it belongs under `sampling`"),
    ("sampling: {temprature: 1}\n", "1:12: unknown key `temprature`; did you mean `temperature`?"),
    ("xyzzy: 1\n", f"1:1: unknown key `xyzzy`; known here: {AGENT_KEYS}"),
    ("name: true\n", '1:7: expected text, not `true`: if it is text, write "true"'),
    ("name: 3.10\n", '1:7: expected text, not `3.10`: if it is text, write "3.10"'),
    ("name: 0x1F\n", '1:7: expected text, not `0x1F`: if it is text, write "0x1F"'),
    ("name:\n", "1:6: expected text, but nothing is written here"),
    ("name: [a]\n", "1:7: expected text, not a list"),
    (
        "reads: chioce\n",
        "1:8: expected one of text, choice, score, ranking, json, preference; not `chioce`; did you mean `choice`?",
    ),
    ("sampling: hot\n", "1:11: expected a mapping, not `hot`"),
    ("sampling: {temperature: 9}\n", "1:25: must be at most 5, not `9`"),
    ("sampling: {temperature: hot}\n", "1:25: expected a number, not `hot`"),
    ("sampling: {temperature: true}\n", "1:25: expected a number, not `true`"),
    ("sampling: {max_tokens: 1e3}\n", "1:24: expected a whole number, not `1e3`: write 1000"),
    ("sampling: {max_tokens: 1.5}\n", "1:24: expected a whole number, not `1.5`"),
    ("sampling: {max_tokens: true}\n", "1:24: expected a number, not `true`"),
    ("sampling: {logprobs: 3}\n", "1:22: expected true or false, not `3`"),
    ("sampling: {stop: END}\n", "1:18: expected a list, not `END`: write [END]"),
    ("inputs: [references]\n", "1:9: expected a mapping, not a list"),
    (
        "inputs:\n  references: many\n",
        "2:15: expected a count such as `1` (exactly one), `1+` (one or more) or `2-6`",
    ),
    ("inputs: {references: 2.5}\n", "1:22: expected a count such as `1` or `1+` or a mapping, not `2.5`"),
    ("inputs: {references: 6-2}\n", "1:22: at most 2 is less than at least 6"),
    (
        "inputs: {my-references: 1+}\n",
        "1:10: `my-references` is not a name: a letter, then letters, digits or `_`",
    ),
    (
        "inputs: {question: 1}\n",
        "1:1: `question` stands for two things: give the input or the variable another name",
    ),
    ("pattern: '['\n", "1:10: not a regular expression: unterminated character set at position 0"),
    (
        "api_key: secret\n",
        f"1:1: {NO_KEY} drop `api_key`, and set `key_env: NAME_OF_VARIABLE` in models.yaml",
    ),
]

GRAPHS = [
    ("name: x\n", "1:1: `nodes` is missing"),
    ("nodes: {}\n", "1:8: must not be empty"),
    ("nodes: [a]\n", "1:8: expected a mapping, not a list"),
    ("nodes:\n  a: proposer\n", "2:6: expected a mapping, not `proposer`"),
    ("nodes:\n  a:\n", "2:5: expected a mapping, but nothing is written here"),
    (
        "nodes:\n  a:\n    model: x\n",
        "2:3: needs `agent` (asks a model) or `select` (chooses among responses)",
    ),
    ("nodes:\n  a b: {agent: proposer}\n", f"2:3: `a b` {NAME_RULE}"),
    ("nodes:\n  2b: {agent: proposer}\n", f"2:3: `2b` {NAME_RULE}"),
    ("nodes:\n  a: {agent: proposer, modle: x}\n", "2:24: unknown key `modle`; did you mean `model`?"),
    ("nodes:\n  a: {agent: [proposer]}\n", "2:14: expected text or a mapping, not a list"),
    ("nodes:\n  a: {agent: 7}\n", '2:14: expected text or a mapping, not `7`: if it is text, write "7"'),
    (
        "nodes:\n  a:\n    agent: {system: Hi, sytem: Ho}\n",
        "3:25: unknown key `sytem`; did you mean `system`?",
    ),
    (
        "nodes:\n  a:\n    agent: {reads: chioce}\n",
        "3:20: expected one of text, choice, score, ranking, json, preference; not `chioce`; did you mean `choice`?",
    ),
    (
        "nodes:\n  a:\n    agent: p\n    model: no\n",
        '4:12: `no` without quotes is a boolean in YAML: write "no" for the word, or false',
    ),
    ("nodes:\n  a: {agent: p, model: a, models: [b]}\n", "2:6: takes `model` or `models`, not both"),
    ("nodes:\n  a: {select: majority}\n", "2:6: a selector needs `inputs`"),
    ("nodes:\n  a: {agent: p, models: [a, '']}\n", "2:29: must not be empty"),
    (IN_A_GRAPH % "models: [x]", "2:6: takes `model` or `models`, not both"),
    (IN_A_GRAPH % "size: 4", "2:34: unknown key `size` here; it belongs under `subsets` or `window`"),
    (IN_A_GRAPH % "samples: 0", "2:43: must be at least 1, not `0`"),
    (
        IN_A_GRAPH % "samples: yes",
        '2:43: `yes` without quotes is a boolean in YAML: write "yes" for the word, or true',
    ),
    (IN_A_GRAPH % "inputs: [b, 3]", '2:46: expected text, not `3`: if it is text, write "3"'),
    (IN_A_GRAPH % "inputs: {refs: 3}", '2:49: expected text or a list, not `3`: if it is text, write "3"'),
    (IN_A_GRAPH % "inputs: {str: {x: y}}", "2:48: expected text or a list, not a mapping"),
    (IN_A_GRAPH % "inputs: 3", '2:42: expected text, a list or a mapping, not `3`: if it is text, write "3"'),
    (IN_A_GRAPH % "window: {size: 3, keep: 3}", "2:42: `keep` (3) must be smaller than `size` (3)"),
    (IN_A_GRAPH % "subsets: al", "2:43: expected `all` or a mapping, not `al`"),
    (IN_A_GRAPH % "rounds: 0", "2:42: must be at least 1, not `0`"),
    (IN_A_GRAPH % "rounds: three", "2:42: expected a number of rounds or a mapping, not `three`"),
    (IN_A_GRAPH % "rounds: {replace: b}", "2:42: `times` is missing"),
    (
        "nodes: {a: {select: {x: {}, y: {}}, inputs: b}}\n",
        "1:21: takes one selector: `NAME`, or `{NAME: {option: value}}`",
    ),
    ("nodes: {a: {select: {x: 3}, inputs: b}}\n", "1:25: expected a mapping, not `3`"),
    (
        "nodes: {a: {agent: p}}\noverflow: eror\n",
        "2:11: expected one of error, drop, truncate; not `eror`; did you mean `error`?",
    ),
    ("nodes: {a: {agent: p}}\nansewr: a\n", "2:1: unknown key `ansewr`; did you mean `answer`?"),
    ("nodes: {a: {agent: p}}\nxyzzy: a\n", f"2:1: unknown key `xyzzy`; known here: {GRAPH_KEYS}"),
]

MODELS = [
    ("models: {a: {}}\n", "1:13: needs `provider` or `base_url`"),
    ("models: {a: openai}\n", "1:13: expected a mapping, not `openai`"),
    ("models: {a: {provider: openai, price: {input: 1}}}\n", "1:39: `output` is missing"),
    ("models: {a: {provider: openai, limits: {rpm: 0}}}\n", "1:46: must be more than 0, not `0`"),
    ("models: {a: {base_url: localhost}}\n", "1:24: expected an address such as http://127.0.0.1:8000/v1"),
    ("models:\n  a:\n    provider: openai\n    api_key: x\n", f"4:5: {NO_KEY} instead of `api_key` write `key_env: NAME_OF_VARIABLE`"),
    ("slots: {a: b}\n", "1:1: `models` is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), YAML)
def test_yaml_itself(text: str, message: str) -> None:
    assert problems(text, AgentSpec) == [message]


@pytest.mark.parametrize(("text", "message"), AGENTS)
def test_agents(text: str, message: str) -> None:
    assert problems(text, AgentSpec) == [message]


@pytest.mark.parametrize(("text", "message"), GRAPHS)
def test_graphs(text: str, message: str) -> None:
    assert problems(text, GraphSpec) == [message]


@pytest.mark.parametrize(("text", "message"), MODELS)
def test_models(text: str, message: str) -> None:
    assert problems(text, ModelsSpec) == [message]


def test_position_of_a_merged_value_is_where_it_is_written() -> None:
    text = "nodes:\n  a: &base\n    agent: p\n    samples: 0\n  b: {<<: *base, model: x}\n"
    assert problems(text, GraphSpec) == ["4:14: must be at least 1, not `0`"]


def test_message_stays_one_short_line() -> None:
    (message,) = problems(f'reads: "{"long " * 100}\\n\\x1b[31mred"\n', AgentSpec)
    assert len(message) < 160
    assert message.isprintable()
