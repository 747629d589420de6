"""IPv4 and IPv6, ICMP, routing, reassembly."""
