/** What people decide about near-duplicate groups: another one kept, no duplicate, confirmed; each with one undo. */
import { api, Offline, ok, type Schemas } from '../lib/api'
import { isApart, membersOf, parts, type Group } from '../lib/duplicates'
import { count, plural } from '../lib/format'
import { decisions, type Deed } from './decisions.svelte'
import type { Groups } from './groups.svelte'
import { toasts } from './toasts.svelte'

const SUBJECT = 'duplicates' // of the reviews that confirm
const PAGE = 1000

/** The group that a decision is about, and where its new state is drawn. */
export interface Place {
  ws: string
  groups: Groups
  index: number
  group: Group
}

/** Let another image stand for the group; for the one that was kept first, take back that another was chosen. */
export async function keep(place: Place, row: number): Promise<void> {
  const { group, groups, index } = place
  const isBack = row === group.kept
  const back = takenBack(place.ws, 'keep', row, (rows) => rows[1] === row)
  await act(place, {
    what: isBack ? 'The first one kept again' : 'Another image kept',
    takesBack: isBack,
    send: (key) => (isBack ? back() : written(place, { kind: 'keep', rows: [row, group.kept] }, key)),
    apply: () => groups.draw(index, { chosen: isBack ? null : row }),
  })
}

/** Say that an image is no duplicate of the kept one, or take that back. */
export async function apart(place: Place, row: number): Promise<void> {
  const { group, groups, index } = place
  const isBack = isApart(group, row)
  const pair = [group.kept, row]
  const isPair = (rows: number[]) => pair.every((member) => rows.includes(member))
  const others = group.not_duplicates.filter((rows) => !isPair(rows))
  const back = takenBack(place.ws, 'not_duplicate', row, isPair)
  await act(place, {
    what: isBack ? 'A duplicate after all' : 'Said to be no duplicate',
    takesBack: isBack,
    send: (key) => (isBack ? back() : written(place, { kind: 'not_duplicate', rows: pair }, key)),
    apply: () => groups.draw(index, { not_duplicates: isBack ? others : [...others, pair] }),
  })
}

/** Say that a group is right as it is. */
export async function confirm(place: Place): Promise<void> {
  await act(place, {
    what: `Group ${count(place.index + 1)} confirmed`,
    send: (key) => accepted(place.ws, membersOf(place.group), key),
    apply: () => place.groups.draw(place.index, { is_confirmed: true }),
  })
}

/** Confirm every exact copy, however many, as one action. */
export async function confirmExact(ws: string, groups: Groups): Promise<void> {
  try {
    const rows = await exactCopies(ws)
    await decisions.act({
      what: `${plural(rows.length, 'exact copy', 'exact copies')} confirmed`,
      ws,
      send: async (key) => {
        const made = await accepted(ws, rows, key)
        groups.allAgain()
        return made
      },
      revert: () => groups.allAgain(),
    })
  } catch (error) {
    toasts.fail(error)
  }
}

function act({ ws, groups, index }: Place, deed: Omit<Deed, 'ws'>): Promise<boolean> {
  const send = async (key: string) => {
    const made = await deed.send(key)
    groups.again(index)
    return made
  }
  return decisions.act({ ...deed, ws, send, revert: () => groups.again(index) })
}

async function exactCopies(ws: string): Promise<number[]> {
  const rows: number[] = []
  for (;;) {
    const filter = { column: 'duplicate', in: ['exact'] }
    const body = { filter, limit: PAGE, offset: rows.length, sort: [], fields: [], present_only: false }
    const page = await ok(api.POST('/v1/workspaces/{ws}/rows/query', { params: { path: { ws } }, body }))
    rows.push(...page.rows.map((one) => one.row))
    if (page.next_offset === null) return rows
  }
}

/** A decision, refused where somebody decided about the same after what is shown here. */
async function written(
  { ws, groups, index }: Place,
  said: { kind: 'keep' | 'not_duplicate'; rows: number[] },
  key: string,
) {
  const about = said.kind === 'keep' ? `keep ${said.rows[1]}` : `apart ${said.rows.join()}`
  const made = await sent(ws, { ...said, expect: groups.seen(index, about) }, key)
  groups.made(about, made.id)
  return made
}

/** Reviews that accept rows, as many as their number needs; none is left where one is refused. */
async function accepted(ws: string, rows: number[], key: string): Promise<{ decisions: number[] }> {
  const made: number[] = []
  try {
    for (const [at, some] of parts(rows).entries()) {
      const body = { kind: 'review', rows: some, value: 'accept', subject: SUBJECT }
      made.push((await sent(ws, body, `${key}:${at}`)).id)
    }
  } catch (error) {
    if (!(error instanceof Offline)) await undo(ws, made) // what is sent again has the same keys
    throw error
  }
  return { decisions: made }
}

function sent(ws: string, body: object, key: string): Promise<Schemas['DecisionAnswer']> {
  const headers = { 'Idempotency-Key': key }
  const said = body as Schemas['DecisionBody']
  return ok(api.POST('/v1/workspaces/{ws}/decisions', { params: { path: { ws } }, headers, body: said }))
}

/** Take back what holds of a kind about a row; which decisions that were stays known when it is sent again. */
function takenBack(ws: string, kind: string, row: number, isIt: (rows: number[]) => boolean) {
  let made: number[] | null = null
  return async (): Promise<{ decisions: number[] }> => {
    if (made === null) {
      const query = { kind, row, limit: 100 }
      const log = await ok(api.GET('/v1/workspaces/{ws}/decisions', { params: { path: { ws }, query } }))
      made = log.decisions.filter((one) => isIt(one.rows)).map((one) => one.id)
    }
    await undo(ws, made)
    return { decisions: made }
  }
}

async function undo(ws: string, made: number[]): Promise<void> {
  for (const number of made)
    await ok(api.POST('/v1/workspaces/{ws}/decisions/{number}/undo', { params: { path: { ws, number } } }))
}
