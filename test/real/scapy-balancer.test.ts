/** Packets for one address, shared among targets that answer by themselves. */
import { scenarios } from "./scapy-harness.ts"

scenarios("load balancers of an existing client", "balancer.py")
