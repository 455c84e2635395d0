/** How long a flow is remembered, with a short --flow-timeout. */
import { scenarios } from "./scapy-harness.ts"

scenarios("flow times of an existing client", "times.py")
