// Thumbnails: fetched by signed URLs when their place comes into view, and kept, since a card is made anew
// whenever its job changes.
import { signedUrl } from './api.js'
import { el } from './dom.js'

const known = new Map()

const seen = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue
      seen.unobserve(target)
      void load(target)
    }
  },
  { rootMargin: '300px' },
)

async function load(image) {
  try {
    image.src = await signedUrl(image.dataset.job, image.dataset.name)
  } catch {
    // No picture is no trouble: the job says how it went.
  }
}

/** The `<img>` of an output; the same one for the same run of a job. */
export function picture(job, name) {
  const id = `${job.jobId}/${name}/${job.finishedAt}`
  let image = known.get(id)
  if (!image) {
    image = el('img', { alt: '', decoding: 'async', 'data-job': job.jobId, 'data-name': name })
    image.addEventListener('error', () => known.delete(id), { once: true })
    known.set(id, image)
    seen.observe(image)
  }
  return image
}

export function forget() {
  known.clear()
}
