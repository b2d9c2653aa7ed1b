import { signedUrl, token } from './api.js'
import { find } from './dom.js'
import { Jobs } from './jobs.js'
import { List } from './list.js'
import { forget } from './pictures.js'
import { uploader } from './uploader.js'

const WHO = 'This service wants to know who you are: give it a token.'
const WRONG = 'The token is not accepted: it may have expired. Give another one.'

const list = new List({ retry, remove, download })
const jobs = new Jobs((all, state) => list.update(all, state), trouble)
const uploads = uploader(find('dashboard'), { arrived: () => jobs.soon(), refused: askForToken })

function trouble(error) {
  if (error?.status === 401) askForToken()
  else say(error?.message)
}

function say(message) {
  const place = find('trouble')
  place.hidden = !message
  // The same words again would be read out again.
  if (message && place.textContent !== message) place.textContent = message
}

// --- The token ---------------------------------------------------------------------------------------------

function openToken(open) {
  find('token-form').hidden = !open
  find('token-toggle').setAttribute('aria-expanded', String(open))
}

function askForToken() {
  say(token.get() ? WRONG : WHO)
  openToken(true)
}

function useToken(value) {
  token.set(value.trim().replace(/^Bearer\s+/i, ''))
  find('token').value = ''
  openToken(false)
  say(null)
  forget()
  uploads.useToken()
  jobs.reset()
}

find('token-toggle').addEventListener('click', () => {
  const open = find('token-form').hidden
  openToken(open)
  if (open) find('token').focus()
})
find('token-form').addEventListener('submit', (event) => {
  event.preventDefault()
  useToken(find('token').value)
})
find('token-forget').addEventListener('click', () => useToken(''))

// --- What can be done to a job -----------------------------------------------------------------------------

async function attempt(work) {
  try {
    await work()
  } catch (error) {
    trouble(error)
  }
}

function retry(job) {
  return attempt(() => jobs.retry(job))
}

function download(job, name) {
  // The answer says that it is an attachment: the page stays.
  return attempt(async () => location.assign(await signedUrl(job.jobId, name)))
}

function remove(job) {
  const dialog = find('confirm')
  find('confirm-name').textContent = job.filename
  dialog.returnValue = 'keep'
  dialog.onclose = () => {
    if (dialog.returnValue !== 'delete') return
    list.focusAfter = job.jobId
    void attempt(async () => {
      await jobs.remove(job)
      find('news').textContent = `${job.filename}: deleted.`
    })
  }
  dialog.showModal()
}

find('older').addEventListener('click', () => attempt(() => jobs.more()))
jobs.start()
