/** An MTU of 9000 through everything that rewrites packets. */
import { scenarios } from "./scapy-harness.ts"

scenarios("jumbo frames of an existing client", "jumbo.py")
