// Requests to the recorder. Every failure becomes an ApiError whose message says what to do.

import { learn } from "./clock.js";
import { sentence } from "./format.js";

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** `keep`: after the login the page opens again what its address names. */
export function toLogin({ keep = true } = {}) {
  location.replace(`/login${keep ? location.search : ""}`);
}

/** Connections that a browser keeps to one server (HTTP/1.1). */
const CONNECTIONS = 6;
const REACHED_MS = 5000;

let line = new AbortController();

/**
 * The recorder is not reached on the connections that are open: what is asked on them fails now, not after minutes, and later questions go on others.
 * Those that nothing is asked on are found by asking.
 */
export function hangUp() {
  line.abort();
  line = new AbortController();
  const signal = AbortSignal.any([line.signal, AbortSignal.timeout(REACHED_MS)]);
  for (let each = 0; each < CONNECTIONS; each += 1) fetch("/healthz", { cache: "no-store", signal }).then((answer) => answer.text()).catch(() => null);
}

/** `detail` of an answer: a sentence, or what is wrong with each value that was sent. */
function problemText(detail) {
  if (typeof detail === "string") return sentence(detail);
  if (Array.isArray(detail)) return detail.map(({ loc, msg }) => `${loc?.at(-1)}: ${msg}`).join("; ");
  return null;
}

/** JSON of an answer. `query` values that are null are left out. */
export async function api(path, { method = "GET", query = {}, body = undefined } = {}) {
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== null && value !== undefined));
  const url = search.size ? `${path}?${search}` : path;
  const { signal } = line;
  const init = { method, headers: {}, signal };
  if (body !== undefined) {
    init.headers["content-type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  let response;
  const sentMs = Date.now();
  try {
    response = await fetch(url, init);
  } catch {
    throw new ApiError("The recorder does not answer.", 0);
  }
  learn(response.headers.get("date"), sentMs, Date.now());
  if (response.status === 401) {
    toLogin();
    throw new ApiError("The session has ended.", 401);
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => null);
  if (signal.aborted) throw new ApiError("The recorder does not answer.", 0);
  if (!response.ok) throw new ApiError(problemText(answer?.detail) ?? `The recorder answered ${response.status}.`, response.status);
  return answer;
}

/** An object key as a path. */
export function snapshotUrl(key) {
  return `/api/snapshots/${key.split("/").map(encodeURIComponent).join("/")}`;
}

/** `bytes`: of a file still being written, as long as it is known now; a longer one is another address, which no cache mixes up. */
export function mediaUrl(id, bytes = null) {
  return `/api/recordings/${encodeURIComponent(id)}/media${bytes ? `?bytes=${bytes}` : ""}`;
}
