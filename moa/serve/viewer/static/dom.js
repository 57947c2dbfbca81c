// Elements. Whatever a model, a user or a file wrote goes in as text and is never read as HTML.

const SVG = "http://www.w3.org/2000/svg";
const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** A text as it may be shown: what turns a line round or has no sign of its own is named. */
export function visible(text) {
  return String(text ?? "").replace(HIDDEN, (sign) => `[U+${sign.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An HTML element; strings among the children become text. */
export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function shape(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

export function button(words, act, attributes = {}) {
  const element = make("button", { type: "button", ...attributes }, words);
  element.addEventListener("click", act);
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Says something to those who do not look. */
export function say(words) {
  byId("said").textContent = visible(words);
}

export const number = (value) => Number(value).toLocaleString("en");

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  return value < 0.095 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(value < 9.95 ? 1 : 0)} s`;
}

export function dollars(value) {
  if (value === null || value === undefined) return "unknown";
  if (value === 0) return "$0";
  return value < 0.01 ? `$${value.toPrecision(2)}` : `$${value.toFixed(2)}`;
}

export function counted(count, word) {
  return `${number(count)} ${word}${count === 1 ? "" : "s"}`;
}

export function when(time) {
  return time ? new Date(time * 1000).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" }) : "";
}
