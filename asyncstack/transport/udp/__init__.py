"""UDP (RFC 768).

- `layer`        which endpoint a datagram is for
- `endpoint`     one use of a port: bound, connected, its ways to others; owned by a transport or a socket
- `queue`        datagrams that wait for the interface
- `transport`    `asyncio.DatagramTransport`
- `options`      socket options that UDP has beyond the common ones

The sockets are in `transport.sockets.datagrams`.
"""
