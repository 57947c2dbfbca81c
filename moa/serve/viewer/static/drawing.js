// The graph as a picture whose nodes light up, are chosen, and are reached with the arrow keys.

import { make, shape, visible } from "./dom.js";
import { WORDS } from "./model.js";

const SIGNS = { running: "…", ok: "✓", cached: "↺", truncated: "✂", unparsed: "?", empty: "∅", failed: "✕", cancelled: "–", skipped: "–" };

export class Drawing {
  /** `choose` is called with the id of a node that the user picks. */
  constructor(run, choose) {
    this.run = run;
    this.choose = choose;
    this.boxes = new Map();
    this.element = run.picture ? this.draw(run.picture) : make("p", { class: "faint" }, "This graph has too many nodes for a picture; the table lists them.");
  }

  draw(picture) {
    const top = 48, low = Math.max(...[...picture.boxes, ...picture.frames].map((one) => one.y + one.height)) + 16;
    const svg = shape("svg", { class: "drawing", viewBox: `0 ${top} ${picture.width} ${low - top}`, role: "listbox", "aria-label": `Nodes of ${visible(picture.title)}; the arrow keys go from one to the next` });
    svg.style.setProperty("--natural", `${picture.width}px`);
    svg.style.setProperty("--least", `${Math.min(picture.width, 0.62 * picture.width + 60)}px`);
    const back = shape("g", { "aria-hidden": "true" });
    for (const frame of picture.frames) back.append(...drawFrame(frame));
    this.curves = picture.curves.map((curve) => ({ ...curve, element: drawCurve(curve) }));
    back.append(...this.curves.map((curve) => curve.element));
    svg.append(back);
    for (const box of picture.boxes) this.boxes.set(box.id, this.drawBox(box));
    svg.append(...[...this.boxes.values()].map((box) => box.element));
    svg.append(shape("g", { "aria-hidden": "true" }, ...picture.curves.filter((curve) => curve.label).map((curve) => shape("text", { class: "small label", x: curve.label_at[0], y: curve.label_at[1] + 3.5 }, visible(curve.label)))));
    this.order = picture.boxes.toSorted((one, other) => one.y - other.y || one.x - other.x).map((box) => box.id);
    this.boxes.get(this.order[0]).element.setAttribute("tabindex", "0");
    svg.addEventListener("keydown", (event) => this.move(event));
    for (const id of this.boxes.keys()) this.mark(id);
    return make("div", { class: "picture" }, svg);
  }

  drawBox(box) {
    const middle = box.x + box.width / 2;
    const baseline = box.y + box.height / 2 + 4.5 - 7 * box.small.length;
    const sign = shape("text", { class: "sign", x: box.x + box.width - 3, y: box.y + 6, "aria-hidden": "true" });
    const element = shape("g", { class: `node ${box.role}`, role: "option", tabindex: "-1", "aria-selected": "false" },
      shape("rect", { class: "halo", x: box.x - 4, y: box.y - 4, width: box.width + 8, height: box.height + 8, rx: 12 }),
      shape("rect", { class: box.answers ? "box answers" : "box", x: box.x, y: box.y, width: box.width, height: box.height, rx: 9 }),
      shape("text", { class: "name", x: middle, y: baseline, "aria-hidden": "true" }, visible(box.name)),
      ...box.small.map((words, line) => shape("text", { class: "small", x: middle, y: baseline + 14 * (line + 1), "aria-hidden": "true" }, visible(words))),
      shape("circle", { class: "coin", cx: box.x + box.width - 3, cy: box.y + 2, r: 9 }), sign);
    element.addEventListener("click", () => this.choose(box.id));
    return { ...box, element, sign };
  }

  /** Shows the state of a node. */
  mark(id) {
    const box = this.boxes.get(id), node = this.run.nodes.get(id);
    if (!box || !node) return;
    box.element.dataset.state = node.state;
    box.sign.textContent = SIGNS[node.state] || "";
    const does = [box.agent, box.model].filter(Boolean).join(", ");
    box.element.setAttribute("aria-label", visible(`${id}${does ? `, ${does}` : ""}: ${WORDS[node.state] || node.state}`));
    for (const curve of this.curves) {
      if (curve.target === id || curve.target === groupOf(id)) curve.element.classList.toggle("lit", this.hears(curve.target));
    }
  }

  /** Whether a node, or one of a group, works now. */
  hears(target) {
    for (const [id, node] of this.run.nodes) if ((id === target || groupOf(id) === target) && node.state === "running") return true;
    return false;
  }

  select(id) {
    for (const [other, box] of this.boxes) {
      box.element.setAttribute("aria-selected", String(other === id));
      box.element.setAttribute("tabindex", other === id ? "0" : "-1");
    }
  }

  move(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const at = this.order.findIndex((id) => this.boxes.get(id).element === document.activeElement);
    if (at < 0) return;
    let next = at;
    if (step) next = Math.min(this.order.length - 1, Math.max(0, at + step));
    else if (event.key === "Home") next = 0;
    else if (event.key === "End") next = this.order.length - 1;
    else if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    this.choose(this.order[next]);
    this.boxes.get(this.order[next]).element.focus();
  }
}

const groupOf = (id) => id.split("[")[0];

function drawFrame(frame) {
  return [
    shape("rect", { class: "frame", x: frame.x, y: frame.y, width: frame.width, height: frame.height, rx: 10 }),
    ...frame.title.map((words, line) => shape("text", { class: "small left", x: frame.x + 12, y: frame.y + frame.height / 2 - 3.5 + 14 * line }, visible(words))),
  ];
}

function drawCurve(curve) {
  const half = curve.thick ? 5 : 3.5, [x, y] = curve.end;
  return shape("g", { class: "curve" },
    shape("path", { class: `line${curve.thick ? " thick" : ""}${curve.dashed ? " dashed" : ""}`, d: curve.path }),
    shape("path", { class: "head", d: `M${x} ${y}l${-half} ${-2 * half}h${2 * half}z` }));
}
