"""Git over SSH: the transport, keys within bounds, logins, and connections that are shared."""
