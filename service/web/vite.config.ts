import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig, type Plugin } from 'vite'

const OUT = join(import.meta.dirname, '..', 'static')

/** What the first view is made of. */
const FIRST = new RegExp(
  [
    'node_modules/(svelte|openapi-fetch|esm-env|clsx)/',
    'src/(App|main|views/Explore|state/(?!groups|reviews|settling))',
    'src/lib/(api|clauses|facets|format|keys|layout|ranges|thumbs)',
    'src/components/(Commands|Detail|Dialog|Facet|Facets|Failure|Grid|GridBar|Header|Histogram|KeySheet|NamedSets|Panes|ScopeStrip|SignIn|TagDialog|Thumb|Tile|Toasts|Tray)\\.',
  ].join('|'),
)

/** Compressed once here, so that the server only hands bytes over. */
function compressed(): Plugin {
  return {
    name: 'compressed',
    apply: 'build',
    closeBundle() {
      for (const entry of readdirSync(OUT, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || !/\.(js|css|html|svg)$/.test(entry.name)) continue
        const path = join(entry.parentPath, entry.name)
        const data = readFileSync(path)
        writeFileSync(`${path}.gz`, gzipSync(data, { level: 9 }))
        writeFileSync(`${path}.br`, brotliCompressSync(data))
      }
    },
  }
}

export default defineConfig({
  plugins: [svelte(), compressed()],
  build: {
    outDir: OUT,
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // the page's policy takes nothing inline
    target: 'es2022',
    reportCompressedSize: false,
    rolldownOptions: {
      // what every view needs is one file: each more is a request before the first picture
      output: { advancedChunks: { groups: [{ name: 'page', test: FIRST }] } },
    },
  },
  server: { proxy: { '/v1': 'http://127.0.0.1:8765' } },
})
