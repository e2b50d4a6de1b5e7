// How the recorder is: services, storage, what waits, alarm centres.

import { api } from "./api.js";
import { empty, h, liken } from "./dom.js";
import { bytesText, plural } from "./format.js";

const EVERY_MS = 5000;
const MOST_LETTERS = 200;
const PATHS = { status: "/api/status", storage: "/api/storage", centres: "/api/centres", letters: `/api/dead-letters?limit=${MOST_LETTERS}` };
const LOW_SHARE = 92;
const LATE_S = 3;
const LEVELS = ["bad", "warn", "ok"];

const whereAndHow = ({ process, summary }) => (process ? `${process}: ${summary}` : summary);

export class System {
  #known = {}; // what was answered, by name; null: no answer
  #asking = { status: 0, storage: 0, centres: 0, letters: 0 }; // how many answers are awaited
  #asked = 0;
  #answered = {};
  #acting = new Set();
  #details = matchMedia("(max-width: 760px)").matches;

  constructor(element, site, chip, actions) {
    this.site = site;
    this.actions = actions;
    this.chip = chip;
    this.summary = h("span", { class: "count push" });
    this.body = h("div", { class: "body" });
    const more = h("button", { type: "button", class: "plain", "aria-pressed": String(this.#details), on: { click: () => {
      this.#details = !this.#details;
      more.setAttribute("aria-pressed", String(this.#details));
      this.#show();
    } } }, "Details");
    element.append(h("div", { class: "bar" }, h("h2", {}, "System"), this.summary, more), this.body);
    this.#poll();
  }

  #poll() {
    this.load(Object.keys(PATHS).filter((name) => !this.#asking[name])); // an answer that does not come stops no other
    setTimeout(() => this.#poll(), document.hidden ? EVERY_MS * 6 : EVERY_MS);
  }

  /** Each answer is shown when it comes: one that takes long keeps none of the others back. */
  async load(names = Object.keys(PATHS)) {
    const asked = ++this.#asked;
    await Promise.all(names.map(async (name) => {
      this.#asking[name] += 1;
      const answer = await api(PATHS[name]).catch(() => null);
      this.#asking[name] -= 1;
      if (asked < (this.#answered[name] ?? 0)) return; // how it was before
      this.#answered[name] = asked;
      this.#known[name] = answer;
      this.#show();
    }));
  }

  #show() {
    const { status } = this.#known;
    if (status === undefined) return;
    if (!status) {
      this.#say("bad", "No answer");
      this.#fill(empty("exception", "The recorder does not answer", "Check that `vedette run` is running. This page tries again by itself."));
      return;
    }
    this.actions.channels(status.channels);
    const offline = status.channels.filter((channel) => channel.state === "offline").length;
    const failing = status.services.filter((service) => !service.ok).length;
    const late = status.channels.filter((channel) => channel.analysis_late_s > LATE_S).length;
    const ailing = status.channels.filter((channel) => channel.state === "online" && channel.reason).length;
    if (failing) this.#say("bad", `${plural(failing, "service needs", "services need")} help`);
    else if (offline) this.#say("warn", `${plural(offline, "channel")} offline`);
    else if (late) this.#say("warn", late === 1 ? "Analysis late" : `Analysis late on ${late} channels`);
    else if (ailing) this.#say("warn", `${plural(ailing, "sub stream")} offline`);
    else this.#say("ok", "All well");
    const online = status.channels.filter((channel) => channel.state === "online").length;
    this.summary.textContent = `${online} of ${status.channels.length} channels online`;
    this.#fill(this.#gauge(), this.#waiting(), this.#services(), this.#destinations());
  }

  #fill(...parts) { liken(this.body, h("div", { class: "body" }, parts)); }

  #say(level, text) {
    this.chip.querySelector(".dot").className = `dot ${level}`;
    const label = this.chip.querySelector("#health-text");
    if (label.textContent !== text) label.textContent = text;
  }

  #gauge() {
    const { storage } = this.#known;
    if (!storage) return null;
    const used = storage.used_bytes ?? 0;
    const free = storage.free_bytes ?? 0;
    const whole = storage.limit_bytes || used + free;
    const share = whole ? Math.min(100, (used / whole) * 100) : 0;
    const policy = { overwrite: "the oldest goes first", stop: "recording stops when full" }[storage.policy ?? storage.when_full] ?? "";
    return h("div", { class: `gauge ${share > LOW_SHARE && policy.startsWith("recording") ? "warn" : ""}` },
      h("div", { class: "label" }, h("span", {}, "Recordings ", h("b", {}, bytesText(used)), ` of ${bytesText(whole)}`), h("small", {}, policy)),
      h("div", { class: "rail", role: "meter", "aria-label": "Storage used", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(share) },
        h("div", { class: "fill", vars: { "--share": share.toFixed(1) } })));
  }

  #waiting() {
    const { status: { channels, services }, storage } = this.#known;
    const sum = (name) => channels.reduce((total, channel) => total + channel[name], 0);
    const lost = sum("lost_segments");
    const lag = services.reduce((total, service) => total + (Number(service.details.lag) || 0), 0);
    return h("div", { class: "facts-line" },
      h("span", { class: lost ? "bad" : "" }, `Spool ${bytesText(sum("spool_bytes"))}${lost ? `, ${plural(lost, "segment")} lost` : ""}`),
      storage?.free_bytes === undefined ? null : h("span", {}, `${bytesText(storage.free_bytes)} free`),
      h("span", {}, lag ? `${plural(lag, "message")} behind` : "Nothing behind"));
  }

  /** A service with its level. Ingest runs well while cameras are away: the channels are then what counts. */
  #judged(service) {
    const channels = this.#known.status.channels.filter((channel) => channel.state !== "disabled");
    const all = service.process ? service.details.channels : channels.length; // of another process: its share
    const online = service.process ? service.details.online : channels.filter((channel) => channel.state === "online").length;
    const partly = service.ok && service.name === "ingest" && online < all;
    const note = partly ? `${online} of ${all} online` : service.summary || (service.ok ? "well" : "not well");
    return { ...service, level: partly ? "warn" : service.ok ? "ok" : "bad", note };
  }

  /** Names with their dots; those that are not well, or all when asked for, with what they say. */
  #services() {
    const services = this.#known.status.services.map((service) => this.#judged(service));
    const told = this.#details ? services : services.filter((service) => service.level !== "ok");
    const named = [...new Set(services.map((service) => service.name))].map((name) => services.filter((service) => service.name === name));
    const marks = h("ul", { class: "marks" }, named.map((same) => h("li", { title: same.map(whereAndHow).join("\n") },
      h("span", { class: `dot ${LEVELS.find((level) => same.some((service) => service.level === level))}` }), same[0].name, same.length > 1 ? ` ×${same.length}` : "")));
    return h("div", {}, this.#details ? null : marks, h("ul", { class: "lines" }, told.map((service) =>
      h("li", { title: Object.entries(service.details).map(([name, value]) => `${name}: ${value}`).join("\n") },
        h("span", { class: `dot ${service.level}` }), 
        h("span", {}, service.name, service.process ? h("small", { class: "process" }, service.process) : null), h("span", { class: "note" }, service.note)))));
  }

  #destinations() {
    const centres = this.#known.centres?.centres ?? [];
    if (!centres.length) return null;
    return h("div", {}, h("p", { class: "sub" }, "Alarm centres"), h("ul", { class: "lines" }, centres.map((centre) => this.#centre(centre))));
  }

  #centre(centre) {
    const { queued, disabled: off } = centre;
    const unknown = !this.#known.letters;
    const letters = (this.#known.letters?.dead_letters ?? []).filter((letter) => letter.centre === centre.id);
    const dead = letters.length;
    const note = [off ? `off: ${off}` : null, queued ? `${queued} waiting` : null, dead ? `${dead}${dead >= MOST_LETTERS ? "+" : ""} not delivered` : null].filter(Boolean).join(", ") || (unknown ? "cannot be read" : "delivered");
    const act = (text, path, body) => h("button", { type: "button", data: { is: `${text} ${centre.id}` }, disabled: this.#acting.has(path + centre.id), on: { click: () => this.#act(centre.id, path, body) } }, text);
    return h("li", { title: letters[0]?.error ?? "" }, h("span", { class: `dot ${off || dead ? "bad" : queued || unknown ? "warn" : "ok"}` }), h("span", {}, centre.id),
      h("span", { class: "note" }, note),
      off || dead ? h("span", { class: "actions" },
        off ? act("Switch on", `/api/centres/${encodeURIComponent(centre.id)}/enable`) : null,
        dead ? act("Send again", "/api/dead-letters/replay", { centre: centre.id, ids: null }) : null) : null);
  }

  async #act(centre, path, body) {
    this.#acting.add(path + centre);
    this.#show();
    try {
      await api(path, { method: "POST", body });
      await this.load();
    } catch (error) {
      this.actions.toasts.error(error);
    }
    this.#acting.delete(path + centre);
    this.#show();
  }
}
