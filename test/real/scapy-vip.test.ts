/** One public address of one VM. */
import { scenarios } from "./scapy-harness.ts"

scenarios("VIPs of an existing client", "vip.py")
