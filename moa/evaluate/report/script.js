// Sorts the tables, and shows the questions, which are unpacked only when somebody opens them.
"use strict";

const FAILED = 1, SPLIT = 2, REFUSED = 4, UNPARSED = 8, JUDGE_FAILED = 16, MISSING = 32;
const PAGE = 50, LONG = 800, LINES = 15;
const KINDS = {
  preference: {
    filters: [["win", "wins"], ["loss", "losses"], ["tie", "ties"]],
    win: (v) => v > 0.5, loss: (v) => v < 0.5, tie: (v) => v === 0.5,
  },
  correct: {
    filters: [["win", "right"], ["loss", "wrong"]],
    win: (v) => v >= 0.5, loss: (v) => v < 0.5, tie: () => false,
  },
  score: { filters: [], win: () => false, loss: () => false, tie: () => false },
};
KINDS.checklist = KINDS.score;

const byId = (id) => document.getElementById(id);

/** An element; all text goes in as text, so nothing that a model wrote is ever read as HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

async function unpack(element) {
  const bytes = Uint8Array.from(atob(element.textContent.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

// ---- tables

function sortable(table) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : head.dataset.first !== "up";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...[...body.rows].sort((one, other) => compare(key(one, column), key(other, column), down)));
    });
  });
}

function key(row, column) {
  const cell = row.cells[column];
  if (!("value" in cell.dataset)) return cell.textContent.trim();
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

/** What has no value comes last, whichever way. */
function compare(one, other, down) {
  if (one === null || other === null) return (one === null) - (other === null);
  const order = typeof one === "number" ? one - other : one.localeCompare(other);
  return down ? -order : order;
}

// ---- questions

const state = { index: null, found: [], shown: 0, chunks: new Map(), search: 0 };

function chunk(number) {
  if (!state.chunks.has(number)) state.chunks.set(number, unpack(byId(`chunk-${number}`)));
  return state.chunks.get(number);
}

async function detail(row) {
  const data = await chunk(row.at[0]);
  return { texts: data.texts, item: data.items[row.at[1]] };
}

function outcome(row, entrant, wanted) {
  const rules = KINDS[state.index.kind] || KINDS.score;
  const value = row.v[entrant], mark = row.f[entrant];
  switch (wanted) {
    case "": return true;
    case "failed": return (mark & FAILED) !== 0;
    case "missing": return (mark & MISSING) !== 0;
    case "split": return (mark & SPLIT) !== 0;
    case "unread": return (mark & (REFUSED | UNPARSED | JUDGE_FAILED)) !== 0;
    default: return value !== null && rules[wanted](value);
  }
}

function spread(row) {
  const values = row.v.filter((value) => value !== null);
  return values.length > 1 ? Math.max(...values) - Math.min(...values) : -1;
}

const SORTS = {
  asked: null,
  spread: (row) => -spread(row),
  best: (row, entrants) => -mean(row, entrants),
  worst: (row, entrants) => mean(row, entrants),
};

function mean(row, entrants) {
  const values = entrants.map((entrant) => row.v[entrant]).filter((value) => value !== null);
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : NaN;
}

function wanted() {
  const entrant = byId("by-entrant").value;
  return {
    entrants: entrant === "" ? state.index.entrants.map((_, number) => number) : [Number(entrant)],
    outcome: byId("by-outcome").value,
    group: byId("by-group") ? byId("by-group").value : "",
    words: byId("by-words").value.trim().toLowerCase(),
    deep: byId("deep").checked,
    sort: byId("sort").value,
  };
}

async function everything(row) {
  if (row.all === undefined) {
    const { texts, item } = await detail(row);
    const parts = [];
    const walk = (value, name) => {
      if (typeof value === "number" && name !== "took" && name !== "value" && name !== "turn") parts.push(texts[value] || "");
      else if (typeof value === "string") parts.push(value);
      else if (Array.isArray(value)) value.forEach((one) => walk(one, name));
      else if (value) Object.entries(value).forEach(([field, one]) => walk(one, field));
    };
    walk(item, "");
    row.all = parts.join("\n").toLowerCase();
  }
  return row.all;
}

async function matches(row, want) {
  if (!want.entrants.some((entrant) => outcome(row, entrant, want.outcome))) return false;
  if (want.group && row.group !== want.group) return false;
  if (!want.words) return true;
  if (`${row.id}\n${row.group}\n${row.q}`.toLowerCase().includes(want.words)) return true;
  return want.deep && (await everything(row)).includes(want.words);
}

async function filter() {
  const turn = ++state.search, want = wanted(), found = [];
  const status = byId("found");
  if (want.deep && want.words) status.textContent = "Searching …";
  for (const row of state.index.items) {
    if (await matches(row, want)) found.push(row);
    if (turn !== state.search) return;
  }
  const order = SORTS[want.sort];
  if (order) {
    const keyed = found.map((row) => [order(row, want.entrants), row]);
    keyed.sort((one, other) => compare(Number.isNaN(one[0]) ? null : one[0], Number.isNaN(other[0]) ? null : other[0], false));
    found.splice(0, found.length, ...keyed.map((pair) => pair[1]));
  }
  state.found = found;
  state.shown = 0;
  const all = state.index.items.length;
  status.textContent = found.length === all ? `${all.toLocaleString("en")} questions` : `${found.length.toLocaleString("en")} of ${all.toLocaleString("en")} questions`;
  byId("list").replaceChildren();
  more();
}

function more() {
  const next = state.found.slice(state.shown, state.shown + PAGE);
  byId("list").append(...next.map(line));
  state.shown += next.length;
  const left = state.found.length - state.shown;
  byId("more").hidden = left === 0;
  byId("more").textContent = `Show ${Math.min(PAGE, left)} more (${left.toLocaleString("en")} left)`;
}

function written(value) {
  if (value === null || value === undefined) return "n/a";
  return String(Math.round(value * 1000) / 1000).replace("-", "−");
}

function chip(row, entrant) {
  const value = row.v[entrant], mark = row.f[entrant], rules = KINDS[state.index.kind] || KINDS.score;
  const notes = [
    mark & FAILED ? "no answer" : "", mark & MISSING ? "not asked yet" : "", mark & SPLIT ? "orders disagree" : "",
    mark & REFUSED ? "judge refused" : "", mark & UNPARSED ? "verdict not readable" : "", mark & JUDGE_FAILED ? "judge failed" : "",
  ].filter(Boolean);
  const kind = value === null ? "none" : rules.win(value) ? "win" : rules.loss(value) ? "loss" : "even";
  const name = state.index.entrants[entrant];
  const sign = notes.length ? " !" : "";
  return make("span", { class: `chip ${kind}`, title: [name, written(value), ...notes].join(", ") },
    make("bdi", {}, name), make("b", {}, ` ${written(value)}${sign}`));
}

function line(row) {
  const chips = make("span", { class: "chips" }, ...row.v.map((_, entrant) => chip(row, entrant)));
  const group = row.group ? make("span", { class: "faint" }, " · ", make("bdi", {}, row.group)) : null;
  const head = make("span", { class: "what" }, make("span", { class: "id" }, make("bdi", {}, row.id)), group);
  const summary = make("summary", {}, head, make("span", { class: "snippet", dir: "auto" }, row.q), chips);
  const body = make("div", { class: "opened" });
  const details = make("details", {}, summary, body);
  details.addEventListener("toggle", () => {
    if (details.open && !body.hasChildNodes()) fill(body, row);
  });
  return make("li", { "data-id": row.id }, details);
}

async function fill(body, row) {
  const waiting = make("p", { class: "faint" }, "Unpacking …");
  body.append(waiting);
  const { texts, item } = await detail(row);
  const text = (number) => texts[number] ?? "";
  body.replaceChildren(question(item, text), answers(row, item, text));
}

function block(title, text, kind = "") {
  return make("div", { class: `block ${kind}` }, title ? make("h5", {}, title) : null, passage(text, title || "Text"));
}

/** A text as it was written; one so long that it scrolls within its box can be reached by the keyboard. */
function passage(text, label) {
  const scrolls = text.length > LONG || text.split("\n").length > LINES;
  const reached = scrolls ? { tabindex: "0", role: "region", "aria-label": label } : {};
  return make("pre", { dir: "auto", ...reached }, visible(text));
}

/** Characters that hide text or turn it round are shown by their number: a reader sees what the judge got. */
function visible(text) {
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g,
    (letter) => `[U+${letter.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);
}

function question(item, text) {
  const turns = item.turns || [];
  const said = (item.history || []).map(([role, number]) => block(`Before: ${role}`, text(number)));
  const asked = turns.map((number, turn) => block(turns.length > 1 ? `Turn ${turn + 1}` : "Question", text(number)));
  const lists = [["Options", item.options], ["Checklist", item.checklist]].filter(([, lines]) => lines).map(([title, lines]) =>
    make("div", { class: "block" }, make("h5", {}, title), make("ol", {}, ...lines.map((number) => make("li", { dir: "auto" }, text(number))))));
  const right = "answer" in item ? [block("Right answer", item.answer)] : [];
  const references = (item.references || []).map((number, turn) => block(`Reference ${turn + 1}`, text(number)));
  return make("div", { class: "question" }, ...said, ...asked, ...lists, ...right, ...references);
}

function answers(row, item, text) {
  const cards = (item.said || []).map((said, entrant) => card(row, entrant, said, text));
  if (item.baseline) {
    const name = state.index.baseline || "baseline";
    cards.unshift(make("section", { class: "card base" }, make("h4", {}, make("bdi", {}, name), make("span", { class: "faint" }, " baseline")),
      ...item.baseline.map((number, turn) => block(item.baseline.length > 1 ? `Turn ${turn + 1}` : "", text(number)))));
  }
  return make("div", { class: "answers" }, ...cards);
}

function card(row, entrant, said, text) {
  const head = make("h4", {}, chip(row, entrant));
  if (!said) return make("section", { class: "card" }, head, make("p", { class: "faint" }, "Not asked yet."));
  const outputs = (said.outputs || []).map((number, turn, all) => block(all.length > 1 ? `Turn ${turn + 1}` : "", text(number)));
  const failed = said.error !== undefined ? [make("p", { class: "warn" }, "No answer: ", make("bdi", {}, text(said.error)))] : [];
  const warned = (said.warnings || []).map((number) => make("p", { class: "warn" }, make("bdi", {}, text(number))));
  return make("section", { class: "card" }, head, said.took ? took(said.took) : null, ...failed, ...outputs, ...warned,
    folded("verdict", said.verdicts, (one) => verdict(one, text)), folded("node", said.nodes, (one) => node(one, text)));
}

function took([latency, calls, sent, received, cost]) {
  const money = cost === null ? "cost n/a" : `$${Number(cost.toPrecision(2))}`;
  const words = `${Number(latency.toPrecision(3))} s · ${calls} call${calls === 1 ? "" : "s"} · ${sent.toLocaleString("en")} tokens in, ${received.toLocaleString("en")} out · ${money}`;
  return make("p", { class: "faint small" }, words);
}

function folded(name, listed, draw) {
  if (!listed || !listed.length) return null;
  const details = make("details", { class: "folded" }, make("summary", {}, `${listed.length} ${name}${listed.length === 1 ? "" : "s"}`));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(...listed.map(draw));
  });
  return details;
}

function verdict(one, text) {
  const order = one.kind === "preference" ? (one.swapped ? "shown first" : "shown second") : null;
  const value = one.state === "ok" ? written(one.value) : one.state;
  const facts = [value, one.grade, order, one.against ? `against ${one.against}` : null, one.turn ? `turn ${one.turn + 1}` : null,
    `by ${one.judge}`, one.method ? `read from ${one.method}` : null].filter(Boolean).join(" · ");
  return make("div", { class: one.state === "ok" ? "verdict" : "verdict bad" }, make("p", { class: "small" }, make("bdi", {}, facts)),
    one.text !== undefined ? passage(text(one.text), "What the judge wrote") : null,
    one.details !== undefined ? make("details", { class: "folded" }, make("summary", {}, "details"), passage(text(one.details), "Details")) : null);
}

function node(one, text) {
  const facts = [one.agent, one.model, one.state !== "ok" ? one.state : null, one.turn ? `turn ${one.turn + 1}` : null,
    one.heard ? `heard ${one.heard.join(", ")}` : null].filter(Boolean).join(" · ");
  const spoken = one.responses ? one.responses.map((number, place) => passage(text(number), `Response ${place + 1}`))
    : one.text !== undefined ? [passage(text(one.text), `What ${one.id} wrote`)] : [];
  return make("div", { class: "node" }, make("p", { class: "small" }, make("b", {}, make("bdi", {}, one.id)), " ", make("bdi", { class: "faint" }, facts)),
    one.error !== undefined ? make("p", { class: "warn" }, make("bdi", {}, text(one.error))) : null, ...spoken,
    one.reasoning !== undefined ? make("details", { class: "folded" }, make("summary", {}, "reasoning"), passage(text(one.reasoning), "Reasoning")) : null);
}

function options(select, pairs) {
  select.append(...pairs.map(([value, label]) => make("option", { value }, label)));
}

function prepare() {
  const { entrants, kind, items } = state.index;
  options(byId("by-entrant"), entrants.map((name, number) => [number, name]));
  const marked = (bits) => items.some((row) => row.f.some((mark) => mark & bits));
  const present = [[SPLIT, "split", "orders disagree"], [FAILED, "failed", "no answer"],
    [REFUSED | UNPARSED | JUDGE_FAILED, "unread", "no verdict"], [MISSING, "missing", "not asked yet"]].filter(([bits]) => marked(bits));
  options(byId("by-outcome"), [...(KINDS[kind] || KINDS.score).filters, ...present.map(([, value, label]) => [value, label])]);
  const groups = [...new Set(items.map((row) => row.group).filter(Boolean))].sort();
  if (groups.length > 1) options(byId("by-group"), groups.map((group) => [group, group]));
  else byId("by-group").closest("label").remove();
}

async function start() {
  document.querySelectorAll("table.sortable").forEach(sortable);
  const index = byId("index");
  if (!index) return;
  if (typeof DecompressionStream === "undefined") {
    byId("found").textContent = "This browser cannot unpack the questions: it lacks DecompressionStream (any browser of 2023 or later has it).";
    return;
  }
  state.index = await unpack(index);
  prepare();
  byId("filters").hidden = false;
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("input", filter);
  byId("more").addEventListener("click", more);
  await filter();
  await goTo(location.hash);
  window.addEventListener("hashchange", () => goTo(location.hash));
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** `#item=NAME` opens a question, so that a link to it can be sent. */
async function goTo(place) {
  if (!place.startsWith("#item=")) return;
  const name = decoded(place.slice(6));
  let at = state.found.findIndex((row) => row.id === name);
  if (at < 0) {
    // It may be there and only be filtered out.
    byId("filters").reset();
    await filter();
    at = state.found.findIndex((row) => row.id === name);
  }
  if (at < 0) return;
  while (state.shown <= at) more();
  const entry = byId("list").children[at];
  entry.firstElementChild.open = true;
  entry.scrollIntoView();
  entry.querySelector("summary").focus({ preventScroll: true });
}

start();
