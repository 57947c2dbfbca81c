// Which view is shown, and the key.

import { get, key } from "./api.js";
import { Chat } from "./chat.js";
import { Compare } from "./compare.js";
import { byId } from "./dom.js";
import { Live } from "./live.js";
import { Kept, Runs } from "./runs.js";

const VIEWS = ["ask", "live", "runs", "run", "compare"];
let chat = null, live = null, runs = null, compare = null;

async function start() {
  let about;
  try {
    about = await get("/viewer/api/about");
  } catch (error) {
    trouble(error);
    return;
  }
  byId("trouble").textContent = "";
  const kept = new Kept();
  if (!chat && about.graphs.length) chat = new Chat(about.graphs, kept, trouble);
  if (about.graphs.length) live ||= new Live(count);
  runs ||= new Runs(about.sources, kept);
  compare ||= new Compare(runs);
  byId("to-ask").hidden = byId("to-live").hidden = !chat;
  byId("key-button").hidden = !about.keys;
  route();
}

/** Tells beside its link how many questions are under way. */
function count(running) {
  byId("to-live").textContent = running ? `Live (${running})` : "Live";
}

function trouble(error) {
  if (error.status === 401) {
    byId("key-button").hidden = false;
    if (key.get()) byId("key-wrong").textContent = "This key is not known here.";
    byId("key-dialog").showModal();
  } else byId("trouble").textContent = `The server cannot be asked: ${error.message}`;
}

function route() {
  if (!runs) return;
  const [name, rest = ""] = location.hash.slice(1).split(/=(.*)/s);
  const view = VIEWS.includes(name) && (chat || !["ask", "live"].includes(name)) ? name : chat ? "ask" : "runs";
  for (const each of VIEWS) byId(`view-${each}`).hidden = each !== view;
  for (const link of document.querySelectorAll("nav a")) {
    const current = link.hash === `#${view}` || (view === "run" && link.hash === "#runs");
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = { ask: "Ask", live: "Live", runs: "Runs", run: "A run", compare: "Compare" }[view] + " · moa";
  if (view === "live") live.enter(rest);
  else live?.leave();
  if (view === "runs") runs.open();
  if (view === "run") runs.show(rest);
  if (view === "compare") compare.open(rest);
}

byId("key-button").addEventListener("click", () => byId("key-dialog").open || byId("key-dialog").showModal());
byId("key-cancel").addEventListener("click", () => byId("key-dialog").close());
byId("key-form").addEventListener("submit", () => {
  key.set(byId("key").value.trim());
  byId("key").value = "";
  byId("key-wrong").textContent = "";
  live?.anew();
  start();
});
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("content").focus();
});
addEventListener("hashchange", () => {
  route();
  scrollTo(0, 0);
  if (document.activeElement === document.body || !document.activeElement.getClientRects().length) byId("content").focus({ preventScroll: true });
});
start();
