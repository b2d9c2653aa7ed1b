// The list on the page: cards are replaced when their job changes, and stay when it does not.
import { card, pictureOf } from './card.js'
import { find } from './dom.js'
import { picture } from './pictures.js'
import * as words from './words.js'

export class List {
  constructor(actions) {
    this.actions = actions
    this.shown = new Map()
    this.newest = null
    this.place = find('list')
    setInterval(() => this.tick(), 30_000)
  }

  update(jobs, { more }) {
    const gone = new Set(this.shown.keys())
    let before = null
    for (const job of jobs) {
      gone.delete(job.jobId)
      const item = this.item(job)
      const here = before ? before.nextElementSibling : this.place.firstElementChild
      if (here !== item) this.place.insertBefore(item, here)
      before = item
    }
    for (const id of gone) this.drop(id)
    this.newest = jobs[0]?.jobId ?? this.newest ?? ''
    find('empty').hidden = jobs.length > 0
    find('older').hidden = !more
    find('summary').textContent = summary(jobs, more)
  }

  item(job) {
    const text = JSON.stringify(job)
    const known = this.shown.get(job.jobId)
    if (known?.text === text) return known.item
    const name = pictureOf(job)
    const item = card(job, name && picture(job, name), this.actions)
    this.shown.set(job.jobId, { text, item, job })
    if (known) {
      const act = known.item.contains(document.activeElement) && document.activeElement.dataset.act
      item.querySelector('details')?.toggleAttribute('open', known.item.querySelector('details')?.open ?? false)
      known.item.replaceWith(item)
      if (act) focusOn(item, act)
      if (known.job.status !== job.status) this.announce(job)
    } else if (this.newest !== null && job.jobId > this.newest) {
      this.announce(job) // it has come and gone through between two looks
    }
    return item
  }

  /** The keyboard's place goes to a neighbour when its card goes. */
  drop(id) {
    const { item } = this.shown.get(id)
    const neighbour = item.nextElementSibling ?? item.previousElementSibling
    const focused = item.contains(document.activeElement) || document.activeElement === document.body
    item.remove()
    this.shown.delete(id)
    if (focused && this.focusAfter === id) {
      if (neighbour) focusOn(neighbour, 'delete')
      else find('jobs').focus()
    }
  }

  announce(job) {
    if (words.isOpen(job)) return
    const why = job.error ? ` ${job.error.message}` : ''
    find('news').textContent = `${job.filename}: ${words.STATUS[job.status]}.${why}`
  }

  tick() {
    for (const time of this.place.querySelectorAll('time')) time.textContent = words.ago(time.dateTime)
  }
}

function focusOn(item, act) {
  const place = [...item.querySelectorAll('[data-act]')]
  ;(place.find((one) => one.dataset.act === act) ?? place[0])?.focus()
}

function summary(jobs, more) {
  if (jobs.length === 0) return ''
  const open = jobs.filter(words.isOpen).length
  const bad = jobs.filter((job) => job.error).length
  return [
    more ? `the latest ${jobs.length}` : `${jobs.length} in all`,
    open && `${open} under way`,
    bad && `${bad} with an error`,
  ]
    .filter(Boolean)
    .join(' · ')
}
