// Recordings of every channel over one span of time. A click plays.

import { api } from "./api.js";
import { now } from "./clock.js";
import { arrange, empty, h, iconButton, segments } from "./dom.js";
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
  #at = null; // the middle of a narrow view, or a moment of the day that is shown; null: it follows the present
  #alarms = [];
  #cursor = { channel: null, ms: 0 };
  #timer = 0;
  #changed = new Set(); // channels to be read again soon
  #asked = 0;
  #problem = null;

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
    for (const type of ["recording", "alarm"]) live.addEventListener(type, ({ detail }) => this.refresh(detail.channel));
    setInterval(() => { if (!document.hidden && (this.view.to >= now() || this.#problem)) this.load(this.#idle([...this.#rows.keys()])); }, REFRESH_MS);
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
    this.#rows = new Map(site.channels.map((channel) => [channel.id, before.get(channel.id) ?? this.#row(channel)]));
    for (const channel of site.channels) this.#name(this.#rows.get(channel.id), channel);
    arrange(this.rows, [this.axis, ...[...this.#rows.values()].flatMap(({ name, track }) => [name, track])]);
    this.rows.hidden = !site.channels.length;
    this.nothing.hidden = site.channels.length > 0;
    this.tip.hidden = true;
  }

  /** The span that is shown, milliseconds. */
  get view() {
    const date = this.#date;
    const origin = dayStart(date);
    if (this.#hours === 24) return { from: origin, to: dayStart(addDays(date, 1)), origin };
    const span = this.#hours * HOUR_MS;
    const to = this.#at === null ? now() + span * LEAD : this.#at + span / 2;
    return { from: to - span, to, origin };
  }

  get #date() { return dateOf(this.#at ?? now()); }

  /** Something changed, of these channels or of all: read again soon, once for all that changes until then. */
  refresh(...channels) {
    for (const id of channels.length ? channels : this.#rows.keys()) if (this.#rows.has(id)) this.#changed.add(id);
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      this.load(this.#idle([...this.#changed]));
      if (this.#changed.size) this.refresh(...this.#changed);
    }, SETTLE_MS);
  }

  /** A lock of this channel was set or taken off: what was asked before may be how it was. */
  changed(channel) {
    const row = this.#rows.get(channel);
    if (!row) return;
    row.answered = ++this.#asked;
    this.load([channel]);
  }

  /** Of which no answer is awaited: where storage hangs, questions do not pile up. */
  #idle(channels) { return channels.filter((id) => !this.#rows.get(id)?.asking); }

  /** Bring a moment into view. */
  follow(ms) {
    const { from, to } = this.view;
    if (ms >= from && ms <= to) return;
    this.#at = ms;
    this.load();
  }

  /** The alarms that are known: {channel, ms}. */
  alarms(moments) {
    this.#alarms = moments;
    this.#draw();
  }

  /** Where playback is; channel null: nowhere. */
  cursor(channel, ms) {
    const { from, to } = this.view;
    const seen = this.#cursor.channel && this.#cursor.ms >= from && this.#cursor.ms <= to; // else someone looks elsewhere
    this.#cursor = { channel, ms };
    for (const [id, row] of this.#rows) row.name.classList.toggle("current", id === channel);
    if (channel && seen) this.follow(ms);
    this.#draw();
  }

  #row(channel) {
    const canvas = h("canvas");
    const name = h("button", { type: "button", class: "name", on: { click: () => this.actions.play(channel.id, now() - 60_000) } });
    const track = h("div", { class: "track", role: "slider", tabindex: 0, "aria-valuemin": 0, "aria-valuemax": 1000, "aria-valuenow": 0, data: { channel: channel.id } }, canvas);
    const row = { name, track, canvas, spans: [], locks: [], hover: null, asking: 0, answered: 0, problem: null };
    const at = (event) => { const { from, to } = this.view; const box = track.getBoundingClientRect(); return from + ((event.clientX - box.left) / box.width) * (to - from); };
    track.addEventListener("pointermove", (event) => this.#hover(row, at(event), event));
    track.addEventListener("pointerleave", () => this.#hover(row, null));
    track.addEventListener("click", (event) => this.actions.play(channel.id, Math.min(at(event), now() - 1000)));
    track.addEventListener("focus", () => this.#describe(row));
    track.addEventListener("blur", () => this.#hover(row, null));
    track.addEventListener("keydown", (event) => this.#press(row, channel.id, event));
    track.addEventListener("wheel", (event) => {
      if (!event.deltaX && !event.shiftKey) return;
      event.preventDefault();
      this.#pan(((event.deltaX || event.deltaY) / track.clientWidth) * (this.view.to - this.view.from));
    }, { passive: false });
    return row;
  }

  #name({ name, track }, { title }) {
    name.textContent = title;
    name.title = `Play the newest of ${title}`;
    track.setAttribute("aria-label", `Recordings of ${title}. Arrow keys move, Enter plays.`);
  }

  #hover(row, ms, event = null) {
    row.hover = ms;
    this.tip.hidden = ms === null || !event;
    if (event && ms !== null) {
      this.tip.textContent = hoverText(ms);
      this.tip.style.left = `${Math.min(event.clientX + 12, innerWidth - 80)}px`;
      this.tip.style.top = `${event.clientY - 32}px`;
    }
    this.#paint(row, this.view, now());
  }

  #press(row, channel, event) {
    const { from, to } = this.view;
    const step = (to - from) / KEY_STEPS;
    const here = row.hover ?? (this.#cursor.channel === channel ? this.#cursor.ms : Math.min(now(), to) - step);
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") row.hover = Math.min(to, Math.max(from, here + (event.key === "ArrowLeft" ? -step : step)));
    else if (event.key === "Home") row.hover = from;
    else if (event.key === "End") row.hover = Math.min(to, now() - 1000);
    else if (event.key === "Enter") this.actions.play(channel, here);
    else return;
    event.preventDefault();
    this.#describe(row);
    this.#paint(row, this.view, now());
  }

  #describe(row) {
    const { from, to } = this.view;
    const ms = row.hover ?? from;
    const span = row.spans.find((each) => each.from <= ms && ms <= each.to);
    row.track.setAttribute("aria-valuenow", String(Math.round(((ms - from) / (to - from)) * 1000)));
    row.track.setAttribute("aria-valuetext", `${momentText(ms)}, ${span ? `${span.kind} recording` : "no recording"}`);
  }

  #zoom(hours) {
    const date = this.#date;
    this.#hours = hours;
    if (this.#cursor.channel) this.#at = this.#cursor.ms;
    else this.#at = date === dateOf(now()) ? null : dayStart(date) + 12 * HOUR_MS;
    this.load();
  }

  #day(date) {
    this.#at = dayStart(date) + 12 * HOUR_MS;
    this.load();
  }

  #now() {
    this.#at = null;
    this.load();
  }

  #shift(way) {
    if (this.#hours === 24) this.#day(addDays(this.#date, way));
    else this.#pan(way * this.#hours * HOUR_MS * 0.75);
  }

  #pan(ms) {
    if (this.#hours === 24) return;
    const { from, to } = this.view;
    this.#at = (from + to) / 2 + ms;
    this.#draw();
    this.refresh();
  }

  /** Read what the view shows, of all channels or of some. */
  async load(channels = [...this.#rows.keys()]) {
    const asked = ++this.#asked;
    const view = this.view;
    if (document.activeElement !== this.picker) this.picker.value = this.#date; // else someone is writing there
    this.picker.max = dateOf(now());
    this.#draw();
    const query = { from_ns: nsOf(view.from), to_ns: nsOf(view.to) };
    for (const channel of channels) this.#changed.delete(channel);
    await Promise.all(channels.filter((channel) => this.#rows.has(channel)).map((channel) => this.#read(channel, this.#rows.get(channel), query, asked)));
    this.#problem = [...this.#rows.values()].find((row) => row.problem)?.problem ?? null;
    this.actions.trouble("The recordings", this.#problem);
    this.#draw();
  }

  async #read(channel, row, query, asked) {
    row.asking += 1;
    const found = await Promise.all([
      api("/api/timeline", { query: { channel, ...query } }),
      api("/api/recordings", { query: { channel, locked: true, limit: 1000, ...query } }),
    ]).catch((error) => error);
    row.asking -= 1;
    if (asked < row.answered) return; // of another view, or how it was before
    row.answered = asked;
    row.problem = found instanceof Error ? found : null;
    if (row.problem) return;
    const [{ spans }, { recordings }] = found;
    row.spans = spans.map((span) => ({ from: msOf(span.from_ns), to: msOf(span.to_ns), kind: span.kind }));
    row.locks = recordings.filter((file) => file.locked).map((file) => ({ from: msOf(file.start_ns), to: msOf(file.end_ns) }));
  }

  #draw() {
    const view = this.view;
    const present = now();
    drawAxis(this.axis, view);
    for (const row of this.#rows.values()) this.#paint(row, view, present);
  }

  #paint(row, view, now) {
    const cursor = this.#cursor.channel === row.track.dataset.channel ? this.#cursor.ms : null;
    drawTrack(row.canvas, view, { spans: row.spans, locks: row.locks, alarms: this.#alarms.filter((alarm) => alarm.channel === row.track.dataset.channel), cursor, now, hover: row.hover });
  }
}
