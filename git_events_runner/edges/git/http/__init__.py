"""Git over HTTP(S): the transport, its errors, sessions, proxies, and bounds on what a server sends."""
