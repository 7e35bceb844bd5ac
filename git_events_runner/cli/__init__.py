"""The command line: one file for each verb, with its options, an example and what it does; `parser` joins them."""
