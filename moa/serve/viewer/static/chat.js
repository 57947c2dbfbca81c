// Asking: a conversation on one side, the graph at work on the other.

import { Refused, ask, get } from "./api.js";
import { button, byId, counted, dollars, make, number, say, seconds, visible } from "./dom.js";
import { Look } from "./look.js";
import { OVER, Run } from "./model.js";

export class Chat {
  /** `trouble` is told of an error that ends nothing but itself. */
  constructor(graphs, kept, trouble) {
    this.graphs = graphs;
    this.kept = kept;
    this.trouble = trouble;
    this.turns = [];
    this.shapes = new Map();
    this.look = new Look();
    this.stopper = null;
    this.build(byId("view-ask"));
    this.pick();
  }

  build(place) {
    this.select = make("select", { id: "graph" }, ...this.graphs.map((graph, number) => make("option", { value: number }, visible(graph.id))));
    this.select.addEventListener("change", () => this.pick());
    this.about = make("p", { class: "faint about", id: "graph-about" });
    this.select.setAttribute("aria-describedby", "graph-about");
    this.log = make("ol", { class: "log", role: "log", "aria-label": "The conversation" });
    this.input = make("textarea", { id: "question", rows: "3", required: true, placeholder: "Ask anything", "aria-describedby": "question-help" });
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.send();
      }
    });
    this.send_ = make("button", { type: "submit", class: "main" }, "Ask");
    this.stop_ = button("Stop", () => this.stopper?.abort(), { hidden: true, id: "stop" });
    this.fresh = button("New conversation", () => this.restart(), { id: "fresh", disabled: true });
    const form = make("form", { id: "ask-form", novalidate: true }, make("label", { for: "question" }, "Your question"), this.input,
      make("div", { class: "row" }, this.send_, this.stop_, make("span", { class: "faint small", id: "question-help" }, "Enter asks, Shift+Enter begins a new line")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    place.append(make("div", { class: "two" },
      make("section", { class: "talk", "aria-label": "Conversation" },
        make("div", { class: "row head" }, make("label", { for: "graph" }, "Graph"), this.select, this.fresh), this.about, this.log, form),
      make("section", { class: "watch", "aria-label": "The graph" }, this.look.element)));
  }

  get graph() {
    return this.graphs[Number(this.select.value)];
  }

  /** How a graph is drawn; nothing where the server cannot be asked. */
  async shape(index) {
    try {
      if (!this.shapes.has(index)) this.shapes.set(index, await get(`/viewer/api/graphs/${index}`));
    } catch (error) {
      this.trouble(error);
    }
    return this.shapes.get(index);
  }

  async pick() {
    this.about.textContent = visible(this.graph.description);
    const { graph } = this, shape = await this.shape(this.select.value);
    if (shape && !this.stopper && graph === this.graph) this.look.show(new Run(graph.id, shape));
  }

  restart() {
    this.stopper?.abort();
    this.turns = [];
    this.log.replaceChildren();
    this.fresh.disabled = true;
    this.pick();
    this.input.focus();
  }

  async send() {
    const question = this.input.value.trim();
    if (!question || this.stopper) return;
    const { graph } = this, shape = await this.shape(this.select.value);
    if (!shape || this.stopper) return;
    const run = new Run(graph.id, shape);
    const messages = [...this.turns, { role: "user", content: question }];
    run.question = messages.map(({ role, content }) => ({ role, text: content }));
    Object.assign(run, { running: true, began: performance.now(), when: Date.now() / 1000, title: question });
    this.input.value = "";
    const entry = this.entry(question, run);
    this.look.show(run);
    this.busy(new AbortController());
    say(`${graph.id} is asked`);
    try {
      await ask({ graph: graph.id, messages }, this.stopper.signal, (event) => this.hear(event, run, entry));
      if (run.running) run.stop("the connection was lost");
    } catch (error) {
      run.stop(this.stopper.signal.aborted ? "stopped" : error instanceof Refused ? error.message : `the server cannot be reached (${error.message})`);
      if (error.status === 401) byId("key-button").click();
    }
    this.busy(null);
    this.over(run, entry, messages);
  }

  busy(stopper) {
    this.stopper = stopper;
    this.send_.disabled = Boolean(stopper);
    this.stop_.hidden = !stopper;
    if (!stopper && document.activeElement === document.body) this.input.focus();
  }

  /** Two items of the conversation: what is asked, and where the answer comes. */
  entry(question, run) {
    const words = make("pre", { class: "said", dir: "auto" });
    const below = make("p", { class: "faint small below" }, "Thinking …");
    const item = make("li", { class: "turn answer", "aria-busy": "true" }, make("h3", {}, make("bdi", {}, visible(run.graph))), words, below);
    this.log.append(make("li", { class: "turn question" }, make("h3", {}, "You"), make("pre", { class: "said", dir: "auto" }, visible(question))), item);
    this.fresh.disabled = false;
    item.scrollIntoView({ block: "nearest" });
    return { item, words, below };
  }

  hear(event, run, entry) {
    run.hear(event);
    if (event.type === "text") entry.words.textContent = visible(run.answer);
    if (event.type === "finished") {
      const node = run.nodes.get(event.node);
      say(`${event.node} ${OVER.has(node.state) ? "done" : node.state}, ${run.done} of ${run.nodes.size}`);
      entry.below.textContent = `${run.done} of ${counted(run.nodes.size, "node")} done`;
    }
  }

  over(run, entry, messages) {
    const { total } = run;
    entry.item.setAttribute("aria-busy", "false");
    entry.words.textContent = visible(run.answer);
    entry.words.hidden = !run.answer;
    if (run.error) entry.item.insertBefore(make("p", { class: "wrong" }, visible(run.error)), entry.below);
    const facts = total.latency === undefined ? [] : [seconds(total.latency), `${number(total.sent + total.received)} tokens`, dollars(total.cost)];
    entry.below.replaceChildren(`${facts.join(" · ")} `, button("Show this run", () => this.look.show(run), { class: "plain" }));
    if (!run.error) this.turns = [...messages, { role: "assistant", content: run.answer }];
    else this.input.value ||= messages.at(-1).content;
    this.kept.add(run);
    say(run.error ? `failed: ${run.error}` : "The answer is there");
  }
}

