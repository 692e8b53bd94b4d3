"""The command line: one file a group of commands; each reads, calls, prints."""
