// The API that served this page.

/** With a slash at the end, whether the page was opened as `/api` or as `/api/`. */
export const BASE = new URL(location.pathname.replace(/\/?$/, '/'), location.origin).href

const KEPT = 'waybill-token'
const UNREACHABLE = 'The service does not answer. Is the network there?'

/** Not 2xx; `message` is for a person. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEPT) ?? '',
  set: (value) => (value ? sessionStorage.setItem(KEPT, value) : sessionStorage.removeItem(KEPT)),
}

export function authorization() {
  return token.get() ? { Authorization: `Bearer ${token.get()}` } : {}
}

/**
 * @param {string} path relative to the API, without a slash at the front
 * @returns {Promise<Response>} 2xx, or 304 when `headers` ask for it
 * @throws {ApiError}
 */
export async function call(path, { method = 'GET', headers = {} } = {}) {
  let response
  try {
    response = await fetch(BASE + path, {
      method,
      headers: { Accept: 'application/json', ...authorization(), ...headers },
      cache: 'no-store', // what may be answered with 304 is decided here, by the ETag that is sent
    })
  } catch {
    throw new ApiError(0, UNREACHABLE)
  }
  if (response.ok || response.status === 304) return response
  const told = await response.json().catch(() => ({}))
  throw new ApiError(response.status, told.message ?? `The service answered ${response.status}.`)
}

export const job = (id) => `jobs/${encodeURIComponent(id)}`
export const file = (id, name) => `${job(id)}/files/${encodeURIComponent(name)}`

/** A signed URL for the original or an output, good for minutes. */
export async function signedUrl(id, name) {
  return (await (await call(file(id, name))).json()).url
}
