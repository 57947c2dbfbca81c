// Looking at a run: its picture, the chosen node in full, and all nodes as a table.

import { button, counted, dollars, make, number, seconds, visible } from "./dom.js";
import { Drawing } from "./drawing.js";
import { WORDS } from "./model.js";

export class Look {
  constructor() {
    this.facts = make("p", { class: "totals" });
    this.place = make("div");
    this.warnings = make("ul", { class: "warnings" });
    this.panel = make("div", { class: "panel", role: "region", "aria-label": "The chosen node" });
    this.rows = make("tbody");
    const head = ["Node", "State", "Time", "Tokens in", "Tokens out", "Cost"].map((words, column) => make("th", { scope: "col", class: column > 1 ? "number" : "" }, words));
    this.table = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "All nodes, as a table" }, make("table", {}, make("caption", {}, "All nodes"), make("thead", {}, make("tr", {}, ...head)), this.rows));
    this.element = make("div", { class: "look" }, this.facts, this.place, this.panel, this.table, this.warnings);
    this.run = null;
    this.chosen = null;
    this.cells = new Map();
    setInterval(() => this.run && this.run.running && this.total(), 250);
  }

  show(run) {
    if (this.run) this.run.changed = () => {};
    this.run = run;
    this.drawing = new Drawing(run, (id) => this.choose(id));
    this.place.replaceChildren(this.drawing.element);
    this.cells.clear();
    this.rows.replaceChildren();
    this.chosen = run.nodes.has(run.answerId) ? run.answerId : [...run.nodes.keys()].at(-1);
    run.changed = (id) => this.changed(id);
    this.changed(null);
  }

  choose(id) {
    this.chosen = id;
    this.refresh(id);
  }

  changed(id) {
    for (const each of id ? [id] : this.run.nodes.keys()) {
      this.drawing.mark(each);
      this.row(each);
    }
    this.total();
    if (!id || id === this.chosen) this.refresh(this.chosen);
    this.warnings.replaceChildren(...this.run.warnings.map((words) => make("li", {}, visible(words))));
  }

  /** Shows the chosen node. While only its text grows, nothing else is touched: focus and selection stay. */
  refresh(id) {
    this.drawing.select(id);
    for (const [other, row] of this.cells) row.classList.toggle("chosen", other === id);
    const node = this.run.nodes.get(id);
    const shown = JSON.stringify([id, node && { ...node, text: Boolean(node.text), reasoning: Boolean(node.reasoning), prompt: Boolean(node.prompt) }]);
    if (node && this.shown === shown && this.of === this.run) {
      this.grow(node);
      return;
    }
    Object.assign(this, { shown, of: this.run });
    const open = new Set([...this.panel.querySelectorAll("details[open]")].map((part) => part.dataset.part));
    const focused = document.activeElement.closest?.(".panel details")?.dataset.part;
    this.panel.replaceChildren(...(node ? describe(node, open) : []));
    if (focused) this.panel.querySelector(`details[data-part="${focused}"] > summary`)?.focus();
  }

  grow(node) {
    const said = this.panel.querySelector(":scope > pre"), thought = this.panel.querySelector("details[data-part=reasoning] > pre");
    if (said) said.textContent = visible(node.text);
    if (thought) thought.textContent = visible(node.reasoning);
  }

  total() {
    const { run } = this, { total } = run;
    const parts = [];
    if (run.running) parts.push(`${run.done} of ${counted(run.nodes.size, "node")} done`, seconds((performance.now() - run.began) / 1000));
    else if (total.latency !== undefined && total.latency !== null) {
      parts.push(counted(run.nodes.size, "node"), seconds(total.latency));
      parts.push(`${number(total.sent)} tokens in, ${number(total.received)} out`, `cost ${dollars(total.cost)}`);
    } else parts.push(counted(run.nodes.size, "node"));
    this.facts.replaceChildren(make("bdi", { class: "graph" }, visible(run.graph)), ` · ${parts.join(" · ")}`);
  }

  row(id) {
    const node = this.run.nodes.get(id);
    if (!node) return;
    if (!this.cells.has(id)) {
      const name = button(visible(id), () => this.choose(id), { class: "plain" });
      const row = make("tr", {}, make("th", { scope: "row" }, name), ...Array.from({ length: 5 }, (_, column) => make("td", column ? { class: "number" } : {})));
      this.cells.set(id, row);
      this.rows.append(row);
    }
    const [, state, time, sent, received, cost] = this.cells.get(id).cells;
    state.textContent = WORDS[node.state] || visible(node.state);
    state.dataset.state = node.state;
    time.textContent = seconds(node.latency);
    sent.textContent = node.sent === undefined || node.sent === null ? "–" : number(node.sent);
    received.textContent = node.received === undefined || node.received === null ? "–" : number(node.received);
    cost.textContent = node.cost === undefined ? "–" : dollars(node.cost);
  }
}

/** Everything that is known of a node. */
export function describe(node, open = new Set()) {
  const facts = [
    ["Agent", node.agent], ["Model", node.model], ["Time", node.latency === undefined || node.latency === null ? null : seconds(node.latency)],
    ["Tokens", node.sent === undefined || node.sent === null ? null : `${number(node.sent)} in, ${number(node.received)} out${node.estimated ? " (estimated)" : ""}`],
    ["Cost", node.cost === undefined ? null : dollars(node.cost)], ["Heard", (node.heard || []).join(", ")], ["Chose", (node.chosen || []).join(", ")],
    ["Ended with", node.finish],
  ].filter(([, value]) => value);
  return [
    make("h3", {}, make("bdi", {}, visible(node.id)), " ", make("span", { class: "state", "data-state": node.state }, WORDS[node.state] || visible(node.state))),
    make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, make("bdi", {}, visible(value)))])),
    node.error ? make("p", { class: "wrong" }, visible(node.error)) : null,
    node.trouble && node.state === "running" ? make("p", { class: "wrong" }, visible(node.trouble)) : null,
    node.prompt ? details("prompt", `What it was asked (${counted(node.prompt.length, "message")})`, open, ...node.prompt.map(message)) : null,
    node.reasoning ? details("reasoning", "What it thought", open, text(node.reasoning)) : null,
    node.calls ? details("calls", "Tools it wants called", open, text(node.calls)) : null,
    make("h4", {}, "What it said"),
    node.text ? text(node.text) : make("p", { class: "faint" }, node.state === "waiting" || node.state === "running" ? "Nothing yet." : "Nothing."),
  ].filter(Boolean);
}

function details(part, title, open, ...children) {
  return make("details", { "data-part": part, open: open.has(part) }, make("summary", {}, title), ...children);
}

export function message({ role, text: words }) {
  return make("div", { class: "message" }, make("h5", {}, visible(role)), text(words));
}

export function text(words) {
  return make("pre", { dir: "auto", tabindex: words.length > 1200 ? "0" : null }, visible(words));
}
