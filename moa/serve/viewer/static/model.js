// A run as the page knows it: live from its events, or past from its record.

export const WORDS = {
  waiting: "waiting", running: "running", ok: "done", cached: "done, from the store", truncated: "done, cut short",
  unparsed: "done, could not be read", empty: "empty", failed: "failed", cancelled: "cancelled", skipped: "not reached",
};
export const OVER = new Set(["ok", "cached", "truncated", "unparsed"]);

export class Run {
  /** `shape` is what the server says of a graph or of a past run: its picture, its nodes, its answer. */
  constructor(graph, shape) {
    this.graph = graph;
    this.picture = shape.picture;
    this.answerId = shape.answer;
    this.nodes = new Map(shape.nodes.map((node) => [node.id, { state: "waiting", text: "", ...node }]));
    this.question = [];
    this.answer = "";
    this.error = null;
    this.warnings = [];
    this.verdicts = [];
    this.running = false;
    this.began = 0;
    this.total = {};
    this.when = null;
    this.note = "";
    this.changed = () => {};
  }

  /** A finished run from its record. */
  static past(record) {
    const answer = record.nodes.find((node) => node.id === record.answer_node) || record.nodes.at(-1);
    const run = new Run(record.graph, { picture: record.picture, nodes: [], answer: answer ? answer.id : "" });
    run.question = record.question;
    run.when = record.when;
    run.title = record.title;
    run.verdicts = record.verdicts || [];
    run.note = record.note || "";
    run.expected = record.expected || "";
    run.finish(record);
    return run;
  }

  get done() {
    return [...this.nodes.values()].filter((node) => node.state !== "waiting" && node.state !== "running").length;
  }

  hear(event) {
    const node = this.nodes.get(event.node);
    switch (event.type) {
      case "started":
        if (node) Object.assign(node, { state: "running", began: event.at });
        break;
      case "prompt":
        for (const id of event.nodes) if (this.nodes.has(id)) this.nodes.get(id).prompt = event.messages;
        for (const id of event.nodes) this.changed(id);
        return;
      case "text":
        if (!node) return;
        if (event.restart) Object.assign(node, { text: "", reasoning: "" });
        node.text += event.text;
        node.reasoning = (node.reasoning || "") + event.reasoning;
        if (event.node === this.answerId) this.answer = node.text;
        break;
      case "finished":
        if (!node) return;
        Object.assign(node, {
          state: stateOf(event), text: event.text, sent: event.sent, received: event.received,
          latency: node.began === undefined ? undefined : event.at - node.began,
        });
        break;
      case "retried":
        for (const id of event.nodes) if (this.nodes.has(id)) this.nodes.get(id).trouble = `attempt ${event.attempt} failed: ${event.error}`;
        for (const id of event.nodes) this.changed(id);
        return;
      case "warned":
        this.warnings.push(event.node ? `${event.node}: ${event.message}` : event.message);
        break;
      case "reply":
        this.finish(event.run);
        return;
      case "refusal":
        this.stop(event.message);
        return;
    }
    this.changed(event.node);
  }

  /** Takes over a record of everything. */
  finish(record) {
    for (const each of record.nodes) {
      const known = this.nodes.get(each.id) || {};
      this.nodes.set(each.id, { ...known, ...each, state: stateOf(each), prompt: each.prompt || known.prompt });
    }
    Object.assign(this, { running: false, answer: record.answer ?? "", error: record.error, warnings: record.warnings || [] });
    this.total = { latency: record.latency, cost: record.cost, sent: record.sent, received: record.received };
    this.changed(null);
  }

  /** Ended before its time. */
  stop(why) {
    for (const node of this.nodes.values()) {
      if (node.state === "running") node.state = "cancelled";
      if (node.state === "waiting") node.state = "skipped";
    }
    Object.assign(this, { running: false, error: why });
    this.changed(null);
  }
}

function stateOf(node) {
  return node.state === "ok" && node.cached ? "cached" : node.state;
}
