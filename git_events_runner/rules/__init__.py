"""Pure decisions: no await, no clock, no sockets."""
