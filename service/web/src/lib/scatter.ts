/**
 * Points drawn by WebGL: places go to the graphics memory once, colours once per column, and a change of scope or
 * selection only sends the numbers of the points concerned. No code is made from text, so that the page's policy can
 * forbid it. Where there is no WebGL a plain canvas draws a sample.
 */

import { onScreen, type Camera } from './places'

export interface Frame {
  camera: Camera
  /** CSS px. */
  width: number
  height: number
  /** Device px for a CSS px. */
  ratio: number
  ground: [number, number, number]
  ring: [number, number, number]
}

type Places = Float32Array<ArrayBuffer>
type Bytes = Uint8Array<ArrayBuffer>
type Rows = Uint32Array<ArrayBuffer>

export const SAMPLE = 20_000 // points that a plain canvas draws

const VERTEX = `
attribute vec2 place; attribute vec4 colour;
uniform vec2 middle; uniform vec2 span; uniform float size; uniform float fade;
varying vec4 shown;
void main() {
  gl_Position = vec4((place - middle) * span, 0.0, 1.0);
  gl_PointSize = size;
  shown = vec4(colour.rgb, colour.a * fade);
}`
const FRAGMENT = `
precision highp float;
varying vec4 shown; uniform float size; uniform float hole; uniform vec4 flat_colour;
void main() {
  float from = length(gl_PointCoord - 0.5) * size;
  float edge = 1.0 - smoothstep(size * 0.5 - 1.0, size * 0.5, from);
  if (hole > 0.0) edge *= smoothstep(hole - 1.0, hole, from);
  vec4 c = mix(shown, flat_colour, flat_colour.a);
  if (edge <= 0.0) discard;
  gl_FragColor = vec4(c.rgb, (flat_colour.a > 0.0 ? 1.0 : c.a) * edge);
}`

type Group = 'outside' | 'inside' | 'selected'
const GROUPS: Group[] = ['outside', 'inside', 'selected']

/** Diameter of a point in CSS px: smaller where more would lie on one another. */
export function pointSize(n: number, camera: Camera, fitted: Camera): number {
  const base = n < 2_000 ? 6 : n < 20_000 ? 4.5 : n < 200_000 ? 3 : 2
  return Math.min(10, base * Math.sqrt(Math.max(1, camera.scale / Math.max(fitted.scale, 1e-9))) ** 0.7)
}

export class Scatter {
  /** What draws: WebGL, or a plain canvas with a sample. */
  readonly how: 'webgl' | 'canvas'
  #gl: WebGL2RenderingContext | null
  #flat: CanvasRenderingContext2D | null = null
  #program: WebGLProgram | null = null
  #places: Places = new Float32Array()
  #colours: Bytes = new Uint8Array()
  #rows: Record<Group, Rows> = {
    outside: new Uint32Array(),
    inside: new Uint32Array(),
    selected: new Uint32Array(),
  }
  #buffers = new Map<string, WebGLBuffer>()

  constructor(
    private canvas: HTMLCanvasElement,
    private redraw: () => void,
  ) {
    this.#gl = canvas.getContext('webgl2', { antialias: false, alpha: false, preserveDrawingBuffer: false })
    this.how = this.#gl ? 'webgl' : 'canvas'
    if (!this.#gl) this.#flat = canvas.getContext('2d')
    else this.#prepare()
    canvas.addEventListener('webglcontextlost', (event) => event.preventDefault())
    canvas.addEventListener('webglcontextrestored', () => {
      this.#prepare()
      this.points(this.#places)
      this.colours(this.#colours)
      for (const group of GROUPS) this.#send(group)
      this.redraw()
    })
  }

  /** (n, 2) places; not-a-number is never drawn, since no group names it. */
  points(places: Places): void {
    this.#places = places
    this.#upload('place', places)
  }

  /** (n, 4) RGBA. */
  colours(colours: Bytes): void {
    this.#colours = colours
    this.#upload('colour', colours)
  }

  /** Which points are in a group. */
  group(group: Group, rows: Rows): void {
    this.#rows[group] = rows
    this.#send(group)
  }

  draw(frame: Frame, size: number): void {
    const width = Math.max(1, Math.round(frame.width * frame.ratio))
    const height = Math.max(1, Math.round(frame.height * frame.ratio))
    if (this.canvas.width !== width || this.canvas.height !== height)
      Object.assign(this.canvas, { width, height })
    if (this.#gl) this.#drawGl(this.#gl, frame, size * frame.ratio)
    else if (this.#flat) this.#drawFlat(this.#flat, frame, size)
  }

  /** Give the graphics memory back. */
  close(): void {
    this.#gl?.getExtension('WEBGL_lose_context')?.loseContext()
  }

  #prepare(): void {
    const gl = this.#gl!
    const program = gl.createProgram()
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ] as const) {
      const shader = gl.createShader(kind)!
      gl.shaderSource(shader, source)
      gl.compileShader(shader)
      gl.attachShader(program, shader)
    }
    gl.bindAttribLocation(program, 0, 'place')
    gl.bindAttribLocation(program, 1, 'colour')
    gl.linkProgram(program)
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(`the map cannot be drawn: ${gl.getProgramInfoLog(program) ?? ''}`)
    }
    this.#program = program
    this.#buffers.clear()
    for (const name of ['place', 'colour', ...GROUPS]) this.#buffers.set(name, gl.createBuffer())
  }

  #upload(name: string, data: Places | Bytes): void {
    const gl = this.#gl
    if (!gl) return
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#buffers.get(name)!)
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW)
  }

  #send(group: Group): void {
    const gl = this.#gl
    if (!gl) return
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.#buffers.get(group)!)
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, this.#rows[group], gl.DYNAMIC_DRAW)
  }

  #drawGl(gl: WebGL2RenderingContext, frame: Frame, size: number): void {
    const { camera, ground, ring } = frame
    const at = (name: string) => gl.getUniformLocation(this.#program!, name)
    gl.viewport(0, 0, this.canvas.width, this.canvas.height)
    gl.clearColor(ground[0] / 255, ground[1] / 255, ground[2] / 255, 1)
    gl.clear(gl.COLOR_BUFFER_BIT)
    if (!this.#places.length || !this.#colours.length) return
    gl.useProgram(this.#program)
    gl.enable(gl.BLEND)
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA)
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#buffers.get('place')!)
    gl.enableVertexAttribArray(0)
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0)
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#buffers.get('colour')!)
    gl.enableVertexAttribArray(1)
    gl.vertexAttribPointer(1, 4, gl.UNSIGNED_BYTE, true, 0, 0)
    gl.uniform2f(at('middle'), camera.x, camera.y)
    gl.uniform2f(at('span'), (2 * camera.scale) / frame.width, (2 * camera.scale) / frame.height)
    const pass = (group: Group, px: number, fade: number, hole: number, flat: number[]) => {
      const n = this.#rows[group].length
      if (!n) return
      gl.uniform1f(at('size'), px)
      gl.uniform1f(at('fade'), fade)
      gl.uniform1f(at('hole'), hole)
      gl.uniform4fv(at('flat_colour'), flat)
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.#buffers.get(group)!)
      gl.drawElements(gl.POINTS, n, gl.UNSIGNED_INT, 0)
    }
    pass('outside', Math.max(2, size * 0.7), 0.15, 0, [0.5, 0.5, 0.5, 0])
    pass('inside', size, 1, 0, [0, 0, 0, 0])
    const px = size + 7 * frame.ratio
    pass('selected', px, 1, px / 2 - 2 * frame.ratio, [ring[0] / 255, ring[1] / 255, ring[2] / 255, 1])
  }

  #drawFlat(context: CanvasRenderingContext2D, frame: Frame, size: number): void {
    const { camera, ground, ratio, ring } = frame
    context.setTransform(ratio, 0, 0, ratio, 0, 0)
    context.fillStyle = `rgb(${ground.join(' ')})`
    context.fillRect(0, 0, frame.width, frame.height)
    for (const group of GROUPS) {
      const rows = this.#rows[group]
      const step = group === 'selected' ? 1 : Math.max(1, Math.ceil(rows.length / SAMPLE))
      for (let i = 0; i < rows.length; i += step) {
        const row = rows[i]!
        const [x, y] = onScreen(camera, frame, this.#places[2 * row]!, this.#places[2 * row + 1]!)
        if (x < -9 || y < -9 || x > frame.width + 9 || y > frame.height + 9) continue
        const c = this.#colours.subarray(4 * row, 4 * row + 4)
        if (group === 'selected') {
          context.strokeStyle = `rgb(${ring.join(' ')})`
          context.lineWidth = 2
          context.strokeRect(x - size, y - size, 2 * size, 2 * size)
        } else {
          context.fillStyle = `rgb(${c[0]} ${c[1]} ${c[2]} / ${group === 'outside' ? 0.15 : 1})`
          context.fillRect(x - size / 2, y - size / 2, size, size)
        }
      }
    }
  }
}
