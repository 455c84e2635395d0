/** One public address of many VMs. */
import { scenarios } from "./scapy-harness.ts"

scenarios("NAT of an existing client", "nat.py")
