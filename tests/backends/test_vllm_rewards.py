"""A reward model in vLLM's own engine on this processor; its weights are drawn by vLLM, so only its ways are judged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moa.backends.scoring import Pair
from moa.backends.vllm.rewards import VllmScorer
from moa.errors import ContextOverflowError, InvalidReplyError
from moa.spec.model import ModelSpec
from tests.support.vllm import MISSING, folder, needs_vllm

PAIRS = [
    Pair("Why is the sky blue?", answer) for answer in ("Rayleigh scattering.", "It is not.", "Because.")
]


def reward_model(place: Path, classes: int = 1) -> ModelSpec:
    """The small model's shape and words with a head for rewards, without its weights."""
    for file in Path(folder()).iterdir():
        if file.suffix == ".json" and file.name != "config.json":
            (place / file.name).symlink_to(file)
    config: dict[str, Any] = json.loads((Path(folder()) / "config.json").read_text(encoding="utf-8"))
    config |= {
        "architectures": ["LlamaForSequenceClassification"],
        "num_hidden_layers": 2,
        "id2label": {str(number): f"class {number}" for number in range(classes)},
        "label2id": {f"class {number}": number for number in range(classes)},
    }
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    options: dict[str, Any] = {"dtype": "float32", "load_format": "dummy", "max_model_len": 128}
    return ModelSpec(name="rm", provider="vllm", model=str(place), options=options)


@pytest.fixture(scope="module")
def rewards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmScorer]:
    scorer = VllmScorer(reward_model(tmp_path_factory.mktemp("reward")))
    yield scorer
    if not MISSING:
        asyncio.run(scorer.aclose())


@needs_vllm
async def test_every_answer_has_a_reward_of_its_own_whatever_is_scored_beside_it(rewards: VllmScorer) -> None:
    together = await rewards.score(PAIRS)
    assert len(set(together.numbers)) == len(PAIRS)
    alone = [await rewards.score([pair]) for pair in PAIRS]
    assert [scores.numbers[0] for scores in alone] == pytest.approx(together.numbers, rel=0.02)
    assert sum(scores.tokens for scores in alone) == together.tokens


@needs_vllm
async def test_the_conversation_is_written_by_the_models_own_template(rewards: VllmScorer) -> None:
    """The bare words are 8 tokens; the turns' marks and the system prompt of the template count too."""
    assert (await rewards.score(PAIRS[:1])).tokens > 25


@needs_vllm
async def test_an_answer_that_is_too_long_is_an_error_not_a_cut(rewards: VllmScorer) -> None:
    with pytest.raises(ContextOverflowError, match="does not fit the context window"):
        await rewards.score([Pair("Why?", "so " * 500)])


@needs_vllm
async def test_a_classifier_of_several_classes_is_no_reward_model(tmp_path: Path) -> None:
    scorer = VllmScorer(reward_model(tmp_path, classes=2))
    try:
        with pytest.raises(InvalidReplyError, match="rm gave no reward: 2 classes"):
            await scorer.score(PAIRS[:1])
    finally:
        await scorer.aclose()
