/** Rules, their order and their defaults, held for every flow. */
import { scenarios } from "./scapy-harness.ts"

scenarios("firewall rules of an existing client", "firewall.py")
