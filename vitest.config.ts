import { defineConfig } from "vitest/config"

// Three rings. Pure and simulated run anywhere, side by side. Real ones have the machine's namespaces and devices to
// themselves, one file at a time, after the others.
export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: "pure",
          include: ["test/pure/**/*.test.ts"],
          testTimeout: 30_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "simulated",
          include: ["test/simulated/**/*.test.ts"],
          testTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "real",
          include: ["test/real/**/*.test.ts", "test/differential/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 300_000,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
