// Playback of one channel: from a moment on, over the ends of files, up to what is being recorded now.

import { api, mediaUrl } from "./api.js";
import { h, icon, iconButton } from "./dom.js";
import { bytesText, codecText, dayText, durationText, minuteText, momentText, msOf, nsOf, timeText } from "./format.js";

const AHEAD_MS = 6 * 3600_000;
const STEP_S = 10;
/** The next file is fetched when this much of the present one is left. */
const PRELOAD_S = 12;
/** A hole shorter than this is passed over without a word. */
const GAP_MS = 1500;
const EDGE_RETRY_MS = 1000;
/** A file being written is read again when it has this much more; shorter steps would stutter. */
const GROWN_MS = 2000;
/** Of a closed file less than this is not worth a reload: rounding of its length. */
const REST_MS = 200;
/** A moment this close to now may not be stored yet: then the newest that is stored is played. */
const FRESH_MS = 120_000;
const BEFORE_EDGE_S = 2;

const addressOf = (file) => mediaUrl(file.id, file.open ? file.size_bytes : null);
const lengthS = (file) => (file.end_ns - file.start_ns) / 1e9;

export class Player {
  #channel = null;
  #file = null;
  #next = null;
  #run = 0; // counts calls of play: answers that come for an earlier one are dropped
  #timer = 0;

  constructor(site, actions) {
    this.channels = new Map(site.channels.map((channel) => [channel.id, channel]));
    this.actions = actions;
    this.videos = [0, 1].map(() => h("video", { playsinline: true, preload: "auto", hidden: true }));
    this.stamp = h("div", { class: "stamp", hidden: true });
    this.note = h("div", { class: "screen-note", role: "status", hidden: true });
    this.title = h("h2");
    this.facts = h("span", { class: "facts" });
    this.playButton = iconButton("pause", "Pause", () => this.toggle());
    this.soundButton = iconButton("sound", "Switch the sound off", () => this.#mute(!this.video.muted));
    this.lockButton = iconButton("unlock", "Lock", () => this.#lock(), { label: "Lock", className: "icon" });
    this.save = h("a", { download: true, hidden: true });
    this.speed = h("select", { "aria-label": "Speed", on: { change: () => this.#setSpeed() } },
      [0.25, 0.5, 1, 2, 4, 8].map((speed) => h("option", { value: speed, selected: speed === 1 }, `${speed}×`)));
    const screen = h("div", { class: "screen" }, this.videos, this.stamp, this.note);
    const element = h("div", { class: "player", on: { keydown: (event) => this.#key(event) } }, screen,
      h("div", { class: "controls" },
        iconButton("left", `Back ${STEP_S} seconds`, () => this.skip(-STEP_S)), this.playButton, iconButton("right", `On ${STEP_S} seconds`, () => this.skip(STEP_S)),
        this.speed, this.soundButton, this.lockButton, iconButton("download", "Save this file", () => this.save.click(), { label: "Save", className: "icon" }), this.save, this.facts));
    this.elements = [h("div", { class: "bar" }, icon("play"), this.title, h("span", { class: "push" }),
      iconButton("close", "Back to the live pictures", () => this.close(), { label: "Live", className: "icon" })), element];
    for (const video of this.videos) this.#listen(video);
  }

  /** Names of channels are those of `site`. */
  renew(site) {
    this.channels = new Map(site.channels.map((channel) => [channel.id, channel]));
    if (this.#channel) this.title.textContent = this.channels.get(this.#channel)?.title ?? this.#channel;
  }

  get video() { return this.videos[0]; }

  /** Where playback is, milliseconds, or null. */
  get position() { return this.#file ? msOf(this.#file.start_ns) + this.video.currentTime * 1000 : null; }

  async play(channel, ms) {
    const run = ++this.#run;
    clearTimeout(this.#timer);
    this.#channel = channel;
    this.title.textContent = this.channels.get(channel)?.title ?? channel;
    this.#say("Looking for the recording", momentText(ms));
    this.actions.moved(channel, ms);
    const files = await this.#files(ms, run);
    if (!files) return;
    const file = files[0];
    if (!file && ms > Date.now() - FRESH_MS) { await this.#playNewest(ms, run); return; }
    if (!file) {
      this.#unload();
      this.#say("Nothing recorded here", `There is no recording of this channel from ${momentText(ms)} on. Pick a green or red part of the time bar.`);
      return;
    }
    const gap = msOf(file.start_ns) - ms;
    if (gap > GAP_MS) this.actions.toasts.show("Gap in the recording", `Playback goes on ${durationText(gap)} later, at ${timeText(msOf(file.start_ns))}.`);
    this.#show(file, Math.max(0, -gap / 1000));
    this.#next = files[1] ?? null;
  }

  /** A moment that is not stored yet: footage reaches storage some seconds after it was seen. */
  async #playNewest(ms, run) {
    const file = (await this.#files(ms - FRESH_MS, run))?.at(-1);
    if (run !== this.#run) return;
    if (file) { this.#show(file, Math.max(0, lengthS(file) - BEFORE_EDGE_S)); return; }
    this.#unload();
    this.#say("Not stored yet", "Recordings are a few seconds behind live.");
    this.#timer = setTimeout(() => { if (run === this.#run) this.play(this.#channel, ms); }, EDGE_RETRY_MS * 2);
  }

  close() {
    this.#run += 1;
    clearTimeout(this.#timer);
    this.#unload();
    this.actions.closed();
  }

  toggle() {
    if (this.video.paused) this.video.play().catch(() => null);
    else this.video.pause();
  }

  skip(seconds) {
    if (this.position === null) return;
    const to = this.video.currentTime + seconds;
    if (to >= 0 && to < Math.min(this.video.duration, lengthS(this.#file))) this.video.currentTime = to;
    else this.play(this.#channel, this.position + seconds * 1000);
  }

  /** Files that end after `ms`, in order; null when something newer was asked for meanwhile. */
  async #files(ms, run) {
    try {
      const { recordings } = await api("/api/recordings", { query: { channel: this.#channel, from_ns: nsOf(ms), to_ns: nsOf(ms + AHEAD_MS), limit: 1000 } });
      if (run !== this.#run) return null;
      return recordings.filter((file) => msOf(file.end_ns) > ms + 50 && file.stream !== "sub").sort((a, b) => a.start_ns - b.start_ns);
    } catch (error) {
      if (run === this.#run) this.#say("The recordings cannot be read", error.message);
      return null;
    }
  }

  #show(file, offsetS) {
    const address = addressOf(file);
    const [before, spare] = this.videos;
    const grown = before.dataset.file === file.id && before.dataset.address !== address;
    if (before.dataset.address !== address) {
      // Into the other element: the picture before stays until there is a new one.
      if (spare.dataset.address !== address) this.#load(spare, file);
      this.videos.reverse();
      before.pause();
    }
    this.#file = file;
    const video = this.video;
    const reveal = () => {
      if (video !== this.video) return;
      video.hidden = false;
      this.videos[1].hidden = true;
    };
    if (!grown || video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) reveal();
    else video.addEventListener("loadeddata", reveal, { once: true });
    video.currentTime = offsetS; // before its length is known: where it begins
    const begin = () => {
      if (video !== this.video) return;
      video.currentTime = Math.min(offsetS, Math.max(0, (video.duration || Infinity) - 0.05));
      this.#setSpeed();
      video.play().catch((error) => this.#refused(video, error));
    };
    if (video.readyState >= HTMLMediaElement.HAVE_METADATA) begin();
    else video.addEventListener("loadedmetadata", begin, { once: true });
    this.#describe();
  }

  /** Browsers play nothing aloud on a page that nobody has touched yet: then it plays without sound. */
  #refused(video, error) {
    if (error.name !== "NotAllowedError" || video.muted || video !== this.video) return; // the play button shows
    this.#mute(true);
    video.play().catch(() => null);
  }

  #mute(muted) {
    for (const video of this.videos) video.muted = muted;
    const text = muted ? "Sound is off: switch it on" : "Switch the sound off";
    this.soundButton.replaceChildren(icon(muted ? "muted" : "sound"));
    this.soundButton.title = text;
    this.soundButton.setAttribute("aria-label", text);
  }

  #load(video, file) {
    video.dataset.file = file.id;
    video.dataset.address = addressOf(file);
    video.src = video.dataset.address;
    video.load();
  }

  #unload() {
    this.#file = this.#next = null;
    for (const video of this.videos) {
      video.pause();
      video.removeAttribute("src");
      delete video.dataset.file;
      delete video.dataset.address;
      video.load();
      video.hidden = true;
    }
    this.stamp.hidden = true;
    this.facts.textContent = "";
    this.lockButton.disabled = true;
  }

  #listen(video) {
    const mine = (act) => () => { if (video === this.video && this.#file) act(); };
    video.addEventListener("timeupdate", mine(() => this.#moved()));
    video.addEventListener("playing", mine(() => { this.note.hidden = true; this.#paused(false); }));
    video.addEventListener("pause", mine(() => this.#paused(true)));
    video.addEventListener("waiting", mine(() => { if (!video.ended) this.#say("Loading", "", "light"); }));
    video.addEventListener("seeked", mine(() => { this.note.hidden = true; }));
    video.addEventListener("ended", mine(() => this.#ended()));
    video.addEventListener("error", mine(() => this.#failed(video.error)));
  }

  #moved() {
    const ms = this.position;
    this.stamp.hidden = false;
    this.stamp.textContent = `${dayText(ms)}  ${timeText(ms)}`;
    this.actions.moved(this.#channel, ms);
    const left = lengthS(this.#file) - this.video.currentTime;
    const spare = this.videos[1];
    if (this.#next && !this.#next.open && left < PRELOAD_S && spare.dataset.address !== addressOf(this.#next)) this.#load(spare, this.#next);
  }

  async #ended() {
    const run = ++this.#run;
    const end = this.position;
    const files = await this.#files(end, run);
    if (!files) return;
    const file = files.find((each) => each.id !== this.#file.id || msOf(each.end_ns) - end > (each.open ? GROWN_MS : REST_MS));
    if (!file) {
      this.#say("This is the newest footage", "Waiting for more to be recorded.", "light");
      this.#timer = setTimeout(() => { if (run === this.#run) this.#ended(); }, EDGE_RETRY_MS);
      return;
    }
    this.#next = files[files.indexOf(file) + 1] ?? null;
    if (file.id === this.#file.id) { // it has grown since it was fetched
      this.#show(file, (end - msOf(file.start_ns)) / 1000);
      return;
    }
    const gap = msOf(file.start_ns) - end;
    if (gap > GAP_MS) this.actions.toasts.show("Gap in the recording", `Playback goes on ${durationText(gap)} later, at ${timeText(msOf(file.start_ns))}.`);
    this.#show(file, Math.max(0, -gap / 1000));
  }

  #failed(error) {
    const codec = codecText(this.#file.codec);
    if (error?.code === MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED || error?.code === MediaError.MEDIA_ERR_DECODE) {
      this.#say(`This browser cannot play this ${codec} file`, "Save it and play it with another program, or record the camera in H.264.");
    } else this.#say("The recording cannot be read", "The recorder stopped sending. Try again.");
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
      file.locked = !file.locked;
      this.actions.changed();
    } catch (error) {
      this.actions.toasts.error(error);
    }
    if (this.#file) this.#describe();
  }

  #setSpeed() { this.video.playbackRate = Number(this.speed.value); }

  /** `look`: "light" leaves the picture to be seen. */
  #say(title, text = "", look = "") {
    this.note.hidden = false;
    this.note.className = `screen-note ${look}`;
    this.note.replaceChildren(h("strong", {}, title), text ? h("p", {}, text) : "");
  }

  #key(event) {
    if (event.target.tagName === "SELECT" || event.target.tagName === "BUTTON") return;
    const act = { " ": () => this.toggle(), ArrowLeft: () => this.skip(-STEP_S), ArrowRight: () => this.skip(STEP_S) }[event.key];
    if (act) { event.preventDefault(); act(); }
  }
}
