// Talking to the server: every request carries the key in a header, never in an address.

const NAME = "moa-key";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const key = {
  get: () => sessionStorage.getItem(NAME) || "",
  set: (value) => (value ? sessionStorage.setItem(NAME, value) : sessionStorage.removeItem(NAME)),
};

function headers(more = {}) {
  return key.get() ? { ...more, authorization: `Bearer ${key.get()}` } : more;
}

async function refusal(response) {
  let message = `the server says ${response.status}`;
  try {
    message = (await response.json()).error.message;
  } catch {
    // Not an error of ours: its status is all there is.
  }
  return new Refused(response.status, String(message));
}

export async function get(path) {
  const response = await fetch(path, { headers: headers(), credentials: "omit", redirect: "error" });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** Asks, and calls `hear` with every event as it comes. */
export async function ask(body, signal, hear) {
  const response = await fetch("/viewer/api/ask", {
    method: "POST",
    headers: headers({ "content-type": "application/json" }),
    body: JSON.stringify(body),
    credentials: "omit",
    redirect: "error",
    signal,
  });
  if (!response.ok) throw await refusal(response);
  await frames(response.body, (frame) => hear(JSON.parse(frame)));
}

/** Watches a question of anybody's, and calls `hear` with every event as it comes. */
export async function watch(id, signal, hear) {
  const path = `/viewer/api/live/${encodeURIComponent(id)}`;
  const response = await fetch(path, { headers: headers(), credentials: "omit", redirect: "error", signal });
  if (!response.ok) throw await refusal(response);
  await frames(response.body, (frame) => hear(JSON.parse(frame)));
}

/** Gives the data of each server-sent event; a frame ends with an empty line, and JSON holds none. */
async function frames(body, give) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
      if (data.length) give(data.join("\n"));
    }
  }
}
