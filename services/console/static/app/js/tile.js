// One channel of the wall: its live picture with rules and boxes, its rates, and why there is no picture when there is none.

import { h, icon, iconButton, prose } from "./dom.js";
import { bitrateText, codecText, durationText, momentText, msOf, sentence } from "./format.js";
import { drawBoxes, drawRules, fit } from "./overlay.js";
import { FrameSync } from "./sync.js";

const STALE_MS = 5000;
/** Channels that are not analysed show a picture now and then. */
const SELDOM_STALE_MS = 20_000;
const ALARM_SHOWN_MS = 6000;
/** Boxes this far behind the pictures, for this long, are told: they are missing, not absent. */
const LATE_MS = 3000;
const LATE_SINCE_MS = 1000;
const RETRY_MS = 5000;

export class Tile {
  #sync = new FrameSync();
  #bitmap = null;
  #boxes = [];
  #shownAt = 0;
  #status = null;
  #alarming = new Map();
  #firstNs = 0;
  #pictureNs = 0;
  #boxesNs = 0;
  #lateSince = null;
  #dirty = true;
  #noteKey = "";
  #lastRecorded = ""; // of a camera that has shown no picture; asked for once in each absence
  #absence = 0; // counts them

  constructor(channel, show, actions) {
    this.channel = channel;
    this.show = show;
    this.actions = actions;
    this.visible = true;
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.context = this.canvas.getContext("2d");
    this.dot = h("span", { class: "dot" });
    this.rate = h("span", { class: "rate" });
    this.tag = h("span", { class: "tag", hidden: true });
    this.note = h("div", { class: "tile-note" });
    this.title = h("span", { class: "title" });
    this.head = h("div", { class: "tile-head" });
    this.element = h("div", {
      class: "tile", tabindex: 0, role: "group", "aria-label": channel.title,
      on: {
        click: () => actions.enlarge(channel.id),
        keydown: (event) => {
          if (event.target !== this.element) return;
          if (event.key === "Enter" || event.key === " ") { event.preventDefault(); actions.enlarge(channel.id); }
          if (event.key === "p") actions.playback(channel.id);
        },
      },
    },
    this.canvas, this.note,
    this.tag, this.head,
    h("div", { class: "tile-foot" }, this.dot, this.title, this.rate));
    this.configure(channel);
    new ResizeObserver(() => { this.#dirty = true; }).observe(this.element);
  }

  /** The channel's names and rules are these from here on; its picture stays. */
  configure(channel) {
    if (channel.analysis && !this.channel.analysis) this.measureAnew();
    this.channel = channel;
    this.title.textContent = channel.title;
    const stop = (act) => (event) => { event.stopPropagation(); act(); };
    this.head.replaceChildren(
      iconButton("play", `Play back ${channel.title} from a minute ago`, stop(() => this.actions.playback(channel.id))),
      iconButton("expand", `Enlarge ${channel.title}`, stop(() => this.actions.enlarge(channel.id))));
    this.#noteKey = "";
    this.#dirty = true;
  }

  /** It is no longer shown. */
  close() {
    this.#bitmap?.close();
    this.#bitmap = null;
    this.#sync.clear();
  }

  status(status) {
    if (status.state !== "offline" && this.#lastRecorded) {
      this.#lastRecorded = "";
      this.#absence += 1;
    }
    this.#status = status;
    this.#dirty = true;
    const online = status.state === "online";
    this.dot.className = `dot ${online && !status.reason ? "ok" : status.state === "offline" ? "bad" : "warn"}`;
    const size = status.height ? `${status.height}p ` : "";
    this.rate.textContent = online ? [`${Math.round(status.fps * 10) / 10} fps`, bitrateText(status.bitrate_bps), `${size}${codecText(status.codec)}`].join("  ·  ") : "";
  }

  picture(picture, now) {
    if (picture.captureNs < this.#pictureNs) this.measureAnew(); // the camera's clock was set back
    this.#pictureNs = picture.captureNs;
    this.#firstNs ||= picture.captureNs;
    this.#sync.picture(picture, now);
  }

  detections(detections, now) {
    this.#boxesNs = detections.capture_ns;
    this.#sync.boxes(detections, now);
  }

  /** How late analysis is, is measured from here on. */
  measureAnew() { this.#firstNs = this.#boxesNs = 0; }

  /** How far the newest boxes are behind the newest picture when that is worth a word, else 0; milliseconds. */
  #lateMs(now) {
    const late = this.channel.analysis ? msOf(this.#pictureNs - Math.max(this.#boxesNs, this.#firstNs)) : 0;
    if (late <= LATE_MS) { this.#lateSince = null; return 0; }
    this.#lateSince ??= now;
    return now - this.#lateSince >= LATE_SINCE_MS ? late : 0;
  }

  alarm(rule, now) {
    this.#alarming.set(rule, now + ALARM_SHOWN_MS);
    this.#dirty = true;
  }

  redraw() { this.#dirty = true; }

  /** Called every animation frame. */
  tick(now) {
    for (const [rule, until] of this.#alarming) if (now > until) { this.#alarming.delete(rule); this.#dirty = true; }
    this.element.classList.toggle("alarming", this.#alarming.size > 0);
    const next = this.#sync.take(now);
    if (next) {
      this.#bitmap?.close();
      this.#bitmap = next.picture.bitmap;
      this.#boxes = next.detections?.boxes ?? [];
      this.#shownAt = now;
      this.#dirty = true;
      this.element.dataset.capture = String(next.picture.captureNs);
      this.element.dataset.boxes = String(this.#boxes.length);
      this.element.dataset.boxesCapture = String(next.detections?.capture_ns ?? "");
    }
    this.#explain(now);
    if (this.#dirty && this.visible) this.#draw();
  }

  #draw() {
    this.#dirty = false;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const width = this.canvas.clientWidth;
    const height = this.canvas.clientHeight;
    if (this.canvas.width !== Math.round(width * ratio)) this.canvas.width = Math.round(width * ratio);
    if (this.canvas.height !== Math.round(height * ratio)) this.canvas.height = Math.round(height * ratio);
    const context = this.context;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this.#bitmap) return;
    const area = fit(this.#bitmap.width, this.#bitmap.height, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.#bitmap, area.x, area.y, area.width, area.height);
    if (this.show.rules) drawRules(context, area, this.channel.rules, this.#alarming);
    if (this.show.boxes && this.#status?.state === "online") drawBoxes(context, area, this.#boxes);
  }

  /** Words over the picture; only rebuilt when they change. */
  #explain(now) {
    const status = this.#status;
    const state = status?.state ?? "waiting";
    const age = this.#bitmap ? now - this.#shownAt : 0;
    const stale = state === "online" && age > (this.channel.analysis ? STALE_MS : SELDOM_STALE_MS);
    const late = state === "online" && !stale ? this.#lateMs(now) : 0;
    const unwatched = state === "online" && this.#bitmap && !this.channel.analysis ? "no analysis" : null;
    const words = [stale ? `picture ${durationText(age)} old` : null, late ? `analysis late, ${durationText(late)}` : null, state === "online" ? status.reason : null];
    const trouble = words.some(Boolean);
    const tag = this.#alarming.size ? "Alarm" : [...words, unwatched].filter(Boolean).join("; ");
    this.tag.hidden = !tag;
    this.tag.className = `tag ${this.#alarming.size ? "alarm" : trouble ? "warn" : ""}`;
    if (this.tag.textContent !== tag) this.tag.textContent = tag;
    const key = `${state}/${status?.reason}/${status?.since_ns}/${Boolean(this.#bitmap)}/${this.#lastRecorded}`;
    if (key === this.#noteKey) return;
    this.#noteKey = key;
    this.element.classList.toggle("dim", state !== "online");
    this.note.className = `tile-note ${state === "offline" ? "bad" : ""}`;
    this.note.replaceChildren(...this.#words(state, status));
    const last = state === "offline" ? `; ${this.#lastText()}` : "";
    this.element.setAttribute("aria-label", `${this.channel.title}, ${state}${status?.reason ? `: ${status.reason}` : ""}${last}`);
  }

  /** When a camera that is away was last seen. */
  #lastText() {
    if (this.#pictureNs) return `Last picture ${momentText(msOf(this.#pictureNs))}`;
    if (!this.#lastRecorded) this.#findLast();
    return this.#lastRecorded;
  }

  async #findLast() {
    const absence = this.#absence;
    this.#lastRecorded = "No picture since the recorder started";
    let ms = null;
    try {
      ms = await this.actions.lastRecorded(this.channel.id);
    } catch {
      setTimeout(() => { if (absence === this.#absence) this.#findLast(); }, RETRY_MS);
    }
    if (ms && absence === this.#absence) this.#lastRecorded = `No picture since the recorder started, last recorded ${momentText(ms)}`;
  }

  #words(state, status) {
    const since = status?.since_ns ? h("small", {}, `since ${momentText(msOf(status.since_ns))}`) : null;
    const lines = (name, title, ...rest) => [icon(name), h("strong", {}, title), ...rest.filter(Boolean).map((text) => (typeof text === "string" ? h("p", {}, prose(text)) : text))];
    switch (state) {
      case "offline": return lines("off", "Offline", sentence(status.reason) || "The camera does not answer.", since, h("p", { class: "last" }, this.#lastText()), h("small", {}, "Tried again by itself"));
      case "connecting": return lines("camera", "Connecting", sentence(status.reason), since);
      case "disabled": return lines("off", "Switched off", "Set `enabled: true` for this channel in the site's file.");
      case "waiting": return lines("camera", "Waiting for the camera", "No report from ingest yet.");
      default:
        if (this.#bitmap) return [];
        if (!this.channel.live) return lines("image", "No live picture", "Analysis is off for this channel, and `ingest.live_fps` is 0. Recordings play below.");
        return lines("image", "Waiting for the first picture", sentence(status.reason), this.channel.analysis ? null : "Analysis is off for this channel: its pictures come at longer intervals.");
    }
  }
}
