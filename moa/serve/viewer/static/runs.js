// Finished runs: found, opened, and picked for a comparison.

import { get } from "./api.js";
import { button, byId, counted, make, say, visible, when } from "./dom.js";
import { Look, message } from "./look.js";
import { Run } from "./model.js";

const MOST = 25;
const HERE = "here";

/** The runs of this page, which are gone when it closes. */
export class Kept {
  constructor() {
    this.runs = [];
  }

  add(run) {
    this.runs.push(run);
  }

  page(words) {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = this.runs.map((run, number) => ({ run, number })).reverse()
      .filter(({ run }) => wanted.every((word) => `${run.title}\n${run.answer}\n${run.graph}`.toLowerCase().includes(word)))
      .map(({ run, number }) => ({ title: run.title, when: run.when, answer: run.answer, note: "", choices: [{ id: String(number), label: run.graph, note: run.error ? "failed" : "" }] }));
    return { total: rows.length, rows, note: "" };
  }
}

export class Runs {
  constructor(sources, kept) {
    this.kept = kept;
    this.sources = sources.map((source, number) => ({ ...source, address: String(number) }));
    this.picked = [];
    this.turn = 0;
    this.look = null;
    this.build(byId("view-runs"));
  }

  build(place) {
    const options = [...this.sources.map(({ address, kind, name }) => [address, `${kind}: ${name}`]), [HERE, "asked in this tab"]];
    this.source = make("select", { id: "source" }, ...options.map(([value, words]) => make("option", { value }, visible(words))));
    this.words = make("input", { id: "words", type: "search", placeholder: "in questions and answers" });
    this.found = make("p", { class: "faint small", id: "found", role: "status" });
    this.list = make("ol", { class: "runs", id: "runs" });
    this.more = button("More", () => this.load(this.list.children.length), { hidden: true, id: "more" });
    this.bar = make("p", { class: "bar", id: "bar", hidden: true });
    let timer = 0;
    this.words.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.load(0), 200);
    });
    this.source.addEventListener("change", () => this.load(0));
    place.append(make("h2", {}, "Runs"),
      make("form", { class: "row filters", role: "search" }, make("label", { for: "source" }, "From"), this.source, make("label", { for: "words" }, "Search"), this.words),
      this.found, this.bar, this.list, this.more);
    place.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  }

  open() {
    if (!this.list.children.length || this.source.value === HERE) this.load(0);
    this.showBar();
  }

  /** What the list holds. */
  get thing() {
    return this.sources[Number(this.source.value)]?.kind === "experiment" ? "question" : "run";
  }

  async load(offset) {
    const turn = ++this.turn, address = this.source.value;
    if (!offset) this.found.textContent = "Searching …";
    let page;
    try {
      const query = new URLSearchParams({ words: this.words.value.trim(), offset, count: MOST });
      page = address === HERE ? this.kept.page(this.words.value.trim()) : await get(`/viewer/api/sources/${address}/runs?${query}`);
    } catch (error) {
      this.found.textContent = visible(error.message);
      return;
    }
    if (turn !== this.turn) return;
    const rows = page.rows.map((row) => this.row(address, row));
    if (offset) this.list.append(...rows);
    else this.list.replaceChildren(...rows);
    this.more.hidden = this.list.children.length >= page.total;
    this.found.textContent = [page.total ? `${counted(page.total, this.thing)} found` : `No ${this.thing}s found`, page.note].filter(Boolean).join(". ");
    if (offset && rows.length) rows[0].querySelector("a, button").focus();
  }

  row(address, row) {
    const many = row.choices.length > 1;
    return make("li", {},
      make("h3", { dir: "auto" }, make("bdi", {}, visible(row.title))),
      make("p", { class: "faint small" }, [when(row.when), row.note].filter(Boolean).map(visible).join(" · ")),
      row.answer && !many ? make("p", { class: "snippet", dir: "auto" }, visible(row.answer)) : null,
      make("ul", { class: "choices" }, ...row.choices.map((choice) => this.choice(`${address}/${choice.id}`, choice, row.title))));
  }

  choice(place, { label, note }, title) {
    const tick = make("input", { type: "checkbox", "aria-label": visible(`Compare ${label}: ${title.slice(0, 80)}`) });
    tick.checked = this.picked.includes(place);
    tick.addEventListener("change", () => this.pick(place, tick.checked));
    return make("li", {}, make("a", { href: `#run=${place}`, "aria-label": visible(`Open ${label}: ${title.slice(0, 80)}`) }, make("bdi", {}, visible(label))),
      note ? make("span", { class: "faint small" }, visible(note)) : null, make("label", { class: "tick" }, tick, make("span", { "aria-hidden": "true" }, "compare")));
  }

  pick(place, wanted) {
    this.picked = this.picked.filter((other) => other !== place);
    if (wanted) this.picked.push(place);
    this.showBar();
  }

  showBar() {
    const { picked } = this;
    this.bar.hidden = !picked.length;
    const two = picked.slice(-2);
    this.bar.replaceChildren(picked.length < 2 ? "One run picked: pick another to compare it with. " : make("a", { href: `#compare=${two.join(",")}` }, "Compare the two picked last"), " ",
      button("Pick none", () => {
        this.picked = [];
        for (const tick of this.list.querySelectorAll("input[type=checkbox]")) tick.checked = false;
        this.showBar();
      }, { class: "plain" }));
  }

  /** A run by its place, `SOURCE/ID`. */
  async find(place) {
    const [address, id = ""] = place.split(/\/(.*)/s);
    if (address === HERE) {
      const run = this.kept.runs[Number(id)];
      if (!run) throw new Error("this run was asked in a tab that is closed");
      return run;
    }
    return Run.past(await get(`/viewer/api/sources/${encodeURIComponent(address)}/runs/${encodeURIComponent(id)}`));
  }

  async show(place) {
    const view = byId("view-run"), turn = ++this.turn;
    let run;
    try {
      run = await this.find(place);
    } catch (error) {
      view.replaceChildren(make("p", {}, make("a", { href: "#runs" }, "All runs")), make("p", { class: "wrong", role: "alert" }, visible(error.message)));
      return;
    }
    if (turn !== this.turn) return;
    this.look ||= new Look();
    this.look.show(run);
    const pick = button("Compare with another", () => {
      this.pick(place, true);
      location.hash = "#runs";
    });
    view.replaceChildren(make("p", { class: "row" }, make("a", { href: "#runs" }, "All runs"), pick),
      make("div", { class: "two" },
        make("section", { class: "talk", "aria-label": "Question and answer" }, ...question(run), ...answer(run)),
        make("section", { class: "watch", "aria-label": "The graph" }, this.look.element)));
    say("The run is shown");
  }
}

export function question(run) {
  return [make("h2", {}, "Question"), run.when || run.note ? make("p", { class: "faint small" }, visible([when(run.when), run.note].filter(Boolean).join(" · "))) : null,
    ...run.question.map(message)].filter(Boolean);
}

export function answer(run) {
  return [make("h2", {}, "Answer"),
    run.error ? make("p", { class: "wrong" }, visible(run.error)) : null,
    run.answer ? make("pre", { class: "said", dir: "auto" }, visible(run.answer)) : null,
    run.expected ? make("p", {}, make("strong", {}, "Right answer: "), make("bdi", {}, visible(run.expected))) : null,
    ...verdicts(run)].filter(Boolean);
}

export function verdicts(run) {
  if (!run.verdicts.length) return [];
  return [make("h2", {}, "Verdicts"), ...run.verdicts.map(({ title, text }) => make("div", { class: "message" }, make("h5", {}, visible(title)), text ? make("pre", { dir: "auto" }, visible(text)) : null))];
}
