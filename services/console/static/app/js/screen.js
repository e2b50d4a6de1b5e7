// Two video elements in one place: what comes next loads in the one that is not seen, so that the picture before stays until there is a new one.

import { mediaUrl } from "./api.js";
import { h } from "./dom.js";

const addressOf = (file) => mediaUrl(file.id, file.open ? file.size_bytes : null);

/** `events`: moved, playing, paused, waiting, seeked, ended, failed (MediaError), muted (whether); only of what is shown, and not while it rests. */
export class Screen {
  #resting = true;
  #speed = 1;

  constructor(events) {
    this.events = events;
    this.videos = [0, 1].map(() => h("video", { playsinline: true, preload: "auto", hidden: true }));
    for (const video of this.videos) this.#listen(video);
  }

  get video() { return this.videos[0]; }

  set speed(speed) { this.video.playbackRate = this.#speed = speed; }

  #listen(video) {
    const told = { timeupdate: "moved", playing: "playing", pause: "paused", waiting: "waiting", seeked: "seeked", ended: "ended", error: "failed" };
    for (const [event, name] of Object.entries(told)) {
      video.addEventListener(event, () => { if (video === this.video && !this.#resting) this.events[name](video.error); });
    }
  }

  /** Play a file from there on. */
  show(file, offsetS) {
    const address = addressOf(file);
    const [before, spare] = this.videos;
    const grown = before.dataset.file === file.id && before.dataset.address !== address;
    if (before.dataset.address !== address || before.error) {
      if (spare.dataset.address !== address || spare.error) this.#load(spare, file);
      this.videos.reverse();
      before.pause();
    }
    this.#resting = false;
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
      if (video !== this.video || this.#resting) return;
      video.currentTime = Math.min(offsetS, Math.max(0, (video.duration || Infinity) - 0.05));
      video.playbackRate = this.#speed;
      video.play().catch((error) => this.#refused(video, error));
    };
    if (video.readyState >= HTMLMediaElement.HAVE_METADATA) begin();
    else video.addEventListener("loadedmetadata", begin, { once: true });
  }

  /** Load what is shown next. */
  preload(file) {
    const spare = this.videos[1];
    if (spare.dataset.address !== addressOf(file)) this.#load(spare, file);
  }

  /** Nothing that is shown counts any more: something else is looked for. `blank`: nor is it seen. */
  rest({ blank = false } = {}) {
    this.#resting = true;
    this.video.pause();
    if (blank) for (const video of this.videos) video.hidden = true;
  }

  clear() {
    this.rest({ blank: true });
    for (const video of this.videos) {
      video.pause();
      video.removeAttribute("src");
      delete video.dataset.file;
      delete video.dataset.address;
      video.load();
    }
  }

  toggle() {
    if (this.#resting) return;
    if (this.video.paused) this.video.play().catch(() => null);
    else this.video.pause();
  }

  mute(muted) {
    for (const video of this.videos) video.muted = muted;
    this.events.muted(muted);
  }

  /** Whether the recorder sends the file that is shown, or what it says instead. */
  async refusal() {
    try {
      const answer = await fetch(this.video.dataset.address, { headers: { range: "bytes=0-0" } });
      answer.body?.cancel();
      return answer.ok ? null : `The recorder answered ${answer.status}.`;
    } catch {
      return "The recorder does not answer.";
    }
  }

  /** Browsers play nothing aloud on a page that nobody has touched yet: then it plays without sound. */
  #refused(video, error) {
    if (error.name !== "NotAllowedError" || video.muted || video !== this.video) return; // the play button shows
    this.mute(true);
    video.play().catch(() => null);
  }

  #load(video, file) {
    video.dataset.file = file.id;
    video.dataset.address = addressOf(file);
    video.src = video.dataset.address;
    video.load();
  }
}
