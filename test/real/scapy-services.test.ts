/** Addresses, neighbours and boot files: what a VM asks first. */
import { scenarios } from "./scapy-harness.ts"

scenarios("the gateway of an existing client's VMs", "services.py")
