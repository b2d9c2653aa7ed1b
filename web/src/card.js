// One job, as an item of the list.
import * as api from './api.js'
import { el } from './dom.js'
import * as words from './words.js'

const SHOWN_AT_ONCE = 4
const ORIGINAL = 'original'

/** @param actions `{retry(job), remove(job), download(job, name)}` */
export function card(job, picture, actions) {
  const title = `job-${job.jobId}`
  return el(
    'li',
    { class: `job ${job.status.toLowerCase()}`, 'data-job': job.jobId, 'aria-labelledby': title },
    el('div', { class: 'picture', 'aria-hidden': 'true' }, picture ?? el('span', {}, words.badge(job))),
    el(
      'div',
      { class: 'what' },
      el('h3', { id: title, dir: 'auto' }, job.filename),
      el(
        'p',
        { class: 'line' },
        el('span', { class: 'status' }, words.STATUS[job.status] ?? job.status),
        words.stage(job) && el('span', { class: 'stage' }, words.stage(job)),
        el('span', {}, words.size(job.size)),
        el('time', { datetime: job.createdAt, title: new Date(job.createdAt).toLocaleString() }, words.ago(job.createdAt)),
      ),
      words.isOpen(job) && progress(job, title),
      job.error && el('p', { class: 'error' }, job.error.message),
      facts(job),
      links(job, actions),
    ),
    el(
      'div',
      { class: 'actions' },
      job.status === 'FAILED' && button('retry', `Try again`, job, () => actions.retry(job)),
      button('delete', 'Delete', job, () => actions.remove(job)),
    ),
  )
}

function button(kind, label, job, act) {
  return el(
    'button',
    { type: 'button', class: kind === 'delete' ? 'quiet' : '', 'data-act': kind, 'aria-label': `${label}: ${job.filename}`, click: act },
    label,
  )
}

function progress(job, title) {
  const known = job.status === 'PROCESSING'
  return el('progress', { max: 100, value: known ? job.progress : null, 'aria-labelledby': title })
}

function facts(job) {
  const known = Object.entries({
    ...(job.detectedType ? { type: job.detectedType } : {}),
    ...job.metadata,
  }).filter(([, value]) => value != null && value !== '')
  const simple = known.filter(([, value]) => typeof value !== 'object' && String(value).length <= 32)
  const first = simple.slice(0, SHOWN_AT_ONCE)
  const rest = known.filter((entry) => !first.includes(entry))
  return [
    first.length > 0 && list('facts', first),
    rest.length > 0 &&
      el('details', {}, el('summary', { 'data-act': 'more' }, `${rest.length} more`), list('facts all', rest)),
  ]
}

function list(kind, entries) {
  return el(
    'dl',
    { class: kind },
    entries.map(([name, value]) =>
      el('div', {}, el('dt', {}, words.name(name)), el('dd', { dir: 'auto' }, words.value(value))),
    ),
  )
}

function links(job, actions) {
  if (words.isOpen(job) || job.error?.code === 'original_missing') return null
  const link = (name, label, size) =>
    el(
      'a',
      {
        href: api.BASE + api.file(job.jobId, name),
        'data-act': `file-${name}`,
        // A link cannot send a token: the click asks for a signed URL instead.
        click: (event) => {
          event.preventDefault()
          actions.download(job, name)
        },
      },
      label,
      size != null && el('small', {}, ` ${words.size(size)}`),
    )
  return el(
    'ul',
    { class: 'files', 'aria-label': `Files of ${job.filename}` },
    el('li', {}, link(ORIGINAL, 'original', job.size)),
    job.outputs.map((output) => el('li', {}, link(output.name, output.name, output.size))),
  )
}

/** The smallest picture among the outputs, by name; undefined where there is none. */
export function pictureOf(job) {
  return job.outputs
    .filter((output) => output.contentType?.startsWith('image/'))
    .sort((one, other) => one.size - other.size)[0]?.name
}
