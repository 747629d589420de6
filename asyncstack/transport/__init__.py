"""Ports, UDP, ping and TCP, and their asyncio transports."""
