"""A plan as text for other tools to draw: Mermaid and DOT."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from moa.graph.cluster import ROLES, Cluster, Link, clusters_of, links_of, role_of, words_of
from moa.graph.palette import DARK_INK, LIGHT
from moa.graph.plan import Plan, PlanNode

_RESERVED = frozenset(
    [
        "end",
        "graph",
        "subgraph",
        "flowchart",
        "style",
        "class",
        "click",
        "default",
        "linkstyle",
        "classdef",
        "direction",
        "call",
        "href",
    ]
)


def mermaid(plan: Plan) -> str:
    """A Mermaid flowchart, as GitHub and many editors draw it inside a page."""
    clusters = clusters_of(plan)
    links = links_of(plan, clusters)
    node_ids, cluster_ids = _identifiers(plan, clusters)
    lines = ["---", f"title: {_yaml_quoted(plan.name or 'graph')}", "---", "flowchart TB"]
    for index, cluster in enumerate(clusters):
        shapes = [_mermaid_node(node, node_ids[node.id], plan.answer) for node in cluster.nodes]
        lines += _mermaid_group(cluster_ids[index], cluster, shapes)
    for link in links:
        lines += _mermaid_link(link, node_ids, cluster_ids, clusters)
    lines += [f"  classDef {role} {_mermaid_style(role)}" for role in ROLES if _having(plan, role)]
    for role in ROLES:
        if _having(plan, role):
            lines.append(f"  class {','.join(node_ids[id] for id in _having(plan, role))} {role}")
    lines.append(f"  style {node_ids[plan.answer]} stroke-width:3px")
    return "\n".join(lines) + "\n"


def _mermaid_group(id: str, cluster: Cluster, shapes: list[str]) -> list[str]:
    if len(cluster) == 1:
        return [f"  {shape}" for shape in shapes]
    title = _mermaid_text(f"{cluster.group} x {len(cluster)}")
    return [f'  subgraph {id}["{title}"]', *(f"    {shape}" for shape in shapes), "  end"]


def _mermaid_node(node: PlanNode, id: str, answer: str) -> str:
    words = " · ".join(words_of(node))
    label = _mermaid_text(node.id) + (f"<br/><small>{_mermaid_text(words)}</small>" if words else "")
    if node.id == answer:
        return f'{id}(["{label}"])'
    return f'{id}{{{{"{label}"}}}}' if node.select else f'{id}("{label}")'


def _mermaid_link(
    link: Link, node_ids: dict[str, str], cluster_ids: dict[int, str], clusters: list[Cluster]
) -> Iterator[str]:
    label = f'|"{_mermaid_text(link.label)}"|' if link.label else ""
    if link.bundled:
        source, target = (
            cluster_ids[end] if len(clusters[end]) > 1 else node_ids[clusters[end].nodes[0].id]
            for end in (link.source, link.target)
        )
        yield f"  {source} {'==>' if link.complete else '-.->'}{label} {target}"
        return
    for hearing in link.hearings:
        yield f"  {node_ids[hearing.source]} -->{label} {node_ids[hearing.target]}"


def _mermaid_text(text: str) -> str:
    """Text inside double quotes; Mermaid writes special characters as `#code;`."""
    return "".join(
        c if c.isalnum() or c in " _-.,:/()[]·×…+=@" else f"#{ord(c)};" for c in " ".join(text.split())
    )


def _mermaid_style(role: str) -> str:
    colours = LIGHT[role]
    return f"fill:{colours.fill},stroke:{colours.stroke},color:{DARK_INK}"


def dot(plan: Plan) -> str:
    """A DOT digraph for graphviz and its kin."""
    clusters = clusters_of(plan)
    lines = [
        f"digraph {_dot_quoted(plan.name or 'graph')} {{",
        f"  graph [label={_dot_quoted(plan.name or 'graph')}, labelloc=t, rankdir=TB, compound=true, "
        'fontname="Helvetica", color="#cbd5e1", style=rounded]',
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11]',
        '  edge [color="#64748b", arrowsize=0.7, fontname="Helvetica", fontsize=9]',
    ]
    for index, cluster in enumerate(clusters):
        shapes = [_dot_node(node, plan.answer) for node in cluster.nodes]
        lines += _dot_group(index, cluster, shapes)
    for link in links_of(plan, clusters):
        lines += _dot_link(link, clusters)
    return "\n".join([*lines, "}"]) + "\n"


def _dot_group(index: int, cluster: Cluster, shapes: list[str]) -> list[str]:
    if len(cluster) == 1:
        return [f"  {shape}" for shape in shapes]
    title = _dot_quoted(f"{cluster.group} x {len(cluster)}")
    return [
        f"  subgraph cluster_{index} {{",
        f"    label={title}",
        *(f"    {shape}" for shape in shapes),
        "  }",
    ]


def _dot_node(node: PlanNode, answer: str) -> str:
    words = " · ".join(words_of(node))
    label = _dot_escaped(node.id) + (f"\\n{_dot_escaped(words)}" if words else "")
    colours = LIGHT[role_of(node)]
    width = ", penwidth=2.5" if node.id == answer else ""
    return f'{_dot_quoted(node.id)} [label="{label}", fillcolor="{colours.fill}", color="{colours.stroke}"{width}]'


def _dot_link(link: Link, clusters: list[Cluster]) -> Iterator[str]:
    attributes = [f"label={_dot_quoted(link.label)}"] if link.label else []
    pairs: Iterable[tuple[str, str]] = ((hearing.source, hearing.target) for hearing in link.hearings)
    if link.bundled:
        source, target = clusters[link.source], clusters[link.target]
        attributes += [f"ltail=cluster_{link.source}"] if len(source) > 1 else []
        attributes += [f"lhead=cluster_{link.target}"] if len(target) > 1 else []
        attributes.append("penwidth=3" if link.complete else "penwidth=3, style=dashed")
        pairs = [(_middle(source), _middle(target))]
    suffix = f" [{', '.join(attributes)}]" if attributes else ""
    for heard, hearer in pairs:
        yield f"  {_dot_quoted(heard)} -> {_dot_quoted(hearer)}{suffix}"


def _middle(cluster: Cluster) -> str:
    return cluster.nodes[len(cluster) // 2].id


def _dot_escaped(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')


def _dot_quoted(text: str) -> str:
    return f'"{_dot_escaped(text)}"'


def _yaml_quoted(text: str) -> str:
    return f'"{_dot_escaped(text)}"'


def _having(plan: Plan, role: str) -> list[str]:
    return [node.id for node in plan.nodes if role_of(node) == role]


def _identifiers(plan: Plan, clusters: list[Cluster]) -> tuple[dict[str, str], dict[int, str]]:
    """Mermaid ids: letters, digits and underscores only, no reserved word, none twice."""
    taken: set[str] = set()
    nodes = {node.id: _identifier(node.id, taken) for node in plan.nodes}
    groups = {index: _identifier(f"group_{cluster.group}", taken) for index, cluster in enumerate(clusters)}
    return nodes, groups


def _identifier(name: str, taken: set[str]) -> str:
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "node"
    if plain.lower() in _RESERVED:
        plain += "_"
    while plain in taken:
        plain += "_"
    taken.add(plain)
    return plain
