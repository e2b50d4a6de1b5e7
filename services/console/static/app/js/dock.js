// Recordings of every channel over one span of time. A click plays.

import { api } from "./api.js";
import { empty, h, iconButton, segments } from "./dom.js";
import { addDays, dateOf, dayStart, momentText, msOf, nsOf } from "./format.js";
import { drawAxis, drawTrack, hoverText } from "./timebar.js";

const HOUR_MS = 3600_000;
const REFRESH_MS = 15_000;
const SETTLE_MS = 1500;
/** Beyond the present moment a narrow view shows this share of itself. */
const LEAD = 0.08;
const KEY_STEPS = 60;

export class Dock {
  #rows = new Map();
  #key = "";
  #hours = 1;
  #date = null;
  #centre = null; // of a narrow view; null: it follows the present
  #alarms = [];
  #cursor = { channel: null, ms: 0 };
  #timer = 0;
  #asked = 0;
  #failed = false;

  constructor(element, site, live, actions) {
    this.actions = actions;
    this.picker = h("input", { type: "date", "aria-label": "Day", on: { change: () => this.picker.value && this.#day(this.picker.value) } });
    this.axis = h("canvas", { class: "axis", "aria-hidden": "true" });
    this.tip = h("div", { class: "tip", hidden: true });
    this.zoom = segments("Zoom", [[1, "1 h"], [6, "6 h"], [24, "24 h"]], 1, (hours) => this.#zoom(hours));
    const bar = h("div", { class: "bar" }, h("h2", {}, "Recordings"),
      h("div", { class: "day" }, iconButton("left", "Earlier", () => this.#shift(-1)), this.picker, iconButton("right", "Later", () => this.#shift(1)),
        h("button", { type: "button", class: "plain", on: { click: () => this.#now() } }, "Now")),
      this.zoom, h("span", { class: "push" }),
      h("div", { class: "legend", "aria-hidden": "true" }, [["general", "General"], ["alarm", "Alarm"], ["gap", "None"], ["locked", "Locked"]].map(([name, text]) => h("span", { class: name }, h("i"), text))));
    this.rows = h("div", { class: "rows" });
    this.nothing = empty("record", "Nothing to record yet", "Channels show here once they are configured.");
    element.append(bar, this.rows, this.nothing);
    document.body.append(this.tip);
    this.#fill(site);
    new ResizeObserver(() => this.#draw()).observe(this.rows);
    live.addEventListener("recording", () => this.refresh());
    live.addEventListener("alarm", () => this.refresh());
    setInterval(() => { if (!document.hidden && (this.view.to >= Date.now() || this.#failed)) this.load(); }, REFRESH_MS);
    setInterval(() => this.#draw(), 1000);
    this.#now();
  }

  /** Show the channels of `site`. */
  renew(site) {
    this.#fill(site);
    this.load();
  }

  #fill(site) {
    const key = JSON.stringify(site.channels.map(({ id, title }) => [id, title]));
    if (key === this.#key) return;
    this.#key = key;
    const before = this.#rows;
    this.#rows = new Map();
    this.rows.replaceChildren(this.axis, ...site.channels.flatMap((channel) => this.#row(channel)));
    for (const [id, row] of this.#rows) if (before.has(id)) ({ spans: row.spans, locks: row.locks } = before.get(id));
    this.rows.hidden = !site.channels.length;
    this.nothing.hidden = site.channels.length > 0;
    this.tip.hidden = true;
  }

  /** The span that is shown, milliseconds. */
  get view() {
    const origin = dayStart(this.#date);
    if (this.#hours === 24) return { from: origin, to: dayStart(addDays(this.#date, 1)), origin };
    const span = this.#hours * HOUR_MS;
    const to = this.#centre === null ? Date.now() + span * LEAD : this.#centre + span / 2;
    return { from: to - span, to, origin };
  }

  /** Something changed: read again soon, once. */
  refresh() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.load(), SETTLE_MS);
  }

  /** Bring a moment into view. */
  follow(ms) {
    const { from, to } = this.view;
    if (ms >= from && ms <= to) return;
    this.#date = dateOf(ms);
    if (this.#hours !== 24) this.#centre = ms;
    this.load();
  }

  /** The alarms that are known: {channel, ms}. */
  alarms(moments) {
    this.#alarms = moments;
    this.#draw();
  }

  /** Where playback is; channel null: nowhere. */
  cursor(channel, ms) {
    this.#cursor = { channel, ms };
    for (const [id, row] of this.#rows) row.name.classList.toggle("current", id === channel);
    if (channel) this.follow(ms);
    this.#draw();
  }

  #row(channel) {
    const canvas = h("canvas");
    const name = h("button", { type: "button", class: "name", title: `Play the newest of ${channel.title}`, on: { click: () => this.actions.play(channel.id, Date.now() - 60_000) } }, channel.title);
    const track = h("div", { class: "track", role: "slider", tabindex: 0, "aria-label": `Recordings of ${channel.title}. Arrow keys move, Enter plays.`, "aria-valuemin": 0, "aria-valuemax": 1000, "aria-valuenow": 0, data: { channel: channel.id } }, canvas);
    const row = { name, track, canvas, spans: [], locks: [], hover: null };
    const at = (event) => { const { from, to } = this.view; const box = track.getBoundingClientRect(); return from + ((event.clientX - box.left) / box.width) * (to - from); };
    track.addEventListener("pointermove", (event) => this.#hover(row, at(event), event));
    track.addEventListener("pointerleave", () => this.#hover(row, null));
    track.addEventListener("click", (event) => this.actions.play(channel.id, Math.min(at(event), Date.now() - 1000)));
    track.addEventListener("focus", () => this.#describe(row));
    track.addEventListener("blur", () => this.#hover(row, null));
    track.addEventListener("keydown", (event) => this.#press(row, channel.id, event));
    track.addEventListener("wheel", (event) => {
      if (!event.deltaX && !event.shiftKey) return;
      event.preventDefault();
      this.#pan(((event.deltaX || event.deltaY) / track.clientWidth) * (this.view.to - this.view.from));
    }, { passive: false });
    this.#rows.set(channel.id, row);
    return [name, track];
  }

  #hover(row, ms, event = null) {
    row.hover = ms;
    this.tip.hidden = ms === null || !event;
    if (event && ms !== null) {
      this.tip.textContent = hoverText(ms);
      this.tip.style.left = `${Math.min(event.clientX + 12, innerWidth - 80)}px`;
      this.tip.style.top = `${event.clientY - 32}px`;
    }
    this.#paint(row, this.view, Date.now());
  }

  #press(row, channel, event) {
    const { from, to } = this.view;
    const step = (to - from) / KEY_STEPS;
    const here = row.hover ?? (this.#cursor.channel === channel ? this.#cursor.ms : Math.min(Date.now(), to) - step);
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") row.hover = Math.min(to, Math.max(from, here + (event.key === "ArrowLeft" ? -step : step)));
    else if (event.key === "Home") row.hover = from;
    else if (event.key === "End") row.hover = Math.min(to, Date.now() - 1000);
    else if (event.key === "Enter") this.actions.play(channel, here);
    else return;
    event.preventDefault();
    this.#describe(row);
    this.#paint(row, this.view, Date.now());
  }

  #describe(row) {
    const { from, to } = this.view;
    const ms = row.hover ?? from;
    const span = row.spans.find((each) => each.from <= ms && ms <= each.to);
    row.track.setAttribute("aria-valuenow", String(Math.round(((ms - from) / (to - from)) * 1000)));
    row.track.setAttribute("aria-valuetext", `${momentText(ms)}, ${span ? `${span.kind} recording` : "no recording"}`);
  }

  #zoom(hours) {
    this.#hours = hours;
    const today = this.#date === dateOf(Date.now());
    this.#centre = this.#cursor.channel ? this.#cursor.ms : today ? null : dayStart(this.#date) + 12 * HOUR_MS;
    this.load();
  }

  #day(date) {
    this.#date = date;
    if (this.#hours !== 24) this.#centre = dayStart(date) + 12 * HOUR_MS;
    this.load();
  }

  #now() {
    this.#date = dateOf(Date.now());
    this.#centre = null;
    this.load();
  }

  #shift(way) {
    if (this.#hours === 24) this.#day(addDays(this.#date, way));
    else this.#pan(way * this.#hours * HOUR_MS * 0.75);
  }

  #pan(ms) {
    if (this.#hours === 24) return;
    const { from, to } = this.view;
    this.#centre = (from + to) / 2 + ms;
    this.#date = dateOf(this.#centre);
    this.#draw();
    this.refresh();
  }

  /** Read what the view shows. */
  async load() {
    const asked = ++this.#asked;
    const view = this.view;
    this.picker.value = this.#date;
    this.picker.max = dateOf(Date.now());
    this.#draw();
    const query = { from_ns: nsOf(view.from), to_ns: nsOf(view.to) };
    const results = await Promise.allSettled([...this.#rows].map(([channel, row]) => this.#read(channel, row, query)));
    if (asked !== this.#asked) return;
    const failed = results.find((result) => result.status === "rejected");
    this.#failed = Boolean(failed);
    this.actions.trouble("The recordings", failed?.reason ?? null);
    this.#draw();
  }

  async #read(channel, row, query) {
    const [{ spans }, { recordings }] = await Promise.all([
      api("/api/timeline", { query: { channel, ...query } }),
      api("/api/recordings", { query: { channel, locked: true, limit: 1000, ...query } }),
    ]);
    row.spans = spans.map((span) => ({ from: msOf(span.from_ns), to: msOf(span.to_ns), kind: span.kind }));
    row.locks = recordings.filter((file) => file.locked).map((file) => ({ from: msOf(file.start_ns), to: msOf(file.end_ns) }));
  }

  #draw() {
    const view = this.view;
    const now = Date.now();
    drawAxis(this.axis, view);
    for (const row of this.#rows.values()) this.#paint(row, view, now);
  }

  #paint(row, view, now) {
    const cursor = this.#cursor.channel === row.track.dataset.channel ? this.#cursor.ms : null;
    drawTrack(row.canvas, view, { spans: row.spans, locks: row.locks, alarms: this.#alarms.filter((alarm) => alarm.channel === row.track.dataset.channel), cursor, now, hover: row.hover });
  }
}
