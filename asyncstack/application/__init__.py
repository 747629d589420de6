"""Protocols on top of the transports: HTTP and WebSocket."""
