"""The run ledger: what a status records, every change of it as a value, and what its conditions report."""
