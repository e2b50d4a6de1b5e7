// Playback of one channel: from a moment on, over the ends of files, up to what is being recorded now.

import { api, mediaUrl } from "./api.js";
import { now } from "./clock.js";
import { h, icon, iconButton } from "./dom.js";
import { bytesText, codecText, dayText, durationText, minuteText, momentText, msOf, nsOf, timeText } from "./format.js";
import { Screen } from "./screen.js";

const AHEAD_MS = 6 * 3600_000;
const STEP_S = 10;
/** The next file is fetched when this much of the present one is left. */
const PRELOAD_S = 12;
/** A hole shorter than this is passed over without a word. */
const GAP_MS = 1500;
const EDGE_RETRY_MS = 1000;
const RETRY_MS = 5000;
/** A file being written is read again when it has this much more; shorter steps would stutter. */
const GROWN_MS = 2000;
/** Of a closed file less than this is not worth a reload: rounding of its length. */
const REST_MS = 200;
/** A moment this close to now may not be stored yet: then the newest that is stored is played. */
const FRESH_MS = 120_000;
const BEFORE_EDGE_S = 2;

const lengthS = (file) => (file.end_ns - file.start_ns) / 1e9;

/** What is to be played when playback is at `ms`: what begins nearest. After the clock was set back a time may have been recorded twice. */
const nearest = (files, ms) => files.reduce((best, file) => (best && Math.abs(msOf(best.start_ns) - ms) <= Math.abs(msOf(file.start_ns) - ms) ? best : file), undefined);
const after = (file, files) => nearest(files.filter((each) => each.id !== file.id && each.end_ns > file.end_ns), msOf(file.end_ns));

export class Player {
  #channel = null;
  #file = null; // what plays; null while something is looked for
  #sought = null; // the moment that is looked for
  #next = null;
  #changes = 0; // locks that were set or taken off
  #run = 0; // counts what is looked for: answers that come for something earlier are dropped
  #timer = 0;

  constructor(site, actions) {
    this.channels = new Map(site.channels.map((channel) => [channel.id, channel]));
    this.actions = actions;
    this.screen = new Screen({
      moved: () => this.#moved(), playing: () => { this.note.hidden = true; this.#paused(false); }, paused: () => this.#paused(true),
      waiting: () => { if (!this.video.ended) this.#say("Loading", "", "light"); }, seeked: () => { this.note.hidden = true; },
      ended: () => this.#ended(), failed: (error) => this.#failed(error), muted: (muted) => this.#muted(muted),
    });
    this.stamp = h("div", { class: "stamp", hidden: true });
    this.note = h("div", { class: "screen-note", role: "status", hidden: true });
    this.title = h("h2");
    this.facts = h("span", { class: "facts" });
    this.playButton = iconButton("pause", "Pause", () => this.screen.toggle());
    this.soundButton = iconButton("sound", "Switch the sound off", () => this.screen.mute(!this.video.muted));
    this.lockButton = iconButton("unlock", "Lock", () => this.#lock(), { label: "Lock", className: "icon" });
    this.save = h("a", { download: true, hidden: true });
    this.speed = h("select", { "aria-label": "Speed", on: { change: () => { this.screen.speed = Number(this.speed.value); } } },
      [0.25, 0.5, 1, 2, 4, 8].map((speed) => h("option", { value: speed, selected: speed === 1 }, `${speed}×`)));
    const screen = h("div", { class: "screen" }, this.screen.videos, this.stamp, this.note);
    const element = h("div", { class: "player", on: { keydown: (event) => this.#key(event) } }, screen,
      h("div", { class: "controls" },
        iconButton("left", `Back ${STEP_S} seconds`, () => this.skip(-STEP_S)), this.playButton, iconButton("right", `On ${STEP_S} seconds`, () => this.skip(STEP_S)),
        this.speed, this.soundButton, this.lockButton, iconButton("download", "Save this file", () => this.save.click(), { label: "Save", className: "icon" }), this.save, this.facts));
    this.elements = [h("div", { class: "bar" }, icon("play"), this.title, h("span", { class: "push" }),
      iconButton("close", "Back to the live pictures", () => this.close(), { label: "Live", className: "icon" })), element];
  }

  /** Names of channels are those of `site`. */
  renew(site) {
    this.channels = new Map(site.channels.map((channel) => [channel.id, channel]));
    if (this.#channel) this.title.textContent = this.channels.get(this.#channel)?.title ?? this.#channel;
  }

  get video() { return this.screen.video; }

  /** Where playback is, or will be, milliseconds, or null. */
  get position() { return this.#file ? msOf(this.#file.start_ns) + this.video.currentTime * 1000 : this.#sought; }

  async play(channel, ms) {
    const run = ++this.#run;
    clearTimeout(this.#timer);
    this.screen.rest({ blank: channel !== this.#channel });
    this.#leave();
    this.#channel = channel;
    this.#sought = ms;
    this.title.textContent = this.channels.get(channel)?.title ?? channel;
    this.#say("Looking for the recording", momentText(ms));
    this.actions.moved(channel, ms);
    await this.#look(ms, run);
  }

  async #look(ms, run) {
    const again = () => this.#look(ms, run);
    const files = await this.#files(ms, run, again);
    if (!files) return;
    const file = files[0];
    if (!file && ms > now() - FRESH_MS) { await this.#playNewest(ms, run, again); return; }
    if (!file) {
      this.screen.clear();
      this.#leave();
      this.#sought = ms;
      this.#say("Nothing recorded here", `There is no recording of this channel from ${momentText(ms)} on. Pick a green or red part of the time bar.`);
      return;
    }
    const gap = msOf(file.start_ns) - ms;
    if (gap > GAP_MS) this.actions.toasts.show("Gap in the recording", `Playback goes on ${durationText(gap)} later, at ${timeText(msOf(file.start_ns))}.`);
    this.#show(file, Math.max(0, -gap / 1000), after(file, files));
  }

  /** A moment that is not stored yet: footage reaches storage some seconds after it was seen. */
  async #playNewest(ms, run, again) {
    const files = await this.#files(ms - FRESH_MS, run, again);
    if (!files) return;
    const file = files.at(-1);
    if (file) { this.#show(file, Math.max(0, lengthS(file) - BEFORE_EDGE_S)); return; }
    this.screen.clear();
    this.#say("Not stored yet", "Recordings are a few seconds behind live.");
    this.#later(run, EDGE_RETRY_MS * 2, again);
  }

  #later(run, ms, act) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { if (run === this.#run) act(); }, ms);
  }

  close() {
    this.#run += 1;
    clearTimeout(this.#timer);
    this.screen.clear();
    this.#leave();
    this.#channel = this.#sought = null;
    this.actions.closed();
  }

  skip(seconds) {
    if (this.position === null) return;
    const to = this.video.currentTime + seconds;
    if (this.#file && to >= 0 && to < Math.min(this.video.duration, lengthS(this.#file))) this.video.currentTime = to;
    else this.play(this.#channel, this.position + seconds * 1000);
  }

  /** Files that end after `ms`, in order. null: something else is looked for meanwhile, or they cannot be read, and `again` is called soon. */
  async #files(ms, run, again) {
    const changes = this.#changes;
    try {
      const { recordings } = await api("/api/recordings", { query: { channel: this.#channel, from_ns: nsOf(ms), to_ns: nsOf(ms + AHEAD_MS), limit: 1000 } });
      if (run !== this.#run) return null;
      if (changes !== this.#changes) return this.#files(ms, run, again); // this may be how locks were before
      return recordings.filter((file) => msOf(file.end_ns) > ms + 50 && file.stream !== "sub").sort((a, b) => a.start_ns - b.start_ns);
    } catch (error) {
      if (run === this.#run) {
        this.#say("The recordings cannot be read", `${error.message} Tried again by itself.`);
        this.#later(run, RETRY_MS, again);
      }
      return null;
    }
  }

  #show(file, offsetS, next = null) {
    this.#file = file;
    this.#next = next;
    this.screen.show(file, offsetS);
    this.#describe();
  }

  /** Nothing plays any more. */
  #leave() {
    this.#file = this.#next = null;
    this.stamp.hidden = true;
    this.facts.textContent = "";
    this.lockButton.disabled = true;
  }

  #muted(muted) {
    const text = muted ? "Sound is off: switch it on" : "Switch the sound off";
    this.soundButton.replaceChildren(icon(muted ? "muted" : "sound"));
    this.soundButton.title = text;
    this.soundButton.setAttribute("aria-label", text);
  }

  #moved() {
    const ms = this.position;
    this.stamp.hidden = false;
    this.stamp.textContent = `${dayText(ms)}  ${timeText(ms)}`;
    this.actions.moved(this.#channel, ms);
    const left = lengthS(this.#file) - this.video.currentTime;
    if (this.#next && !this.#next.open && left < PRELOAD_S) this.screen.preload(this.#next);
  }

  async #ended() {
    const run = ++this.#run;
    const end = this.position;
    const again = () => { if (this.video.ended) this.#ended(); }; // unless someone went back meanwhile
    const files = await this.#files(end, run, again);
    if (!files || !this.video.ended) return;
    const grown = files.find((each) => each.id === this.#file.id && msOf(each.end_ns) - end > (each.open ? GROWN_MS : REST_MS));
    const file = grown ?? nearest(files.filter((each) => each.id !== this.#file.id), end);
    if (!file) {
      this.#say("This is the newest footage", "Waiting for more to be recorded.", "light");
      this.#later(run, EDGE_RETRY_MS, again);
      return;
    }
    const next = after(file, files);
    if (grown) { // it has grown since it was fetched
      this.#show(file, (end - msOf(file.start_ns)) / 1000, next);
      return;
    }
    const gap = msOf(file.start_ns) - end;
    if (gap > GAP_MS) this.actions.toasts.show("Gap in the recording", `Playback goes on ${durationText(gap)} later, at ${timeText(msOf(file.start_ns))}.`);
    this.#show(file, Math.max(0, -gap / 1000), next);
  }

  /** Browsers say of a file that the recorder refuses that they cannot play it. */
  async #failed(error) {
    const run = ++this.#run;
    const [at, codec] = [this.position, codecText(this.#file.codec)];
    const refusal = error?.code === MediaError.MEDIA_ERR_DECODE ? null : await this.screen.refusal();
    if (run !== this.#run) return;
    if (refusal || error?.code === MediaError.MEDIA_ERR_NETWORK) {
      this.#say("The recording cannot be read", `${refusal ?? "The recorder stopped sending."} Tried again by itself.`);
      this.#later(run, RETRY_MS, () => this.#look(at, run));
    } else this.#say(`This browser cannot play this ${codec} file`, "Save it and play it with another program, or record the camera in H.264.");
  }

  #paused(paused) {
    this.playButton.replaceChildren(icon(paused ? "play" : "pause"));
    this.playButton.title = paused ? "Play" : "Pause";
    this.playButton.setAttribute("aria-label", this.playButton.title);
  }

  #describe() {
    const file = this.#file;
    const kind = file.kind === "alarm" ? "Alarm" : "General";
    const size = file.width ? `${file.width}×${file.height}` : null;
    const span = `${minuteText(msOf(file.start_ns))} – ${file.open ? "now" : minuteText(msOf(file.end_ns))}`;
    this.facts.textContent = [kind, span, size, codecText(file.codec), bytesText(file.size_bytes)].filter(Boolean).join("  ·  ");
    this.save.href = mediaUrl(file.id);
    this.save.download = `${this.#channel}-${new Date(msOf(file.start_ns)).toISOString().replaceAll(":", "-").slice(0, 19)}.mp4`;
    this.lockButton.disabled = false;
    this.lockButton.classList.toggle("locked", file.locked);
    const text = file.locked ? "Unlock" : "Lock";
    this.lockButton.replaceChildren(icon(file.locked ? "lock" : "unlock"), text);
    this.lockButton.title = file.locked ? "Locked: kept until it is unlocked" : "Lock: keep this recording until it is unlocked";
    this.lockButton.setAttribute("aria-label", `${text} this recording`);
  }

  async #lock() {
    const file = this.#file;
    if (!file) return;
    this.lockButton.disabled = true;
    try {
      await api(`/api/recordings/${encodeURIComponent(file.id)}/lock`, { method: file.locked ? "DELETE" : "PUT" });
      const locked = !file.locked;
      this.#changes += 1;
      file.locked = locked;
      if (this.#file?.id === file.id) this.#file.locked = locked; // it may have been read again meanwhile
      this.actions.changed(file.channel);
    } catch (error) {
      this.actions.toasts.error(error);
    }
    if (this.#file) this.#describe();
  }

  /** `look`: "light" leaves the picture to be seen. */
  #say(title, text = "", look = "") {
    this.note.hidden = false;
    this.note.className = `screen-note ${look}`;
    this.note.replaceChildren(h("strong", {}, title), text ? h("p", {}, text) : "");
  }

  #key(event) {
    if (event.target.tagName === "SELECT" || event.target.tagName === "BUTTON") return;
    const act = { " ": () => this.screen.toggle(), ArrowLeft: () => this.skip(-STEP_S), ArrowRight: () => this.skip(STEP_S) }[event.key];
    if (act) { event.preventDefault(); act(); }
  }
}
