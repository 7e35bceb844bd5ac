"""The API server: client, informer, store, lease, events, secrets."""
