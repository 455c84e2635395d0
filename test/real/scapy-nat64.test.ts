/** IPv4 for VMs with IPv6, and services of the underlay. */
import { scenarios } from "./scapy-harness.ts"

scenarios("NAT64 and virtual services of an existing client", "nat64.py")
