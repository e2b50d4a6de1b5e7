// The one socket of this page: facts as JSON, pictures as binary messages. Reconnects by itself.

import { api, hangUp } from "./api.js";

/** The recorder says something at least this often (`BEAT_S`: services/console/live.py). */
const BEAT_MS = 2000;
/** After more of these without a word the line is dead, whatever the browser knows of it. */
const MOST_SILENT = 5;
const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 10_000;
const LOGGED_OUT = 4401;
/** Pictures per channel that may be under way before this page has drawn them. */
const WINDOW_PER_CHANNEL = 3;

const text = new TextDecoder();

/** A binary message: see services/console/core/outbox.py. */
export function parsePicture(buffer) {
  const view = new DataView(buffer);
  if (view.getUint8(0) !== 1) return null;
  const length = view.getUint8(1);
  return {
    channel: text.decode(new Uint8Array(buffer, 18, length)),
    // Nanoseconds are rounded to a number here exactly as JSON.parse rounds them, so equal times stay equal.
    captureNs: Number(view.getBigUint64(2)),
    sequence: Number(view.getBigUint64(10)),
    jpeg: new Uint8Array(buffer, 18 + length),
  };
}

/** Events: `link` (detail: whether connected), `picture`, and one per message type with its data. */
export class Live extends EventTarget {
  #socket = null;
  #watch = 0;
  #silent = 0; // how often it was looked and nothing had come; not how long: a tab that is not run hears nothing, and looks seldom
  #dead = false; // it was left as dead, and no other is open yet
  #retryMs = RETRY_MIN_MS;
  #channels = [];
  #fps = 10;
  #decoding = new Map(); // channel: the picture that came last

  connect() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live`);
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => { if (socket === this.#socket) this.#opened(); });
    socket.addEventListener("message", ({ data }) => { if (socket === this.#socket) this.#receive(socket, data); });
    socket.addEventListener("close", ({ code }) => { if (socket === this.#socket) this.#closed(code); });
    this.#socket = socket;
    this.#silent = 0;
    this.#watch = setInterval(() => { if (++this.#silent > MOST_SILENT) this.#leave(); }, BEAT_MS);
  }

  #opened() {
    if (this.#dead) hangUp(); // what was asked on the old line is not answered
    this.#dead = false;
    this.#silent = 0;
    this.#retryMs = RETRY_MIN_MS;
    this.#subscribe();
    this.#emit("link", true);
  }

  /** Nobody closes a dead line: it is not waited for. */
  #leave() {
    this.#socket.close();
    this.#dead = true;
    hangUp();
    this.#closed(null);
  }

  /** Ask for pictures of these channels, in place of those before. */
  watch(channels, fps = this.#fps) {
    const same = channels.length === this.#channels.length && channels.every((channel, at) => channel === this.#channels[at]);
    this.#channels = channels;
    if (!same || fps !== this.#fps) {
      this.#fps = fps;
      this.#subscribe();
    }
  }

  #subscribe() {
    const window = Math.max(1, this.#channels.length) * WINDOW_PER_CHANNEL;
    this.#send({ type: "subscribe", channels: this.#channels, max_fps: this.#fps, window });
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #receive(socket, data) {
    this.#silent = 0;
    if (typeof data === "string") {
      const message = JSON.parse(data);
      this.#emit(message.type, message.data);
      return;
    }
    const picture = parsePicture(data);
    const bitmap = picture && createImageBitmap(new Blob([picture.jpeg], { type: "image/jpeg" })).catch(() => null);
    const before = this.#decoding.get(picture?.channel);
    this.#decoding.set(picture?.channel, this.#show(socket, picture, bitmap, before));
  }

  /** Pictures are decoded side by side; those of a channel are shown in their order. */
  async #show(socket, picture, decoding, before) {
    const bitmap = await decoding;
    await before;
    if (bitmap) this.#emit("picture", { channel: picture.channel, captureNs: picture.captureNs, sequence: picture.sequence, bitmap });
    if (socket === this.#socket) this.#send({ type: "drawn", count: 1 }); // a new one has not sent it
  }

  #closed(code) {
    this.#socket = null;
    clearInterval(this.#watch);
    this.#emit("link", false);
    // A refused socket does not say why: a request does, and leads to the login page when the session is over. Nothing waits for its answer.
    if (code === LOGGED_OUT || code === 1006) api("/api/session").catch(() => null);
    setTimeout(() => this.connect(), this.#retryMs * (0.7 + 0.6 * Math.random()));
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MAX_MS);
  }
}
