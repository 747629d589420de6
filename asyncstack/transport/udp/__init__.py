"""UDP (RFC 768).

- `layer`        which endpoint a datagram is for
- `binding`      what an endpoint is bound and connected to, and its owner: a transport or a socket
- `endpoint`     one use of a port: how it sends
- `wide`         an endpoint of many addresses or ports
- `interface_port` a port of one interface, whomever its datagrams are for
- `groups`       the multicast groups of an endpoint
- `queue`        datagrams that wait for the interface
- `ancillary`    what recvmsg tells beside the bytes, and what sendmsg is told
- `settings`     what an endpoint has of its own, and `options` by which it is set
- `transport`    `asyncio.DatagramTransport`
- `opening`      how `create_datagram_endpoint` comes by an endpoint

The sockets are in `transport.sockets.datagrams`.
"""
