import { defineConfig } from "vitest/config"

// Three rings: pure and simulated run anywhere; real needs root, namespaces and the built dataplane.
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    pool: "forks",
    maxWorkers: 2,
  },
})
