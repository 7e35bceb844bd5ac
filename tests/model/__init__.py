"""The ledger's protocol, checked exhaustively."""
