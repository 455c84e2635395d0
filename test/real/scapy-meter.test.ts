/** Public and total rates of interfaces. */
import { scenarios } from "./scapy-harness.ts"

scenarios("rates of an existing client", "meter.py")
