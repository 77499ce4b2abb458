/**
 * The keys: one table for the sheet, the handlers and the tests. Views bind what they can do now; of several that
 * bind the same key the newest is asked. Bare letters rest while somebody types.
 */

export const KEYS = [
  ['sheet', 'Everywhere', ['?'], 'This sheet'],
  ['search', 'Everywhere', ['/'], 'Search'],
  ['go.explore', 'Everywhere', ['g e'], 'Go to Explore'],
  ['go.search', 'Everywhere', ['g s'], 'Go to Search'],
  ['go.duplicates', 'Everywhere', ['g d'], 'Go to Duplicates'],
  ['go.select', 'Everywhere', ['g p'], 'Go to Select (pick)'],
  ['go.failures', 'Everywhere', ['g f'], 'Go to Failures'],
  ['go.runs', 'Everywhere', ['g r'], 'Go to Runs'],
  ['undo', 'Everywhere', ['Ctrl+Z'], 'Undo the last decision'],
  ['redo', 'Everywhere', ['Ctrl+Shift+Z', 'Ctrl+Y'], 'Do it again'],
  ['close', 'Everywhere', ['Escape'], 'Close one layer'],
  ['left', 'Everywhere', ['['], 'Facets on or off'],
  ['right', 'Everywhere', [']'], 'Map on or off'],
  ['commands', 'Everywhere', ['Ctrl+K'], 'List of commands'],
  ['grid.left', 'Grid', ['ArrowLeft'], 'Previous image'],
  ['grid.right', 'Grid', ['ArrowRight'], 'Next image'],
  ['grid.up', 'Grid', ['ArrowUp'], 'Image above'],
  ['grid.down', 'Grid', ['ArrowDown'], 'Image below'],
  ['grid.home', 'Grid', ['Home'], 'First image'],
  ['grid.end', 'Grid', ['End'], 'Last image'],
  ['grid.pageup', 'Grid', ['PageUp'], 'A screen up'],
  ['grid.pagedown', 'Grid', ['PageDown'], 'A screen down'],
  ['grid.select', 'Grid', ['Space', 'x'], 'Select the image'],
  [
    'grid.extend',
    'Grid',
    ['Shift+ArrowLeft', 'Shift+ArrowRight', 'Shift+ArrowUp', 'Shift+ArrowDown'],
    'Select further',
  ],
  ['grid.all', 'Grid', ['Ctrl+A'], 'Select everything in scope'],
  ['grid.invert', 'Grid', ['i'], 'Select the others in scope'],
  ['grid.open', 'Grid', ['Enter'], 'Inspector, and again: detail'],
  ['similar', 'Grid', ['f'], 'Find similar'],
  ['unlike', 'Grid', ['Shift+F'], 'Add to the search as unlike'],
  ['tag', 'Grid', ['t'], 'Tag'],
  ['exclude', 'Grid', ['e'], 'Exclude'],
  ['compare', 'Grid', ['c'], 'Compare 2 to 4 selected images'],
  ['larger', 'Grid', ['+', '='], 'Larger tiles'],
  ['smaller', 'Grid', ['-'], 'Smaller tiles'],
  ['fit', 'Grid', ['o'], 'Fit or fill tiles'],
  ['detail.previous', 'Detail', ['ArrowLeft'], 'Previous image'],
  ['detail.next', 'Detail', ['ArrowRight'], 'Next image'],
  ['detail.zoom', 'Detail', ['z'], 'Whole image or 100 %'],
  ['review.accept', 'Review', ['a'], 'Accept'],
  ['review.discard', 'Review', ['d'], 'Discard'],
  ['review.skip', 'Review', ['s'], 'Skip'],
  ['review.undo', 'Review', ['u'], 'Undo'],
  ['review.previous', 'Review', ['ArrowLeft'], 'Look back without deciding'],
  ['review.next', 'Review', ['ArrowRight'], 'Look ahead without deciding'],
  ['review.note', 'Review', ['n'], 'Note'],
  ['review.batch', 'Review', ['b'], 'Twelve at once'],
  ['review.repeat', 'Review', ['.'], 'Repeat the last decision'],
  ['review.digit', 'Review', ['1', '2', '3', '4', '5', '6', '7', '8', '9'], 'Mode, or mark in the batch'],
  ['dup.up', 'Duplicates', ['ArrowUp'], 'Previous group'],
  ['dup.down', 'Duplicates', ['ArrowDown'], 'Next group'],
  ['dup.left', 'Duplicates', ['ArrowLeft'], 'Previous image'],
  ['dup.right', 'Duplicates', ['ArrowRight'], 'Next image'],
  ['dup.keep', 'Duplicates', ['k'], 'Keep this image instead'],
  ['dup.apart', 'Duplicates', ['n'], 'Not a duplicate'],
  ['dup.blink', 'Duplicates', ['b'], 'Hold: blink with the kept image'],
  ['dup.confirm', 'Duplicates', ['Enter'], 'Confirm the group, go to the next'],
  ['dup.undo', 'Duplicates', ['u'], 'Undo'],
  ['pair.same', 'Pairs', ['1'], 'The same'],
  ['pair.different', 'Pairs', ['2'], 'Different'],
  ['pair.unsure', 'Pairs', ['3'], 'Unsure'],
  ['pair.undo', 'Pairs', ['u'], 'Undo'],
  ['map.move', 'Map', ['v'], 'Move'],
  ['map.box', 'Map', ['r'], 'Box'],
  ['map.lasso', 'Map', ['l'], 'Lasso'],
  ['map.fit', 'Map', ['0'], 'Fit everything'],
] as const satisfies readonly (readonly [string, string, readonly string[], string])[]

export type KeyId = (typeof KEYS)[number][0]
export type Handler = (event: KeyboardEvent) => void
type Handlers = Partial<Record<KeyId, Handler>>

const IDS = new Map<string, KeyId[]>()
for (const [id, , keys] of KEYS) for (const key of keys) IDS.set(key, [...(IDS.get(key) ?? []), id])

const layers: Handlers[] = []
let prefix = ''
let prefixTimer: ReturnType<typeof setTimeout> | undefined
const settings = { letters: true }

/** Whether bare letters do anything; some people talk to their computer. */
export function useLetters(on: boolean): void {
  settings.letters = on
}

/** Let keys do something until the returned function is called; made for $effect. */
export function bind(handlers: Handlers): () => void {
  layers.push(handlers)
  return () => {
    const at = layers.indexOf(handlers)
    if (at >= 0) layers.splice(at, 1)
  }
}

/** A key as the table writes it. */
export function named(event: KeyboardEvent): string {
  const key = event.key === ' ' ? 'Space' : event.key
  const isLetter = /^[a-z]$/i.test(key)
  const parts = []
  if (event.ctrlKey || event.metaKey) parts.push('Ctrl')
  if (event.altKey) parts.push('Alt')
  if (event.shiftKey && (isLetter || key.length > 1)) parts.push('Shift')
  const isPlain = parts.length === 0
  parts.push(isLetter ? (isPlain ? key.toLowerCase() : key.toUpperCase()) : key)
  return parts.join('+')
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable ||
      target.matches('textarea, select, input:not([type=checkbox], [type=radio], [type=range], [type=file])'))
  )
}

/** Keys that a focused control uses itself. */
function isOwn(event: KeyboardEvent): boolean {
  const { target, key } = event
  if (!(target instanceof HTMLElement)) return false
  if (target.matches('input[type=range], input[type=radio], [role=separator], [role=slider]'))
    return /^(Arrow|Home|End|Page)/.test(key)
  if (target.matches('button, a[href], summary, input[type=checkbox]')) return key === 'Enter' || key === ' '
  return false
}

/** Hand a key to the newest that wants it. */
export function press(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing) return
  const name = named(event)
  if (name !== 'Escape' && !name.startsWith('Ctrl+') && (isTyping(event.target) || isOwn(event))) return
  if (name.startsWith('Ctrl+') && name !== 'Ctrl+K' && isTyping(event.target)) return
  const full = prefix ? `${prefix} ${name}` : name
  prefix = ''
  clearTimeout(prefixTimer)
  if (full === 'g' && settings.letters) {
    prefix = 'g'
    prefixTimer = setTimeout(() => (prefix = ''), 1200)
    return
  }
  if (!settings.letters && /^[^+]$/.test(name)) return
  const handler = wanted(IDS.get(full) ?? [])
  if (!handler) return
  event.preventDefault()
  handler(event)
}

function wanted(ids: KeyId[]): Handler | undefined {
  for (let at = layers.length - 1; at >= 0; at--) {
    for (const id of ids) if (layers[at]![id]) return layers[at]![id]
  }
  return undefined
}

addEventListener('keydown', press)
