/** Weights and failures of two links. */
import { scenarios } from "./scapy-harness.ts"

scenarios("two uplinks of an existing client", "uplinks.py")
