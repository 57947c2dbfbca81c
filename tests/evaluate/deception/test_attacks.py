"""Every way to say who deceives, and a graph under attack."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import moa
from moa.errors import SpecError, UsageError
from moa.evaluate.deception.attacks import attacked, read_attack
from moa.graph.bind import Bindings
from moa.graph.compile import compile_graph
from moa.spec.attack import Deception
from moa.spec.catalogue import load_agent
from moa.spec.graph import GraphSpec

GRAPH = GraphSpec.model_validate(
    yaml.safe_load(
        """
        nodes:
          drafts:  {agent: proposer, models: [a, b, c]}
          refined: {agent: aggregator, models: [a, b, c], inputs: drafts}
          answer:  {agent: aggregator, model: a, inputs: refined}
        """
    )
)
ROLES = ("opposer", "promoter", "deceiver", "colluder", "copycat", "evader", "impostor",
         "injector-command", "injector-numbering", "injector-fence")  # fmt: skip


def roles(text: str, seed: int = 0) -> dict[str, object]:
    return {node: each.agent for node, each in read_attack(text, GRAPH, seed).overlay.items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", {}),
        ("000_003", {"refined[2]": "opposer"}),
        ("120_000", {"drafts[0]": "deceiver", "drafts[1]": "promoter"}),
        ("refined[2]=opposer", {"refined[2]": "opposer"}),
        ("refined[2]=3", {"refined[2]": "opposer"}),
        ("refined[2]=opposer, drafts[0]=promoter", {"refined[2]": "opposer", "drafts[0]": "promoter"}),
        ("refined[2]=opposer,drafts[0]=truthful", {"refined[2]": "opposer"}),
        ("drafts=2", {f"drafts[{number}]": "promoter" for number in range(3)}),
    ],
)
def test_forms_of_an_attack(text: str, expected: dict[str, str]) -> None:
    assert roles(text) == expected
    assert read_attack(text, GRAPH).name == text


def test_a_draw_depends_on_the_seed_alone() -> None:
    assert roles("sample:1:promoter", 3) == roles("sample:1:promoter", 3)
    assert list(roles("sample:1:promoter").values()) == ["promoter"]
    assert sorted(map(str, roles("sample:1:2:2:3").values())) == ["opposer", "opposer", "promoter"]
    assert len({tuple(roles("sample:1:2", seed)) for seed in range(40)}) == 6


def test_deaf_deceivers_and_those_with_a_model_of_their_own() -> None:
    overlay = read_attack(
        "refined[2]=opposer:deaf@sim:skill=0,length=9,drafts[1]=impostor@echo:", GRAPH
    ).overlay
    assert overlay == {
        "refined[2]": Deception(agent="opposer", hears=False, model="sim:skill=0,length=9"),
        "drafts[1]": Deception(agent="impostor", model="echo:"),
    }
    assert read_attack("000_003:deaf", GRAPH).overlay["refined[2]"].hears is False


def test_a_file_holds_an_attack(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text("attack:\n  refined[2]: {agent: opposer, hears: false}\n  drafts[0]: 2\n")
    attack = read_attack(str(path), GRAPH)
    assert attack.name == "two"
    assert attack.overlay == {
        "refined[2]": Deception(agent="opposer", hears=False),
        "drafts[0]": Deception(agent="promoter"),
    }
    path.write_text("attack:\n  refined[2]: {agnt: opposer}\n")
    with pytest.raises(SpecError, match=r"two.yaml:2:\d+: .*`agent`"):
        read_attack(str(path), GRAPH)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("refined[2]=oposer", "unknown agent 'oposer'; did you mean `opposer`"),
        ("refned=opposer", "no node `refned`"),
        ("refined[2]", "no attack is called 'refined\\[2\\]': write 000_003"),
        ("refined[2]=", "expected NODE=ROLE"),
        ("refined=2,refined[1]=3", "gives refined\\[1\\] two roles"),
        ("0000", "does not fit the graph"),
        ("sample:1", "expected sample:COUNT:ROLE"),
        ("sample:x:promoter", "expected sample:COUNT:ROLE"),
        ("sample:9:promoter", "9 deceivers are more than the 6 proposers"),
        ("nowhere.yaml", "no file nowhere.yaml"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_attack(text, GRAPH)


def test_an_attacked_graph_is_a_graph_that_can_be_saved() -> None:
    spec = attacked(GRAPH, read_attack("000_003", GRAPH))
    written = yaml.safe_dump(spec.model_dump(mode="json", exclude_unset=True))
    again = GraphSpec.model_validate(yaml.safe_load(written))
    assert compile_graph(again).fingerprint == compile_graph(spec).fingerprint
    both = attacked(spec, read_attack("drafts[0]=promoter,refined[2]=promoter", GRAPH))
    assert {node: each.agent for node, each in both.attack.items()} == {
        "refined[2]": "promoter", "drafts[0]": "promoter",
    }  # fmt: skip
    assert attacked(GRAPH, read_attack("none", GRAPH)) is GRAPH


def test_a_deceiver_that_wants_to_know_is_told_the_defence() -> None:
    attack = read_attack("refined[2]=evader,drafts[0]=opposer", GRAPH).facing("cluster-filter")
    assert attack.overlay["refined[2]"].vars == {"defence": "cluster-filter"}
    assert attack.overlay["drafts[0]"].vars == {}


def test_python_attacks_a_graph_and_leaves_it_as_it_is() -> None:
    graph = moa.Graph.from_spec(GRAPH).bind("sim:")
    bad = moa.attack(graph, {"refined[2]": "opposer"})
    assert [node.id for node in bad.plan().nodes if node.deceives] == ["refined[2]"]
    assert not any(node.deceives for node in graph.plan().nodes)
    assert bad.plan().models == ("sim:",)
    assert moa.attack(graph, "000_003").plan().fingerprint == bad.plan().fingerprint
    with pytest.raises(UsageError, match="attack: refined\\[2\\]"):
        moa.attack(graph, {"refined[2]": "truthful"})


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("node", ["drafts[0]", "refined[2]"])
def test_every_deceiver_stands_in_both_places(role: str, node: str) -> None:
    plan = compile_graph(attacked(GRAPH, read_attack(f"{node}={role}", GRAPH)), Bindings.parse(["sim:"]))
    seated = plan.by_id[node]
    assert seated.does == role
    assert bool(seated.inputs) == (node == "refined[2]" and bool(load_agent(role).spec.inputs))
