// Two runs side by side, with the words that differ marked.

import { byId, counted, dollars, make, number, say, seconds, visible } from "./dom.js";
import { different } from "./words.js";
import { WORDS } from "./model.js";

export class Compare {
  constructor(runs) {
    this.runs = runs;
  }

  async open(places) {
    const view = byId("view-compare"), pair = places.split(",").filter(Boolean);
    if (pair.length !== 2) {
      view.replaceChildren(make("h2", {}, "Compare"), make("p", {}, "Tick two runs under ", make("a", { href: "#runs" }, "Runs"), ", and follow the link that appears there."));
      return;
    }
    try {
      const both = await Promise.all(pair.map((place) => this.runs.find(place)));
      view.replaceChildren(make("h2", {}, "Two runs"), ...this.sides(both, pair));
      say("Two runs are compared");
    } catch (error) {
      view.replaceChildren(make("h2", {}, "Compare"), make("p", { class: "wrong", role: "alert" }, visible(error.message)));
    }
  }

  sides(both, places) {
    const [one, other] = both;
    const asked = both.map((run) => run.question.map((turn) => turn.text).join("\n\n"));
    const nodes = [...new Set([...one.nodes.keys(), ...other.nodes.keys()])];
    return [
      make("p", { class: "faint small" }, "Words that only one of them has are underlined: dotted on the left, with a line on the right."),
      make("div", { class: "pair names" }, ...both.map((run, side) => make("div", {}, make("h3", {}, make("a", { href: `#run=${places[side]}` }, make("bdi", {}, visible(run.graph)))), facts(run)))),
      section("Question", pair(...asked)),
      section("Answer", pair(one.answer || one.error || "", other.answer || other.error || "")),
      ...nodes.map((id) => nodeSection(id, one.nodes.get(id), other.nodes.get(id))),
    ];
  }
}

function facts({ total, nodes }) {
  const known = total.latency !== undefined && total.latency !== null;
  return make("p", { class: "faint small" }, [counted(nodes.size, "node"), ...(known ? [seconds(total.latency), `${number(total.sent)} tokens in, ${number(total.received)} out`, `cost ${dollars(total.cost)}`] : [])].join(" · "));
}

function section(title, ...children) {
  return make("section", { class: "compared", "aria-label": title }, make("h3", {}, title), ...children);
}

function nodeSection(id, one, other) {
  const same = one && other && one.text === other.text && one.model === other.model;
  const heading = (node) => make("p", { class: "faint small" }, node ? visible([node.model || node.agent || "", WORDS[node.state] || node.state].filter(Boolean).join(" · ")) : "not there");
  return make("details", { class: "compared", open: !same }, make("summary", {}, make("bdi", {}, visible(id)), same ? " (the same)" : ""),
    pair(one ? one.text : "", other ? other.text : "", heading(one), heading(other)));
}

/** Both texts, each with the words marked that only it has. */
function pair(one, other, ...headings) {
  const parts = different(visible(one), visible(other));
  const side = (kinds, place) => {
    const words = parts.filter(([kind]) => kinds.includes(kind)).map(([kind, text]) => (kind === "same" ? text : make("mark", { class: kind }, text)));
    return make("div", { role: "group", "aria-label": ["left", "right"][place] }, headings[place], make("pre", { dir: "auto" }, ...words));
  };
  return make("div", { class: "pair" }, side(["same", "gone"], 0), side(["same", "new"], 1));
}
