"""The whole program as processes, a real API server, a real git server, real signals."""
