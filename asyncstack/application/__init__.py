"""Protocols on top of the transports: HTTP, WebSocket, DNS, DHCP, router advertisements, TFTP, SNTP."""
