"""When what runs: server state, scrapes, the slow tier, deadlines, breakers and snapshots."""
