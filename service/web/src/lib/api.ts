/** The door to the server: typed by its own contract, with one way to fail. */
import createClient from 'openapi-fetch'
import { link, session } from '../state/session.svelte'
import type { components, paths } from './schema'

export type Schemas = components['schemas']

/** An answer that is no success, in the server's words. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string,
    readonly id: string,
  ) {
    super(message)
  }
}

/** The server could not be reached. */
export class Offline extends Error {}

const CHANGES = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])

/** `fetch` that asks for a token where one is needed and goes on, and that tells when the server is gone. */
export async function reach(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  for (;;) {
    const request = new Request(input instanceof Request ? input.clone() : input, init)
    if (CHANGES.has(request.method) && session.csrf) request.headers.set('x-curator-csrf', session.csrf)
    let response: Response
    try {
      response = await fetch(request)
    } catch (error) {
      if (request.signal.aborted) throw error
      link.lose()
      throw new Offline('the server cannot be reached', { cause: error })
    }
    link.find()
    if (response.status !== 401 || request.url.endsWith('/v1/session')) return response
    await session.signIn() // the caller waits, and then asks again
  }
}

export const api = createClient<paths>({ baseUrl: location.origin, fetch: reach })

/** The error in a response that is none of the expected ones. */
export async function failure(response: Response, body?: unknown): Promise<ApiError> {
  const told = (body ?? (await response.json().catch(() => null))) as {
    error?: Record<string, string>
  } | null
  const {
    code = 'Unexpected',
    message = `the server answered ${response.status}`,
    hint = '',
  } = told?.error ?? {}
  return new ApiError(response.status, code, message, hint, response.headers.get('x-request-id') ?? '')
}

/** The data of an answer; a refusal becomes an ApiError. */
export async function ok<T>(
  answer: Promise<{ data?: T; error?: unknown; response: Response }>,
): Promise<NonNullable<T>> {
  const { data, error, response } = await answer
  if (!response.ok) throw await failure(response, error)
  return data as NonNullable<T>
}

/** The bytes of an answer. */
export async function bytes(path: string, init?: RequestInit): Promise<Response> {
  const response = await reach(path, init)
  if (!response.ok) throw await failure(response)
  return response
}

/** What to show of any error. */
export function told(error: unknown): { message: string; hint: string; id: string } {
  if (error instanceof ApiError) return { message: error.message, hint: error.hint, id: error.id }
  if (error instanceof Offline) return { message: 'Connection lost, retrying.', hint: '', id: '' }
  return { message: error instanceof Error ? error.message : String(error), hint: '', id: '' }
}

/** Whether an error is only that nobody waits any more. */
export const isAborted = (error: unknown): boolean =>
  error instanceof DOMException && error.name === 'AbortError'

/** Run until the server can be reached; other errors are the caller's. */
export async function patient<T>(ask: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (!(error instanceof Offline) || signal?.aborted) throw error
      await link.found(signal)
    }
  }
}
