// Questions under way at the server, whoever asked them: a list, and one of them watched.

import { get, watch } from "./api.js";
import { byId, counted, make, say, seconds, visible, when } from "./dom.js";
import { Look } from "./look.js";
import { Run } from "./model.js";
import { answer, question } from "./runs.js";

const PAUSE = 250, AGAIN = 4000;
const STATES = { running: "running", done: "done", failed: "failed", stopped: "stopped" };
const COLOURS = { running: "running", done: "ok", failed: "failed", stopped: "cancelled" };

export class Live {
  /** `count` is told how many are under way. */
  constructor(count) {
    this.count = count;
    this.version = "";
    this.runs = [];
    this.open = false;
    this.watched = null;
    this.stopper = null;
    this.build(byId("view-live"));
    this.poll();
  }

  build(place) {
    this.look = new Look();
    this.follow = make("input", { type: "checkbox", id: "follow", checked: true });
    this.follow.addEventListener("change", () => this.newest());
    this.found = make("p", { class: "faint small", id: "live-found", role: "status" });
    this.list = make("ol", { class: "runs live", id: "live-runs" });
    this.words = make("div", { id: "live-words" });
    place.append(make("div", { class: "two" },
      make("section", { class: "talk", "aria-label": "Questions under way" },
        make("h2", {}, "Under way"),
        make("label", { class: "tick", for: "follow" }, this.follow, "Show the newest as it begins"),
        this.found, this.list),
      make("section", { class: "watch", "aria-label": "The graph" }, this.words, this.look.element)));
    this.look.element.hidden = true;
  }

  /** Asks for the list for as long as the page is looked at; the server answers once there is something new. */
  async poll() {
    for (;;) {
      if (document.hidden) await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
      let pause = PAUSE;
      try {
        this.take(await get(`/viewer/api/live?${new URLSearchParams({ since: this.version })}`));
      } catch (error) {
        pause = AGAIN;
        this.found.textContent = visible(`The server cannot be asked: ${error.message}`);
        this.version = "";
      }
      await new Promise((done) => setTimeout(done, pause));
    }
  }

  /** Whoever looks has another key now. */
  anew() {
    this.version = "";
  }

  take({ version, running, runs }) {
    Object.assign(this, { version, runs });
    this.count(running);
    this.found.textContent = runs.length ? `${counted(running, "question")} under way, ${runs.length - Math.min(running, runs.length)} ended` : "Nothing is under way. Questions appear here as programs ask them.";
    const focused = document.activeElement?.dataset?.run;
    this.list.replaceChildren(...runs.map((run) => this.row(run)));
    if (focused) this.list.querySelector(`[data-run="${CSS.escape(focused)}"]`)?.focus();
    this.newest();
  }

  row(run) {
    const link = make("a", { href: `#live=${run.id}`, "data-run": run.id, "aria-current": run.id === this.watched ? "true" : null }, make("bdi", {}, visible(run.title || run.graph)));
    const facts = [visible(run.graph), `${run.done} of ${counted(run.nodes, "node")}`, run.state === "running" ? when(run.when) : seconds(run.seconds)];
    return make("li", {}, make("h3", { dir: "auto" }, link),
      make("p", { class: "faint small" }, `${facts.join(" · ")} `, make("span", { class: "state", "data-state": COLOURS[run.state] }, STATES[run.state] || visible(run.state))));
  }

  /** Shows the newest, where that is wanted and it is not shown yet. */
  newest() {
    const [first] = this.runs;
    if (this.open && this.follow.checked && first && first.id !== this.watched) this.show(first.id);
  }

  /** This view is shown, perhaps with a question that was chosen. */
  enter(id) {
    this.open = true;
    if (id && id !== this.watched) {
      this.follow.checked = false;
      this.show(id);
    } else this.newest();
  }

  leave() {
    this.open = false;
  }

  async show(id) {
    this.stopper?.abort();
    const stopper = this.stopper = new AbortController();
    this.watched = id;
    for (const link of this.list.querySelectorAll("a")) {
      if (link.dataset.run === id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    let run = null;
    try {
      await watch(id, stopper.signal, (event) => {
        if (event.type === "run") run = this.begin(event);
        else this.hear(run, event);
      });
      if (run?.running) run.stop("the connection was lost");
    } catch (error) {
      if (stopper.signal.aborted) return;
      if (run?.running) run.stop("the connection was lost");
      else if (!run) {
        this.look.element.hidden = true;
        this.words.replaceChildren(make("p", { class: "wrong", role: "alert" }, visible(error.message)));
      }
    }
    if (run && this.stopper === stopper) this.said(run);
  }

  begin(event) {
    const run = new Run(event.graph, event);
    Object.assign(run, { running: true, began: performance.now() - 1000 * event.seconds, when: event.when, title: event.title, question: event.question });
    this.look.element.hidden = false;
    this.look.show(run);
    this.said(run);
    say(`${event.graph} is watched`);
    return run;
  }

  hear(run, event) {
    run.hear(event);
    if (event.type === "finished") say(`${event.node} done, ${run.done} of ${run.nodes.size}`);
  }

  /** The question, and once it is there, the answer, above the graph. */
  said(run) {
    this.words.replaceChildren(...question(run), ...(run.running ? [] : answer(run)));
  }
}
