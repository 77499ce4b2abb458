/** Jobs of the open workspace, followed while the page is open. */
import { api, ok, patient, type Schemas } from '../lib/api'
import { toasts } from './toasts.svelte'

export type Job = Schemas['JobEntry']
/** Kinds that only look: nothing is there to be seen anew when they end. */
const LOOKING = new Set(['compare', 'verify', 'leaks', 'export'])
const CALM_MS = 5000
const BUSY_MS = 800

export const isOver = (job: Job): boolean => !['queued', 'running'].includes(job.state)

class Jobs {
  list = $state.raw<Job[]>([])
  active = $derived(this.list.filter((job) => !isOver(job)))
  /** Raised when a job has ended: what it made can be looked at. */
  finished = $state(0)
  #wake: (() => void) | undefined

  /** Look again at once, after something was started. */
  look(): void {
    this.#wake?.()
  }

  /** Follow the jobs of a workspace until the returned function is called; made for $effect. */
  watch(ws: string): () => void {
    const controller = new AbortController()
    setTimeout(() => void this.#follow(ws, controller.signal), 300) // the first view comes first
    return () => controller.abort()
  }

  async #follow(ws: string, signal: AbortSignal): Promise<void> {
    let seen: Map<string, Job> | null = null // what was over before the first look is no news
    while (!signal.aborted) {
      try {
        const query = { params: { query: { workspace: ws, limit: 50 } }, signal }
        const found = (await patient(() => ok(api.GET('/v1/jobs', query)), signal)).jobs
        if (seen) for (const job of found) this.#tell(job, seen.get(job.id))
        this.list = found
        seen = new Map(found.map((job) => [job.id, job]))
      } catch {
        if (signal.aborted) return
      }
      const ms = document.hidden ? 4 * CALM_MS : this.active.length ? BUSY_MS : CALM_MS
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        this.#wake = () => (clearTimeout(timer), resolve())
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
    }
  }

  #tell(job: Job, before: Job | undefined): void {
    if ((before && isOver(before)) || !isOver(job)) return
    if (!LOOKING.has(job.kind)) this.finished++
    else if (job.state === 'done') return
    if (job.state === 'done') toasts.say(`Done: ${job.kind}`)
    else toasts.fail(new Error(job.error?.message ?? `the job is ${job.state}`), `Job ${job.kind}`)
  }
}

export const jobs = new Jobs()
