// How things are said.

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB']
const STEPS = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
]
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })
const LONGEST_VALUE = 120

export const STATUS = {
  QUEUED: 'Waiting',
  PROCESSING: 'Processing',
  COMPLETED: 'Completed',
  REJECTED: 'Rejected',
  FAILED: 'Failed',
}

const STAGE = {
  scanning: 'waits for the scan',
  waiting: 'waits for a worker',
  validating: 'looking at it',
  detecting: 'looking at it',
  downloading: 'downloading',
  processing: 'working',
  storing: 'storing',
  transcribing: 'transcribing',
  finishing: 'finishing',
}

export const isOpen = (job) => job.status === 'QUEUED' || job.status === 'PROCESSING'

/** How far an open job has come, where it has said so; null of all others. */
export function stage(job) {
  const said = isOpen(job) && STAGE[job.stage]
  if (!said || (job.stage === 'processing' && !job.progress)) return null
  return job.progress ? `${said}, ${job.progress} %` : said
}

export function size(bytes) {
  let unit = 0
  let value = bytes
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${unit && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`
}

export function ago(iso) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000
  const step = STEPS.find(([, length]) => seconds >= length)
  return step ? relative.format(-Math.floor(seconds / step[1]), step[0]) : 'just now'
}

/** `dominantColor` → `dominant color` */
export const name = (camelCase) => camelCase.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)

export function value(raw) {
  const said =
    typeof raw === 'number'
      ? raw.toLocaleString('en', { maximumFractionDigits: 3 })
      : typeof raw === 'boolean'
        ? raw ? 'yes' : 'no'
        : typeof raw === 'string' ? raw : JSON.stringify(raw)
  return said.length > LONGEST_VALUE ? `${said.slice(0, LONGEST_VALUE)}…` : said
}

/** What stands where no picture can: the extension, or the kind. */
export function badge(job) {
  const extension = /\.([A-Za-z0-9]{1,5})$/.exec(job.filename)?.[1]
  return (extension ?? job.detectedType?.split('/')[0] ?? 'file').toUpperCase()
}
