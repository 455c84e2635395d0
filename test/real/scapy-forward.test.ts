/** Between VMs of one host, of two hosts, and what is not passed on. */
import { scenarios } from "./scapy-harness.ts"

scenarios("forwarding for an existing client", "forward.py")
