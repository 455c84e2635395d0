/** Free TCP ports for the demo: the usual one where it is free, else any. */
import { Effect } from "effect"
import { createServer } from "node:net"

const bind = (host: string, port: number): Effect.Effect<number | undefined> =>
  Effect.callback((resume) => {
    const server = createServer()
    server.once("error", () => resume(Effect.undefined))
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address()
      const bound = typeof address === "object" && address !== null ? address.port : undefined
      server.close(() => resume(Effect.succeed(bound)))
    })
    return Effect.sync(() => server.close())
  })

/** `host:port` that can be listened on now. Undefined: the host is none of this machine. */
export const free = Effect.fnUntraced(function* (host: string, preferred: number) {
  const port = (yield* bind(host, preferred)) ?? (yield* bind(host, 0))
  if (port === undefined) return undefined
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`
})
