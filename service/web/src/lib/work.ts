/** Asking for long work. */
import { jobs } from '../state/jobs.svelte'
import { toasts } from '../state/toasts.svelte'
import { api, ok, type Schemas } from './api'

/** Put a job into the queue; null where it was refused. The page goes on; the header shows it. */
export async function start(
  ws: string,
  kind: string,
  params: Record<string, unknown> = {},
): Promise<Schemas['JobBody'] | null> {
  try {
    const body = { kind, params } as never // one of many shapes: the server checks it
    const job = await ok(api.POST('/v1/workspaces/{ws}/jobs', { params: { path: { ws } }, body }))
    jobs.look()
    return job
  } catch (error) {
    toasts.fail(error, `Not started: ${kind}`)
    return null
  }
}

/** The answer of a job once it is over; throws what it failed by. */
export async function result(id: string, signal?: AbortSignal): Promise<unknown> {
  for (;;) {
    const path = { params: { path: { job_id: id }, query: { wait: 20 } }, ...(signal && { signal }) }
    const job = await ok(api.GET('/v1/jobs/{job_id}', path))
    if (job.state === 'done') return job.result
    if (!['queued', 'running'].includes(job.state))
      throw new Error(job.error?.message ?? `the job is ${job.state}`)
  }
}
