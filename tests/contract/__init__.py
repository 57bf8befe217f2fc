"""The promise to users of the existing exporters: what they show of a server, ours shows with the same value."""
