// The list of alarms, newest first, kept up as they happen.

import { api, snapshotUrl } from "./api.js";
import { empty, h, icon, iconButton, prose, segments } from "./dom.js";
import { directionText, durationText, exceptionText, kindText, momentText, msOf, nsOf, sentence, targetText } from "./format.js";

const MOST = 200;
const PICTURE_TRIES = 4;
const RETRY_MS = 5000;
/** An alarm belongs to a moment this close to it. */
const NEAR_MS = 1000;

export class Alarms {
  #items = new Map();
  #filter = "all";
  #problem = null;
  #chosen = null;
  #retry = 0;
  #kept = null; // the alarm of a link: it stays in the list, however old
  #held = false; // the chosen alarm is kept in view, whatever comes before it in the list, until someone looks elsewhere

  constructor(element, site, live, actions) {
    this.channels = new Map(site.channels.map((channel) => [channel.id, channel]));
    this.actions = actions;
    this.badge = h("span", { class: "badge-open", hidden: true });
    this.list = h("ul", { class: "alarm-list", "aria-label": "Alarms, newest first", tabindex: 0 });
    element.append(h("div", { class: "bar" }, h("h2", {}, "Alarms"), this.badge, h("span", { class: "push" }),
      segments("Which alarms", [["all", "All"], ["open", "Not acknowledged"]], "all", (filter) => { this.#filter = filter; this.#arrange(); })), this.list);
    for (const moved of ["wheel", "pointerdown", "touchstart", "keydown"]) this.list.addEventListener(moved, () => { this.#held = false; }, { passive: true });
    live.addEventListener("alarm", ({ detail }) => this.#put(detail, true));
    live.addEventListener("resync", () => this.load());
    this.load();
  }

  /** Names of channels and rules are those of `site`. */
  renew(site) {
    this.channels = new Map(site.channels.map((channel) => [channel.id, channel]));
    for (const { alarm } of [...this.#items.values()]) this.#draw(alarm);
    this.#arrange();
  }

  async load() {
    try {
      const { alarms } = await api("/api/alarms", { query: { limit: MOST } });
      this.#problem = null;
      this.actions.trouble("The alarms", null);
      for (const alarm of [...alarms].reverse()) this.#put(alarm, false);
    } catch (error) {
      this.#problem = error.message;
      this.actions.trouble("The alarms", error);
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.load(), RETRY_MS);
    }
    this.#arrange();
  }

  /** The id of the alarm of a moment, or null. It is in the list then. */
  async find(channel, ms) {
    try {
      const { alarms } = await api("/api/alarms", { query: { channel, from_ns: nsOf(ms - NEAR_MS), to_ns: nsOf(ms + NEAR_MS), limit: MOST } });
      const off = (alarm) => Math.abs(msOf(alarm.start_ns) - ms);
      const alarm = alarms.reduce((best, each) => (best && off(best) <= off(each) ? best : each), null);
      if (!alarm) return null;
      this.#kept = alarm.alarm_id;
      this.#put(alarm, false);
      this.#arrange();
      return alarm.alarm_id;
    } catch {
      return null; // the list says that the alarms cannot be read
    }
  }

  /** Mark the alarm that plays, or none. */
  choose(id, { reveal = false } = {}) {
    this.#chosen = id;
    this.#held = reveal;
    for (const [each, { element }] of this.#items) this.#mark(element, each);
    this.#hold();
  }

  #hold() {
    if (this.#held) this.#items.get(this.#chosen)?.element.scrollIntoView({ block: "nearest" });
  }

  #mark(element, id) {
    element.classList.toggle("chosen", id === this.#chosen);
    if (id === this.#chosen) element.setAttribute("aria-current", "true");
    else element.removeAttribute("aria-current");
  }

  #put(alarm, live) {
    const known = this.#items.get(alarm.alarm_id);
    if (known && known.alarm.at_ns > alarm.at_ns) return;
    if (known && JSON.stringify(known.alarm) === JSON.stringify(alarm)) return; // read again: it stays the element it is
    const element = this.#draw(alarm);
    if (live && !known) element.classList.add("new");
    if (live) this.#arrange();
  }

  #draw(alarm) {
    const known = this.#items.get(alarm.alarm_id);
    const element = this.#element(alarm, known);
    if (known) known.element.replaceWith(element);
    this.#mark(element, alarm.alarm_id);
    this.#items.set(alarm.alarm_id, { alarm, element });
    return element;
  }

  #arrange() {
    const sorted = [...this.#items.values()].sort((a, b) => b.alarm.start_ns - a.alarm.start_ns);
    for (const item of sorted.splice(MOST)) {
      if (item.alarm.alarm_id === this.#kept) sorted.push(item);
      else this.#items.delete(item.alarm.alarm_id);
    }
    const open = sorted.filter(({ alarm }) => !alarm.acknowledged_by).length;
    this.badge.hidden = open === 0;
    this.badge.textContent = String(open);
    this.badge.title = `${open} not acknowledged`;
    this.actions.count(open);
    this.actions.moments(sorted.map(({ alarm }) => ({ channel: alarm.channel, ms: msOf(alarm.start_ns) })));
    const shown = this.#filter === "all" ? sorted : sorted.filter(({ alarm }) => !alarm.acknowledged_by);
    // Elements that stay are left in place, so that focus and scrolling stay too.
    const wanted = shown.map(({ element }) => element);
    if (!wanted.length) { this.list.replaceChildren(h("li", {}, this.#nothing())); return; }
    for (const child of [...this.list.children]) if (!wanted.includes(child)) child.remove();
    wanted.forEach((element, at) => { if (this.list.children[at] !== element) this.list.insertBefore(element, this.list.children[at] ?? null); });
    this.#hold();
  }

  #nothing() {
    if (this.#problem) return empty("exception", "The alarms cannot be read", this.#problem);
    if (this.#items.size) return empty("check", "All acknowledged", "New alarms show here the moment they happen.");
    const rules = [...this.channels.values()].some((channel) => channel.rules.length);
    return rules ? empty("bell", "No alarms", "They show here the moment they happen.")
      : empty("bell", "No rules yet", "Give a channel `rules` in the site's file to get alarms.");
  }

  #element(alarm, known) {
    const channel = this.channels.get(alarm.channel);
    const rule = channel?.rules.find((each) => each.id === alarm.source);
    const title = alarm.kind === "exception" ? exceptionText(alarm.source) : rule?.name ?? alarm.source;
    const start = msOf(alarm.start_ns);
    const ongoing = alarm.state !== "ended" && !alarm.end_ns;
    const play = () => channel && this.actions.play(alarm.channel, start, alarm.alarm_id);
    const what = [alarm.target ? targetText(alarm.target) : null, directionText(alarm.direction)].filter(Boolean).join(" ");
    const end = alarm.end_ns && alarm.end_ns - alarm.start_ns >= 1e9 ? durationText(msOf(alarm.end_ns) - start) : null;
    return h("li", { class: `entry ${alarm.acknowledged_by ? "acked" : "open"}`, data: { alarm: alarm.alarm_id } },
      this.#thumb(alarm, known, play, title),
      h("div", { class: "alarm-what" },
        h("div", { class: "name", title: kindText(alarm.kind) }, icon(alarm.kind === "smd" && alarm.target && alarm.target !== "human" ? "vehicle" : alarm.kind), h("span", {}, title)),
        h("div", { class: "where" }, [channel?.title ?? (alarm.channel === "@device" ? "This recorder" : alarm.channel), what].filter(Boolean).join("  ·  ")),
        alarm.message && alarm.kind === "exception" ? h("div", { class: "message", title: alarm.message }, prose(sentence(alarm.message))) : null,
        h("div", { class: "when" }, h("b", {}, momentText(start)), alarm.hits > 1 ? h("span", { class: "hits" }, `× ${alarm.hits}`) : null,
          ongoing ? h("span", { class: "ongoing" }, "ongoing") : end ? h("span", {}, end) : null)),
      alarm.acknowledged_by
        ? h("span", { class: "ack", title: `Acknowledged by ${alarm.acknowledged_by}` }, icon("check"))
        : iconButton("check", `Acknowledge ${title}`, (event) => this.#acknowledge(alarm, event.currentTarget), { className: "icon ack" }));
  }

  #thumb(alarm, known, play, title) {
    if (known && known.alarm.snapshot === alarm.snapshot) return known.element.querySelector(".thumb");
    const pending = !alarm.snapshot && alarm.snapshot_at_ns > 0;
    const wait = h("span", { class: `wait ${pending ? "pending" : ""}` }, icon("image"), pending ? "picture is coming" : alarm.snapshot ? "" : "no picture");
    const thumb = h("button", { type: "button", class: "thumb", "aria-label": `Play back: ${title}`, title: "Play back this moment", on: { click: play } },
      wait, h("span", { class: "play" }, icon("play")));
    if (alarm.snapshot) this.#load(thumb, wait, alarm.snapshot, PICTURE_TRIES);
    return thumb;
  }

  #load(thumb, wait, key, tries) {
    const image = new Image();
    image.alt = "";
    image.decoding = "async";
    image.onload = () => wait.replaceWith(image);
    image.onerror = () => {
      if (tries > 1) setTimeout(() => this.#load(thumb, wait, key, tries - 1), 2000);
      else wait.replaceChildren(icon("image"), "no picture now");
    };
    image.src = snapshotUrl(key);
  }

  async #acknowledge(alarm, button) {
    button.disabled = true;
    try {
      const answer = await api(`/api/alarms/${encodeURIComponent(alarm.alarm_id)}/acknowledge`, { method: "POST", body: { note: "" } });
      if (answer?.alarm_id) this.#put(answer, true);
    } catch (error) {
      button.disabled = false;
      this.actions.toasts.error(error);
    }
  }
}
