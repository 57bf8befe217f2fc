"""Active sessions: what samples of them add up to, by database and by what they wait for."""
