/** How many of the last guard beats came late: a share since the start would hide that it is bad just now. */

/** A minute of beats at the default pace of 25 ms. */
const WINDOW_BEATS = 2400

export class BeatWindow {
  readonly #late = new Uint8Array(WINDOW_BEATS)
  #next = 0
  #beats = 0
  #lateBeats = 0

  take(late: boolean): void {
    this.#lateBeats += Number(late) - (this.#late[this.#next] ?? 0)
    this.#late[this.#next] = Number(late)
    this.#next = (this.#next + 1) % WINDOW_BEATS
    this.#beats = Math.min(WINDOW_BEATS, this.#beats + 1)
  }

  get counts(): { readonly beats: number; readonly late: number } {
    return { beats: this.#beats, late: this.#lateBeats }
  }
}
