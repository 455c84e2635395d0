/** Two virtual networks of one host, whose VMs meet by public addresses. */
import { scenarios } from "./scapy-harness.ts"

scenarios("public addresses of one host for an existing client", "hairpin.py")
