"""Protocols on top of the transports: HTTP, WebSocket and DNS."""
