// The caller's jobs, kept as they are on the server: polled often while something moves, and seldom otherwise.
import { call, job as pathOf } from './api.js'
import { isOpen } from './words.js'

const STEP = 20
const MOST_IN_ONE_PAGE = 100
const BUSY = 1_000
const QUIET = 5_000
const IDLE = 30_000
const HIDDEN = 60_000
const SETTLING = 20_000

export class Jobs {
  /** @param tell called with `(jobs, {more})` whenever they changed, and `trouble` with an error or null */
  constructor(tell, trouble) {
    this.tell = tell
    this.trouble = trouble
    this.jobs = []
    this.older = []
    this.cursor = null
    this.limit = STEP
    this.etag = null
    this.changedAt = Date.now()
    this.timer = null
    this.failures = 0
    this.round = 0
    this.caller = 0
  }

  start() {
    document.addEventListener('visibilitychange', () => document.hidden || this.soon())
    addEventListener('online', () => this.soon())
    this.soon()
  }

  /** Something is about to change: look now, and often for a while. */
  soon() {
    this.changedAt = Date.now()
    void this.look()
  }

  /** Another caller, other jobs. */
  reset() {
    this.caller += 1
    this.jobs = []
    this.older = []
    this.cursor = null
    this.etag = null
    this.limit = STEP
    this.show()
    this.soon()
  }

  async look() {
    clearTimeout(this.timer)
    const round = ++this.round
    let failure = null
    try {
      const headers = this.etag ? { 'If-None-Match': this.etag } : {}
      const response = await call(`jobs?limit=${this.limit}`, { headers })
      const body = response.status === 304 ? null : await response.text()
      if (round !== this.round) return // a later look is under way, or has been answered already
      this.etag = response.headers.get('ETag')
      if (body !== null) this.take(body)
    } catch (error) {
      if (round !== this.round) return
      failure = error
    }
    this.failures = failure ? this.failures + 1 : 0
    this.trouble(failure)
    // Without a token that is good, asking again changes nothing.
    if (failure?.status !== 401) this.timer = setTimeout(() => this.look(), this.pause())
  }

  take(body) {
    if (body === this.body) return
    this.body = body
    const page = JSON.parse(body)
    this.jobs = page.jobs
    if (this.older.length === 0) this.cursor = page.cursor
    this.changedAt = Date.now()
    this.show()
  }

  show() {
    if (this.jobs.length === 0) this.body = null
    const first = new Set(this.jobs.map((job) => job.jobId))
    this.all = [...this.jobs, ...this.older.filter((job) => !first.has(job.jobId))]
    this.tell(this.all, { more: this.cursor !== null })
  }

  pause() {
    if (document.hidden) return HIDDEN
    if (this.failures) return Math.min(BUSY * 2 ** this.failures, IDLE)
    const still = Date.now() - this.changedAt
    if (this.jobs.some(isOpen)) return still < SETTLING ? BUSY : QUIET
    return still < SETTLING ? BUSY : still < 5 * 60_000 ? QUIET : IDLE
  }

  /** A longer first page, which stays fresh; beyond its greatest length, pages that are read once. */
  async more() {
    if (this.limit < MOST_IN_ONE_PAGE) {
      this.limit = Math.min(this.limit + 2 * STEP, MOST_IN_ONE_PAGE)
      this.etag = null
      await this.look()
      return
    }
    const { cursor, caller } = this
    const page = await (await call(`jobs?limit=${MOST_IN_ONE_PAGE}&cursor=${encodeURIComponent(cursor)}`)).json()
    if (caller !== this.caller || cursor !== this.cursor) return // somebody else's by now, or here already
    this.older.push(...page.jobs)
    this.cursor = page.cursor
    this.show()
  }

  async retry(job) {
    await call(`${pathOf(job.jobId)}/retry`, { method: 'POST' })
    this.soon()
  }

  async remove(job) {
    await call(pathOf(job.jobId), { method: 'DELETE' })
    for (const held of [this.jobs, this.older]) {
      const at = held.findIndex((one) => one.jobId === job.jobId)
      if (at >= 0) held.splice(at, 1)
    }
    this.show()
    this.soon()
  }
}
