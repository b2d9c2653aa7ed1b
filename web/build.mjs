// Makes chalicelib/page.html of src/: one file with everything in it, the same bytes for the same sources.
import { readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { build } from 'esbuild'

const here = dirname(fileURLToPath(import.meta.url))
const target = process.argv[2] ?? join(here, '..', 'chalicelib', 'page.html')

async function bundle(entry) {
  const { outputFiles } = await build({
    absWorkingDir: here,
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    target: ['chrome109', 'firefox115', 'safari16.4'],
    charset: 'utf8',
    legalComments: 'none',
    define: { 'process.env.NODE_ENV': '"production"' },
  })
  return outputFiles[0].text.trim()
}

const [page, style, script] = await Promise.all([
  readFile(join(here, 'src', 'page.html'), 'utf8'),
  bundle('src/style.css'),
  bundle('src/main.js'),
])
// Functions, because `$&` in a replacement string means something.
await writeFile(
  target,
  page.replace('/* style */', () => style).replace('/* script */', () => script),
)
