// Elements from data. Text is only ever text: nothing here parses HTML, whatever a file is called.

export const find = (id) => document.getElementById(id)

/** `el('a', {href, class: 'x'}, 'text', child)`; null, undefined and false stand for nothing. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(name, value)
    else if (value === true) made.setAttribute(name, '')
    else if (value !== false && value != null) made.setAttribute(name, value)
  }
  made.append(...children.flat().filter((child) => child != null && child !== false))
  return made
}
