"""BSD's sockets, awaitable: what `Stack.socket` gives.

- `base`         what every socket has: waiting, timeouts, `poll`, the descriptor, options
- `stream`       TCP: connect, send, receive, shut down, close
- `listening`    TCP: the queue of connections to be accepted
- `datagrams`    UDP
- `addresses`    (host, port) to bytes and back, IPv4 on IPv6 sockets
- `readiness`    who waits for what
"""
