"""Git servers: protocol, transports, questions, trees."""
